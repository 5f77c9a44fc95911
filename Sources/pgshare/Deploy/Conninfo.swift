import Foundation
import PostgresClient
import SharePolicy

/// libpq's texts for where a database is.
enum Conninfo {
    /// `key=value` text, values quoted, in a stable order.
    ///
    /// Source: PostgreSQL documentation, "Keyword/Value Connection Strings".
    static func text(_ keywords: [String: String]) -> String {
        keywords.sorted { $0.key < $1.key }.map { key, value in
            // By scalars: a quote with an accent behind it is one `Character`, and still a quote.
            let escaped = value.unicodeScalars.map {
                $0 == "\\" || $0 == "'" ? "\\\($0)" : String($0)
            }.joined()
            return "\(key)='\(escaped)'"
        }.joined(separator: " ")
    }

    /// The same place as a URL without its secrets: for people, and to be used again with a
    /// password from elsewhere.
    ///
    /// - Throws: ``DatabaseSettingsError`` for what libpq cannot read.
    static func withoutSecrets(_ conninfo: String) throws -> String {
        var settings = try LibpqConnection.settings(of: conninfo)
        for secret in ["password", "sslpassword"] { settings[secret] = nil }
        // libpq fills in some defaults of its own, which are the same next time.
        let parts = ["user", "host", "port", "dbname"].map { settings.removeValue(forKey: $0) }
        let user = parts[0].map { "\(ConnectionURL.escaped($0))@" } ?? ""
        let host = parts[1].map(self.host) ?? ""
        let port = parts[2].map { ":\($0)" } ?? ""
        let database = parts[3].map { "/\(ConnectionURL.escaped($0))" } ?? ""
        let isPlain = parts[1]?.contains(",") != true && parts[2]?.contains(",") != true
        guard isPlain else { return try self.keywords(conninfo) }
        let rest = settings.sorted { $0.key < $1.key }
            .map { "\($0.key)=\(ConnectionURL.escaped($0.value))" }.joined(separator: "&")
        return "postgres://\(user)\(host)\(port)\(database)" + (rest.isEmpty ? "" : "?\(rest)")
    }

    /// Several hosts have no good form as a URL.
    private static func keywords(_ conninfo: String) throws -> String {
        var settings = try LibpqConnection.settings(of: conninfo)
        for secret in ["password", "sslpassword"] { settings[secret] = nil }
        return self.text(settings)
    }

    /// A folder (of a unix socket) is escaped, an IPv6 address is bracketed.
    private static func host(_ host: String) -> String {
        host.contains(":") ? "[\(host)]" : ConnectionURL.escaped(host)
    }
}

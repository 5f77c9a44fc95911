import NIOCore
public import PostgresClient
import PostgresWire

/// How a program of Postgres reaches a database: by its environment alone, never by arguments.
///
/// Every `PG…` variable of ours is hidden from it; it sees what is written here and nothing else.
/// The password is in a file of mode 0600 in the run's folder.
public struct ToolConnection: Sendable {
    /// libpq's variables.
    public let variables: [String: String]
    /// The argument of `-d`: the name, quoted, so that no name is ever read as a URL or
    /// `key=value`; pg_restore wants it said.
    public let databaseArgument: String
    /// Texts that no message may show.
    let secrets: [String]

    /// What `pg_stat_activity` shows.
    static let applicationName = "pgshare deploy"

    /// A database that ``DatabaseSettings/resolve(_:)`` found.
    ///
    /// - Parameters:
    ///   - target: Where it is.
    ///   - label: Names the password file within the run's folder: `source`, `target`.
    ///   - folder: Of this run.
    /// - Throws: ``ToolFailure`` when the file cannot be written, or where a setting has no form
    ///   that libpq takes from outside its arguments.
    public init(
        target: DatabaseTarget,
        label: String,
        in folder: RunFolder
    ) throws(ToolFailure) {
        var variables = Self.common
        Self.setEndpoint(target.endpoint, in: &variables)
        variables["PGUSER"] = target.user
        variables["PGCHANNELBINDING"] = target.channelBinding.rawValue
        variables["PGOPTIONS"] = target.options
        variables["PGCONNECT_TIMEOUT"] = "\(Self.seconds(target.connectTimeout))"
        if let methods = target.requireAuth {
            variables["PGREQUIREAUTH"] = methods.map(\.rawValue).sorted().joined(separator: ",")
        }
        Self.setTLS(target.tls, in: &variables)
        // Named even without a password, so that the file of the person's home is not read.
        variables["PGPASSFILE"] = folder.path(label + ".pgpass")
        if let password = target.password?.reveal {
            if let line = PasswordFile.line(password) {
                try folder.write(line, to: label + ".pgpass")
            } else {
                variables["PGPASSWORD"] = password
            }
        }
        if let passPhrase = target.tls.keyPassword?.reveal {
            let service = try PasswordFile.service(keyPassword: passPhrase)
            try folder.write(service, to: label + ".service")
            variables["PGSERVICEFILE"] = folder.path(label + ".service")
            variables["PGSERVICE"] = PasswordFile.serviceName
        }
        self.variables = variables
        self.databaseArgument = Self.databaseArgument(target.database)
        self.secrets = [target.password, target.tls.keyPassword].compactMap { $0?.reveal }
            .filter { !$0.isEmpty }
    }

    /// A session door: a unix socket that takes anybody and serves one session.
    ///
    /// - Parameters:
    ///   - doorFolder: The folder of the socket.
    ///   - port: The number in the socket's name.
    public init(doorFolder: String, port: Int) {
        var variables = Self.common
        variables["PGHOST"] = doorFolder
        variables["PGPORT"] = "\(port)"
        variables["PGUSER"] = "pgshare"
        variables["PGSSLMODE"] = "disable"
        variables["PGPASSFILE"] = doorFolder + "/.none"
        self.variables = variables
        self.databaseArgument = Self.databaseArgument("pgshare")
        self.secrets = []
    }

    private static let common = [
        "PGAPPNAME": Self.applicationName, "PGGSSENCMODE": "disable", "PGCLIENTENCODING": "UTF8",
    ]

    /// Whole seconds for libpq, which makes two of one and waits for ever at zero.
    private static func seconds(_ time: TimeAmount) -> Int64 {
        max(2, time.nanoseconds / 1_000_000_000)
    }

    private static func setEndpoint(
        _ endpoint: DatabaseTarget.Endpoint,
        in variables: inout [String: String]
    ) {
        switch endpoint {
        case .unixSocket(let path):
            let file = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
            let folder = path.dropLast(file.count + 1)
            // libpq writes the abstract namespace's zero byte as @.
            variables["PGHOST"] =
                folder.first == "\0" ? "@" + folder.dropFirst() : String(folder)
            variables["PGPORT"] = file.split(separator: ".").last.map(String.init)
        case .tcp(let host, let address, let port):
            variables["PGHOST"] = host.isEmpty ? nil : host
            variables["PGHOSTADDR"] = address
            variables["PGPORT"] = "\(port)"
        }
    }

    private static func setTLS(
        _ tls: DatabaseTLSSettings,
        in variables: inout [String: String]
    ) {
        variables["PGSSLMODE"] = tls.mode.rawValue
        variables["PGSSLNEGOTIATION"] = tls.negotiation == .direct ? "direct" : nil
        variables["PGSSLSNI"] = tls.sendsServerName ? "1" : "0"
        variables["PGSSLCERT"] = tls.certificatePath
        variables["PGSSLKEY"] = tls.keyPath
        switch tls.rootCertificate {
        case .file(let path): variables["PGSSLROOTCERT"] = path
        case .system: variables["PGSSLROOTCERT"] = "system"
        case nil: break
        }
    }

    /// Source: PostgreSQL documentation, "Keyword/Value Connection Strings".
    static func databaseArgument(_ name: String) -> String {
        let escaped = name.replacingScalars("\\", with: "\\\\").replacingScalars("'", with: "\\'")
        return "dbname='\(escaped)'"
    }
}

/// Files in which libpq finds what must not be in arguments.
enum PasswordFile {
    /// The one service of our service file.
    static let serviceName = "pgshare"

    /// A line of a password file that fits any connection; nil if none can hold this password.
    ///
    /// Source: PostgreSQL documentation, "The Password File".
    static func line(_ password: String) -> String? {
        guard !password.unicodeScalars.contains(where: { $0 == "\n" || $0 == "\r" }) else {
            return nil
        }
        let escaped = password.replacingScalars("\\", with: "\\\\").replacingScalars(
            ":", with: "\\:")
        return "*:*:*:*:\(escaped)\n"
    }

    /// A service file with the pass phrase of a key: libpq has no variable for that.
    ///
    /// Source: `parseServiceFileInfo` of libpq, which drops blanks at the end of a line.
    static func service(keyPassword: String) throws(ToolFailure) -> String {
        let isOneLine = !keyPassword.unicodeScalars.contains { $0 == "\n" || $0 == "\r" }
        guard isOneLine, keyPassword.last?.isWhitespace != true else {
            throw ToolFailure(
                tool: "pg_dump",
                reason: .file("a pass phrase of sslkey cannot end in a blank or hold a line break"))
        }
        return "[\(self.serviceName)]\nsslpassword=\(keyPassword)\n"
    }
}

import Foundation

/// What Neon's words mean for somebody who wants a database. Pure.
package enum NeonStatus: Hashable, Sendable {
    /// The operation is over.
    case finished
    /// It goes on, or we cannot know: the deadline decides.
    case running
    /// It will never finish.
    case failed

    /// Reads the status of an operation. Words that are not known count as running: they may be
    /// newer than we are.
    package init(_ status: String) {
        switch status {
        case "finished", "skipped": self = .finished
        case "failed", "error", "cancelled": self = .failed
        default: self = .running
        }
    }

    /// Whether a text may stand in a path: ids of projects, branches and operations.
    package static func isIdentifier(_ text: String) -> Bool {
        text.utf8.count <= 64 && text.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9_-]*/) != nil
    }

    /// The direct host of an endpoint: its name without `-pooler`, since the pooler works in
    /// transaction mode, which cannot take a restore.
    package static func directHost(_ host: String) -> String {
        guard let dot = host.firstIndex(of: "."), host[..<dot].hasSuffix("-pooler") else {
            return host
        }
        return String(host[..<dot].dropLast("-pooler".count) + host[dot...])
    }

    /// The pooler's host beside a direct host; nil where the host is not one of Neon's.
    package static func poolerHost(_ host: String) -> String? {
        let direct = self.directHost(host)
        guard direct.hasPrefix("ep-"), let dot = direct.firstIndex(of: ".") else { return nil }
        return String(direct[..<dot]) + "-pooler" + direct[dot...]
    }

    /// Takes a connection URI apart.
    ///
    /// - Returns: Address and password; nil if the text is no Postgres URI, has no password, or
    ///   asks for less than TLS.
    package static func address(_ uri: String) -> (PostgresAddress, ProviderSecret)? {
        guard uri.utf8.count <= 4_096, let url = URLComponents(string: uri),
            ["postgres", "postgresql"].contains(url.scheme), let host = url.host,
            let user = url.user, let password = url.password, !password.isEmpty
        else { return nil }
        let modes = url.queryItems?.filter { $0.name == "sslmode" }.compactMap(\.value) ?? []
        let mode = modes.last ?? "require"
        guard ["require", "verify-ca", "verify-full"].contains(mode) else { return nil }
        let address = PostgresAddress(
            host: Self.directHost(host), port: url.port ?? 5_432, user: user,
            database: String(url.path.dropFirst()), sslMode: mode)
        return address.isPrintable ? (address, ProviderSecret(password)) : nil
    }
}

import Foundation

/// Where things are when nobody says otherwise.
enum DefaultPlaces {
    /// The relay that commands talk to.
    static let relay = "https://localhost:8443"

    /// What outlives a restart: `$XDG_STATE_HOME/pgshare`, or `~/.local/state/pgshare`.
    ///
    /// Source: XDG Base Directory Specification; a relative path there is to be ignored.
    static func stateFolder(
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) -> String {
        if let folder = environment["XDG_STATE_HOME"], folder.hasPrefix("/") {
            return "\(folder)/pgshare"
        }
        let home = environment["HOME"] ?? NSHomeDirectory()
        return "\(home)/.local/state/pgshare"
    }

    /// Where a relay with this state keeps its development certificates.
    static func certificateFolder(state: String) -> String {
        "\(state)/certs"
    }

    /// The authority to trust where none was named: a relay on this machine made its own.
    /// Nil for other hosts, and where there is none: then the system's authorities count.
    static func caFile(forRelay url: String, state: String) -> String? {
        let local = ["localhost", "127.0.0.1", "::1", "[::1]"]
        guard let host = URLComponents(string: url)?.host?.lowercased(),
            local.contains(host) || host.hasSuffix(".localhost")
        else { return nil }
        let file = "\(Self.certificateFolder(state: state))/ca.pem"
        return FileManager.default.isReadableFile(atPath: file) ? file : nil
    }
}

import Deploy
import Foundation
import PostgresClient
import SharePolicy

/// What both ends of a deploy are found with.
struct DeployContext {
    let settings: Settings
    let state: String
    private let relayURL: String
    private let token: String?
    private let caFile: String?
    /// Whether a person at a terminal may be asked.
    let asks: Bool

    /// Reads the settings; nothing is asked yet.
    ///
    /// `asks` says whether a person at a terminal may be asked for a password; the others are
    /// flags.
    ///
    /// - Throws: ``SettingsError``.
    init(
        _ settings: Settings, relay: String?, token: String?, caFile: String?, state: String?,
        asks: Bool
    ) async throws {
        self.settings = settings
        self.state = try await settings.string(
            .state, flag: state, default: DefaultPlaces.stateFolder())
        self.relayURL = try await settings.string(
            .relay, flag: relay, default: DefaultPlaces.relay)
        self.token = try await settings.string(.token, flag: token)
        self.caFile =
            try await settings.string(.caFile, flag: caFile)
            ?? DefaultPlaces.caFile(forRelay: self.relayURL, state: self.state)
        self.asks = asks
    }

    /// The relay that knows the shares of the user's token.
    var relay: RelayAPI {
        get throws {
            guard let token = self.token else { throw SettingsError.missing(.token) }
            guard let token = AccessToken(token) else {
                throw SettingsError.unusableValue(.token, expected: "a token (pgs_… or a JWT)")
            }
            return try RelayAPI(relay: self.relayURL, token: token, caFile: self.caFile)
        }
    }

    /// How the relay's certificate is checked by a client of a share.
    var trust: [String: String] {
        self.caFile.map { ["sslmode": "verify-full", "sslrootcert": $0] }
            ?? ["sslmode": "require"]
    }

    /// Connects once, as psql would; asks for the password if that is all that is missing.
    ///
    /// - Parameters:
    ///   - conninfo: A URL or `key=value` text.
    ///   - key: The setting that may hold the password.
    ///   - side: For messages: `the source`.
    /// - Returns: The end, reached once.
    /// - Throws: ``CommandFailure``.
    func resolve(_ conninfo: String, _ key: SettingKey, at side: String) async throws -> DeployEnd {
        var overrides: [String: String] = [:]
        if let password = try await self.settings.string(key) { overrides["password"] = password }
        do {
            return try await Self.resolve(conninfo, overrides)
        } catch {
            guard overrides.isEmpty, self.asks, "\(error)".contains("no password supplied") else {
                throw Self.unreachable(side, key, error)
            }
        }
        guard let typed = getpass("Password for \(side): ") else {
            throw CommandFailure("\(side) asks for a password")
        }
        do {
            return try await Self.resolve(conninfo, ["password": String(cString: typed)])
        } catch {
            throw Self.unreachable(side, key, error)
        }
    }

    /// Where it is the password, the variables that can hold it are named.
    private static func unreachable(
        _ side: String, _ key: SettingKey, _ error: DatabaseSettingsError
    ) -> CommandFailure {
        let text = "\(error)"
        let isPassword = text.contains("password")
        let hint = isPassword ? "\n\(key.variable) can hold it, too." : ""
        return CommandFailure("\(side) cannot be reached: \(text)\(hint)")
    }

    private static func resolve(
        _ conninfo: String, _ overrides: [String: String]
    ) async throws(DatabaseSettingsError) -> DeployEnd {
        let database = try await DatabaseSettings.resolve(conninfo, overrides: overrides)
        let target = database.target
        return DeployEnd(
            database: database,
            description: "\(target.user)@\(target.endpoint)/\(target.database)")
    }
}

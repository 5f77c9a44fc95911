import ArgumentParser
import Foundation
import Relay
import SharePolicy

/// `pgshare shares`: over the relay's HTTP API, as the owner of a token.
struct SharesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shares", abstract: "The shares of a token: list, show, revoke, password.",
        subcommands: [List.self, Show.self, Revoke.self, Password.self])

    /// What all of them take.
    struct Options: ParsableArguments {
        @Option(help: "The relay's URL; default: https://localhost:8443.")
        var relay: String?
        @Option(help: "The token. PGSHARE_TOKEN keeps it out of the process list.")
        var token: String?
        @Option(help: "The authority that the relay's certificate comes from, as PEM.")
        var caFile: String?
        @Flag(help: "Print one JSON object.")
        var json = false

        /// Asks the relay for the shares, or for one of them, or for something of it.
        func ask(
            _ method: RelayAPI.Method, _ key: ShareKey?, _ part: String = ""
        ) async throws -> Data {
            let settings = try await Settings(configFile: nil)
            let relay = try await settings.string(
                .relay, flag: self.relay, default: DefaultPlaces.relay)
            guard let text = try await settings.string(.token, flag: self.token) else {
                throw SettingsError.missing(.token)
            }
            guard let token = AccessToken(text) else {
                throw SettingsError.unusableValue(.token, expected: "a token (pgs_… or a JWT)")
            }
            let state = try await settings.string(.state, default: DefaultPlaces.stateFolder())
            let named = try await settings.string(.caFile, flag: self.caFile)
            let api = try RelayAPI(
                relay: relay, token: token,
                caFile: named ?? DefaultPlaces.caFile(forRelay: relay, state: state))
            let one = key.map { "/\($0.text)" } ?? ""
            return try await api.ask(method, "/v1/shares\(one)\(part)")
        }
    }

    /// `pgshare shares list`.
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List your shares.")

        @OptionGroup var options: Options

        func run() async throws {
            let list = try SharesCommand.decode(
                ShareList.self, try await self.options.ask(.get, nil))
            guard !self.options.json else { return try Output.printJSON(list) }
            let head = ["ID", "NAME", "KIND", "STATE", "DATABASE", "CLIENTS", "EXPIRES"]
            let rows = list.shares.map {
                [
                    $0.id, $0.name ?? "-", $0.kind.rawValue, $0.state.rawValue, $0.database,
                    "\($0.clients)/\($0.maxConnections)", Output.time($0.expiresAt),
                ]
            }
            print(Output.table([head] + rows))
        }
    }

    /// `pgshare shares show ID`.
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one of your shares.")

        @Argument(help: "The share's id or name.")
        var share: String
        @OptionGroup var options: Options

        func run() async throws {
            let key = try SharesCommand.key(self.share)
            let share = try SharesCommand.decode(
                ShareStatus.self, try await self.options.ask(.get, key))
            try SharesCommand.report(share, json: self.options.json)
        }
    }

    /// `pgshare shares revoke ID`.
    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revoke one of your shares; its clients are disconnected.")

        @Argument(help: "The share's id or name.")
        var share: String
        @OptionGroup var options: Options

        func run() async throws {
            let key = try SharesCommand.key(self.share)
            let share = try SharesCommand.decode(
                ShareStatus.self, try await self.options.ask(.delete, key))
            try SharesCommand.report(share, json: self.options.json)
        }
    }

    /// `pgshare shares password ID`.
    struct Password: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a new password for a share of database.build's page.",
            discussion: """
                That page knows of no password. The one before is good no more; who is connected \
                stays. The password is shown this once.
                """)

        @Argument(help: "The share's id or name.")
        var share: String
        @OptionGroup var options: Options

        func run() async throws {
            let key = try SharesCommand.key(self.share)
            let made = try SharesCommand.decode(
                MadePassword.self, try await self.options.ask(.post, key, "/password"))
            guard !self.options.json else { return try Output.printJSON(made) }
            // Of parts, each escaped: what is pasted into a shell is not the relay's own text.
            let url = ConnectionURL.share(
                user: made.user, password: made.password, host: made.host, port: made.port,
                database: made.database)
            print(
                """
                \(url)

                psql '\(url)&channel_binding=require'

                until \(Output.time(made.expiresAt))
                """)
        }
    }

    private static func key(_ text: String) throws -> ShareKey {
        guard let key = ShareKey(text) else {
            throw ValidationError("'\(text)' is neither a share's id nor a name")
        }
        return key
    }

    static func decode<Value: Decodable>(_ type: Value.Type, _ data: Data) throws -> Value {
        do {
            return try APIJSON.decode(type, from: data)
        } catch {
            throw CommandFailure("the relay answered something else than shares; check --relay")
        }
    }

    private static func report(_ share: ShareStatus, json: Bool) throws {
        guard !json else { return try Output.printJSON(share) }
        print(
            Output.table([
                ["id", share.id], ["name", share.name ?? "-"], ["kind", share.kind.rawValue],
                ["state", share.state.rawValue],
                ["database", share.database], ["user", share.user],
                ["clients", "\(share.clients) of \(share.maxConnections)"],
                ["created", Output.time(share.createdAt)],
                ["expires", Output.time(share.expiresAt)],
                ["revoked", Output.time(share.revokedAt)],
            ]))
    }
}

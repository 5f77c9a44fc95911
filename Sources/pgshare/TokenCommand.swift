import ArgumentParser
import Deploy
import Foundation
import SharePolicy
import ShareStore

/// `pgshare token`: on the relay's own machine, in its state folder, whether it runs or not.
struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Who may share: tokens, kept in the relay's state folder.",
        subcommands: [Create.self, List.self, Revoke.self])

    /// `pgshare token create NAME`.
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token. It is shown this once and never again.")

        @Argument(help: "Whose token it is: letters, digits, '.', '_' and '-', at most 64.")
        var name: String
        @OptionGroup var options: StateOptions

        func run() async throws {
            let owner = try TokenCommand.owner(self.name)
            let store = try await self.options.store()
            let token = try await TokenCommand.failing {
                try await store.createToken(owner, now: Date())
            }
            if self.options.json {
                try Output.printJSON(Created(name: owner.rawValue, token: token.reveal))
            } else {
                print(token.reveal)
            }
        }
    }

    /// `pgshare token list`.
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the tokens' names; the tokens themselves are not kept.")

        @OptionGroup var options: StateOptions

        func run() async throws {
            let store = try await self.options.store()
            let tokens = try await TokenCommand.failing { try await store.tokens() }
            if self.options.json {
                try Output.printJSON(Listed(tokens: tokens.map(Listed.Token.init)))
            } else {
                let rows = tokens.map {
                    [
                        $0.name.rawValue, Output.time($0.createdAt),
                        $0.revokedAt == nil ? "valid" : "revoked",
                    ]
                }
                print(Output.table([["NAME", "CREATED", "STATE"]] + rows))
            }
        }
    }

    /// `pgshare token revoke NAME`.
    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revoke a token; its shares and their clients end.")

        @Argument(help: "The token's name.")
        var name: String
        @OptionGroup var options: StateOptions

        func run() async throws {
            let owner = try TokenCommand.owner(self.name)
            let store = try await self.options.store()
            let ended = try await TokenCommand.failing {
                try await store.revokeToken(owner, now: Date())
            }
            if self.options.json {
                let shares = ended.map(\.id.rawValue)
                try Output.printJSON(Revoked(name: owner.rawValue, shares: shares))
            } else {
                let shares = ProgressText.count(Int64(ended.count), "share")
                print("Revoked the token of \(owner); \(shares) ended.")
            }
        }
    }

    /// What `token create --json` prints.
    struct Created: Codable, Hashable {
        var name: String
        var token: String
    }

    /// What `token list --json` prints.
    struct Listed: Codable, Hashable {
        struct Token: Codable, Hashable {
            var name: String
            var createdAt: Date
            var revokedAt: Date?

            init(_ record: TokenRecord) {
                self.name = record.name.rawValue
                self.createdAt = record.createdAt
                self.revokedAt = record.revokedAt
            }

            private enum CodingKeys: String, CodingKey {
                case name
                case createdAt = "created_at"
                case revokedAt = "revoked_at"
            }
        }

        var tokens: [Token]
    }

    /// What `token revoke --json` prints.
    struct Revoked: Codable, Hashable {
        var name: String
        var shares: [String]
    }

    private static func owner(_ name: String) throws -> OwnerID {
        guard let owner = OwnerID(tokenName: name) else {
            throw ValidationError(
                "a token's name has 1 to 64 letters, digits, '.', '_' and '-', "
                    + "and begins with a letter or digit")
        }
        return owner
    }

    private static func failing<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as ShareStoreError {
            throw CommandFailure("\(error)")
        }
    }
}

import ArgumentParser
import Deploy
import Foundation
import PostgresClient
import Relay
import SharePolicy

/// Where a deploy reads from: a share, by id or name, or whatever psql would take.
enum DeploySource: Hashable {
    /// The relay knows where its clients connect.
    case share(ShareKey)
    /// A URL or `key=value` text.
    case conninfo(String)

    /// Tells them apart: a URL has `://`, `key=value` text has `=`, an id or name has neither.
    ///
    /// - Throws: `ValidationError` for what is none of them.
    init(_ text: String) throws {
        if text.contains("://") || text.contains("=") {
            self = .conninfo(text)
        } else if let key = ShareKey(text) {
            self = .share(key)
        } else {
            throw ValidationError(
                "'\(SharePrinter.printable(text))' is neither a share's id or name nor a URL")
        }
    }

    /// What the user called it, without secrets; can be given to a command again.
    var description: String {
        get throws {
            switch self {
            case .share(let key): key.text
            case .conninfo(let text): try Conninfo.withoutSecrets(text)
            }
        }
    }

    /// Reaches it.
    func end(_ context: DeployContext) async throws -> DeployEnd {
        switch self {
        case .conninfo(let text):
            return try await context.resolve(text, .sourcePassword, at: "the source")
        case .share(let key):
            return try await self.share(key, context)
        }
    }

    private func share(_ key: ShareKey, _ context: DeployContext) async throws -> DeployEnd {
        let status = try SharesCommand.decode(
            ShareStatus.self, try await context.relay.ask(.get, "/v1/shares/\(key.text)"))
        guard let host = status.host, let port = status.port, let login = status.login else {
            throw CommandFailure(
                "the relay is too old to say where its clients connect; give the share's URL")
        }
        guard status.state == .online else {
            throw CommandFailure(
                "the share \(key.text) is \(status.state.rawValue); start it with pgshare share")
        }
        var keywords = [
            "host": host, "port": "\(port)", "user": login, "dbname": status.database,
        ]
        keywords.merge(context.trust) { $1 }
        let text = Conninfo.text(keywords)
        var end = try await context.resolve(text, .sourcePassword, at: "the share \(key.text)")
        end.description = "share \(key.text) (\(end.description))"
        return end
    }
}

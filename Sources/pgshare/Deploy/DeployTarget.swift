import ArgumentParser
import CloudProviders
import Deploy
import Foundation
import SharePolicy

/// Where a deploy writes to: whatever psql would take, or a provider's database.
enum DeployTarget: Hashable {
    /// A URL or `key=value` text.
    case conninfo(String)
    /// A database that its provider is asked for.
    case provider(ProviderReference)

    /// Tells them apart.
    ///
    /// - Throws: `ValidationError` for what is none of them.
    init(_ text: String) throws {
        do {
            if let reference = try ProviderReference.parse(text) {
                self = .provider(reference)
                return
            }
        } catch {
            throw ValidationError("\(error)")
        }
        guard text.contains("://") || text.contains("=") else {
            throw ValidationError(
                "'\(SharePrinter.printable(text))' is no URL; the target may be postgres://…, "
                    + "supabase:…, neon:… or rds:…")
        }
        self = .conninfo(text)
    }

    /// What the user called it, without secrets; can be given to a command again.
    var description: String {
        get throws {
            switch self {
            case .conninfo(let text): try Conninfo.withoutSecrets(text)
            case .provider(let reference): "\(reference)" + Self.query(reference.options)
            }
        }
    }

    private static func query(_ options: [String: String]) -> String {
        guard !options.isEmpty else { return "" }
        return "?"
            + options.sorted { $0.key < $1.key }
            .map { "\($0.key)=\(ConnectionURL.escaped($0.value))" }.joined(separator: "&")
    }

    /// The database that a deploy went to, where the words alone would name another one: a
    /// provider's project is named after the source, which a rollback is not told.
    ///
    /// - Parameter project: What the history keeps of the provider's project, JSON.
    /// - Returns: The target with its project named.
    /// - Throws: ``CommandFailure`` where the project is not known.
    func forRollback(project: String?) throws -> DeployTarget {
        guard case .provider(var reference) = self else { return self }
        switch reference.place {
        case .existing: return self
        case .named, .new: break
        }
        let known = project.flatMap {
            try? JSONDecoder().decode(ProviderProject.self, from: Data($0.utf8))
        }
        guard let id = known?.id else {
            throw CommandFailure(
                "name the project that is meant, as \(reference.provider.rawValue):PROJECT, or "
                    + "the id of the deploy")
        }
        reference.place = .existing(id: id, branch: nil)
        return .provider(reference)
    }
}

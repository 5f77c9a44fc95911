import ArgumentParser
import CloudProviders
import Deploy

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
            case .provider(let reference): "\(reference)"
            }
        }
    }
}

/// Why the agent cannot use the database it was pointed at. For its owner, who may read all of it;
/// no password is in it.
public enum DatabaseSettingsError: Error, Hashable, Sendable, CustomStringConvertible {
    /// libpq could not connect. `message` is its own; `advice` is what to do, where we know.
    case cannotConnect(message: String, advice: String?)
    /// Connected, but a question failed with Postgres's own `message`.
    case queryFailed(message: String)
    /// A setting that libpq has and the agent cannot honour, so that it refuses rather than ignore.
    case unsupported(key: String, advice: String)
    /// A setting whose value cannot be used.
    case invalid(key: String, problem: String)
    /// A read-only share is not possible here; `reason` says why and what to do.
    case notReadOnly(reason: String)

    /// Sentences for a person.
    public var description: String {
        switch self {
        case .cannotConnect(let message, nil), .queryFailed(let message): message
        case .cannotConnect(let message, let advice?): "\(message)\n\(advice)"
        case .unsupported(let key, let advice): "\(key) is not supported here: \(advice)"
        case .invalid(let key, let problem): "\(key) cannot be used: \(problem)"
        case .notReadOnly(let reason): "a read-only share is not possible here: \(reason)"
        }
    }
}

/// Why a provider did not give us a database.
public struct ProviderFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// One sentence for a person: what the provider said, without tokens and passwords.
    public var message: String
    /// What a person can do about it, or nil.
    public var advice: String?

    /// Creates a failure.
    public init(_ message: String, advice: String? = nil) {
        self.message = message
        self.advice = advice
    }

    /// Sentence and advice.
    public var description: String {
        [self.message, self.advice].compactMap { $0 }.joined(separator: ". ")
    }
}

/// A token or a password. Its description, its debug description and its mirror hide it, so that
/// no log line, error or `dump` can show it by accident.
public struct ProviderSecret: Sendable, Hashable {
    /// The secret itself: for a header, a password file or the one line that shows it.
    public let reveal: String

    /// Holds a secret.
    public init(_ text: String) {
        self.reveal = text
    }

    /// A new password: 40 letters and digits, 238 random bits, with nothing that a shell, a URL
    /// or a provider's password rules could mind.
    package static func random() -> ProviderSecret {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
        let characters = (0..<40).compactMap { _ in alphabet.randomElement() }
        return ProviderSecret(String(characters))
    }
}

extension ProviderSecret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Hides the secret.
    public var description: String { "…" }

    /// Hides the secret.
    public var debugDescription: String { "…" }

    /// Hides the secret.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

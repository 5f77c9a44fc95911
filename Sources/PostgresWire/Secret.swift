/// A password: it can be used, not printed.
///
/// ``description``, string interpolation, `dump` and `String(reflecting:)` show `…` only.
public struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    /// The text itself. Ask for it where it is used, and keep no copy.
    public var reveal: String

    /// Wraps a password.
    public init(_ text: String) {
        self.reveal = text
    }

    /// Always `…`.
    public var description: String { "…" }

    /// Always `…`.
    public var debugDescription: String { "…" }

    /// Shows no children.
    public var customMirror: Mirror { Mirror(self, children: [:]) }

    /// Compares in a time that depends on the lengths alone.
    ///
    /// It compares bytes: two spellings of one character are two passwords to Postgres.
    public static func == (left: Self, right: Self) -> Bool {
        constantTimeEqual(Array(left.reveal.utf8), Array(right.reveal.utf8))
    }

    /// Agrees with `==`, so it hashes bytes.
    public func hash(into hasher: inout Hasher) {
        for byte in self.reveal.utf8 {
            hasher.combine(byte)
        }
    }
}

/// Who a share belongs to: the name of the token that made it.
///
/// An owner with a token has that token's name: 1 to 64 characters of `[A-Za-z0-9._-]`, a letter
/// or digit first. On a relay with `--open` an owner is `~` and 32 hex digits of the hash of a
/// token the agent made for itself, so that two strangers are never the same owner.
public struct OwnerID: RawRepresentable, Hashable, Sendable {
    /// The longest token name, in characters.
    public static let maximumLength = 64

    private static let anonymousMark = "~"
    private static let anonymousDigits = 32

    /// The owner's text.
    public let rawValue: String

    /// Reads an owner; nil if it has neither of the two forms.
    public init?(rawValue: String) {
        guard Self.isTokenName(rawValue) || Self.isAnonymous(rawValue) else { return nil }
        self.rawValue = rawValue
    }

    /// The owner with a token of this name; nil if the name has not the form of one.
    public init?(tokenName: String) {
        guard Self.isTokenName(tokenName) else { return nil }
        self.rawValue = tokenName
    }

    /// The owner behind a token that no operator made, for a relay started with `--open`.
    ///
    /// Only who holds that token can be this owner again; the 128 bits kept of its hash do not
    /// lead back to it.
    public init(anonymous hash: TokenHash) {
        self.rawValue = Self.anonymousMark + hash.hex.prefix(Self.anonymousDigits)
    }

    /// Whether no operator vouched for this owner.
    public var isAnonymous: Bool { Self.isAnonymous(self.rawValue) }

    private static func isTokenName(_ text: String) -> Bool {
        let punctuation = Array("._-".utf8)
        guard (1...Self.maximumLength).contains(text.utf8.count),
            let first = text.utf8.first, !punctuation.contains(first)
        else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default:
                punctuation.contains(byte)
            }
        }
    }

    private static func isAnonymous(_ text: String) -> Bool {
        text.hasPrefix(Self.anonymousMark)
            && text.utf8.count == Self.anonymousDigits + 1
            && text.utf8.dropFirst().allSatisfy { Hex.digits.contains($0) }
    }
}

extension OwnerID: Codable, CustomStringConvertible {
    /// The owner's text; it is not secret.
    public var description: String { self.rawValue }
}

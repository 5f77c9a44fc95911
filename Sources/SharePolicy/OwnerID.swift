internal import Crypto

/// Who a share belongs to: the name of the token that made it.
///
/// An owner with a token has that token's name: 1 to 64 characters of `[A-Za-z0-9._-]`, a letter
/// or digit first. On a relay with `--open` an owner is `~` and 32 hex digits of the hash of a
/// token the agent made for itself, so that two strangers are never the same owner. An owner whom
/// an issuer of JSON Web Tokens vouches for is `jwt:` and its subject, or `jwt:~` and the SHA-256
/// of a subject that has other characters or is longer. No text is of two forms.
public struct OwnerID: RawRepresentable, Hashable, Sendable {
    /// The longest token name, in characters.
    public static let maximumLength = 64

    private static let anonymousMark = "~"
    private static let anonymousDigits = 32
    private static let issuedMark = "jwt:"
    private static let hashedMark = "jwt:~"
    private static let hashedDigits = 64

    /// The longest subject of a JSON Web Token that can be an owner, in bytes of UTF-8.
    public static let maximumSubjectBytes = 255

    /// The owner's text.
    public let rawValue: String

    /// Reads an owner; nil if it has none of the three forms.
    public init?(rawValue: String) {
        guard
            Self.isTokenName(rawValue) || Self.isAnonymous(rawValue) || Self.isIssued(rawValue)
        else { return nil }
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

    /// The owner whom an issuer calls `subject`; nil for an empty one, or one of more than
    /// ``maximumSubjectBytes``.
    public init?(issuedSubject subject: String) {
        guard (1...Self.maximumSubjectBytes).contains(subject.utf8.count) else { return nil }
        if Self.isPlain(subject.utf8) {
            self.rawValue = Self.issuedMark + subject
        } else {
            let hash = Array(SHA256.hash(data: Array(subject.utf8)))
            self.rawValue = Self.hashedMark + Hex.encode(hash)
        }
    }

    /// Whether a token that the operator made stands behind this owner; the store knows it.
    public var hasToken: Bool { Self.isTokenName(self.rawValue) }

    /// Whether no operator vouched for this owner.
    public var isAnonymous: Bool { Self.isAnonymous(self.rawValue) }

    private static let punctuation = Array("._-".utf8)

    private static func isTokenName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !Self.punctuation.contains(first) else { return false }
        return Self.isPlain(text.utf8)
    }

    private static func isPlain(_ text: some Collection<UInt8>) -> Bool {
        (1...Self.maximumLength).contains(text.count)
            && text.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default:
                    Self.punctuation.contains(byte)
                }
            }
    }

    private static func isIssued(_ text: String) -> Bool {
        guard text.utf8.starts(with: Self.issuedMark.utf8) else { return false }
        guard text.utf8.starts(with: Self.hashedMark.utf8) else {
            return Self.isPlain(text.utf8.dropFirst(Self.issuedMark.utf8.count))
        }
        let digits = text.utf8.dropFirst(Self.hashedMark.utf8.count)
        return digits.count == Self.hashedDigits && digits.allSatisfy { Hex.digits.contains($0) }
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

internal import Crypto

/// What an agent shows to be let in: `pgs_` and 256 random bits in base64url.
///
/// Shown to a person once, by `pgshare token create`; the relay keeps only its ``hash``. Its
/// description hides it, and two tokens are compared in constant time.
public struct TunnelToken: Sendable {
    /// What every token starts with, so that secret scanners can find a leaked one.
    public static let prefix = "pgs_"

    /// Random bytes in a token: 256 bits.
    public static let randomBytes = 32

    /// The length of a token's text: the prefix and 43 characters of base64url.
    public static let length = 47

    private static let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8
    )

    /// The token's text. For the `Authorization` header and the one line that shows it.
    public let reveal: String

    /// Reads a token; nil unless it has the form of one. Whether the relay knows it is another
    /// question, answered by its ``hash``.
    public init?(_ text: String) {
        guard text.utf8.count == Self.length, text.hasPrefix(Self.prefix),
            text.utf8.dropFirst(Self.prefix.utf8.count).allSatisfy(Self.alphabet.contains)
        else { return nil }
        self.reveal = text
    }

    private init(unchecked text: String) {
        self.reveal = text
    }

    /// Makes a new token from 256 bits of `generator`, which must be the system's outside of
    /// tests.
    public static func make(using generator: inout some RandomNumberGenerator) -> TunnelToken {
        var text = Array(Self.prefix.utf8)
        var pending: UInt32 = 0
        var pendingBits = 0
        for _ in 0..<Self.randomBytes {
            pending = pending << 8 | UInt32(UInt8.random(in: .min ... .max, using: &generator))
            pendingBits += 8
            while pendingBits >= 6 {
                pendingBits -= 6
                text.append(Self.alphabet[Int(pending >> UInt32(pendingBits) & 0x3F)])
            }
            pending &= 0xFF
        }
        text.append(Self.alphabet[Int(pending << UInt32(6 - pendingBits) & 0x3F)])
        return TunnelToken(unchecked: String(decoding: text, as: UTF8.self))
    }

    /// What the relay may keep of the token: its SHA-256.
    ///
    /// A fast hash is enough: there is no dictionary of 256-bit random numbers.
    public var hash: TokenHash {
        TokenHash(bytes: Array(SHA256.hash(data: Array(self.reveal.utf8))))
    }
}

extension TunnelToken: Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// Compares in a time that does not depend on where two tokens differ.
    public static func == (left: TunnelToken, right: TunnelToken) -> Bool {
        ConstantTime.equal(Array(left.reveal.utf8), Array(right.reveal.utf8))
    }

    /// Feeds the token's bytes to the hasher, which is seeded a process.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.reveal)
    }

    /// Hides the token.
    public var description: String { "…" }

    /// Hides the token.
    public var debugDescription: String { "…" }
}

/// The SHA-256 of a token: what the store keeps and looks up.
public struct TokenHash: Sendable {
    /// The length of a hash, in bytes.
    public static let length = 32

    private let bytes: [UInt8]

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Reads 64 lower-case hex digits; nil if `hex` is anything else.
    public init?(hex: String) {
        guard let bytes = Hex.decode(hex), bytes.count == Self.length else { return nil }
        self.bytes = bytes
    }

    /// The hash as 64 lower-case hex digits.
    public var hex: String { Hex.encode(self.bytes) }
}

extension TokenHash: Hashable {
    /// Compares in a time that does not depend on where two hashes differ.
    public static func == (left: TokenHash, right: TokenHash) -> Bool {
        ConstantTime.equal(left.bytes, right.bytes)
    }
}

extension TokenHash: Codable, CustomStringConvertible {
    /// Reads the hash from its hex digits.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let hash = TokenHash(hex: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "not 64 hex digits")
        }
        self = hash
    }

    /// Writes the hash as hex digits.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(self.hex)
    }

    /// Hides the hash: it identifies a token in a leaked table.
    public var description: String { "…" }
}

enum ConstantTime {
    /// Compares every byte whatever the earlier ones said. Lengths are not secret.
    static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        var difference: UInt8 = 0
        for (one, other) in zip(left, right) { difference |= one ^ other }
        return difference == 0
    }
}

enum Hex {
    static let digits = Array("0123456789abcdef".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        let text = bytes.flatMap { [Self.digits[Int($0 >> 4)], Self.digits[Int($0 & 0xF)]] }
        return String(decoding: text, as: UTF8.self)
    }

    static func decode(_ text: String) -> [UInt8]? {
        let values = text.utf8.map { Self.digits.firstIndex(of: $0) }
        guard values.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: values.count, by: 2) {
            guard let high = values[index], let low = values[index + 1] else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        return bytes
    }
}

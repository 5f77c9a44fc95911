/// What a share is called where machines meet: 16 random characters of `[0-9a-z]`.
///
/// The form is that of database.build's ids and makes a DNS label, so that `ID.DOMAIN` can be a
/// host name. 16 characters of 36 are 82 bits: nobody finds a share by guessing.
public struct ShareID: RawRepresentable, Hashable, Sendable {
    /// The length of every id, in characters.
    public static let length = 16

    private static let alphabet = Array("0123456789abcdefghijklmnopqrstuvwxyz".utf8)

    /// The id's text, lower-case.
    public let rawValue: String

    /// Reads an id; nil unless it is exactly ``length`` characters of `[0-9a-z]`.
    public init?(rawValue: String) {
        guard rawValue.utf8.count == Self.length,
            rawValue.utf8.allSatisfy(Self.alphabet.contains)
        else { return nil }
        self.rawValue = rawValue
    }

    private init(unchecked rawValue: String) {
        self.rawValue = rawValue
    }

    /// Makes a new id from 82 bits of `generator`, which must be the system's outside of tests.
    public static func make(using generator: inout some RandomNumberGenerator) -> ShareID {
        var bytes: [UInt8] = []
        for _ in 0..<Self.length {
            bytes.append(Self.alphabet[Int.random(in: 0..<Self.alphabet.count, using: &generator)])
        }
        return ShareID(unchecked: String(decoding: bytes, as: UTF8.self))
    }
}

extension ShareID: Codable, CustomStringConvertible {
    /// The id itself; ids are not secret.
    public var description: String { self.rawValue }
}

/// A name its owner gave a share: 1 to 40 characters of `[a-z0-9-]`, no hyphen at either end.
///
/// It makes a DNS label like an id does, and is never of an id's form, so that one text can never
/// mean two shares.
public struct ShareName: RawRepresentable, Hashable, Sendable {
    /// The longest name, in characters. A DNS label may have 63; 40 leaves a host name readable.
    public static let maximumLength = 40

    /// The name's text, lower-case.
    public let rawValue: String

    /// Reads a name; nil if its length, a character or a hyphen's place is wrong, or if it has the
    /// form of a ``ShareID``.
    public init?(rawValue: String) {
        let hyphen = UInt8(ascii: "-")
        let bytes = rawValue.utf8
        guard (1...Self.maximumLength).contains(bytes.count),
            bytes.allSatisfy({ Self.isLowerLetterOrDigit($0) || $0 == hyphen }),
            bytes.first != hyphen, bytes.last != hyphen,
            ShareID(rawValue: rawValue) == nil
        else { return nil }
        self.rawValue = rawValue
    }

    private static func isLowerLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: false
        }
    }
}

extension ShareName: Codable, CustomStringConvertible {
    /// The name itself; names are not secret.
    public var description: String { self.rawValue }
}

/// How a client named the share it wants: by id or by name.
public enum ShareKey: Hashable, Sendable {
    /// By its id.
    case id(ShareID)
    /// By the name its owner gave it.
    case name(ShareName)

    /// Reads an id or a name, upper-case letters taken as lower-case as DNS does; nil if the text
    /// has the form of neither.
    public init?(_ text: some StringProtocol) {
        let lower = text.lowercased()
        if let id = ShareID(rawValue: lower) {
            self = .id(id)
        } else if let name = ShareName(rawValue: lower) {
            self = .name(name)
        } else {
            return nil
        }
    }

    /// The id's or the name's text, lower-case.
    public var text: String {
        switch self {
        case .id(let id): id.rawValue
        case .name(let name): name.rawValue
        }
    }
}

extension ShareKey: CustomStringConvertible {
    /// The id's or the name's text.
    public var description: String { self.text }
}

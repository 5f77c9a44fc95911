public import NIOCore

/// A version of the Postgres protocol.
///
/// Source: PostgreSQL documentation, "Protocol Versions".
public struct ProtocolVersion: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The upper half of the version word.
    public var major: UInt16
    /// The lower half of the version word.
    public var minor: UInt16

    /// Creates a version.
    public init(major: UInt16, minor: UInt16) {
        self.major = major
        self.minor = minor
    }

    /// PostgreSQL 7.4 and later.
    public static let v3_0 = ProtocolVersion(major: 3, minor: 0)
    /// PostgreSQL 18 and later: cancel keys of up to 256 bytes.
    public static let v3_2 = ProtocolVersion(major: 3, minor: 2)

    /// The version word of a StartupMessage and of NegotiateProtocolVersion.
    public var word: UInt32 { UInt32(self.major) << 16 | UInt32(self.minor) }

    /// Reads a version word.
    public init(word: UInt32) {
        self.init(major: UInt16(word >> 16), minor: UInt16(word & 0xffff))
    }

    /// For example `3.2`.
    public var description: String { "\(self.major).\(self.minor)" }

    /// Orders by major version, then by minor.
    public static func < (left: Self, right: Self) -> Bool {
        left.word < right.word
    }
}

/// The answer to a client that asked for more than is spoken here, sent once, before
/// authentication.
///
/// Source: PostgreSQL documentation, "NegotiateProtocolVersion", and `SendNegotiateProtocolVersion`
/// in `backend_startup.c`, which sends the whole version word where the documentation says minor.
public struct NegotiateProtocolVersion: Hashable, Sendable {
    /// The newest minor version that both sides know; the major version is 3.
    public var minor: UInt16
    /// Every `_pq_.` name of the client that is not known here, in its order.
    public var unknown: [String]

    /// Creates an answer.
    public init(minor: UInt16, unknown: [String]) {
        self.minor = minor
        self.unknown = unknown
    }

    /// Appends the whole message.
    public func write(into buffer: inout ByteBuffer) {
        buffer.writeMessage(.negotiateProtocolVersion) { body in
            body.writeInteger(ProtocolVersion(major: 3, minor: self.minor).word)
            body.writeInteger(UInt32(self.unknown.count))
            for name in self.unknown {
                body.writeCString(name)
            }
        }
    }
}

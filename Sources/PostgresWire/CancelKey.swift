public import NIOCore

/// What BackendKeyData hands out and CancelRequest brings back.
///
/// Source: PostgreSQL documentation, "BackendKeyData" and "CancelRequest".
public struct CancelKey: Hashable, Sendable, CustomStringConvertible,
    CustomDebugStringConvertible, CustomReflectable
{
    /// Bytes a secret may have.
    ///
    /// Source: PostgreSQL 18, "BackendKeyData": minimum 4, maximum 256.
    public static let secretBytes = 4...256

    /// Bytes of the secrets that are minted for protocol 3.2: `MAX_CANCEL_KEY_LENGTH` in PostgreSQL
    /// 18.
    public static let mintedSecretBytes = 32

    /// A backend's process id, or a number of the relay's own.
    public let processID: Int32
    /// 4 to 256 bytes; exactly 4 under protocol 3.0.
    public let secret: [UInt8]

    /// Creates a key, or nil where the secret has a length that is not in ``secretBytes``.
    public init?(processID: Int32, secret: [UInt8]) {
        guard Self.secretBytes.contains(secret.count) else { return nil }
        self.init(processID: processID, checkedSecret: secret)
    }

    private init(processID: Int32, checkedSecret: [UInt8]) {
        self.processID = processID
        self.secret = checkedSecret
    }

    /// Process 0 with four zero bytes: what an agent sends up in place of the real key.
    public static let zero = CancelKey(processID: 0, checkedSecret: [0, 0, 0, 0])

    /// Makes a key: 4 random bytes for a client of protocol 3.0, which can hold no more, else 32.
    public static func mint(
        processID: Int32,
        version: ProtocolVersion,
        using generator: inout some RandomNumberGenerator
    ) -> CancelKey {
        let count = version >= .v3_2 ? self.mintedSecretBytes : self.secretBytes.lowerBound
        return CancelKey(
            processID: processID,
            checkedSecret: generator.bytes(count)
        )
    }

    /// Appends a whole BackendKeyData.
    public func writeBackendKeyData(into buffer: inout ByteBuffer) {
        buffer.writeMessage(.backendKeyData) { body in
            body.writeInteger(self.processID)
            body.writeBytes(self.secret)
        }
    }

    /// Appends a whole CancelRequest.
    public func writeCancelRequest(into buffer: inout ByteBuffer) {
        buffer.writeLengthPrefixedPacket { body in
            body.writeInteger(StartupPacket.cancelRequestCode)
            body.writeInteger(self.processID)
            body.writeBytes(self.secret)
        }
    }

    /// Reads what follows the code of a CancelRequest, or the body of BackendKeyData, to its end.
    init?(body: ByteBuffer) {
        var body = body
        guard let processID = body.readInteger(as: Int32.self) else { return nil }
        self.init(processID: processID, secret: Array(body.readableBytesView))
    }

    /// Reads the body of a BackendKeyData, or nil where it has none of ``secretBytes``.
    package init?(messageBody: ByteBuffer) {
        self.init(body: messageBody)
    }

    /// The process id, and `…` for the secret.
    public var description: String { "\(self.processID)/…" }

    /// The same as ``description``.
    public var debugDescription: String { self.description }

    /// Shows the process id only.
    public var customMirror: Mirror { Mirror(self, children: ["processID": self.processID]) }

    /// Compares the secrets in a time that depends on their lengths alone.
    public static func == (left: Self, right: Self) -> Bool {
        let isSameSecret = constantTimeEqual(left.secret, right.secret)
        return left.processID == right.processID && isSameSecret
    }

    /// Hashes the process id only: a table must not be a way to time the secret.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.processID)
    }
}

extension RandomNumberGenerator {
    /// `count` random bytes, eight a draw.
    mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let word: UInt64 = self.next()
            withUnsafeBytes(of: word.littleEndian) { drawn in
                bytes.append(contentsOf: drawn.prefix(count - bytes.count))
            }
        }
        return bytes
    }
}

import NIOCore

/// Which end of a WebSocket connection this is.
package enum WebSocketRole: Sendable, Hashable {
    /// The agent: masks what it sends.
    case client
    /// The relay: sends without a mask.
    case server
}

/// What a frame carries. The opcodes of RFC 6455, 5.2; all others are reserved.
enum WebSocketOpcode: UInt8, Hashable {
    case continuation = 0x0
    case text = 0x1
    case binary = 0x2
    case close = 0x8
    case ping = 0x9
    case pong = 0xA

    /// Whether the frame is a message of its own that may stand between fragments.
    var isControl: Bool {
        self.rawValue & 0x8 != 0
    }
}

/// The header in front of each WebSocket payload: 2 to 14 bytes.
///
/// Source: RFC 6455, 5.2 "Base Framing Protocol".
struct WebSocketFrameHeader: Hashable {
    /// The longest payload of one frame that is accepted or written, in bytes.
    ///
    /// The payload is never gathered, so this costs no memory; it catches a peer that has lost
    /// its place. 16 MiB is far above what one flush of a tunnel writes.
    static let maximumPayloadBytes = 16 * 1024 * 1024

    /// The longest payload of a control frame. Source: RFC 6455, 5.5.
    static let maximumControlBytes = 125

    /// The longest header, in bytes: 2, 8 for the length and 4 for the masking key.
    static let maximumBytes = 14

    /// Whether the frame ends its message.
    var isFinal: Bool
    /// What the frame carries.
    var opcode: WebSocketOpcode
    /// The masking key, nil where the payload is not masked.
    var maskKey: UInt32?
    /// Bytes of payload behind the header.
    var payloadBytes: Int

    /// Takes a header off the front of `bytes`.
    ///
    /// - Parameters:
    ///   - bytes: What has arrived; untouched unless a whole header was there.
    ///   - sender: Who wrote it: a client must mask, a server must not.
    ///   - limit: Bytes of the longest payload that is accepted.
    /// - Throws: ``WebSocketViolation`` as soon as the bytes so far cannot become a legal header.
    /// - Returns: nil if the header is not whole yet.
    static func read(
        from bytes: inout ByteBuffer,
        sentBy sender: WebSocketRole,
        maximumPayloadBytes limit: Int = Self.maximumPayloadBytes
    ) throws(WebSocketViolation) -> WebSocketFrameHeader? {
        let start = bytes.readerIndex
        guard let first: UInt8 = bytes.getInteger(at: start) else { return nil }
        let opcode = try Self.opcode(first)
        guard let second: UInt8 = bytes.getInteger(at: start + 1) else { return nil }
        let isMasked = second & 0x80 != 0
        switch sender {
        case .client where !isMasked: throw .unmaskedFrame
        case .server where isMasked: throw .maskedFrame
        case .client, .server: break
        }
        let isFinal = first & 0x80 != 0
        if opcode.isControl {
            guard isFinal else { throw .fragmentedControlFrame }
            guard second & 0x7F <= Self.maximumControlBytes else { throw .controlFrameTooLong }
        }
        guard let length = try Self.length(in: bytes, announcedBy: second & 0x7F, limit)
        else { return nil }
        let maskBytes = isMasked ? 4 : 0
        guard bytes.readableBytes >= length.end + maskBytes else { return nil }
        bytes.moveReaderIndex(forwardBy: length.end)
        let key: UInt32? = isMasked ? bytes.readInteger() : nil
        return WebSocketFrameHeader(
            isFinal: isFinal, opcode: opcode, maskKey: key, payloadBytes: length.payload)
    }

    /// Appends the header to `bytes`.
    func write(into bytes: inout ByteBuffer) {
        let maskBit: UInt8 = self.maskKey == nil ? 0 : 0x80
        bytes.writeInteger(self.opcode.rawValue | (self.isFinal ? 0x80 : 0))
        switch self.payloadBytes {
        case ...125:
            bytes.writeInteger(maskBit | UInt8(self.payloadBytes))
        case ...Int(UInt16.max):
            bytes.writeInteger(maskBit | 126)
            bytes.writeInteger(UInt16(self.payloadBytes))
        default:
            bytes.writeInteger(maskBit | 127)
            bytes.writeInteger(UInt64(self.payloadBytes))
        }
        if let maskKey = self.maskKey {
            bytes.writeInteger(maskKey)
        }
    }

    private static func opcode(_ first: UInt8) throws(WebSocketViolation) -> WebSocketOpcode {
        guard first & 0x70 == 0 else { throw .reservedBits }
        guard let opcode = WebSocketOpcode(rawValue: first & 0x0F) else {
            throw .reservedOpcode(first & 0x0F)
        }
        return opcode
    }

    /// The payload's length and how many header bytes end with it; nil if it is not whole yet.
    private static func length(
        in bytes: ByteBuffer,
        announcedBy short: UInt8,
        _ limit: Int
    ) throws(WebSocketViolation) -> (payload: Int, end: Int)? {
        let start = bytes.readerIndex + 2
        let payload: UInt64
        let end: Int
        switch short {
        case 126:
            guard let long: UInt16 = bytes.getInteger(at: start) else { return nil }
            guard long > 125 else { throw .longLength(UInt64(long)) }
            (payload, end) = (UInt64(long), 4)
        case 127:
            guard let long: UInt64 = bytes.getInteger(at: start) else { return nil }
            guard long > UInt64(UInt16.max) else { throw .longLength(long) }
            (payload, end) = (long, 10)
        default:
            (payload, end) = (UInt64(short), 2)
        }
        guard payload <= UInt64(limit) else { throw .frameTooLong(payload) }
        return (Int(payload), end)
    }
}

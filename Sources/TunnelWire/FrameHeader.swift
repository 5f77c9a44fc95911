package import NIOCore

/// What a frame is. The numbers are on the wire.
///
/// Source: `PROTOCOL.md`, "Frames".
package enum FrameType: UInt8, Sendable, CaseIterable {
    // Link frames: stream 0, neither counted nor replayed.
    /// Agent to relay: the first frame of a new link.
    case hello = 0x01
    /// Relay to agent: the link stands.
    case helloOK = 0x02
    /// Agent to relay: the first frame of a link that was cut.
    case resume = 0x03
    /// Relay to agent: the link goes on.
    case resumeOK = 0x04
    /// How many counted bytes the sender of this frame has taken so far.
    case ack = 0x05
    /// Are you there?
    case ping = 0x06
    /// Yes, with the bytes of the question.
    case pong = 0x07
    /// No new streams here: open a replacement, then let this link end.
    case goAway = 0x08
    /// The link ends for good, and why.
    case error = 0x09

    // Stream frames: counted and replayed.
    /// Relay to agent: a client arrived.
    case open = 0x10
    /// Agent to relay: its backend is there.
    case openOK = 0x11
    /// Bytes of a stream, and with flag FIN its end in this direction.
    case data = 0x12
    /// The absolute offset up to which the peer may send on this stream.
    case window = 0x13
    /// The stream ends at once, in both directions.
    case reset = 0x14

    /// Whether the bytes of such a frame are counted, acknowledged and replayed.
    package var isCounted: Bool { self.rawValue >= Self.open.rawValue }

    /// The shortest and the longest payload, in bytes.
    var payloadLengths: ClosedRange<Int> {
        switch self {
        case .ack, .ping, .pong, .window: 8...8
        case .hello, .helloOK, .resume, .resumeOK, .goAway, .error, .openOK:
            2...FrameHeader.maximumControlPayloadBytes
        case .open: 2...FrameHeader.maximumPayloadBytes
        case .data: 0...FrameHeader.maximumPayloadBytes
        case .reset: 6...(6 + StreamReset.maximumTextBytes)
        }
    }
}

/// The eight bytes in front of every payload, big-endian: type, flags, length, stream id.
package struct FrameHeader: Hashable, Sendable {
    /// Bytes of a header.
    package static let bytes = 8
    /// The longest payload: what 16 bits can say.
    package static let maximumPayloadBytes = 65_535
    /// The longest JSON payload of a control frame other than OPEN, in bytes.
    ///
    /// OPEN carries a startup packet of up to 10,000 bytes, which JSON escapes may blow up
    /// sixfold; everything else is a few hundred bytes.
    package static let maximumControlPayloadBytes = 16_384
    /// Unknown types from here on are link frames of a newer peer: skipped, not counted.
    package static let firstExtensionType: UInt8 = 0x80
    /// DATA only: the sender's direction ends with this frame.
    package static let finFlag: UInt8 = 0x01

    package var type: FrameType
    package var flags: UInt8
    package var length: Int
    package var streamID: UInt32

    package init(type: FrameType, flags: UInt8 = 0, length: Int, streamID: UInt32 = 0) {
        self.type = type
        self.flags = flags
        self.length = length
        self.streamID = streamID
    }

    /// Whether this frame ends its direction of the stream.
    package var isFin: Bool { self.type == .data && self.flags & Self.finFlag != 0 }
}

extension ByteBuffer {
    /// Writes a header. The caller writes `header.length` payload bytes behind it.
    package mutating func writeFrameHeader(_ header: FrameHeader) {
        let word =
            UInt64(header.type.rawValue) << 56 | UInt64(header.flags) << 48
            | UInt64(UInt16(truncatingIfNeeded: header.length)) << 32 | UInt64(header.streamID)
        self.writeInteger(word)
    }

    /// Writes a whole frame whose payload is one 64-bit number: ACK, PING, PONG, WINDOW.
    package mutating func writeFrame(_ type: FrameType, streamID: UInt32 = 0, number: UInt64) {
        self.writeFrameHeader(FrameHeader(type: type, length: 8, streamID: streamID))
        self.writeInteger(number)
    }

    /// Writes a whole frame with the payload given, at most ``FrameHeader/maximumPayloadBytes``.
    package mutating func writeFrame(
        _ type: FrameType, flags: UInt8 = 0, streamID: UInt32 = 0, payload: ByteBuffer
    ) {
        let length = payload.readableBytes
        precondition(type.payloadLengths.contains(length), "a frame of ours is over its limit")
        self.writeFrameHeader(
            FrameHeader(type: type, flags: flags, length: length, streamID: streamID))
        self.writeImmutableBuffer(payload)
    }
}

import NIOCore
import Testing

@testable import TunnelWire

/// The start of every test's clock.
let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

extension ByteBuffer {
    /// A DATA frame.
    static func data(_ text: String, stream: UInt32 = 1, fin: Bool = false) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeFrame(
            .data, flags: fin ? FrameHeader.finFlag : 0, streamID: stream,
            payload: ByteBuffer(string: text))
        return bytes
    }

    /// A frame whose payload is one number.
    static func number(_ type: FrameType, stream: UInt32 = 0, _ number: UInt64) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeFrame(type, streamID: stream, number: number)
        return bytes
    }

    /// A frame with the payload given.
    static func frame(
        _ type: FrameType, stream: UInt32 = 0, _ payload: ByteBuffer
    ) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeFrame(type, streamID: stream, payload: payload)
        return bytes
    }

    /// Eight bytes of header, as a hostile peer would write them.
    static func header(type: UInt8, flags: UInt8 = 0, length: UInt16, stream: UInt32) -> ByteBuffer
    {
        var bytes = ByteBuffer()
        bytes.writeMultipleIntegers(type, flags, length, stream)
        return bytes
    }

    /// The first `count` bytes and the rest.
    func cut(at count: Int) -> (front: ByteBuffer, rest: ByteBuffer) {
        var rest = self
        let front = rest.readSlice(length: count) ?? ByteBuffer()
        return (front, rest)
    }

    /// One after the other.
    static func + (left: ByteBuffer, right: ByteBuffer) -> ByteBuffer {
        var bytes = left
        bytes.writeImmutableBuffer(right)
        return bytes
    }
}

extension Chunk {
    /// Both parts in one buffer.
    var joined: ByteBuffer { self.payload.map { self.head + $0 } ?? self.head }
}

extension LinkMachine {
    /// Everything it wants to write, at once.
    mutating func written() -> ByteBuffer {
        var bytes = ByteBuffer()
        while let chunk = self.nextChunk() { bytes.writeImmutableBuffer(chunk.joined) }
        return bytes
    }

    /// Everything it tells of these bytes.
    mutating func events(
        of bytes: ByteBuffer, now: NIODeadline = start
    ) throws(LinkViolation) -> [Event] {
        var bytes = bytes
        var events: [Event] = []
        while let event = try self.receive(&bytes, now: now) { events.append(event) }
        return events
    }

    /// Opens a stream whose OPEN tells the true window.
    mutating func openSession(now: NIODeadline = start) throws -> StreamHandle {
        let handle = self.open(now: now) {
            Open(window: $0, client: "192.0.2.1", parameters: []).payload
        }
        return try #require(handle)
    }
}

/// The frames of some bytes, as a decoder tells them, DATA put together again.
func frames(of bytes: ByteBuffer) throws(LinkViolation) -> [FrameDecoder.Event] {
    var bytes = bytes
    var decoder = FrameDecoder()
    return try decoder.drain(&bytes).joined()
}

extension FrameDecoder {
    /// Everything it tells of these bytes.
    mutating func drain(_ bytes: inout ByteBuffer) throws(LinkViolation) -> [Event] {
        var events: [Event] = []
        while let event = try self.next(&bytes) { events.append(event) }
        return events
    }
}

extension [FrameDecoder.Event] {
    /// The same with the parts of each DATA frame in one.
    func joined() -> [FrameDecoder.Event] {
        var whole: [FrameDecoder.Event] = []
        for event in self {
            if case .data(let header, let part, let isFirst, let isLast) = event, !isFirst,
                case .data(header, let before, let first, false)? = whole.last
            {
                whole.removeLast()
                whole.append(.data(header, before + part, isFirst: first, isLast: isLast))
            } else {
                whole.append(event)
            }
        }
        return whole
    }
}

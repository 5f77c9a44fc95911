import NIOCore
import Simulation
import Testing

@testable import TunnelWire

struct FrameDecoderTests {
    /// One frame of each kind that a link carries, an extension of a newer peer in the middle.
    static let script: ByteBuffer = {
        let reset = StreamReset(.refused, sqlState: "28000", text: "no")
        let open = Open(window: 65_536, client: "192.0.2.1", parameters: [["user", "ann"]])
        return Hello(agent: "test").frame
            + .frame(.open, stream: 1, open.payload)
            + .data("hello", stream: 1)
            + .header(type: 0x80, length: 3, stream: 0) + ByteBuffer(string: "new")
            + .header(type: 0xFF, length: 0, stream: 0)
            + .number(.window, stream: 1, 262_144)
            + .data("", stream: 1)
            + .number(.ack, 77)
            + .data("bye", stream: 1, fin: true)
            + .data("", stream: 2, fin: true)
            + .frame(.reset, stream: 3, reset.payload)
            + .number(.ping, 5)
    }()

    @Test func `a script of frames is told in order`() throws {
        let told = try frames(of: Self.script)
        let kinds = told.map { event in
            switch event {
            case .control(let header, _): "\(header.type) \(header.streamID)"
            case .data(let header, let bytes, _, _):
                "\(String(buffer: bytes)) \(header.streamID) \(header.isFin)"
            }
        }
        #expect(
            kinds == [
                "hello 0", "open 1", "hello 1 false", "window 1", " 1 false", "ack 0",
                "bye 1 true", " 2 true", "reset 3", "ping 0",
            ])
    }

    @Test(arguments: 0...FrameDecoderTests.script.readableBytes)
    func `a script cut in two means the same as a whole one`(cut: Int) throws {
        let whole = try frames(of: Self.script)
        var (first, rest) = Self.script.cut(at: cut)
        var decoder = FrameDecoder()
        let told = try decoder.drain(&first) + decoder.drain(&rest)
        #expect(told.joined() == whole)
        #expect(decoder.isAtFrameBoundary)
    }

    @Test func `a script that comes byte by byte means the same as a whole one`() throws {
        var rest = Self.script
        var decoder = FrameDecoder()
        var told: [FrameDecoder.Event] = []
        while var byte = rest.readSlice(length: 1) {
            told += try decoder.drain(&byte)
            #expect(byte.readableBytes == 0)
        }
        #expect(try told.joined() == frames(of: Self.script))
    }

    @Test func `DATA is passed on as it comes`() throws {
        var decoder = FrameDecoder()
        var (front, bytes) = ByteBuffer.data("abcdef").cut(at: 10)
        let header = FrameHeader(type: .data, length: 6, streamID: 1)
        #expect(
            try decoder.next(&front)
                == .data(header, ByteBuffer(string: "ab"), isFirst: true, isLast: false))
        #expect(try decoder.next(&front) == nil)
        #expect(
            try decoder.next(&bytes)
                == .data(header, ByteBuffer(string: "cdef"), isFirst: false, isLast: true))
    }

    /// What a link does: counts what was taken, and gets the rest again.
    @Test(arguments: 0...FrameDecoderTests.script.readableBytes)
    func `after a drop at any byte the bytes not taken, sent again, mean the same`(
        cut: Int
    ) throws {
        // Only counted frames are sent again: the script without its link frames.
        let reset = StreamReset(.closed)
        let script: ByteBuffer =
            .data("hello") + .number(.window, stream: 1, 9) + .data("", stream: 1)
            + .data("bye", fin: true) + .frame(.reset, stream: 3, reset.payload)
        guard cut <= script.readableBytes else { return }
        var decoder = FrameDecoder()
        var front = script.cut(at: cut).front
        let before = try decoder.drain(&front)
        decoder.disconnected()
        let taken = before.reduce(0) { $0 + $1.countedBytes }
        #expect(taken <= cut)
        var again = script.cut(at: taken).rest
        let after = try decoder.drain(&again)
        #expect(try (before + after).joined() == frames(of: script))
    }

    @Test func `an extension that was cut is not waited for after a drop`() throws {
        var decoder = FrameDecoder()
        var front = ByteBuffer.header(type: 0x90, length: 500, stream: 0)
        #expect(try decoder.next(&front) == nil)
        decoder.disconnected()
        var bytes = ByteBuffer.number(.ping, 1)
        let header = FrameHeader(type: .ping, length: 8)
        let event = try decoder.next(&bytes)
        #expect(event == .control(header, ByteBuffer(integer: UInt64(1))))
    }

    @Test(arguments: (UInt8(0)...255).filter { FrameType(rawValue: $0) == nil })
    func `an unknown type is a violation unless it is a link extension`(type: UInt8) throws {
        var decoder = FrameDecoder()
        var link = ByteBuffer.header(type: type, length: 0, stream: 0)
        var stream = ByteBuffer.header(type: type, length: 0, stream: 1)
        #expect(throws: LinkViolation.unknownFrameType(type)) { try decoder.next(&stream) }
        decoder = FrameDecoder()
        if type >= FrameHeader.firstExtensionType {
            #expect(try decoder.next(&link) == nil)
        } else {
            #expect(throws: LinkViolation.unknownFrameType(type)) { try decoder.next(&link) }
        }
    }

    /// A length is refused as soon as the header is there: nobody waits for its bytes.
    @Test(arguments: FrameType.allCases)
    func `a length outside the range of its type is refused`(type: FrameType) {
        let stream: UInt32 = type.isCounted ? 1 : 0
        let lengths = type.payloadLengths
        for length in [lengths.lowerBound - 1, lengths.upperBound + 1, 0, 65_535] {
            guard let short = UInt16(exactly: length), !lengths.contains(length) else { continue }
            var decoder = FrameDecoder()
            var bytes = ByteBuffer.header(
                type: type.rawValue, length: short, stream: stream)
            #expect(throws: LinkViolation.badLength(type, length)) { try decoder.next(&bytes) }
        }
        for length in [lengths.lowerBound, lengths.upperBound] {
            var decoder = FrameDecoder()
            var bytes = ByteBuffer.header(
                type: type.rawValue, length: UInt16(length), stream: stream)
            #expect(throws: Never.self) { try decoder.next(&bytes) }
        }
    }

    @Test(arguments: FrameType.allCases)
    func `a link frame with a stream id, or a stream frame without, is refused`(
        type: FrameType
    ) {
        var decoder = FrameDecoder()
        let wrong: UInt32 = type.isCounted ? 0 : .max
        let length = UInt16(type.payloadLengths.lowerBound)
        var bytes = ByteBuffer.header(type: type.rawValue, length: length, stream: wrong)
        #expect(throws: LinkViolation.badStreamID(type, wrong)) { try decoder.next(&bytes) }
    }

    @Test func `flags that this version does not know are passed over`() throws {
        var decoder = FrameDecoder()
        var bytes = ByteBuffer.header(type: 0x12, flags: 0xFE, length: 0, stream: 1)
        guard case .data(let header, _, _, _)? = try decoder.next(&bytes) else {
            Issue.record("no DATA")
            return
        }
        #expect(!header.isFin)
    }

    @Test(arguments: UInt64(0)..<200)
    func `random bytes are frames or a violation, however they are cut`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let bytes = ByteBuffer(
            bytes: (0..<400).map { _ in UInt8.random(in: 0...255, using: &random) })
        let cut = Int.random(in: 0...400, using: &random)
        let whole = Result { () throws(LinkViolation) in try frames(of: bytes) }
        let split = Result { () throws(LinkViolation) -> [FrameDecoder.Event] in
            var decoder = FrameDecoder()
            var rest = bytes
            var front = rest.readSlice(length: cut) ?? ByteBuffer()
            let first = try decoder.drain(&front)
            return try (first + decoder.drain(&rest)).joined()
        }
        #expect(whole == split)
    }
}

extension FrameDecoder.Event {
    /// What a link counts of it.
    fileprivate var countedBytes: Int {
        switch self {
        case .control(let header, let payload):
            header.type.isCounted ? FrameHeader.bytes + payload.readableBytes : 0
        case .data(_, let part, let isFirst, _):
            part.readableBytes + (isFirst ? FrameHeader.bytes : 0)
        }
    }
}

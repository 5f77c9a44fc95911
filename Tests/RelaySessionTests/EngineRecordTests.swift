import NIOCore
import SharedSession
import Testing

struct EngineRecordTests {
    private typealias Event = EngineRecordDecoder.Event

    /// A decoder that was asked for two calls, one hold and nothing else.
    private static func asked() -> EngineRecordDecoder {
        var decoder = EngineRecordDecoder()
        decoder.askedToHold()
        decoder.askedToRun()
        decoder.askedToRun()
        return decoder
    }

    private static func stream() -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeRecordHeader(.held)
        bytes.writeRecord(.reply, ByteBuffer(string: "hello"))
        bytes.writeRecordHeader(.reply)
        bytes.writeBytes([0x55, 0, 0, 0, 3, 1, 2, 3])
        bytes.writeRecordHeader(.done)
        bytes.writeRecord(.fault, ByteBuffer(string: "{}"))
        bytes.writeRecordHeader(.restarted)
        return bytes
    }

    /// Events with neighbouring replies joined: where they are cut has no meaning.
    private static func events(
        _ parts: [ByteBuffer], _ decoder: EngineRecordDecoder
    ) throws -> [Event] {
        var decoder = decoder
        var events: [Event] = []
        for part in parts {
            var part = part
            while let event = try decoder.next(&part) {
                if case .reply(let more) = event, case .reply(var all)? = events.last {
                    all.writeImmutableBuffer(more)
                    events[events.count - 1] = .reply(all)
                } else {
                    events.append(event)
                }
            }
            #expect(part.readableBytes == 0)
        }
        return events
    }

    @Test func `records mean the same wherever they are cut`() throws {
        let whole = Self.stream()
        let expected: [Event] = [
            .held, .reply(ByteBuffer(string: "hello")), .done,
            .fault(ByteBuffer(string: "{}")), .restarted,
        ]
        #expect(try Self.events([whole], Self.asked()) == expected)
        for cut in 1..<whole.readableBytes {
            var rest = whole
            let first = try #require(whole.getSlice(at: whole.readerIndex, length: cut))
            rest.moveReaderIndex(forwardBy: cut)
            #expect(try Self.events([first, rest], Self.asked()) == expected, "cut at \(cut)")
        }
        let single = whole.readableBytesView.map { ByteBuffer(bytes: [$0]) }
        #expect(try Self.events(single, Self.asked()) == expected)
    }

    @Test func `a reply of the largest length comes out before it is whole`() throws {
        var decoder = Self.asked()
        var bytes = ByteBuffer()
        bytes.writeRecordHeader(.reply, length: Int(UInt32.max))
        bytes.writeString("abc")
        #expect(try decoder.next(&bytes) == .reply(ByteBuffer(string: "abc")))
        #expect(try decoder.next(&bytes) == nil)
    }

    @Test(
        arguments: [
            ([0x12, 0, 0, 0, 0], EngineRecordViolation.unasked(.done)),
            ([0x11, 0, 0, 0, 1, 0], .unasked(.reply)),
            ([0x16, 0, 0, 0, 0], .unasked(.held)),
            ([0x12, 0, 0, 0, 1, 0], .badLength(0x12, 1)),
            ([0x13, 0, 1, 0, 1], .badLength(0x13, 65_537)),
            ([0x55, 0xFF, 0xFF, 0xFF, 0xFF], .badLength(0x55, 4_294_967_295)),
            ([0x03, 0, 0, 0, 0], .wrongDirection(.run)),
        ] as [([UInt8], EngineRecordViolation)])
    func `what nobody asked for is a violation`(
        bytes: [UInt8], violation: EngineRecordViolation
    ) {
        var decoder = EngineRecordDecoder()
        var bytes = ByteBuffer(bytes: bytes)
        #expect(throws: violation) { try decoder.next(&bytes) }
    }

    @Test func `a call is over once`() throws {
        var decoder = EngineRecordDecoder()
        decoder.askedToRun()
        var bytes = ByteBuffer()
        bytes.writeRecordHeader(.done)
        bytes.writeRecordHeader(.done)
        #expect(try decoder.next(&bytes) == .done)
        #expect(throws: EngineRecordViolation.unasked(.done)) { try decoder.next(&bytes) }
    }
}

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
            ([0x13, 0, 0, 0, 1, 0x7B], .badLength(0x13, 1)),
            ([0x14, 0, 0, 0, 11], .badLength(0x14, 11)),
            ([0x15, 0, 0, 0, 1, 0], .badLength(0x15, 1)),
            ([0x55, 0xFF, 0xFF, 0xFF, 0xFF], .badLength(0x55, 4_294_967_295)),
            ([0x55, 0, 1, 0, 1], .badLength(0x55, 65_537)),
            ([0x01, 0, 0, 0, 0], .wrongDirection(.hold)),
            ([0x02, 0, 0, 0, 0], .wrongDirection(.data)),
            ([0x03, 0, 0, 0, 0], .wrongDirection(.run)),
            ([0x07, 0, 0, 0, 2, 0x7B, 0x7D], .wrongDirection(.event)),
        ] as [([UInt8], EngineRecordViolation)])
    func `what nobody asked for is a violation`(
        bytes: [UInt8], violation: EngineRecordViolation
    ) {
        var decoder = EngineRecordDecoder()
        var bytes = ByteBuffer(bytes: bytes)
        #expect(throws: violation) { try decoder.next(&bytes) }
    }

    private static func notify(_ body: [UInt8], length: UInt32? = nil) -> ByteBuffer {
        var message = ByteBuffer(bytes: [UInt8(ascii: "A")])
        message.writeInteger(length ?? UInt32(body.count + 4))
        message.writeBytes(body)
        var bytes = ByteBuffer()
        bytes.writeRecord(.notify, message)
        return bytes
    }

    @Test func `the shortest notification has a channel of one letter`() throws {
        var decoder = EngineRecordDecoder()
        var bytes = Self.notify([0, 0, 0, 0, 0x61, 0, 0])
        let message = try #require(bytes.getSlice(at: 5, length: 12))
        #expect(try decoder.next(&bytes) == .notify(message))
    }

    @Test(
        arguments: [
            (body: [0, 0, 0, 0, 0x61, 0, 0], length: 10),  // Its length is not its length.
            (body: [0, 0, 0, 0, 0x61, 0, 0x62], length: nil),  // The payload has no end.
            (body: [0, 0, 0, 0, 0x61, 0x62, 0x63], length: nil),  // Nor has the channel.
            (body: [0, 0, 0, 0, 0x61, 0, 0, 0x41], length: nil),  // Something is behind it.
        ] as [(body: [UInt8], length: UInt32?)])
    func `a NOTIFY that is not one notification is a violation`(
        body: [UInt8], length: UInt32?
    ) {
        var decoder = EngineRecordDecoder()
        var bytes = Self.notify(body, length: length)
        #expect(throws: EngineRecordViolation.badNotification) { try decoder.next(&bytes) }
    }

    @Test func `a notification is a violation where it is another message`() {
        var decoder = EngineRecordDecoder()
        var bytes = Self.notify([0, 0, 0, 0, 0x61, 0, 0])
        bytes.setInteger(UInt8(ascii: "E"), at: 5)
        #expect(throws: EngineRecordViolation.badNotification) { try decoder.next(&bytes) }
    }

    /// What stands behind a HOLD was to run while the engine was kept, and it was not.
    @Test func `where a FAULT answers HOLD the calls behind it are void`() throws {
        var decoder = EngineRecordDecoder()
        decoder.askedToHold()
        decoder.askedToRun()
        decoder.askedToRestart()
        decoder.askedToRun()
        var bytes = ByteBuffer()
        bytes.writeRecord(.fault, ByteBuffer(string: "{}"))
        bytes.writeRecord(.reply, ByteBuffer(string: "hello"))
        bytes.writeRecordHeader(.done)
        bytes.writeRecordHeader(.restarted)
        #expect(
            try Self.events([bytes], decoder)
                == [.fault(ByteBuffer(string: "{}")), .void(5), .restarted])
    }

    @Test func `the calls behind the next HOLD are not void`() throws {
        var decoder = EngineRecordDecoder()
        decoder.askedToHold()
        decoder.askedToRun()
        decoder.askedToHold()
        decoder.askedToRun()
        var bytes = ByteBuffer()
        bytes.writeRecord(.fault, ByteBuffer(string: "{}"))
        bytes.writeRecord(.fault, ByteBuffer(string: "{}"))
        bytes.writeRecordHeader(.held)
        bytes.writeRecord(.reply, ByteBuffer(string: "hello"))
        bytes.writeRecordHeader(.done)
        #expect(
            try Self.events([bytes], decoder)
                == [
                    .fault(ByteBuffer(string: "{}")), .held, .reply(ByteBuffer(string: "hello")),
                    .done,
                ])
    }

    @Test func `a FAULT that answers nothing is passed over`() throws {
        var bytes = ByteBuffer()
        bytes.writeRecord(.fault, ByteBuffer(string: "{}"))
        bytes.writeRecordHeader(.restarted)
        #expect(try Self.events([bytes], EngineRecordDecoder()) == [.restarted])
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

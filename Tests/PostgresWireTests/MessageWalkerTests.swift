import NIOCore
import PostgresWire
import Testing

@Suite struct MessageWalkerTests {
    /// What a walker makes of bytes that arrive in these parts: the stream as it came out, and the
    /// messages that were whole.
    private struct Walk: Equatable {
        var bytes = ByteBuffer()
        var inspected: [MessageType] = []
        var passed: Int64 = 0
        var cutBytes = 0

        init(_ parts: [ByteBuffer], inspecting types: MessageTypes) throws {
            var walker = MessageWalker()
            for part in parts {
                walker.receive(part)
                try self.drain(&walker, types)
            }
            self.passed = walker.passedMessages
            self.cutBytes = walker.cutBytes
        }

        private mutating func drain(_ walker: inout MessageWalker, _ types: MessageTypes) throws {
            while true {
                switch try walker.next(inspecting: types, maximumBytes: 1_000) {
                case .readMore: return
                case .run(let run):
                    #expect(run.readableBytes > 0)
                    self.bytes.writeImmutableBuffer(run)
                case .message(let type, let whole):
                    #expect(walker.cutBytes == 0)
                    #expect(MessageHeader(in: whole)?.totalBytes == whole.readableBytes)
                    self.inspected.append(type)
                    self.bytes.writeImmutableBuffer(whole)
                }
            }
        }
    }

    private static func copyData(_ text: String) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt8(ascii: "d"))
        buffer.writeInteger(UInt32(4 + text.utf8.count))
        buffer.writeString(text)
        return buffer
    }

    private static let vectors: [ByteBuffer] = {
        let messages = [
            Self.copyData("first row"), Self.copyData(""), PostgresMessage.copyDone(),
            PostgresMessage.commandComplete("COPY 2"), Self.copyData("x"),
            PostgresMessage.readyForQuery("T"), PostgresMessage.parameterStatus("a", "b"),
        ]
        var all = ByteBuffer()
        for message in messages { all.writeImmutableBuffer(message) }
        return [all] + messages
    }()

    private static let choices: [MessageTypes] = [
        .all, [], [.copyData], ([.copyData] as MessageTypes).inverted(), [.copyDone],
    ]

    @Test(arguments: Self.vectors, Self.choices)
    func `however the bytes are cut, they come out the same`(
        vector: ByteBuffer, types: MessageTypes
    ) throws {
        let whole = try Walk([vector], inspecting: types)
        #expect(whole.bytes == vector)
        let end = vector.readableBytes
        for first in 0...end {
            for second in [first, (first + end) / 2, end] {
                let parts = [0..<first, first..<second, second..<end].map {
                    ByteBuffer(bytes: Array(vector.readableBytesView)[$0])
                }
                #expect(try Walk(parts, inspecting: types) == whole)
            }
        }
        let single = vector.readableBytesView.map { ByteBuffer(bytes: [$0]) }
        #expect(try Walk(single, inspecting: types) == whole)
    }

    @Test func `what is missing of a cut message is known`() throws {
        var walker = MessageWalker()
        walker.receive(try #require(Self.copyData("0123456789").getSlice(at: 0, length: 8)))
        let step = try walker.next(inspecting: [], maximumBytes: 1_000)
        guard case .run(let run) = step else {
            Issue.record("\(step)")
            return
        }
        #expect(run.readableBytes == 8)
        #expect(walker.cutBytes == 7)
        #expect(walker.isEmpty)
    }

    @Test func `a run shares the bytes that were received`() throws {
        var walker = MessageWalker()
        let received = Self.vectors[0]
        walker.receive(received)
        let step = try walker.next(inspecting: [], maximumBytes: 1_000)
        guard case .run(let run) = step else {
            Issue.record("\(step)")
            return
        }
        let same = run.withUnsafeReadableBytes { left in
            received.withUnsafeReadableBytes { left.baseAddress == $0.baseAddress }
        }
        #expect(same)
    }

    @Test(arguments: [0, 3], [MessageTypes.all, []])
    func `a length that no message has is a violation`(length: UInt32, types: MessageTypes) {
        var bytes = ByteBuffer(bytes: [UInt8(ascii: "d")])
        bytes.writeInteger(length)
        for parts in [[bytes], bytes.readableBytesView.map { ByteBuffer(bytes: [$0]) }] {
            #expect(throws: MessageViolation.badLength(type: "d", Int(length))) {
                try Walk(parts, inspecting: types)
            }
        }
    }

    @Test func `a message that must be whole is refused by its header if it is too long`() throws {
        var bytes = ByteBuffer(bytes: [UInt8(ascii: "Q")])
        bytes.writeInteger(UInt32.max)
        #expect(throws: MessageViolation.tooLong(type: "Q", Int(UInt32.max))) {
            try Walk([bytes], inspecting: .all)
        }
        let passed = try Walk([bytes], inspecting: [])
        #expect(passed.cutBytes == Int(UInt32.max) - 4)
    }

    /// A message keeps the choice that was made at its header.
    @Test func `a message that was begun is finished in the same way`() throws {
        var walker = MessageWalker()
        let row = Self.copyData("0123456789")
        walker.receive(try #require(row.getSlice(at: 0, length: 5)))
        #expect(try walker.next(inspecting: .all, maximumBytes: 1_000) == .readMore)
        walker.receive(try #require(row.getSlice(at: 5, length: 10)))
        let step = try walker.next(inspecting: [], maximumBytes: 1_000)
        #expect(step == .message(.copyData, whole: row))
    }
}

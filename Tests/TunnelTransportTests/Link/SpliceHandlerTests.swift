import NIOCore
import NIOEmbedded
import Testing
import TunnelWire

@testable import TunnelTransport

struct SpliceHandlerTests {
    private struct Bench {
        let channel = EmbeddedChannel()
        let sink = SinkDouble()
        let socket = SocketDouble()
        let splice: SpliceHandler
        let events = Events()

        final class Events { var told: [String] = [] }

        init(side: SpliceHandler.Side) throws {
            self.splice = SpliceHandler(side: side, sink: self.sink)
            // Any handle will do: the sink does not look at it.
            self.splice.handle = StreamHandle.crossing
            self.splice.onEvent = { [events = self.events] event in events.told.append("\(event)") }
            try self.channel.pipeline.syncOperations.addHandlers([self.socket, self.splice])
            try self.channel.connect(to: SocketAddress(unixDomainSocketPath: "/test")).wait()
        }

        func readOut() throws -> String {
            var text = ""
            while let bytes = try self.channel.readOutbound(as: ByteBuffer.self) {
                text += String(buffer: bytes)
            }
            return text
        }
    }

    @Test func `bytes of the socket go to the stream`() throws {
        let bench = try Bench(side: .client)
        try bench.channel.writeInbound(ByteBuffer(string: "select 1"))
        #expect(bench.sink.sent == "select 1")
    }

    @Test func `a full stream stops the reads, and room lets them go on`() throws {
        let bench = try Bench(side: .client)
        bench.sink.mayGoOn = false
        let before = bench.socket.reads
        try bench.channel.writeInbound(ByteBuffer(string: "much"))
        bench.channel.read()
        bench.channel.read()
        #expect(bench.socket.reads == before)
        bench.splice.resumeSource()
        #expect(bench.socket.reads == before + 1)
        bench.channel.read()
        #expect(bench.socket.reads == before + 2)
    }

    @Test func `room without a read that was held back reads nothing`() throws {
        let bench = try Bench(side: .client)
        bench.sink.mayGoOn = false
        let before = bench.socket.reads
        try bench.channel.writeInbound(ByteBuffer(string: "much"))
        bench.splice.resumeSource()
        #expect(bench.socket.reads == before)
    }

    @Test func `credit comes back when the socket has taken the bytes, not before`() throws {
        let bench = try Bench(side: .client)
        let size = SpliceHandler.promiseEveryBytes
        bench.splice.deliver(ByteBuffer(repeating: 65, count: size - 1))
        bench.splice.flush()
        #expect(bench.sink.consumedBytes == 0)
        bench.splice.deliver(ByteBuffer(repeating: 65, count: 1))
        #expect(bench.sink.consumedBytes == 0)
        bench.splice.flush()
        #expect(bench.sink.consumedBytes == size)
        #expect(try bench.readOut().utf8.count == size)
    }

    @Test(arguments: [SpliceHandler.Side.client, .backend])
    func `the socket's end becomes FIN, once`(side: SpliceHandler.Side) throws {
        let bench = try Bench(side: side)
        bench.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        bench.channel.pipeline.fireChannelInactive()
        #expect(bench.sink.told == ["finish"])
        #expect(bench.events.told == ["closed"])
    }

    @Test func `FIN closes a client and half-closes a backend`() throws {
        let client = try Bench(side: .client)
        client.splice.deliver(ByteBuffer(string: "last row"))
        client.splice.deliverEnd()
        #expect(try client.readOut() == "last row")
        #expect(client.socket.closes == [.all])
        let backend = try Bench(side: .backend)
        backend.splice.deliver(ByteBuffer(string: "terminate"))
        backend.splice.deliverEnd()
        #expect(try backend.readOut() == "terminate")
        #expect(backend.socket.closes == [.output])
    }

    /// Closing drops what still waits in the socket: the end of a large result.
    @Test func `a slow client gets the rest of its result before it is closed`() throws {
        let bench = try Bench(side: .client)
        bench.socket.isStuck = true
        bench.splice.deliver(ByteBuffer(repeating: 65, count: 100_000))
        bench.splice.deliverEnd()
        #expect(bench.socket.closes == [])
        bench.socket.release()
        #expect(bench.socket.closes == [.all])
    }

    @Test func `a client that takes nothing is closed after a while`() throws {
        let bench = try Bench(side: .client)
        bench.socket.isStuck = true
        bench.splice.deliver(ByteBuffer(repeating: 65, count: 100_000))
        bench.splice.deliverEnd()
        bench.channel.embeddedEventLoop.advanceTime(by: SpliceHandler.lingerTimeout)
        #expect(bench.socket.closes == [.all])
    }

    @Test func `a client that half-closed still gets its answer`() throws {
        let bench = try Bench(side: .client)
        bench.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        bench.splice.deliver(ByteBuffer(string: "answer"))
        bench.splice.flush()
        #expect(try bench.readOut() == "answer")
        #expect(bench.socket.closes == [])
        bench.splice.deliverEnd()
        #expect(bench.socket.closes == [.all])
        bench.channel.embeddedEventLoop.advanceTime(by: SpliceHandler.lingerTimeout)
        #expect(bench.sink.told == ["finish"])
    }

    @Test func `an answer that nobody waits for is cut off after a while`() throws {
        let bench = try Bench(side: .client)
        bench.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        bench.channel.embeddedEventLoop.advanceTime(by: SpliceHandler.lingerTimeout)
        #expect(bench.sink.told == ["finish", "reset closed"])
    }

    @Test func `a client that is gone takes a little, then its stream is reset`() throws {
        let bench = try Bench(side: .client)
        bench.channel.pipeline.fireChannelInactive()
        for _ in 0..<4 { bench.splice.deliver(ByteBuffer(repeating: 65, count: 64 * 1024)) }
        #expect(bench.sink.consumedBytes == 256 * 1024)
        #expect(bench.sink.told == ["finish"])
        bench.splice.deliver(ByteBuffer(repeating: 65, count: 1))
        #expect(bench.sink.told == ["finish", "reset closed"])
        bench.splice.deliver(ByteBuffer(repeating: 65, count: 1))
        #expect(bench.sink.told == ["finish", "reset closed"])
    }

    @Test func `RESET tells its reason, then closes`() throws {
        let bench = try Bench(side: .client)
        let splice = bench.splice
        splice.onEvent = { event in
            if case .reset(let reset) = event { splice.writeLast(ByteBuffer(string: reset.text)) }
        }
        bench.splice.deliverReset(StreamReset(.ended, sqlState: "57P01", text: "it has ended"))
        #expect(try bench.readOut() == "it has ended")
        #expect(bench.socket.closes == [.all])
        #expect(bench.sink.told == [])
    }

    @Test func `a stage sees the bytes until it has seen enough`() throws {
        let bench = try Bench(side: .client)
        bench.splice.deliveryStage = { bytes in
            let text = String(buffer: bytes)
            let upper = ByteBuffer(string: text.uppercased())
            return text == "end" ? .last(upper) : .pass(upper)
        }
        for text in ["one", "end", "two"] { bench.splice.deliver(ByteBuffer(string: text)) }
        bench.splice.flush()
        #expect(try bench.readOut() == "ONEENDtwo")
    }

    @Test func `nothing follows what a stage that ended the connection said last`() throws {
        let bench = try Bench(side: .client)
        bench.splice.deliveryStage = { [splice = bench.splice] _ in
            splice.writeLast(ByteBuffer(string: "no"))
            return .ended
        }
        for text in ["one", "two"] { bench.splice.deliver(ByteBuffer(string: text)) }
        bench.splice.flush()
        #expect(try bench.readOut().replacing("no", with: "") == "")
    }

    @Test func `an inbound stage keeps the backend's key from the stream`() throws {
        let bench = try Bench(side: .backend)
        bench.splice.inboundStage = { bytes in
            String(buffer: bytes) == "key" ? .pass(ByteBuffer()) : .last(bytes)
        }
        for text in ["key", "ready", "key"] {
            try bench.channel.writeInbound(ByteBuffer(string: text))
        }
        #expect(bench.sink.sent == "readykey")
    }

    @Test(
        arguments: [
            ([[0x5A, 0, 0, 0, 5, 0x49]], true),
            ([[0x44, 0, 0, 0, 7, 1, 2, 3], [0x5A, 0, 0, 0, 5, 0x54]], true),
            ([[0x5A, 0], [0, 0], [5], [0x45]], true),
            ([], true),
            ([[0x5A, 0, 0, 0, 5]], false),
            ([[0x44, 0, 0, 0, 7, 1, 2, 3]], false),
            ([[0x5A, 0, 0, 0, 5, 0x49, 0x44]], false),
        ] as [([[UInt8]], Bool)])
    func `a message of the relay's own may follow ReadyForQuery and nothing else`(
        pieces: [[UInt8]], isBetween: Bool
    ) throws {
        let bench = try Bench(side: .client)
        for piece in pieces { bench.splice.deliver(ByteBuffer(bytes: piece)) }
        #expect(bench.splice.isBetweenMessages == isBetween)
    }

    @Test func `a slow reader is at rest when its socket has taken the answer`() throws {
        let bench = try Bench(side: .client)
        var rests = 0
        bench.splice.onRest = { rests += 1 }
        bench.socket.isStuck = true
        bench.splice.deliver(ByteBuffer(bytes: [0x5A, 0, 0, 0, 5, 0x49]))
        bench.splice.flush()
        #expect(!bench.splice.isAtRest)
        #expect(rests == 0)
        bench.socket.release()
        #expect(bench.splice.isAtRest)
        #expect(rests == 1)
    }
}

import NIOCore
import NIOEmbedded
import Testing
import TunnelWire

@testable import TunnelTransport

/// A far socket on one event loop, its link on another.
struct StreamCrossingTests {
    private struct Bench {
        let linkLoop = EmbeddedEventLoop()
        let farLoop = EmbeddedEventLoop()
        let link: Link
        let connection = ConnectionDouble()
        let channel: EmbeddedChannel
        let socket = SocketDouble()
        let splice: SpliceHandler
        var peer: LinkMachine
        let there: StreamHandle

        init(highWaterBytes: Int = 128 * 1024) throws {
            var limits = LinkLimits()
            limits.queueHighWaterBytes = highWaterBytes
            self.link = Link(role: .relay, limits: limits, eventLoop: self.linkLoop)
            self.link.attach(self.connection)
            self.peer = LinkMachine(role: .agent, limits: limits, now: .now())
            self.channel = EmbeddedChannel(loop: self.farLoop)
            let (sink, port) = StreamCrossing.make(
                link: NIOLoopBound(self.link, eventLoop: self.linkLoop), linkLoop: self.linkLoop,
                from: self.farLoop)
            self.splice = SpliceHandler(side: .client, sink: sink)
            self.splice.handle = StreamCrossing.handle
            port.bind(self.splice)
            port.handle = self.link.open(
                { Open(window: $0, client: nil, parameters: []) }, port: port)
            self.linkLoop.run()
            var bytes = self.connection.take()
            guard case .opened(let there, _)? = try self.peer.receive(&bytes, now: .now()) else {
                throw NotOpened()
            }
            self.there = there
            self.peer.granted(there, windowBytes: 100_000)
            self.peer.accept(there, payload: OpenOK(window: 100_000).payload)
            try self.channel.pipeline.syncOperations.addHandlers([self.socket, self.splice])
            try self.channel.connect(to: SocketAddress(unixDomainSocketPath: "/test")).wait()
        }

        /// Everything that is on its way crosses, both ways, until nothing is.
        mutating func turn() throws -> [LinkMachine.Event] {
            var events: [LinkMachine.Event] = []
            for _ in 0..<4 {
                var spoken = ByteBuffer()
                while let chunk = self.peer.nextChunk() {
                    spoken.writeImmutableBuffer(chunk.head)
                    if let payload = chunk.payload { spoken.writeImmutableBuffer(payload) }
                }
                if spoken.readableBytes > 0 {
                    self.link.receive(spoken, on: self.connection)
                    self.link.readComplete(on: self.connection)
                }
                self.farLoop.run()
                self.linkLoop.run()
                var bytes = self.connection.take()
                while let event = try self.peer.receive(&bytes, now: .now()) {
                    events.append(event)
                }
            }
            return events
        }
    }

    private struct NotOpened: Error {}

    @Test func `bytes cross over both ways, in order`() throws {
        var bench = try Bench()
        try bench.channel.writeInbound(ByteBuffer(string: "select "))
        try bench.channel.writeInbound(ByteBuffer(string: "1"))
        _ = bench.peer.send(bench.there, ByteBuffer(string: "one "))
        _ = bench.peer.send(bench.there, ByteBuffer(string: "row"))
        let events = try bench.turn()
        #expect(
            events == [
                .data(bench.there, ByteBuffer(string: "select ")),
                .data(bench.there, ByteBuffer(string: "1")),
            ])
        var answer = ""
        while let bytes = try bench.channel.readOutbound(as: ByteBuffer.self) {
            answer += String(buffer: bytes)
        }
        #expect(answer == "one row")
    }

    @Test func `credit comes back over the crossing`() throws {
        var bench = try Bench()
        let window = bench.link.machine.limits.initialWindowBytes
        _ = bench.peer.send(bench.there, ByteBuffer(repeating: 65, count: window))
        bench.peer.granted(bench.there, windowBytes: UInt64(window))
        _ = try bench.turn()
        _ = bench.peer.send(bench.there, ByteBuffer(repeating: 66, count: window / 2))
        _ = try bench.turn()
        #expect(bench.peer.queuedBytes(of: bench.there) == 0)
    }

    @Test func `a full stream pauses the far socket, and room lets it go on`() throws {
        var bench = try Bench(highWaterBytes: 1_000)
        bench.connection.isWritable = false
        try bench.channel.writeInbound(ByteBuffer(repeating: 65, count: 2_000))
        _ = try bench.turn()
        let before = bench.socket.reads
        bench.channel.read()
        #expect(bench.socket.reads == before)
        bench.connection.isWritable = true
        bench.link.writabilityChanged(on: bench.connection)
        _ = try bench.turn()
        #expect(bench.socket.reads == before + 1)
    }

    @Test func `the end of the peer arrives behind its bytes`() throws {
        var bench = try Bench()
        _ = bench.peer.send(bench.there, ByteBuffer(string: "last"))
        bench.peer.finish(bench.there)
        _ = try bench.turn()
        #expect(try bench.channel.readOutbound(as: ByteBuffer.self) == ByteBuffer(string: "last"))
        #expect(bench.socket.closes == [.all])
    }

    @Test func `a reset crosses over, and nothing after it`() throws {
        var bench = try Bench()
        bench.peer.reset(bench.there, StreamReset(.refused))
        try bench.channel.writeInbound(ByteBuffer(string: "late"))
        #expect(try bench.turn().isEmpty)
        #expect(bench.socket.closes == [.all])
        #expect(bench.link.machine.streamCount == 0)
    }
}

import NIOCore
import NIOEmbedded
import Testing
import TunnelWire

@testable import TunnelTransport

struct LinkTests {
    /// A link, what is around it, and a bare machine as its peer.
    private struct Bench {
        let loop = EmbeddedEventLoop()
        let link: Link
        let connection = ConnectionDouble()
        let delegate = DelegateDouble()
        var peer: LinkMachine

        init(role: LinkMachine.Role, limits: LinkLimits = LinkLimits()) {
            let other: LinkMachine.Role = role == .relay ? .agent : .relay
            self.link = Link(role: role, limits: limits, eventLoop: self.loop)
            self.peer = LinkMachine(role: other, limits: limits, now: .now())
            self.link.delegate = self.delegate
            self.link.attach(self.connection)
            self.loop.run()
        }

        /// What the peer tells of what the link wrote.
        mutating func peerHears() throws -> [LinkMachine.Event] {
            self.loop.run()
            var bytes = self.connection.take()
            var events: [LinkMachine.Event] = []
            while let event = try self.peer.receive(&bytes, now: .now()) { events.append(event) }
            return events
        }

        /// The link reads everything that the peer has to say.
        mutating func peerSpeaks(completes: Bool = true) {
            var bytes = ByteBuffer()
            while let chunk = self.peer.nextChunk() {
                bytes.writeImmutableBuffer(chunk.head)
                if let payload = chunk.payload { bytes.writeImmutableBuffer(payload) }
            }
            self.link.receive(bytes, on: self.connection)
            if completes { self.link.readComplete(on: self.connection) }
        }

        /// A stream that both ends know, opened by the relay.
        mutating func open(_ port: PortDouble) throws -> (here: StreamHandle, there: StreamHandle) {
            let opened = self.link.open(
                { Open(window: $0, client: nil, parameters: []) }, port: port)
            let here = try #require(opened)
            guard case .opened(let there, _)? = try self.peerHears().last else {
                throw NotOpened()
            }
            let ok = OpenOK(window: 100_000).payload
            self.peer.accept(there, payload: ok)
            self.peer.granted(there, windowBytes: 100_000)
            self.peerSpeaks()
            return (here, there)
        }
    }

    private struct NotOpened: Error {}

    @Test func `bytes go to the port at once and are flushed when the read is over`() throws {
        var bench = Bench(role: .relay)
        let port = PortDouble()
        let (_, there) = try bench.open(port)
        _ = bench.peer.send(there, ByteBuffer(string: "hello"))
        bench.peerSpeaks(completes: false)
        #expect(port.told == ["accepted", "deliver hello"])
        bench.link.readComplete(on: bench.connection)
        #expect(port.told == ["accepted", "deliver hello", "flush"])
        #expect(bench.delegate.told == ["heard"])
    }

    @Test func `what was delivered is flushed even if the connection is lost meanwhile`() throws {
        var bench = Bench(role: .relay)
        let port = PortDouble()
        let (_, there) = try bench.open(port)
        _ = bench.peer.send(there, ByteBuffer(string: "hello"))
        bench.peerSpeaks(completes: false)
        bench.link.connectionLost(bench.connection, reason: .closed)
        #expect(port.told == ["accepted", "deliver hello", "flush"])
        #expect(bench.connection.isDetached)
        #expect(bench.delegate.told == ["heard", "disconnected closed"])
    }

    /// The end of one stream and the start of the next in one read share a slot.
    @Test func `a new stream in the slot of one just ended keeps its port`() throws {
        var bench = Bench(role: .agent)
        let port = PortDouble()
        bench.delegate.port = port
        let open: (Int) -> ByteBuffer = {
            Open(window: $0, client: nil, parameters: []).payload
        }
        let opened = bench.peer.open(now: .now(), payload: open)
        let old = try #require(opened)
        bench.peerSpeaks()
        let here = try #require(bench.delegate.opened.first)
        bench.link.accept(here)
        bench.link.finish(here)
        _ = try bench.peerHears()
        bench.peer.finish(old)
        bench.peerSpeaks(completes: false)
        let next = bench.peer.open(now: .now(), payload: open)
        let new = try #require(next)
        _ = bench.peer.send(new, ByteBuffer(string: "hello"))
        bench.peer.granted(new, windowBytes: 1_000)
        bench.peerSpeaks()
        _ = bench.peer.send(new, ByteBuffer(string: "again"))
        bench.peerSpeaks()
        #expect(bench.delegate.opened.count == 2)
        #expect(bench.delegate.opened.last?.slot == here.slot)
        #expect(
            port.told == ["end", "deliver hello", "flush", "deliver again", "flush"])
    }

    @Test func `every stream is told when the link ends`() throws {
        var bench = Bench(role: .relay)
        let ports = [PortDouble(), PortDouble(), PortDouble()]
        for port in ports { _ = try bench.open(port) }
        bench.link.end(LinkError(code: "stopping", message: "bye", retry: true), reset: .tunnelLost)
        for port in ports { #expect(port.told == ["accepted", "reset tunnelLost"]) }
        #expect(bench.connection.isClosedAfterFlush)
        #expect(bench.delegate.told == ["heard", "ended stopping"])
        #expect(
            bench.link.open({ _ in Open(window: 0, cancel: 1, after: 0) }, port: ports[0]) == nil)
    }

    @Test(arguments: ["{}", "{\"window\":-1}", "{\"window\":999999999999}", "nonsense"])
    func `an OPEN_OK that cannot be believed ends its stream`(text: String) throws {
        var bench = Bench(role: .relay)
        let port = PortDouble()
        _ = bench.link.open({ Open(window: $0, client: nil, parameters: []) }, port: port)
        guard case .opened(let there, _)? = try bench.peerHears().last else {
            Issue.record("no OPEN")
            return
        }
        bench.peer.accept(there, payload: ByteBuffer(string: text))
        bench.peerSpeaks()
        #expect(port.told.count == 1)
        #expect(port.told.first?.hasPrefix("reset") == true)
        #expect(bench.link.machine.streamCount == 0)
        guard case .reset(there, _)? = try bench.peerHears().last else {
            Issue.record("the peer was not told")
            return
        }
    }

    @Test(arguments: ["{}", "{\"kind\":\"session\",\"window\":999999999999}", "nonsense"])
    func `an OPEN that cannot be believed is refused, and nobody hears of it`(
        text: String
    ) throws {
        var bench = Bench(role: .agent)
        let opened = bench.peer.open(now: .now()) { _ in ByteBuffer(string: text) }
        #expect(opened != nil)
        bench.peerSpeaks()
        #expect(bench.delegate.opened.isEmpty)
        guard case .reset? = try bench.peerHears().last else {
            Issue.record("the peer was not told")
            return
        }
    }

    @Test func `a source is paused and resumed as the stream takes its bytes`() throws {
        var limits = LinkLimits()
        limits.queueHighWaterBytes = 1_000
        var bench = Bench(role: .relay, limits: limits)
        let port = PortDouble()
        let (here, _) = try bench.open(port)
        bench.connection.isWritable = false
        #expect(bench.link.send(here, ByteBuffer(repeating: 65, count: 2_000)) == false)
        bench.loop.run()
        #expect(port.told == ["accepted"])
        bench.connection.isWritable = true
        bench.link.writabilityChanged(on: bench.connection)
        #expect(port.told == ["accepted", "resume"])
    }

    @Test func `a connection that is stale says nothing`() throws {
        var bench = Bench(role: .relay)
        let port = PortDouble()
        let (_, there) = try bench.open(port)
        let received = bench.link.replaceConnection()
        #expect(received == bench.link.machine.received)
        _ = bench.peer.send(there, ByteBuffer(string: "late"))
        bench.peerSpeaks()
        bench.link.connectionLost(bench.connection, reason: .closed)
        #expect(port.told == ["accepted"])
        #expect(bench.delegate.told == ["heard", "disconnected replaced"])
    }

    @Test func `a resumed link sends again what the peer has not`() throws {
        var bench = Bench(role: .relay)
        let port = PortDouble()
        let (here, there) = try bench.open(port)
        #expect(bench.link.send(here, ByteBuffer(string: "lost in the wires")) == true)
        bench.loop.run()
        _ = bench.connection.take()
        bench.link.connectionLost(bench.connection, reason: .closed)
        bench.peer.disconnected()
        let next = ConnectionDouble()
        try bench.link.resume(on: next, peerReceived: bench.peer.received)
        try bench.peer.resumed(peerReceived: bench.link.machine.received, now: .now())
        bench.loop.run()
        var bytes = next.take()
        let event = try bench.peer.receive(&bytes, now: .now())
        #expect(event == .data(there, ByteBuffer(string: "lost in the wires")))
    }

    @Test func `a link that is not resumed in time ends with its streams`() throws {
        var bench = Bench(role: .relay)
        let port = PortDouble()
        _ = try bench.open(port)
        bench.link.connectionLost(bench.connection, reason: .closed)
        bench.link.expire(in: .seconds(30))
        bench.loop.advanceTime(by: .seconds(29))
        #expect(port.told == ["accepted"])
        bench.loop.advanceTime(by: .seconds(1))
        #expect(port.told == ["accepted", "reset tunnelLost"])
        #expect(bench.link.isOver)
    }

    @Test func `a violation is answered by an ERROR with its code`() throws {
        let bench = Bench(role: .relay)
        _ = bench.connection.take()
        bench.link.receive(ByteBuffer(repeating: 0, count: 8), on: bench.connection)
        let text = String(buffer: bench.connection.take())
        #expect(text.contains("unknown_frame_type"))
        #expect(bench.delegate.told == ["heard", "ended unknown_frame_type"])
    }

    @Test func `what came is acknowledged within a tenth of a second`() throws {
        var bench = Bench(role: .relay)
        let (_, there) = try bench.open(PortDouble())
        _ = bench.peer.send(there, ByteBuffer(string: "hello"))
        bench.peerSpeaks()
        #expect(bench.peer.unacknowledgedBytes > 0)
        bench.loop.advanceTime(by: .milliseconds(100))
        _ = try bench.peerHears()
        #expect(bench.peer.unacknowledgedBytes == 0)
    }
}

import NIOCore
import Simulation
import Testing

@testable import TunnelWire

/// What a peer can do to one end. Both ends together: `SimulationTests`.
struct LinkMachineTests {
    private func relay(_ change: (inout LinkLimits) -> Void = { _ in }) -> LinkMachine {
        var limits = LinkLimits()
        change(&limits)
        var machine = LinkMachine(role: .relay, limits: limits, now: start)
        _ = machine.written()
        return machine
    }

    private func agent(_ change: (inout LinkLimits) -> Void = { _ in }) -> LinkMachine {
        var limits = LinkLimits()
        change(&limits)
        var machine = LinkMachine(role: .agent, limits: limits, now: start)
        _ = machine.written()
        return machine
    }

    /// A relay with one stream that the agent has accepted, with this credit.
    private func relayWithStream(
        credit: UInt64 = 1_000_000
    ) throws -> (LinkMachine, StreamHandle) {
        var relay = self.relay()
        let handle = try relay.openSession()
        let ok = ByteBuffer.frame(.openOK, stream: handle.id, OpenOK(window: 0).payload)
        #expect(try relay.events(of: ok).count == 1)
        relay.granted(handle, windowBytes: credit)
        _ = relay.written()
        return (relay, handle)
    }

    // MARK: Drops

    /// The header of a DATA frame came, its payload did not: neither is counted.
    @Test func `a drop between the header and the payload of DATA loses nothing`() throws {
        var (relay, handle) = try self.relayWithStream()
        let data = ByteBuffer.data("hello")
        let before = relay.received
        var header = data.cut(at: 8).front
        #expect(try relay.receive(&header, now: start) == nil)
        #expect(relay.received == before)
        relay.disconnected()
        try relay.resumed(peerReceived: 0, now: start)
        #expect(try relay.events(of: data) == [.data(handle, ByteBuffer(string: "hello"))])
    }

    @Test func `bytes of a connection that is gone are not taken`() throws {
        var (relay, _) = try self.relayWithStream()
        relay.disconnected()
        let before = relay.received
        #expect(try relay.events(of: .data("late")) == [])
        #expect(relay.received == before)
    }

    @Test func `GOAWAY is said again after a drop`() throws {
        var relay = self.relay()
        relay.goAway(payload: PayloadExamples.goAway.payload)
        relay.disconnected()
        try relay.resumed(peerReceived: 0, now: start)
        let said = try frames(of: relay.written())
        let header = FrameHeader(
            type: .goAway, length: PayloadExamples.goAway.payload.readableBytes)
        #expect(said.contains(.control(header, PayloadExamples.goAway.payload)))
        #expect(relay.open(now: start) { _ in ByteBuffer() } == nil)
    }

    @Test func `link frames wait until a payload that was cut has gone out`() throws {
        var (relay, handle) = try self.relayWithStream()
        #expect(relay.send(handle, ByteBuffer(string: "hello")) == true)
        let sent = relay.written()
        let openBytes = try #require(relay.offsets(of: handle)).accepted
        #expect(openBytes == 5)
        relay.disconnected()
        let total = UInt64(relay.unacknowledgedBytes)
        try relay.resumed(peerReceived: total - 2, now: start)
        let first = relay.nextChunk()
        #expect(first?.joined == ByteBuffer(string: "lo"))
        #expect(sent.readableBytes > 0)
        let second = relay.nextChunk()
        #expect(try second.map { try frames(of: $0.joined).count } == 1)
    }

    // MARK: Lies

    @Test func `a peer that asks without end is answered once a write`() throws {
        var relay = self.relay()
        for number in UInt64(0)..<10_000 {
            #expect(try relay.events(of: .number(.ping, number)) == [])
        }
        #expect(relay.written() == .number(.pong, 9_999))
    }

    @Test func `a peer that sends and never reads costs one acknowledgement`() throws {
        var (relay, handle) = try self.relayWithStream()
        let bytes = ByteBuffer.data(String(repeating: "x", count: 60_000))
        for _ in 0..<100 {
            _ = try relay.events(of: bytes)
            relay.consumed(handle, bytes: 60_000, now: start)
        }
        let frames = try frames(of: relay.written())
        #expect(frames.count <= 3)
    }

    @Test func `an OPEN of ours that is too long costs no budget`() throws {
        var relay = self.relay()
        let long = ByteBuffer(repeating: 0x20, count: FrameHeader.maximumPayloadBytes + 1)
        for _ in 0..<1_000 { #expect(relay.open(now: start) { _ in long } == nil) }
        let handle = try relay.openSession()
        #expect(relay.window(of: handle) == relay.limits.initialWindowBytes)
        #expect(relay.windowBytesInUse == relay.limits.initialWindowBytes)
    }

    @Test func `a grant beyond the limit ends the stream, and the shell is told`() throws {
        var relay = self.relay()
        let handle = try relay.openSession()
        let told = relay.granted(handle, windowBytes: .max)
        let reset = StreamReset(
            .flowControl, sqlState: "08P01", text: "a window beyond the limit")
        #expect(told == .reset(handle, reset))
        #expect(relay.streamCount == 0)
    }

    @Test func `a stream over its window is reset and the link lives`() throws {
        var relay = self.relay { $0.initialWindowBytes = 32_768 }
        let first = try relay.openSession()
        let second = try relay.openSession()
        for id in [first.id, second.id] {
            let ok = ByteBuffer.frame(.openOK, stream: id, OpenOK(window: 9).payload)
            _ = try relay.events(of: ok)
        }
        let flood = ByteBuffer.data(String(repeating: "x", count: 32_769), stream: first.id)
        guard case .reset(first, let reset)? = try relay.events(of: flood).first else {
            Issue.record("no reset")
            return
        }
        #expect(reset.code == .flowControl)
        #expect(
            try relay.events(of: .data("ok", stream: second.id))
                == [.data(second, ByteBuffer(string: "ok"))])
        #expect(try relay.events(of: .data("late", stream: first.id)) == [])
    }

    @Test func `DATA before OPEN_OK ends the stream`() throws {
        var relay = self.relay()
        let handle = try relay.openSession()
        guard case .reset(handle, let reset)? = try relay.events(of: .data("x")).first else {
            Issue.record("no reset")
            return
        }
        #expect(reset.code == .protocolError)
    }

    @Test func `DATA after FIN ends the stream`() throws {
        var (relay, handle) = try self.relayWithStream()
        #expect(try relay.events(of: .data("", fin: true)) == [.finished(handle)])
        guard case .reset(handle, let reset)? = try relay.events(of: .data("x")).first else {
            Issue.record("no reset")
            return
        }
        #expect(reset.code == .protocolError)
    }

    @Test func `frames for a stream that was never opened are a violation`() throws {
        for frame: ByteBuffer in [
            .data("x", stream: 5), .number(.window, stream: 5, 1),
            .frame(.openOK, stream: 5, OpenOK(window: 1).payload),
            .frame(.reset, stream: 5, StreamReset(.closed).payload),
        ] {
            var relay = self.relay()
            #expect(throws: LinkViolation.streamNeverOpened(5)) { try relay.events(of: frame) }
        }
    }

    @Test func `frames for a stream just ended are passed over`() throws {
        var (relay, handle) = try self.relayWithStream()
        relay.reset(handle, StreamReset(.closed))
        let late: ByteBuffer =
            .data("x") + .number(.window, stream: 1, 1)
            + .frame(.openOK, stream: 1, OpenOK(window: 1).payload)
            + .frame(.reset, stream: 1, StreamReset(.closed).payload)
        #expect(try relay.events(of: late) == [])
    }

    @Test func `an id used before is a violation, a skipped one is not`() throws {
        var agent = self.agent()
        let open = PayloadExamples.session.payload
        #expect(try agent.events(of: .frame(.open, stream: 4, open)).count == 1)
        #expect(throws: LinkViolation.streamIDReused(4)) {
            try agent.events(of: .frame(.open, stream: 4, open))
        }
        #expect(throws: LinkViolation.streamIDReused(3)) {
            try agent.events(of: .frame(.open, stream: 3, open))
        }
    }

    @Test func `more streams than the limit are a violation`() throws {
        var agent = self.agent { $0.maximumStreams = 2 }
        let open = PayloadExamples.session.payload
        _ = try agent.events(of: .frame(.open, stream: 1, open) + .frame(.open, stream: 2, open))
        #expect(throws: LinkViolation.tooManyStreams(limit: 2)) {
            try agent.events(of: .frame(.open, stream: 3, open))
        }
    }

    /// Every stream is refused at once, so that the number at one time stays small.
    @Test func `a relay that opens without end and never reads does not fill an agent`() throws {
        var agent = self.agent { $0.replayBytes = 10_000 }
        let open = ByteBuffer(string: "{}")
        var opened = 0
        #expect(throws: LinkViolation.tooManyStreams(limit: agent.limits.maximumStreams)) {
            for id in UInt32(1)...5_000 {
                for event in try agent.events(of: .frame(.open, stream: id, open)) {
                    guard case .opened(let handle, _) = event else { continue }
                    opened += 1
                    agent.reset(handle, StreamReset(.refused, text: "no"))
                    if opened % 100 == 0 { _ = agent.written() }
                }
            }
        }
        #expect(opened < 2_500)
    }

    @Test func `only an agent takes OPEN, only a relay OPEN_OK, and once`() throws {
        var (relay, handle) = try self.relayWithStream()
        #expect(throws: LinkViolation.unexpected(.open)) {
            try relay.events(of: .frame(.open, stream: 9, PayloadExamples.session.payload))
        }
        let ok = ByteBuffer.frame(.openOK, stream: handle.id, OpenOK(window: 1).payload)
        #expect(throws: LinkViolation.unexpected(.openOK)) { try relay.events(of: ok) }
        var agent = self.agent()
        let open = ByteBuffer.frame(.open, stream: 1, PayloadExamples.session.payload)
        _ = try agent.events(of: open)
        #expect(throws: LinkViolation.unexpected(.openOK)) { try agent.events(of: ok) }
    }

    @Test(arguments: [FrameType.hello, .helloOK, .resume, .resumeOK])
    func `a second handshake is a violation`(type: FrameType) {
        var relay = self.relay()
        #expect(throws: LinkViolation.unexpected(type)) {
            try relay.events(of: .frame(type, ByteBuffer(string: "{}")))
        }
    }

    @Test func `an acknowledgement of what was never sent is a violation`() throws {
        var (relay, _) = try self.relayWithStream()
        let sent = UInt64(relay.unacknowledgedBytes)
        #expect(try relay.events(of: .number(.ack, sent)) == [])
        #expect(throws: LinkViolation.self) { try relay.events(of: .number(.ack, sent + 1)) }
        #expect(throws: LinkViolation.self) { try relay.events(of: .number(.ack, sent - 1)) }
    }

    @Test func `a RESET that cannot be read is a violation`() throws {
        var (relay, _) = try self.relayWithStream()
        let payload = ByteBuffer(string: "xabcdefgh")
        #expect(throws: LinkViolation.badPayload(.reset)) {
            try relay.events(of: .frame(.reset, stream: 1, payload))
        }
    }

    // MARK: Streams

    @Test func `nothing follows FIN, whatever this side still sends`() throws {
        var (relay, handle) = try self.relayWithStream()
        #expect(relay.send(handle, ByteBuffer(string: "last")) == true)
        relay.finish(handle)
        #expect(relay.send(handle, ByteBuffer(string: "later")) == true)
        relay.finish(handle)
        #expect(relay.written() == .data("last", fin: true))
        #expect(relay.send(handle, ByteBuffer(string: "too late")) == true)
        #expect(relay.written().readableBytes == 0)
    }

    @Test func `a FIN without bytes needs no credit`() throws {
        var (relay, handle) = try self.relayWithStream(credit: 0)
        relay.finish(handle)
        #expect(relay.written() == .data("", fin: true))
    }

    @Test func `bytes wait for credit, and the source is told when to stop and go on`() throws {
        var (relay, handle) = try self.relayWithStream(credit: 10)
        let high = relay.limits.queueHighWaterBytes
        #expect(relay.send(handle, ByteBuffer(repeating: 1, count: high)) == false)
        #expect(relay.written().readableBytes == 8 + 10)
        #expect(relay.popResumable() == nil)
        #expect(try relay.events(of: .number(.window, stream: 1, UInt64(high))) == [])
        _ = relay.written()
        #expect(relay.popResumable() == handle)
        #expect(relay.popResumable() == nil)
    }

    @Test func `an old window, replayed, changes nothing`() throws {
        var (relay, handle) = try self.relayWithStream(credit: 100)
        #expect(try relay.events(of: .number(.window, stream: 1, 50)) == [])
        #expect(relay.send(handle, ByteBuffer(repeating: 1, count: 500)) == true)
        #expect(relay.written().readableBytes == 8 + 100)
    }

    @Test func `a stale handle does nothing, even where its slot lives again`() throws {
        var (relay, old) = try self.relayWithStream()
        relay.reset(old, StreamReset(.closed))
        let new = try relay.openSession()
        #expect(new.slot == old.slot)
        _ = relay.written()
        relay.reset(old, StreamReset(.closed))
        relay.finish(old)
        relay.consumed(old, bytes: 9, now: start)
        #expect(relay.send(old, ByteBuffer(string: "x")) == true)
        #expect(relay.written().readableBytes == 0)
        #expect(relay.contains(new))
        #expect(!relay.contains(.crossing))
        relay.reset(new, StreamReset(.closed))
        #expect(!relay.contains(.crossing))
    }

    @Test func `a one-row answer leaves before the rest of a bulk result`() throws {
        var (relay, bulk) = try self.relayWithStream(credit: 4_000_000)
        let small = try relay.openSession()
        relay.granted(small, windowBytes: 1_000)
        _ = relay.written()
        _ = relay.send(bulk, ByteBuffer(repeating: 1, count: 2_000_000))
        _ = relay.nextChunk()
        #expect(relay.send(small, ByteBuffer(string: "one row")) == true)
        var bulkBytes = 0
        while let chunk = relay.nextChunk() {
            if try frames(of: chunk.joined).contains(where: { $0.isData(of: small.id) }) { break }
            bulkBytes += chunk.readableBytes
        }
        // The rest of the turn that was given while nobody else waited, and no more.
        #expect(bulkBytes <= LinkLimits.chunkBytes + 16)
    }

    @Test func `bulk streams take equal turns`() throws {
        var relay = self.relay()
        var sent: [UInt32: Int] = [:]
        for _ in 0..<4 {
            let handle = try relay.openSession()
            relay.granted(handle, windowBytes: 4_000_000)
            _ = relay.send(handle, ByteBuffer(repeating: 1, count: 1_000_000))
        }
        for _ in 0..<50 {
            let next = relay.nextChunk()
            let chunk = try #require(next)
            for case .data(let header, _, _, _) in try frames(of: chunk.joined) {
                sent[header.streamID, default: 0] += header.length
            }
            let most = sent.values.max() ?? 0
            let least = sent.count < 4 ? 0 : sent.values.min() ?? 0
            #expect(most - least <= 2 * LinkLimits.quantumBytes)
        }
    }

    @Test func `after the end nothing is left`() throws {
        var (relay, handle) = try self.relayWithStream()
        #expect(relay.send(handle, ByteBuffer(string: "x")) == true)
        #expect(relay.expire() == [handle])
        #expect(relay.expire() == [])
        #expect(relay.nextChunk() == nil)
        #expect(relay.open(now: start) { _ in ByteBuffer() } == nil)
        #expect(relay.unacknowledgedBytes == 0)
        #expect(relay.windowBytesInUse == 0)
        #expect(try relay.events(of: .data("late")) == [])
    }
}

extension FrameDecoder.Event {
    fileprivate func isData(of id: UInt32) -> Bool {
        if case .data(let header, _, _, _) = self { header.streamID == id } else { false }
    }
}

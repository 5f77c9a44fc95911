import NIOCore

@testable import TunnelWire

/// The first byte chooses: who is attacked, and whether the peer only sends or the application
/// behind the machine acts as well.
func fuzzLink(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    let choice = bytes.choice()
    let role: LinkMachine.Role = choice & 1 == 0 ? .relay : .agent
    if choice & 2 == 0 {
        let pattern = bytes.choice()
        let drop = bytes.wideChoice()
        try checkDecoder(bytes, pattern: pattern)
        try checkResume(bytes, role: role, drop: drop)
    } else {
        var attack = LinkAttack(role: role)
        try attack.run(&bytes)
    }
}

private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

/// Small enough that a few frames reach every limit.
private let smallLimits: LinkLimits = {
    var limits = LinkLimits()
    limits.initialWindowBytes = 4_096
    limits.minimumWindowBytes = 1_024
    limits.maximumWindowBytes = 16_384
    limits.windowBudgetBytes = 32 * 1_024
    limits.replayBytes = 16 * 1_024
    limits.queueHighWaterBytes = 4_096
    limits.maximumStreams = 6
    limits.acknowledgeEveryBytes = 1_024
    return limits
}()

// MARK: Frames

/// However the bytes are cut, the frames are the same, and written again they are the same bytes.
private func checkDecoder(_ bytes: ByteBuffer, pattern: UInt8) throws(Broken) {
    let whole = frames(of: [bytes])
    try check(whole == frames(of: bytes.parts(pattern)), "a cut changed the frames")
    for frame in whole.frames where frame.isWhole {
        var again = ByteBuffer()
        again.writeFrameHeader(frame.header)
        again.writeImmutableBuffer(frame.payload)
        let read = frames(of: [again]).frames
        try check(read == [frame], "a frame is not what it was written as")
    }
}

private struct Frame: Equatable {
    var header: FrameHeader
    var payload: ByteBuffer
    var isWhole: Bool
}

private struct Frames: Equatable {
    var frames: [Frame] = []
    var violation: LinkViolation?
}

private func frames(of parts: [ByteBuffer]) -> Frames {
    var decoder = FrameDecoder()
    var found = Frames()
    do throws(LinkViolation) {
        for part in parts {
            var part = part
            while let event = try decoder.next(&part) {
                switch event {
                case .control(let header, let payload):
                    found.frames.append(Frame(header: header, payload: payload, isWhole: true))
                case .data(let header, let payload, let isFirst, let isLast):
                    if isFirst {
                        let frame = Frame(header: header, payload: payload, isWhole: isLast)
                        found.frames.append(frame)
                    } else {
                        let last = found.frames.count - 1
                        found.frames[last].payload.writeImmutableBuffer(payload)
                        found.frames[last].isWhole = isLast
                    }
                }
            }
        }
    } catch {
        found.violation = error
    }
    return found
}

// MARK: A drop

/// A link that is cut somewhere and resumed tells its application what an uncut one tells.
private func checkResume(
    _ bytes: ByteBuffer, role: LinkMachine.Role, drop: Int
) throws(Broken) {
    // Link frames are not sent again; without them the rest must be the same.
    var counted = ByteBuffer()
    for frame in frames(of: [bytes]).frames where frame.header.type.isCounted && frame.isWhole {
        counted.writeFrameHeader(frame.header)
        counted.writeImmutableBuffer(frame.payload)
    }
    var uncut = Listener(role: role)
    uncut.feed(counted)
    var cut = Listener(role: role)
    let place = counted.readableBytes == 0 ? 0 : drop % counted.readableBytes
    var front = counted
    cut.feed(front.upTo(place))
    if cut.violation == nil {
        try check(cut.machine.received <= UInt64(place), "more was taken than came")
        cut.machine.disconnected()
        try cut.resume()
        var rest = counted
        rest.moveReaderIndex(forwardBy: Int(cut.machine.received))
        cut.feed(rest)
    }
    try check(cut.told == uncut.told, "a drop changed what the application was told")
    try check(cut.violation == uncut.violation, "a drop changed the verdict")
}

/// A machine whose application only listens: it grants nothing back, so that credit cannot depend
/// on how the bytes were cut.
private struct Listener {
    var machine: LinkMachine
    var told: [String: ByteBuffer] = [:]
    var violation: LinkViolation?

    init(role: LinkMachine.Role) {
        self.machine = LinkMachine(role: role, limits: smallLimits, now: start)
        guard role == .relay else { return }
        for _ in 0..<3 { _ = self.machine.open(now: start) { OpenOK(window: $0).payload } }
    }

    mutating func resume() throws(Broken) {
        do throws(LinkViolation) {
            try self.machine.resumed(peerReceived: 0, now: start)
        } catch {
            throw Broken("an honest offset was refused")
        }
    }

    mutating func feed(_ bytes: ByteBuffer) {
        guard self.violation == nil else { return }
        var bytes = bytes
        do throws(LinkViolation) {
            while let event = try self.machine.receive(&bytes, now: start) {
                switch event {
                case .opened(let handle, let payload), .accepted(let handle, let payload):
                    self.tell("\(handle.id) begins", payload)
                case .data(let handle, let part): self.tell("\(handle.id) data", part)
                case .finished(let handle): self.tell("\(handle.id) ends", ByteBuffer(bytes: [1]))
                case .reset(let handle, let reset): self.tell("\(handle.id) reset", reset.payload)
                case .goAway, .failed: break
                }
            }
        } catch {
            self.violation = error
        }
    }

    private mutating func tell(_ what: String, _ bytes: ByteBuffer) {
        self.told[what, default: ByteBuffer()].writeImmutableBuffer(bytes)
    }
}

// MARK: Verbs

/// One end under attack, with an application behind it that does what it may, in any order.
private struct LinkAttack {
    private var machine: LinkMachine
    private var handles: [StreamHandle] = []
    private var unconsumed: [StreamHandle: Int] = [:]
    private var now = start
    private var hasFailed = false

    init(role: LinkMachine.Role) {
        self.machine = LinkMachine(role: role, limits: smallLimits, now: start)
    }

    mutating func run(_ input: inout ByteBuffer) throws(Broken) {
        while input.readableBytes > 0, !self.hasFailed {
            self.step(&input)
            self.tidyUp()
            try self.checkMemory()
        }
        _ = self.machine.expire()
        try check(self.machine.streamCount == 0, "a stream outlives its link")
        try check(self.machine.windowBytesInUse == 0, "a window outlives its link")
        try check(self.machine.nextChunk() == nil, "an ended link writes")
    }

    private mutating func step(_ input: inout ByteBuffer) {
        let verb = input.choice()
        switch verb & 15 {
        case 0...4: self.receive(input.upTo(Int(input.choice())))
        case 5: self.open()
        case 6, 7: self.send(verb, count: input.wideChoice())
        case 8: self.consume(verb)
        case 9: if let handle = self.handle(verb) { self.machine.finish(handle) }
        case 10:
            if let handle = self.handle(verb) { self.machine.reset(handle, StreamReset(.closed)) }
        case 11: self.drop(claimed: input.wideChoice())
        case 12: self.now = self.now + .milliseconds(Int64(input.wideChoice()))
        case 13: if !self.machine.tick(now: self.now) { self.machine.disconnected() }
        case 14: self.machine.goAway(payload: GoAway(reason: "stopping").payload)
        default: for _ in 0...Int(verb >> 4) { _ = self.machine.nextChunk() }
        }
    }

    private func handle(_ verb: UInt8) -> StreamHandle? {
        self.handles.isEmpty ? nil : self.handles[Int(verb >> 4) % self.handles.count]
    }

    private mutating func open() {
        guard self.machine.role == .relay else { return }
        let handle = self.machine.open(now: self.now) { OpenOK(window: $0).payload }
        if let handle { self.handles.append(handle) }
    }

    private mutating func send(_ verb: UInt8, count: Int) {
        guard let handle = self.handle(verb) else { return }
        _ = self.machine.send(handle, ByteBuffer(repeating: verb, count: count))
    }

    private mutating func consume(_ verb: UInt8) {
        guard let handle = self.handle(verb) else { return }
        let count = self.unconsumed.removeValue(forKey: handle) ?? 0
        self.machine.consumed(handle, bytes: count, now: self.now)
    }

    /// A drop, and a peer that claims any offset, true or not.
    private mutating func drop(claimed: Int) {
        self.machine.disconnected()
        do throws(LinkViolation) {
            try self.machine.resumed(peerReceived: UInt64(claimed), now: self.now)
        } catch {
            self.hasFailed = true
        }
    }

    private mutating func receive(_ bytes: ByteBuffer) {
        var bytes = bytes
        do throws(LinkViolation) {
            while let event = try self.machine.receive(&bytes, now: self.now) {
                self.perform(event)
            }
        } catch {
            self.hasFailed = true
        }
    }

    private mutating func perform(_ event: LinkMachine.Event) {
        switch event {
        case .opened(let handle, let payload):
            self.handles.append(handle)
            let window = (try? Open(payload: payload))?.window ?? 1_000
            self.machine.granted(handle, windowBytes: UInt64(max(0, window)))
            self.machine.accept(handle, payload: OpenOK(window: 1_000).payload)
        case .accepted(let handle, let payload):
            let window = (try? OpenOK(payload: payload))?.window ?? 1_000
            self.machine.granted(handle, windowBytes: UInt64(max(0, window)))
        case .data(let handle, let part): self.unconsumed[handle, default: 0] += part.readableBytes
        case .finished, .reset, .goAway, .failed: break
        }
    }

    private mutating func tidyUp() {
        while self.machine.popClosed() != nil {}
        while self.machine.popResumable() != nil {}
        self.handles.removeAll { !self.machine.contains($0) }
        self.unconsumed = self.unconsumed.filter { self.machine.contains($0.key) }
    }

    private func checkMemory() throws(Broken) {
        let machine = self.machine
        let least = machine.streamCount * smallLimits.minimumWindowBytes
        try check(machine.streamCount <= smallLimits.maximumStreams, "too many streams")
        try check(
            machine.windowBytesInUse <= smallLimits.windowBudgetBytes + least,
            "windows are over the budget")
        let chunks = smallLimits.replayBytes + 3 * LinkLimits.chunkBytes
        try check(
            machine.unacknowledgedBytes <= smallLimits.replayBytes + chunks,
            "more is kept for replay than allowed")
        for (handle, count) in self.unconsumed {
            try check(
                count <= machine.window(of: handle), "a stream holds more than its window")
        }
    }
}

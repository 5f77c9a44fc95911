package import NIOCore
package import TunnelWire

/// Which end of the link.
package enum Side: Int, CaseIterable, Sendable {
    case relay = 0
    case agent = 1

    package var other: Side { self == .relay ? .agent : .relay }
}

/// A promise of the protocol was broken.
package struct SimulationFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// What one end knows of a stream it has.
package struct SimulatedStream: Sendable {
    package let handle: StreamHandle
    /// Bytes that came, and that its far socket took.
    package fileprivate(set) var delivered: UInt64 = 0
    package fileprivate(set) var consumed: UInt64 = 0
    /// FIN came.
    package fileprivate(set) var isEnded = false
    package fileprivate(set) var isPaused = false
    package fileprivate(set) var isAccepted = false
}

/// One end of the simulated link: a machine, and a shell that believes nothing.
package struct SimulatedEnd: Sendable {
    package let side: Side
    package var machine: LinkMachine
    package private(set) var streams: [UInt32: SimulatedStream] = [:]
    /// What this end ever gave to a stream; nothing is forgotten.
    package private(set) var sentBytes: [UInt32: UInt64] = [:]
    package private(set) var finished: Set<UInt32> = []
    /// The largest piece that was ever sent, in bytes.
    package private(set) var largestPiece = 0

    init(_ side: Side, limits: LinkLimits, now: NIODeadline) {
        self.side = side
        self.machine = LinkMachine(
            role: side == .relay ? .relay : .agent, limits: limits, now: now)
    }

    /// Opens a stream; nil if the link takes none.
    package mutating func open(now: NIODeadline) -> UInt32? {
        let handle = self.machine.open(now: now) {
            Open(window: $0, client: "192.0.2.1", parameters: [["user", "ann"]]).payload
        }
        guard let handle else { return nil }
        self.streams[handle.id] = SimulatedStream(handle: handle)
        return handle.id
    }

    /// Answers an OPEN that was not answered yet.
    package mutating func accept(_ id: UInt32) {
        guard let stream = self.streams[id], self.side == .agent, !stream.isAccepted else { return }
        self.streams[id]?.isAccepted = true
        let ok = OpenOK(window: self.machine.window(of: stream.handle))
        self.machine.accept(stream.handle, payload: ok.payload)
    }

    /// Whether an honest shell may send on it now.
    package func maySend(_ id: UInt32) -> Bool {
        guard let stream = self.streams[id] else { return false }
        return !stream.isPaused && !self.finished.contains(id)
            && (self.side == .relay || stream.isAccepted)
    }

    /// Sends the next `count` bytes of the stream's pattern.
    package mutating func send(_ id: UInt32, _ count: Int) {
        guard let handle = self.streams[id]?.handle, self.maySend(id) else { return }
        let offset = self.sentBytes[id] ?? 0
        let bytes = Pattern.bytes(self.side, stream: id, offset: offset, count: count)
        self.sentBytes[id] = offset + UInt64(bytes.readableBytes)
        self.largestPiece = max(self.largestPiece, bytes.readableBytes)
        if !self.machine.send(handle, bytes) { self.streams[id]?.isPaused = true }
    }

    package mutating func finish(_ id: UInt32) {
        guard let stream = self.streams[id], self.side == .relay || stream.isAccepted
        else { return }
        self.finished.insert(id)
        self.machine.finish(stream.handle)
    }

    package mutating func reset(_ id: UInt32) {
        guard let handle = self.streams.removeValue(forKey: id)?.handle else { return }
        self.machine.reset(handle, StreamReset(.closed))
    }

    /// The far socket takes up to `count` bytes of what waits for it.
    package mutating func consume(_ id: UInt32, _ count: Int, now: NIODeadline) {
        guard let stream = self.streams[id] else { return }
        let taken = min(count, Int(stream.delivered - stream.consumed))
        guard taken > 0 else { return }
        self.streams[id]?.consumed += UInt64(taken)
        self.machine.consumed(stream.handle, bytes: taken, now: now)
    }

    /// Everything ends at once.
    package mutating func expire() throws(SimulationFailure) {
        let ended = Set(self.machine.expire().map(\.id))
        guard ended == Set(self.streams.keys) else {
            throw SimulationFailure("\(self.side) ended \(ended) and had \(self.streams.keys)")
        }
        self.streams = [:]
    }

    // MARK: What the machine tells

    /// Feeds bytes that came, against what the `peer` has sent.
    mutating func receive(
        _ bytes: ByteBuffer, from peer: SimulatedEnd, now: NIODeadline
    ) throws(SimulationFailure) {
        var bytes = bytes
        do {
            while let event = try self.machine.receive(&bytes, now: now) {
                try self.perform(event, from: peer)
            }
        } catch let violation as LinkViolation {
            throw SimulationFailure("\(self.side) saw a violation: \(violation)")
        } catch let failure as SimulationFailure {
            throw failure
        } catch {
            throw SimulationFailure("\(error)")
        }
        try self.drain()
    }

    private mutating func perform(
        _ event: LinkMachine.Event, from peer: SimulatedEnd
    ) throws {
        switch event {
        case .opened(let handle, let payload):
            guard self.streams[handle.id] == nil else {
                throw SimulationFailure("stream \(handle.id) was opened twice")
            }
            self.streams[handle.id] = SimulatedStream(handle: handle)
            let window = try Open(payload: payload).window
            self.machine.granted(handle, windowBytes: UInt64(window))
        case .accepted(let handle, let payload):
            self.streams[handle.id]?.isAccepted = true
            let window = try OpenOK(payload: payload).window
            self.machine.granted(handle, windowBytes: UInt64(window))
        case .data(let handle, let bytes):
            try self.delivered(handle.id, bytes, from: peer)
        case .finished(let handle):
            try self.ended(handle.id, from: peer)
        case .reset(let handle, let reset):
            guard self.streams.removeValue(forKey: handle.id) != nil, reset.code == .closed else {
                throw SimulationFailure("\(self.side) was told \(reset) of \(handle.id)")
            }
        case .goAway, .failed:
            throw SimulationFailure("\(self.side) was told \(event)")
        }
    }

    private mutating func delivered(
        _ id: UInt32, _ bytes: ByteBuffer, from peer: SimulatedEnd
    ) throws(SimulationFailure) {
        guard let stream = self.streams[id], !stream.isEnded else {
            throw SimulationFailure("\(self.side) got bytes of \(id) after its end")
        }
        let expected = Pattern.bytes(
            peer.side, stream: id, offset: stream.delivered, count: bytes.readableBytes)
        guard bytes == expected else {
            throw SimulationFailure("\(self.side) got wrong bytes of \(id) at \(stream.delivered)")
        }
        let total = stream.delivered + UInt64(bytes.readableBytes)
        guard total <= peer.sentBytes[id] ?? 0 else {
            throw SimulationFailure("\(self.side) got more of \(id) than was sent")
        }
        self.streams[id]?.delivered = total
    }

    private mutating func ended(_ id: UInt32, from peer: SimulatedEnd) throws(SimulationFailure) {
        guard let stream = self.streams[id], !stream.isEnded, peer.finished.contains(id),
            stream.delivered == peer.sentBytes[id] ?? 0
        else { throw SimulationFailure("\(self.side) was told a wrong end of \(id)") }
        self.streams[id]?.isEnded = true
    }

    /// Empties the machine's small lists, as a shell does after every verb.
    mutating func drain() throws(SimulationFailure) {
        while let handle = self.machine.popResumable() {
            self.streams[handle.id]?.isPaused = false
        }
        while let handle = self.machine.popClosed() {
            guard let stream = self.streams.removeValue(forKey: handle.id) else { continue }
            guard stream.isEnded, self.finished.contains(handle.id) else {
                throw SimulationFailure("\(self.side) closed \(handle.id) too early")
            }
        }
    }

    // MARK: Invariants

    /// What must hold after every step.
    func check() throws(SimulationFailure) {
        let limits = self.machine.limits
        let chunk = 2 * LinkLimits.chunkBytes + 64 * 1024
        guard self.machine.unacknowledgedBytes <= limits.replayBytes + chunk else {
            throw SimulationFailure("\(self.side) keeps \(self.machine.unacknowledgedBytes) bytes")
        }
        guard self.machine.streamCount == self.streams.count else {
            throw SimulationFailure("\(self.side) has streams that nobody was told of")
        }
        var windows = 0
        for (id, stream) in self.streams {
            guard let offsets = self.machine.offsets(of: stream.handle) else {
                throw SimulationFailure("\(self.side) lost stream \(id)")
            }
            let window = self.machine.window(of: stream.handle)
            windows += window
            guard stream.delivered - stream.consumed <= UInt64(window) else {
                throw SimulationFailure("\(self.side) holds more of \(id) than its window")
            }
            guard offsets.accepted == self.sentBytes[id] ?? 0 else {
                throw SimulationFailure("\(self.side) lost count of what it sent on \(id)")
            }
            let queue = self.machine.queuedBytes(of: stream.handle)
            guard queue < limits.queueHighWaterBytes + self.largestPiece else {
                throw SimulationFailure("\(self.side) queues \(queue) bytes of \(id)")
            }
        }
        let least = self.streams.count * limits.minimumWindowBytes
        guard windows == self.machine.windowBytesInUse, windows <= limits.windowBudgetBytes + least
        else { throw SimulationFailure("\(self.side) has windows of \(windows) bytes") }
    }
}

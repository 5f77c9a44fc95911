package import NIOCore
package import TunnelWire

/// A relay and an agent on one link in memory, with a clock that only the test moves.
///
/// A connection is two buffers of bytes in flight. Each end learns of its loss by itself; the
/// agent brings the link back with the offsets that RESUME and RESUME_OK would carry.
package struct World: Sendable {
    /// Bytes that wait in a socket before its writer must stop.
    private static let socketBytes = 128 * 1024

    package private(set) var ends: [SimulatedEnd]
    /// Bytes on their way to each end.
    private var inFlight = [ByteBuffer(), ByteBuffer()]
    package private(set) var now: NIODeadline
    /// Whether the bytes of an end still reach the other one.
    private var reaches = [true, true]
    /// Bytes that each end may still get before the connection is cut; nil for any number.
    package var cutAfter: [Int?] = [nil, nil]
    /// Where the connections after the next cut are cut, in bytes that either end gets.
    package var cutAgainAfter: [Int] = []
    /// Bytes that each end has got on all connections.
    package private(set) var passedBytes = [0, 0]
    package private(set) var cuts = 0

    package init(limits: LinkLimits) {
        self.now = .uptimeNanoseconds(1_000_000_000)
        self.ends = [
            SimulatedEnd(.relay, limits: limits, now: self.now),
            SimulatedEnd(.agent, limits: limits, now: self.now),
        ]
    }

    package subscript(_ side: Side) -> SimulatedEnd {
        get { self.ends[side.rawValue] }
        set { self.ends[side.rawValue] = newValue }
    }

    // MARK: What applications do

    @discardableResult
    package mutating func open() throws(SimulationFailure) -> UInt32 {
        guard let id = self.ends[0].open(now: self.now) else {
            throw SimulationFailure("the link takes no stream")
        }
        return id
    }

    /// Opens a stream if the link takes one: its replay buffer may be full of OPEN.
    package mutating func openMaybe() { _ = self.ends[0].open(now: self.now) }

    package mutating func accept(_ id: UInt32) { self.ends[1].accept(id) }

    package mutating func send(_ side: Side, _ id: UInt32, _ count: Int) {
        self.ends[side.rawValue].send(id, count)
    }

    package mutating func finish(_ side: Side, _ id: UInt32) {
        self.ends[side.rawValue].finish(id)
    }

    package mutating func reset(_ side: Side, _ id: UInt32) {
        self.ends[side.rawValue].reset(id)
    }

    package mutating func consume(_ side: Side, _ id: UInt32, _ count: Int) {
        self.ends[side.rawValue].consume(id, count, now: self.now)
    }

    // MARK: What the network and the clock do

    package mutating func advance(_ time: TimeAmount) { self.now = self.now + time }

    /// Writes one chunk of an end, if its socket takes it.
    ///
    /// - Returns: whether there was one.
    @discardableResult
    package mutating func write(_ side: Side) throws(SimulationFailure) -> Bool {
        let far = side.other.rawValue
        guard self.inFlight[far].readableBytes < Self.socketBytes,
            let chunk = self.ends[side.rawValue].machine.nextChunk()
        else { return false }
        if self.reaches[side.rawValue] {
            self.inFlight[far].writeImmutableBuffer(chunk.head)
            if let payload = chunk.payload { self.inFlight[far].writeImmutableBuffer(payload) }
        }
        try self.ends[side.rawValue].drain()
        return true
    }

    /// Up to `count` bytes in flight arrive at an end.
    ///
    /// - Returns: whether there were any.
    @discardableResult
    package mutating func deliver(
        to side: Side, _ count: Int
    ) throws(SimulationFailure) -> Bool {
        let index = side.rawValue
        guard self.ends[index].machine.isConnected else { return false }
        let allowed = min(count, self.cutAfter[index] ?? .max)
        let waiting = self.inFlight[index].readableBytes
        let length = min(allowed, waiting)
        if length > 0, let bytes = self.inFlight[index].readSlice(length: length) {
            self.inFlight[index].discardReadBytes()
            self.passedBytes[index] += length
            if let left = self.cutAfter[index] { self.cutAfter[index] = left - length }
            let peer = self.ends[side.other.rawValue]
            try self.ends[index].receive(bytes, from: peer, now: self.now)
        }
        if self.cutAfter[index] == 0, waiting > length || length > 0 {
            let next = self.cutAgainAfter.isEmpty ? nil : self.cutAgainAfter.removeFirst()
            self.cutAfter[index] = next
            self.cut()
        }
        return length > 0
    }

    package mutating func acknowledge(_ side: Side) {
        self.ends[side.rawValue].machine.acknowledge()
    }

    /// An end learns that its connection is gone. The bytes it sent are still under way.
    package mutating func lose(_ side: Side) {
        self.ends[side.rawValue].machine.disconnected()
        self.inFlight[side.rawValue] = ByteBuffer()
        self.reaches[side.other.rawValue] = false
    }

    /// Both ends lose the connection, and everything in flight with it.
    package mutating func cut() {
        self.cuts += 1
        for side in Side.allCases { self.lose(side) }
    }

    /// The agent dials again; the relay drops what it still had of the old connection.
    ///
    /// - Parameter answerArrives: whether RESUME_OK reaches the agent. If not, the relay believes
    ///   in a connection that the agent never had.
    /// - Throws: ``SimulationFailure`` if the offsets do not fit.
    package mutating func resume(answerArrives: Bool = true) throws(SimulationFailure) {
        for side in Side.allCases { self.lose(side) }
        let agentReceived = self.ends[1].machine.received
        let relayReceived = self.ends[0].machine.received
        do {
            try self.ends[0].machine.resumed(peerReceived: agentReceived, now: self.now)
            guard answerArrives else { return }
            try self.ends[1].machine.resumed(peerReceived: relayReceived, now: self.now)
        } catch {
            throw SimulationFailure("the ends have lost count: \(error)")
        }
        self.reaches = [true, true]
    }

    package var isConnected: Bool { self.ends.allSatisfy { $0.machine.isConnected } }

    package func check() throws(SimulationFailure) {
        for end in self.ends { try end.check() }
    }

    /// One tick of both ends: everything written arrives, the streams chosen consume.
    package mutating func turn(
        consuming isConsumed: (Side, UInt32) -> Bool, time: TimeAmount = .milliseconds(1)
    ) throws(SimulationFailure) {
        for side in Side.allCases {
            while try self.write(side) {}
            try self.deliver(to: side.other, .max)
            for id in self[side.other].streams.keys where isConsumed(side.other, id) {
                self.consume(side.other, id, .max)
            }
            self.acknowledge(side.other)
        }
        self.advance(time)
        try self.check()
    }

    // MARK: The end

    /// Lets everything that can happen happen: reconnects, writes, delivers, consumes.
    package mutating func settle(rounds: Int = 10_000) throws(SimulationFailure) {
        for _ in 0..<rounds {
            if !self.isConnected { try self.resume() }
            var isQuiet = true
            for side in Side.allCases {
                while try self.write(side) { isQuiet = false }
            }
            for side in Side.allCases {
                if try self.deliver(to: side, .max) { isQuiet = false }
                for id in self[side].streams.keys.sorted() {
                    if side == .agent { self.accept(id) }
                    self.consume(side, id, .max)
                }
                self.acknowledge(side)
            }
            self.advance(.milliseconds(1))
            try self.check()
            if isQuiet, self.isConnected { return }
        }
        throw SimulationFailure("it never comes to rest")
    }

    /// Ends every stream and checks that both ends are empty, with nothing lost.
    package mutating func close() throws(SimulationFailure) {
        try self.settle()
        for side in Side.allCases {
            for id in self[side].streams.keys.sorted() { self.finish(side, id) }
        }
        try self.settle()
        for end in self.ends {
            guard end.streams.isEmpty, end.machine.streamCount == 0,
                end.machine.windowBytesInUse == 0, end.machine.unacknowledgedBytes == 0
            else { throw SimulationFailure("\(end.side) is not empty") }
        }
    }
}

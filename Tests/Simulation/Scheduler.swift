import NIOCore
package import TunnelWire

/// Chooses what happens next, by its seed alone.
package struct Scheduler: Sendable {
    package var world: World
    private var random: SeededGenerator
    private let pieceBytes: ClosedRange<Int>
    /// Streams whose far socket takes nothing for now.
    private var stalled: Set<UInt32> = []

    private static let maximumStreams = 12

    package init(seed: UInt64, limits: LinkLimits, pieceBytes: ClosedRange<Int>) {
        self.world = World(limits: limits)
        self.random = SeededGenerator(seed: seed)
        self.pieceBytes = pieceBytes
    }

    /// Does `steps` things, and looks at everything after each.
    package mutating func run(steps: Int) throws(SimulationFailure) {
        for step in 0..<steps {
            do {
                try self.step()
                try self.world.check()
            } catch {
                throw SimulationFailure("step \(step): \(error)")
            }
        }
    }

    private mutating func step() throws(SimulationFailure) {
        let side = Side.allCases.randomElement(using: &self.random) ?? .relay
        let id = self.world[side].streams.keys.sorted().randomElement(using: &self.random)
        switch Int.random(in: 0..<100, using: &self.random) {
        case 0..<30: try self.world.write(side)
        case 30..<60: try self.world.deliver(to: side, self.someBytes())
        case 60..<63: self.openMaybe()
        case 63..<66: if let id { self.world.accept(id) }
        case 66..<78: if let id { self.world.send(side, id, self.pieceSize()) }
        case 78..<90: self.consumeMaybe(side, id)
        case 90: if let id { self.world.finish(side, id) }
        case 91: if let id, Bool.random(using: &self.random) { self.world.reset(side, id) }
        case 92: if let id { self.stalled.formSymmetricDifference([id]) }
        case 93, 94: self.world.acknowledge(side)
        case 95, 96: self.world.advance(.microseconds(.random(in: 0...50_000, using: &self.random)))
        case 97: try self.loseMaybe(side)
        default: try self.resumeMaybe()
        }
    }

    private mutating func openMaybe() {
        if self.world[.relay].streams.count < Self.maximumStreams { self.world.openMaybe() }
    }

    private mutating func consumeMaybe(_ side: Side, _ id: UInt32?) {
        guard let id, !self.stalled.contains(id) else { return }
        self.world.consume(side, id, self.pieceSize() * 2)
    }

    /// One end learns of a drop, or both at once; sometimes a part of what was in flight came.
    private mutating func loseMaybe(_ side: Side) throws(SimulationFailure) {
        try self.world.deliver(to: side, self.someBytes())
        if Bool.random(using: &self.random) {
            self.world.cut()
        } else {
            self.world.lose(side)
        }
    }

    /// The agent dials again, if it knows of a drop or believes in one.
    private mutating func resumeMaybe() throws(SimulationFailure) {
        guard !self.world.isConnected else { return }
        let arrives = Int.random(in: 0..<4, using: &self.random) > 0
        try self.world.resume(answerArrives: arrives)
        // Dropped again in the middle of the replay.
        if Int.random(in: 0..<4, using: &self.random) == 0 {
            for _ in 0..<Int.random(in: 1...4, using: &self.random) {
                try self.world.write(.relay)
                try self.world.write(.agent)
            }
            try self.world.deliver(to: .agent, self.someBytes())
            try self.world.deliver(to: .relay, self.someBytes())
            self.world.cut()
        }
    }

    /// Small, middling and large pieces are equally likely.
    private mutating func pieceSize() -> Int {
        var size = self.pieceBytes.upperBound
        for _ in 0..<Int.random(in: 0...3, using: &self.random) { size /= 12 }
        return max(
            self.pieceBytes.lowerBound, Int.random(in: 0...max(1, size), using: &self.random))
    }

    private mutating func someBytes() -> Int {
        switch Int.random(in: 0..<4, using: &self.random) {
        case 0: .random(in: 1...20, using: &self.random)
        case 1: .random(in: 1...2_000, using: &self.random)
        case 2: .random(in: 1...100_000, using: &self.random)
        default: .max
        }
    }
}

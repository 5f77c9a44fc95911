import NIOCore
import Simulation
import Testing

@testable import TunnelWire

/// Two ends in memory, cut anywhere.
struct SimulationTests {
    /// Windows and buffers so small that everything fills up.
    private static let tight: LinkLimits = {
        var limits = LinkLimits()
        limits.initialWindowBytes = 256
        limits.minimumWindowBytes = 64
        limits.maximumWindowBytes = 2_048
        limits.windowBudgetBytes = 4_096
        limits.replayBytes = 2_048
        limits.queueHighWaterBytes = 512
        limits.acknowledgeEveryBytes = 200
        return limits
    }()

    // MARK: A drop at every byte

    /// A little of everything: two sessions, answers over their windows, both kinds of end.
    private static func script(_ world: inout World) throws {
        let first = try world.open()
        let second = try world.open()
        world.send(.relay, first, 40)
        try world.settle()
        world.send(.agent, first, 700)
        world.send(.agent, second, 30)
        world.send(.relay, second, 300)
        world.finish(.relay, first)
        try world.settle()
        world.reset(.agent, second)
        let third = try world.open()
        world.send(.relay, third, 1)
        world.finish(.agent, first)
        try world.settle()
        world.finish(.relay, third)
        world.finish(.agent, third)
        try world.close()
    }

    private static func bytesOfScript() throws -> [Int] {
        var world = World(limits: Self.tight)
        try Self.script(&world)
        return world.passedBytes
    }

    @Test(arguments: Side.allCases)
    func `a drop at every byte of a script loses nothing`(side: Side) throws {
        let bytes = try Self.bytesOfScript()[side.rawValue]
        #expect(bytes > 600)
        for offset in 0..<bytes {
            var world = World(limits: Self.tight)
            world.cutAfter[side.rawValue] = offset
            #expect(throws: Never.self, "cut after \(offset)") { try Self.script(&world) }
            #expect(world.cuts == 1, "cut after \(offset)")
        }
    }

    /// The second drop falls into the replay of the first, the third into that of the second.
    @Test(arguments: Side.allCases)
    func `drops at every byte of a replay lose nothing`(side: Side) throws {
        let bytes = try Self.bytesOfScript()[side.rawValue]
        for offset in stride(from: 3, to: bytes - 150, by: 41) {
            for later in 0..<60 {
                var world = World(limits: Self.tight)
                world.cutAfter[side.rawValue] = offset
                world.cutAgainAfter = [later, later / 2, 1]
                #expect(throws: Never.self, "cut after \(offset), then \(later)") {
                    try Self.script(&world)
                }
                #expect(world.cuts >= 2)
            }
        }
    }

    // MARK: Random traffic

    @Test(arguments: UInt64(0)..<150)
    func `random traffic on tight limits, cut at random, arrives whole`(seed: UInt64) throws {
        var scheduler = Scheduler(seed: seed, limits: Self.tight, pieceBytes: 1...900)
        try scheduler.run(steps: 1_500)
        try scheduler.world.close()
    }

    @Test(arguments: UInt64(0)..<20)
    func `random bulk traffic, cut at random, arrives whole`(seed: UInt64) throws {
        var scheduler = Scheduler(seed: seed, limits: LinkLimits(), pieceBytes: 1...204_800)
        try scheduler.run(steps: 1_500)
        try scheduler.world.close()
    }

    @Test(arguments: UInt64(0)..<30)
    func `after expiry both ends are empty`(seed: UInt64) throws {
        var scheduler = Scheduler(seed: seed, limits: Self.tight, pieceBytes: 1...900)
        try scheduler.run(steps: 400)
        for side in Side.allCases {
            scheduler.world.lose(side)
            try scheduler.world[side].expire()
            #expect(scheduler.world[side].machine.unacknowledgedBytes == 0)
            #expect(scheduler.world[side].machine.windowBytesInUse == 0)
            #expect(scheduler.world[side].machine.nextChunk() == nil)
        }
    }

    @Test func `a client that does not read stops its own stream and no other`() throws {
        var world = World(limits: LinkLimits())
        let stalled = try world.open()
        let other = try world.open()
        try world.settle()
        var sent = 0
        for _ in 0..<10_000 {
            if world[.agent].maySend(stalled) {
                world.send(.agent, stalled, 60_000)
                sent += 60_000
            }
            try world.turn(consuming: { side, id in side == .agent || id == other })
        }
        let limits = LinkLimits()
        #expect(sent <= limits.initialWindowBytes + limits.queueHighWaterBytes + 60_000)
        for _ in 0..<200 {
            world.send(.relay, other, 100)
            world.send(.agent, other, 50_000)
            try world.turn(consuming: { side, id in side == .agent || id == other })
        }
        #expect(world[.relay].streams[other]?.delivered == 200 * 50_000)
        try world.close()
    }

    @Test func `a fast stream is given a larger window`() throws {
        var world = World(limits: LinkLimits())
        let id = try world.open()
        try world.settle()
        for _ in 0..<400 {
            world.send(.agent, id, 100_000)
            try world.turn(consuming: { _, _ in true }, time: .microseconds(100))
        }
        let stream = try #require(world[.relay].streams[id])
        let limits = LinkLimits()
        #expect(world[.relay].machine.window(of: stream.handle) == limits.maximumWindowBytes)
        try world.close()
    }

    @Test func `a full replay buffer holds the sender back and lets it go on`() throws {
        var limits = LinkLimits()
        limits.replayBytes = 100_000
        var world = World(limits: limits)
        let id = try world.open()
        try world.settle()
        world.send(.relay, id, 200_000)
        while try world.write(.relay) {}
        #expect(world[.relay].machine.unacknowledgedBytes >= 100_000)
        let handle = try #require(world[.relay].streams[id]).handle
        #expect(world[.relay].machine.queuedBytes(of: handle) > 0)
        try world.close()
    }
}

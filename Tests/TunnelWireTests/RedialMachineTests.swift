import NIOCore
import Simulation
import Testing

@testable import TunnelWire

struct RedialMachineTests {
    /// A machine whose turns are all taken in time, and what it asked for.
    private struct Scene {
        var machine: RedialMachine
        var now = start
        var random: SeededGenerator
        /// Attempts under way, and when each began.
        var open: [Int: NIODeadline] = [:]
        var begun: [(id: Int, at: NIODeadline, byName: Bool)] = []

        init(seed: UInt64 = 1) {
            self.machine = RedialMachine(now: start)
            self.random = SeededGenerator(seed: seed)
        }

        mutating func begin(roundTrip: TimeAmount? = .milliseconds(50)) {
            self.machine.begin(roundTrip: roundTrip, now: self.now)
            self.take()
        }

        mutating func take() {
            self.perform(self.machine.turn(now: self.now, using: &self.random))
        }

        mutating func perform(_ actions: [RedialMachine.Action]) {
            for action in actions {
                switch action {
                case .dial(let id, let byName):
                    self.open[id] = self.now
                    self.begun.append((id, self.now, byName))
                case .abandon(let id):
                    #expect(self.open.removeValue(forKey: id) != nil)
                }
            }
        }

        /// Lets time pass, and every turn be taken when it is due.
        mutating func pass(_ time: TimeAmount) {
            let end = self.now + time
            while let next = self.machine.nextTurn(now: self.now), next <= end {
                self.now = max(next, self.now)
                self.take()
            }
            self.now = end
        }

        mutating func fail(_ id: Int, _ failure: RedialMachine.Failure) {
            self.open[id] = nil
            self.machine.failed(id, failure, now: self.now, using: &self.random)
        }
    }

    @Test(arguments: UInt64(0)..<20)
    func `while nothing connects an attempt begins every 50 ms, after 5 s every 100 ms`(
        seed: UInt64
    ) throws {
        var scene = Scene(seed: seed)
        scene.begin()
        #expect(scene.begun.count == 1)
        for _ in 0..<300 {
            scene.pass(.milliseconds(100))
            #expect(scene.open.count <= RedialMachine.maximumAttempts)
        }
        for (earlier, later) in zip(scene.begun, scene.begun.dropFirst()) {
            let gap = later.at - earlier.at
            let isBrisk = earlier.at - start < RedialMachine.briskFor
            let range: ClosedRange<TimeAmount> =
                isBrisk
                ? .milliseconds(37) ... .milliseconds(63)
                : .milliseconds(75) ... .milliseconds(125)
            #expect(range.contains(gap))
        }
        let oldest = try #require(scene.open.values.min())
        #expect(scene.now - oldest <= .seconds(1))
    }

    @Test func `the name is looked up every five seconds only`() {
        var scene = Scene()
        scene.begin()
        scene.pass(.seconds(30))
        let looked = scene.begun.filter(\.byName)
        #expect((4...6).contains(looked.count))
        #expect(looked.first.map { $0.at - start >= RedialMachine.byNameEvery } == true)
    }

    @Test func `the first that connects ends the others, and is given time`() {
        var scene = Scene()
        scene.begin()
        scene.pass(.milliseconds(500))
        let third = scene.begun[2].id
        scene.perform(scene.machine.connected(third, now: scene.now))
        #expect(scene.open.keys.sorted() == [third])
        let count = scene.begun.count
        scene.pass(.milliseconds(900))
        #expect(scene.begun.count == count)
        // Its TLS is overdue: others are tried beside it.
        scene.pass(.milliseconds(300))
        #expect(scene.begun.count > count)
        #expect(scene.open[third] != nil)
    }

    @Test func `beside connections that get no further others are made after 1 and 2 s, up to 3`()
        throws
    {
        var scene = Scene()
        scene.begin()
        var connected: [(id: Int, at: NIODeadline)] = []
        while connected.count < RedialMachine.maximumConnected {
            let youngest = try #require(scene.begun.last)
            scene.perform(scene.machine.connected(youngest.id, now: scene.now))
            connected.append((youngest.id, scene.now))
            #expect(scene.open.keys.sorted() == connected.map(\.id))
            let count = scene.begun.count
            scene.pass(.seconds(1) * (Int64(1) << (connected.count - 1)) - .milliseconds(1))
            #expect(scene.begun.count == count)
            guard connected.count < RedialMachine.maximumConnected else { break }
            scene.pass(.milliseconds(2))
            #expect(scene.begun.count == count + 1)
        }
        // The first has its ten seconds, however overdue all of them are.
        let full = scene.begun.count
        scene.pass(connected[0].at + .milliseconds(9_999) - scene.now)
        #expect(scene.begun.count == full)
        #expect(scene.open[connected[0].id] != nil)
        scene.pass(.milliseconds(2))
        #expect(scene.open[connected[0].id] == nil)
        #expect(scene.begun.count == full + 1)
    }

    @Test func `a relay that answers within ten seconds is heard in the end`() throws {
        var scene = Scene()
        scene.begin()
        var asking: (id: Int, since: NIODeadline)?
        while asking.map({ scene.now - $0.since < .milliseconds(9_500) }) ?? true {
            let youngest = try #require(scene.begun.last)
            if youngest.id != asking?.id {
                scene.perform(scene.machine.connected(youngest.id, now: scene.now))
                scene.perform(scene.machine.asked(youngest.id, now: scene.now))
                asking = (youngest.id, scene.now)
            }
            scene.pass(.milliseconds(100))
            try #require(scene.now - start < .seconds(60))
        }
    }

    @Test func `one that said RESUME is not given up for others that only connect`() throws {
        var scene = Scene()
        scene.begin()
        let first = scene.begun[0].id
        scene.perform(scene.machine.connected(first, now: scene.now))
        scene.perform(scene.machine.asked(first, now: scene.now))
        while scene.now - start < .milliseconds(9_900) {
            scene.pass(.milliseconds(100))
            if let youngest = scene.open.keys.max(), youngest != first {
                scene.perform(scene.machine.connected(youngest, now: scene.now))
            }
            #expect(scene.open[first] != nil)
        }
    }

    @Test(arguments: UInt64(0)..<20)
    func `who accepts and then hangs up is dialled after 100 ms, doubling to a second`(
        seed: UInt64
    ) throws {
        var scene = Scene(seed: seed)
        scene.begin()
        var most = RedialMachine.cutWaits.first
        for _ in 0..<12 {
            let id = try #require(scene.open.keys.max())
            scene.perform(scene.machine.connected(id, now: scene.now))
            let cut = scene.now
            scene.fail(id, .cut)
            let count = scene.begun.count
            scene.pass(.seconds(2))
            let gap = scene.begun[count].at - cut
            #expect(gap <= max(most, .milliseconds(63)))
            #expect(gap >= .nanoseconds(most.nanoseconds / 2))
            most = min(most * 2, RedialMachine.cutWaits.last)
        }
        #expect(most == RedialMachine.cutWaits.last)
    }

    @Test func `one alone says RESUME, and a younger one takes its place only when it is overdue`()
    {
        var scene = Scene()
        scene.begin()
        let first = scene.begun[0].id
        scene.perform(scene.machine.connected(first, now: scene.now))
        scene.perform(scene.machine.asked(first, now: scene.now))
        #expect(scene.machine.isAsking(now: scene.now))
        scene.pass(.milliseconds(990))
        #expect(scene.begun.count == 1)
        scene.pass(.milliseconds(200))
        #expect(!scene.machine.isAsking(now: scene.now))
        let second = scene.begun[scene.begun.count - 1].id
        scene.perform(scene.machine.connected(second, now: scene.now))
        #expect(scene.open[first] != nil)
        scene.perform(scene.machine.asked(second, now: scene.now))
        #expect(scene.open.keys.sorted() == [second])
    }

    @Test func `nobody's silence lasts longer than ten seconds`() {
        var scene = Scene()
        scene.begin(roundTrip: .seconds(5))
        let first = scene.begun[0].id
        scene.perform(scene.machine.asked(first, now: scene.now))
        scene.pass(.milliseconds(9_990))
        #expect(scene.open[first] != nil)
        scene.pass(.milliseconds(20))
        #expect(scene.open[first] == nil)
    }

    @Test func `a way that is not there is tried on at the same pace`() {
        var scene = Scene()
        scene.begin()
        while scene.now - start < .seconds(10) {
            for id in scene.open.keys.sorted() { scene.fail(id, .unreachable) }
            scene.pass(.milliseconds(50))
        }
        #expect((95...170).contains(scene.begun.count))
    }

    @Test(arguments: UInt64(0)..<20)
    func `a relay that refuses is dialled ever less often, up to once a second`(seed: UInt64) {
        var scene = Scene(seed: seed)
        scene.begin()
        var last = scene.now
        for _ in 0..<600 {
            let before = scene.begun.count
            for id in scene.open.keys.sorted() { scene.fail(id, .cut) }
            scene.pass(.milliseconds(50))
            if scene.begun.count > before { last = scene.now }
            #expect(scene.now - last <= .seconds(2))
        }
        // Half a minute: a burst of four, then a dial every half to whole second.
        #expect((30...70).contains(scene.begun.count))
    }

    @Test(arguments: UInt64(0)..<20)
    func `a relay that says no is dialled with the back-off of a HELLO, up to five seconds`(
        seed: UInt64
    ) {
        var scene = Scene(seed: seed)
        scene.begin()
        for _ in 0..<1_200 {
            for id in scene.open.keys.sorted() { scene.fail(id, .turnedAway) }
            scene.pass(.milliseconds(50))
        }
        #expect((8...70).contains(scene.begun.count))
    }

    @Test func `what several attempts meet at once is one refusal`() throws {
        var scene = Scene()
        scene.begin()
        scene.pass(.milliseconds(1_000))
        for id in scene.open.keys.sorted() { scene.fail(id, .cut) }
        let next = try #require(scene.machine.nextTurn(now: scene.now))
        #expect(next - scene.now <= RedialMachine.cutWaits.first)
    }

    @Test func `another way is dialled at once, whatever was said before`() {
        var scene = Scene()
        scene.begin()
        for _ in 0..<10 {
            for id in scene.open.keys.sorted() { scene.fail(id, .turnedAway) }
            scene.pass(.milliseconds(600))
        }
        let count = scene.begun.count
        scene.begin()
        #expect(scene.begun.count == count + 1)
    }

    @Test func `another way is dialled at the pace of a new outage`() {
        var scene = Scene()
        scene.begin()
        scene.pass(.seconds(20))
        let count = scene.begun.count
        scene.begin()
        scene.pass(.seconds(1))
        #expect((15...28).contains(scene.begun.count - count))
    }

    @Test func `a first dial may be told to wait, one more that is wanted at once is not`() {
        var scene = Scene()
        scene.machine.begin(roundTrip: nil, after: .milliseconds(200), now: scene.now)
        scene.take()
        scene.pass(.milliseconds(199))
        #expect(scene.begun.isEmpty)
        scene.begin()
        #expect(scene.begun.count == 1)
        scene.perform(scene.machine.stop())
        scene.machine.begin(roundTrip: nil, after: .milliseconds(200), now: scene.now)
        scene.pass(.milliseconds(199))
        #expect(scene.begun.count == 1)
        scene.pass(.milliseconds(1))
        #expect(scene.begun.count == 2)
    }

    @Test func `stopping gives everything up, and late news changes nothing`() {
        var scene = Scene()
        scene.begin()
        scene.pass(.milliseconds(300))
        let ids = scene.open.keys.sorted()
        scene.perform(scene.machine.stop())
        #expect(scene.open.isEmpty)
        #expect(scene.machine.nextTurn(now: scene.now) == nil)
        for id in ids {
            #expect(scene.machine.connected(id, now: scene.now) == [])
            scene.fail(id, .cut)
        }
        #expect(!scene.machine.isDialling)
        #expect(scene.machine.nextTurn(now: scene.now) == nil)
    }
}

import NIOCore
import Testing

@testable import TunnelWire

struct LinkWatchTests {
    /// A watch, and a peer that it looks at every quarter of a second.
    private struct Scene {
        var watch: LinkWatch
        var now = start
        var sight = LinkWatch.Sight(
            heard: 0, answered: 0, isAwaiting: false, hasStreams: false,
            roundTrip: .milliseconds(20), route: .from("192.0.2.1"), wallClock: 0)

        init(route: LinkWatch.Route = .from("192.0.2.1")) {
            self.watch = LinkWatch(heard: 0, route: route, now: start)
        }

        /// The peer answers.
        mutating func hear() {
            self.sight.heard += 1
            self.sight.answered += 16
        }

        mutating func look() -> LinkWatch.OnLook {
            self.now = self.now + LinkWatch.every
            self.sight.wallClock += LinkWatch.every.nanoseconds
            return self.watch.look(self.sight, now: self.now)
        }

        /// Looks for as long as that, and says what was seen first that is something.
        mutating func look(for time: TimeAmount) -> (LinkWatch.OnLook, after: TimeAmount)? {
            let from = self.now
            while self.now - from < time {
                let seen = self.look()
                if seen != .nothing { return (seen, self.now - from) }
            }
            return nil
        }
    }

    @Test(arguments: [(1, 1_000), (20, 1_000), (249, 1_000), (300, 1_200), (2_000, 8_000)])
    func `an answer is overdue after a second or four round trips`(
        roundTrip: Int64, milliseconds: Int64
    ) throws {
        var scene = Scene()
        scene.sight.roundTrip = .milliseconds(roundTrip)
        scene.sight.isAwaiting = true
        let found = scene.look(for: .seconds(20))
        let seen = try #require(found)
        #expect(seen.0 == .suspect)
        // The first look that sees the question counts as its time.
        #expect(seen.after >= .milliseconds(milliseconds))
        #expect(seen.after <= .milliseconds(milliseconds) + LinkWatch.every * 2)
    }

    @Test func `bytes that come keep a connection out of suspicion, however slow the answer`() {
        var scene = Scene()
        scene.sight.isAwaiting = true
        for _ in 0..<100 {
            scene.sight.heard += 1
            #expect(scene.look() == .nothing)
            #expect(scene.look() == .nothing)
            #expect(scene.look() == .nothing)
        }
    }

    @Test func `a suspicion is told once, and only an answer withdraws it`() throws {
        var scene = Scene()
        scene.sight.isAwaiting = true
        #expect(scene.look(for: .seconds(3)) != nil)
        #expect(scene.look(for: .seconds(30)) == nil)
        scene.sight.heard += 1
        #expect(scene.look() == .nothing)
        scene.hear()
        #expect(scene.look() == .trust)
        #expect(scene.look() == .nothing)
        let found = scene.look(for: .seconds(3))
        let seen = try #require(found)
        #expect(seen.0 == .suspect)
    }

    @Test func `each wrong suspicion doubles the patience up to 8 s, for a minute`() throws {
        var scene = Scene()
        for seconds in [1, 2, 4, 8, 8] as [Int64] {
            scene.sight.isAwaiting = true
            let found = scene.look(for: .seconds(20))
            let seen = try #require(found)
            #expect(seen.0 == .suspect)
            #expect(seen.after >= .seconds(seconds))
            #expect(seen.after <= .seconds(seconds) + LinkWatch.every * 2)
            scene.hear()
            #expect(scene.look() == .trust)
        }
        scene.sight.isAwaiting = false
        #expect(scene.look(for: LinkWatch.forgetsAfter) == nil)
        scene.sight.isAwaiting = true
        let found = scene.look(for: .seconds(20))
        let seen = try #require(found)
        #expect(seen.after <= .seconds(1) + LinkWatch.every * 2)
    }

    @Test func `a way that moved and answers all the same changes no patience`() throws {
        var scene = Scene()
        for address in ["198.51.100.1", "192.0.2.1", "198.51.100.1"] {
            scene.sight.route = .from(address)
            #expect(scene.look() == .suspect)
            scene.hear()
            #expect(scene.look() == .trust)
        }
        scene.sight.isAwaiting = true
        let found = scene.look(for: .seconds(20))
        let seen = try #require(found)
        #expect(seen.after <= .seconds(1) + LinkWatch.every * 2)
    }

    @Test func `an idle connection is asked only while clients are behind it`() throws {
        var scene = Scene()
        #expect(scene.look(for: .seconds(60)) == nil)
        scene.sight.hasStreams = true
        #expect(scene.look() == .ask)
        scene.sight.heard += 1
        let found = scene.look(for: .seconds(10))
        let seen = try #require(found)
        #expect(seen.0 == .ask)
        #expect(seen.after > LinkWatch.askAfter)
    }

    @Test func `a question that is on its way is not asked again`() {
        var scene = Scene()
        scene.sight.hasStreams = true
        scene.sight.isAwaiting = true
        scene.sight.roundTrip = .seconds(5)
        #expect(scene.look(for: .seconds(15)) == nil)
    }

    @Test func `another way, a way that is gone and one that is back are suspect at once`() {
        var scene = Scene()
        scene.sight.route = .from("198.51.100.1")
        #expect(scene.look() == .suspect)
        #expect(scene.look() == .nothing)
        scene.hear()
        #expect(scene.look() == .trust)
        scene.sight.route = .none
        #expect(scene.look() == .suspect)
        #expect(scene.look(for: .seconds(5)) == nil)
        scene.sight.route = .from("198.51.100.1")
        #expect(scene.look() == .suspect)
    }

    @Test func `bytes of the look that sees another way clear nothing`() {
        var scene = Scene()
        scene.hear()
        scene.sight.route = .from("198.51.100.1")
        #expect(scene.look() == .suspect)
        #expect(scene.look() == .nothing)
    }

    @Test func `a system that cannot say the way is not believed to have changed it`() {
        var scene = Scene()
        scene.sight.route = .unknown
        #expect(scene.look(for: .seconds(5)) == nil)
        var policy = Scene(route: .unknown)
        policy.sight.route = .none
        #expect(policy.look(for: .seconds(5)) == nil)
        policy.sight.route = .from("198.51.100.1")
        #expect(policy.look(for: .seconds(5)) == nil)
    }

    @Test(arguments: [Int64.min, -3_600_000_000_000, 0, 1_000_000_000])
    func `a clock that is set asks nothing by itself`(jump: Int64) {
        var scene = Scene()
        #expect(scene.look() == .nothing)
        scene.sight.wallClock &+= jump
        // Only ahead, and by more than two seconds, looks like a sleep.
        #expect(scene.watch.look(scene.sight, now: scene.now) == .nothing)
    }

    @Test func `a machine that slept asks when it wakes`() {
        var scene = Scene()
        #expect(scene.look() == .nothing)
        scene.sight.wallClock += 60_000_000_000
        #expect(scene.look() == .ask)
        #expect(scene.look() == .nothing)
    }

    @Test func `whether the way moved is known until something is answered`() {
        var scene = Scene()
        scene.sight.route = .from("198.51.100.1")
        #expect(scene.look() == .suspect)
        #expect(scene.look() == .nothing)
        #expect(scene.watch.hasMoved)
        scene.hear()
        #expect(scene.look() == .trust)
        #expect(!scene.watch.hasMoved)
        scene.sight.isAwaiting = true
        #expect(scene.look(for: .seconds(9)) != nil)
        #expect(scene.watch.isSuspect)
        #expect(!scene.watch.hasMoved)
    }

    @Test func `a socket that was closed was heard then, unless it was suspect`() {
        var scene = Scene()
        for _ in 0..<16 { _ = scene.look() }
        let now = scene.now + .milliseconds(200)
        let watch = scene.watch
        #expect(watch.silentSince(isClosed: true, heard: 0, now: now) == now)
        #expect(watch.silentSince(isClosed: false, heard: 0, now: now) == start)
        #expect(watch.silentSince(isClosed: false, heard: 1, now: now) == now)
        scene.sight.isAwaiting = true
        let suspected = scene.look(for: .seconds(20))
        #expect(suspected?.0 == .suspect)
        #expect(scene.watch.silentSince(isClosed: true, heard: 0, now: scene.now) == start)
        #expect(scene.watch.silentSince(isClosed: true, heard: 1, now: scene.now) == scene.now)
    }

    @Test(arguments: [false, true], [false, true])
    func `a link without a connection takes any`(isSuspect: Bool, isDraining: Bool) {
        let succession = LinkSuccession(
            isConnected: false, isSuspect: isSuspect, hasMoved: false, isDraining: isDraining)
        #expect(succession == .now)
    }

    @Test(arguments: [false, true], [false, true])
    func `a link that drains keeps its connection, whatever is suspected`(
        isSuspect: Bool, hasMoved: Bool
    ) {
        let succession = LinkSuccession(
            isConnected: true, isSuspect: isSuspect, hasMoved: hasMoved, isDraining: true)
        #expect(succession == .keeps)
    }

    @Test(arguments: [
        (false, false, LinkSuccession.keeps), (true, false, .onceLetIn), (true, true, .now),
    ])
    func `a slow connection is given up for one that is let in, one whose way moved at once`(
        isSuspect: Bool, hasMoved: Bool, expected: LinkSuccession
    ) {
        let succession = LinkSuccession(
            isConnected: true, isSuspect: isSuspect, hasMoved: hasMoved, isDraining: false)
        #expect(succession == expected)
    }
}

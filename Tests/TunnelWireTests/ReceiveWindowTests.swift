import NIOCore
import Simulation
import Testing

@testable import TunnelWire

struct ReceiveWindowTests {
    private static let maximum = 4 * 1024

    private func consume(
        _ window: inout ReceiveWindow, _ bytes: Int, after: TimeAmount = .seconds(60),
        roundTrip: TimeAmount? = .milliseconds(10), room: Int = .max
    ) -> Int? {
        window.consume(
            bytes, now: start + after, roundTrip: roundTrip, maximum: Self.maximum, room: room)
    }

    @Test func `an update is due when half is consumed, and not before`() {
        var window = ReceiveWindow(capacity: 1_000, now: start)
        #expect(window.receive(1_000) == true)
        #expect(self.consume(&window, 499) == nil)
        #expect(window.limit == 1_000)
        #expect(self.consume(&window, 1) == 0)
        #expect(window.limit == 1_500)
    }

    @Test func `a window doubles when half of it goes within two round trips`() {
        var window = ReceiveWindow(capacity: 1_000, now: start)
        #expect(window.receive(500) == true)
        #expect(self.consume(&window, 500, after: .milliseconds(19)) == 1_000)
        #expect(window.capacity == 2_000)
        #expect(window.limit == 2_500)
    }

    @Test func `a window does not grow later than two round trips, nor without one`() {
        var slow = ReceiveWindow(capacity: 1_000, now: start)
        #expect(slow.receive(500) == true)
        #expect(self.consume(&slow, 500, after: .milliseconds(20)) == 0)
        var unknown = ReceiveWindow(capacity: 1_000, now: start)
        #expect(unknown.receive(500) == true)
        #expect(self.consume(&unknown, 500, after: .zero, roundTrip: nil) == 0)
    }

    @Test func `a window grows no further than its maximum and the budget`() {
        var large = ReceiveWindow(capacity: 3_000, now: start)
        #expect(large.receive(1_500) == true)
        #expect(self.consume(&large, 1_500, after: .zero) == Self.maximum - 3_000)
        var poor = ReceiveWindow(capacity: 1_000, now: start)
        #expect(poor.receive(500) == true)
        #expect(self.consume(&poor, 500, after: .zero, room: 7) == 7)
        var none = ReceiveWindow(capacity: 1_000, now: start)
        #expect(none.receive(500) == true)
        #expect(self.consume(&none, 500, after: .zero, room: -9) == 0)
        #expect(none.capacity == 1_000)
    }

    @Test func `bytes beyond the credit are not taken`() {
        var window = ReceiveWindow(capacity: 1_000, now: start)
        #expect(window.receive(600) == true)
        #expect(window.receive(401) == false)
        #expect(window.received == 600)
        #expect(window.receive(400) == true)
        #expect(window.receive(1) == false)
    }

    @Test func `consuming more than came gives no credit for it`() {
        var window = ReceiveWindow(capacity: 1_000, now: start)
        #expect(window.receive(600) == true)
        #expect(self.consume(&window, 5_000) == 0)
        #expect(window.consumed == 600)
        #expect(window.limit == 1_600)
    }

    /// What is in flight or waiting here never passes the capacity.
    @Test(arguments: UInt64(0)..<200)
    func `credit granted and not consumed never passes the capacity`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var window = ReceiveWindow(capacity: 1_000, now: start)
        var limit = window.limit
        for step in 0..<300 {
            let bytes = Int.random(in: 0...700, using: &random)
            if Bool.random(using: &random) {
                let before = window.received
                let taken = window.receive(bytes)
                #expect(taken == (before + UInt64(bytes) <= window.limit))
            } else {
                let room = Int.random(in: -10...900, using: &random)
                let growth = self.consume(
                    &window, bytes, after: .milliseconds(Int64(step)), room: room)
                #expect((growth ?? 0) <= max(0, room))
            }
            #expect(window.consumed <= window.received)
            #expect(window.received <= window.limit)
            #expect(window.limit - window.consumed <= UInt64(window.capacity))
            #expect(window.capacity <= Self.maximum)
            #expect(window.limit >= limit)
            limit = window.limit
        }
    }
}

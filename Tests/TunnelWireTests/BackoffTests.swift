import NIOCore
import Simulation
import Testing

@testable import TunnelWire

struct BackoffTests {
    @Test(arguments: UInt64(0)..<50)
    func `a wait is anything up to a ceiling that doubles from one second to thirty`(
        seed: UInt64
    ) {
        var random = SeededGenerator(seed: seed)
        var backoff = Backoff()
        for ceiling: Int64 in [1, 2, 4, 8, 16, 30, 30, 30] {
            let wait = backoff.next(using: &random)
            #expect((TimeAmount.zero...TimeAmount.seconds(ceiling)).contains(wait))
        }
        backoff.reset()
        #expect(backoff.next(using: &random) <= .seconds(1))
    }
}

struct KeepaliveTests {
    private let limits = LinkLimits()

    @Test func `a silent peer is asked after ten seconds and dead after twenty-five`() {
        var keepalive = Keepalive(limits: self.limits, now: start)
        var frames = ByteBuffer()
        #expect(keepalive.tick(into: &frames, now: start + .seconds(9)) == true)
        #expect(frames.readableBytes == 0)
        #expect(keepalive.tick(into: &frames, now: start + .seconds(10)) == true)
        #expect(frames.readableBytes == 16)
        #expect(keepalive.tick(into: &frames, now: start + .seconds(12)) == true)
        #expect(frames.readableBytes == 16)
        #expect(keepalive.tick(into: &frames, now: start + .seconds(25)) == false)
    }

    @Test func `any byte is a sign of life`() {
        var keepalive = Keepalive(limits: self.limits, now: start)
        var frames = ByteBuffer()
        keepalive.heard()
        #expect(keepalive.tick(into: &frames, now: start + .seconds(24)) == true)
        #expect(keepalive.tick(into: &frames, now: start + .seconds(48)) == true)
        #expect(keepalive.tick(into: &frames, now: start + .seconds(49)) == false)
    }

    @Test func `only the answer to the last question measures the round trip`() {
        var keepalive = Keepalive(limits: self.limits, now: start)
        var frames = ByteBuffer()
        keepalive.ask(into: &frames, now: start)
        for lie: UInt64 in [0, start.uptimeNanoseconds - 1, start.uptimeNanoseconds + 1, .max] {
            keepalive.answered(lie, now: start + .milliseconds(5))
            #expect(keepalive.roundTrip == nil)
        }
        keepalive.answered(start.uptimeNanoseconds, now: start + .milliseconds(5))
        #expect(keepalive.roundTrip == .milliseconds(5))
    }
}

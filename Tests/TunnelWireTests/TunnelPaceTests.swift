import NIOCore
import Testing

@testable import TunnelWire

struct TunnelPaceTests {
    /// Gives the longest wait of every back-off.
    private struct Longest: RandomNumberGenerator {
        mutating func next() -> UInt64 { .max }
    }

    private static func error(_ code: String, retry: Bool = true) -> LinkError {
        LinkError(code: code, message: "", retry: retry)
    }

    private static let stopping = Self.error("relay_stopping")
    private static let expired = Self.error("resume_expired")
    private static let failed = Self.error("internal_failure")
    private static let takenOver = Self.error("taken_over", retry: false)

    private static let ends: [(LinkError?, Bool, TunnelEnd)] = [
        (Self.stopping, false, .replaced), (Self.stopping, true, .replaced),
        (Self.expired, false, .forgotten), (Self.expired, true, .replaced),
        (Self.failed, false, .lost(Self.failed)), (Self.failed, true, .replaced),
        (Self.takenOver, true, .lost(Self.takenOver)), (nil, true, .replaced),
        (nil, false, .lost(nil)),
    ]

    @Test(arguments: Self.ends)
    func `what ends a tunnel says what follows`(
        error: LinkError?, isDraining: Bool, end: TunnelEnd
    ) {
        #expect(TunnelEnd(error, isDraining: isDraining) == end)
    }

    @Test(arguments: [TunnelEnd.replaced, .forgotten])
    func `restarts in a row cost no wait`(end: TunnelEnd) {
        var pace = TunnelPace()
        var random = Longest()
        for seconds in [0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 60, 0] as [Int64] {
            pace.stands()
            #expect(pace.wait(after: end, stood: .seconds(seconds), using: &random) == nil)
        }
    }

    @Test(arguments: [TunnelEnd.replaced, .forgotten])
    func `a relay that says so again and again within a second is asked less and less often`(
        end: TunnelEnd
    ) {
        var pace = TunnelPace()
        var random = Longest()
        let waits = (0..<12).map { _ in
            pace.stands()
            return pace.wait(after: end, stood: .milliseconds(900), using: &random)
        }
        let seconds: [Int64] = [1, 2, 4, 8, 16, 30, 30]
        #expect(waits == [nil, nil, nil, nil, nil] + seconds.map { .seconds($0) })
    }

    @Test func `tunnels that fall within seconds are made less and less often`() {
        var pace = TunnelPace()
        var random = Longest()
        for seconds in [1, 2, 4, 8, 16, 30, 30] as [Int64] {
            pace.stands()
            let wait = pace.wait(after: .lost(nil), stood: .seconds(9), using: &random)
            #expect(wait == .seconds(seconds))
        }
        pace.stands()
        let wait = pace.wait(after: .lost(nil), stood: .seconds(10), using: &random)
        #expect(wait == .seconds(1))
    }

    @Test func `the waits of one outage do not carry over into the next`() {
        var pace = TunnelPace()
        var random = Longest()
        for _ in 0..<2 {
            for seconds in [1, 2, 4, 8, 16, 30, 30] as [Int64] {
                #expect(pace.waitAfterFailure(using: &random) == .seconds(seconds))
            }
            pace.stands()
            let wait = pace.wait(after: .forgotten, stood: .seconds(2), using: &random)
            #expect(wait == nil)
        }
    }
}

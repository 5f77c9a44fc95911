import Foundation
import NIOCore
import Simulation
import TestSupport
import Testing

/// Clients that share one session see what they see alone on Postgres.
///
/// A failure names its seed. `PGSHARE_TEST_SEEDS=1000` runs so many seeds of each kind,
/// `PGSHARE_TEST_FIRST_SEED=77` begins at that one, `PGSHARE_TEST_TRACE=1` prints each call.
@Suite(.serialized)
struct OracleTests {
    private static func seeds(_ usual: UInt64) -> Range<UInt64> {
        let environment = ProcessInfo.processInfo.environment
        let first = environment["PGSHARE_TEST_FIRST_SEED"].flatMap(UInt64.init) ?? 0
        return first..<(first + (environment["PGSHARE_TEST_SEEDS"].flatMap(UInt64.init) ?? usual))
    }

    /// The seeds are one test: what they need of the server is made once.
    private func check(
        _ usual: UInt64,
        _ change: (inout SharedRunPlan, inout SeededGenerator) -> Void = { _, _ in }
    ) throws {
        let fixture = try OracleFixture(.v15)
        for seed in Self.seeds(usual) {
            var plan = SharedRunPlan(seed: seed)
            var random = SeededGenerator(seed: seed)
            change(&plan, &random)
            for difference in try OracleComparison(plan, fixture).differences() {
                Issue.record("seed \(seed): \(difference)")
            }
        }
    }

    @Test func `clients see what they see alone`() throws { try self.check(10) }

    @Test func `clients that vanish hurt nobody`() throws {
        try self.check(5) { plan, _ in plan.vanishing = 400 }
    }

    @Test func `an exchange that is cancelled while it waits is as if it was never sent`() throws {
        try self.check(5) { plan, _ in plan.cancels = 10 }
    }

    @Test func `a fault of the engine hurts only whose call it was`() throws {
        try self.check(5) { plan, _ in plan.faults = 300 }
    }
}

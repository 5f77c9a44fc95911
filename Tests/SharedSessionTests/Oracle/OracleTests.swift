import Foundation
import NIOCore
import NIOPosix
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

    /// The seeds are one test: what they need of the server is made once. They wait for Postgres on
    /// a thread that may wait.
    private func check(
        _ usual: UInt64, _ change: @escaping @Sendable (inout SharedRunPlan) -> Void = { _ in }
    ) async throws {
        let found = try await NIOThreadPool.singleton.runIfActive {
            let fixture = try OracleFixture(.v15)
            return try Self.seeds(usual).flatMap { seed in
                var plan = SharedRunPlan(seed: seed)
                change(&plan)
                return try OracleComparison(plan, fixture).differences().map {
                    "seed \(seed): \($0)"
                }
            }
        }
        for difference in found { Issue.record("\(difference)") }
    }

    @Test func `clients see what they see alone`() async throws { try await self.check(10) }

    @Test func `clients that vanish hurt nobody`() async throws {
        try await self.check(5) { plan in plan.vanishing = 400 }
    }

    @Test func `an exchange that is cancelled while it waits is as if it was never sent`()
        async throws
    {
        try await self.check(5) { plan in plan.cancels = 10 }
    }

    @Test func `a fault of the engine hurts only whose call it was`() async throws {
        try await self.check(5) { plan in plan.faults = 300 }
    }

    @Test func `notifications come to whom Postgres sends them, in its order`() async throws {
        try await self.check(5) { plan in plan.leavesTogether = true }
    }

    @Test func `a page keeps its own session beside its clients`() async throws {
        try await self.check(5) { plan in
            plan.hasPage = true
            if plan.seed % 2 == 0 { plan.vanishing = 300 }
        }
    }
}

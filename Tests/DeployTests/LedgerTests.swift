import Deploy
import TestSupport
import Testing

/// Every test has a database of its own; the dumps compared are whole: schema and data.
struct LedgerTests {
    @Test(arguments: TestPostgres.Version.available)
    func `rollback after rollback brings back each state byte for byte`(
        version: TestPostgres.Version
    ) async throws {
        let target = try LedgerTarget.make(version, "ledger_states")
        try target.others(LedgerDatabases.others)
        let untouched = try target.dump()
        try await target.deploy(deploymentID("first"), LedgerDatabases.ordinary(1))
        let first = try target.dump()
        #expect(first.contains("generation 1"))

        try await target.deploy(deploymentID("second"), LedgerDatabases.ordinary(2))
        #expect(try target.dump().contains("generation 2"))
        let old = try target.dump().split(separator: "\n").filter { $0.contains("generation 1") }
        #expect(old.allSatisfy { $0.contains("pgshare_kept_") })
        let report = try await target.rollback()
        #expect(report.left == [])
        #expect(firstDifference(try target.dump(), first) == nil)

        let last = try await target.rollback()
        #expect(last.live == nil)
        #expect(firstDifference(try target.dump(), untouched) == nil)
        #expect(try await target.state() == LedgerState())
    }

    @Test(arguments: TestPostgres.Version.available)
    func `what only superusers make comes back too`(
        version: TestPostgres.Version
    ) async throws {
        let target = try LedgerTarget.make(version, "ledger_super", user: "postgres")
        try target.others(LedgerDatabases.others)
        let untouched = try target.dump()
        func script(_ generation: Int) -> String {
            LedgerDatabases.ordinary(generation) + LedgerDatabases.super_(generation)
        }
        try await target.deploy(deploymentID("first"), script(1))
        let first = try target.dump()

        let aside = try await target.deploy(deploymentID("second"), script(2))
        #expect(
            aside.stays.map(\.title) == [
                "access method own_heap", "extension citext", "extension hstore", "schema extra",
            ])
        let report = try await target.rollback()
        #expect(report.left == [])
        #expect(firstDifference(try target.dump(), first) == nil)

        try await target.rollback()
        #expect(firstDifference(try target.dump(), untouched) == nil)
    }
}

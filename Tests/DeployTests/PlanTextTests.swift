import Foundation
import Testing

@testable import Deploy

@Suite struct PlanTextTests {
    @Test func `a plan reads like this`() {
        let plan = PlanFixture.plan { input in
            input.target.server.isInRecovery = true
            input.source.publications = ["feed"]
            input.contents.entries.append(
                PlanFixture.entry(9, "PUBLICATION", nil, "feed"))
            input.source.extensions.append(PlanFixture.installed("hstore"))
            input.target.availableExtensions["hstore"] = PlanFixture.available("1.8")
            input.ledger = PlanFixture.ledger()
            input.ledger?.objects = [PlanFixture.object(.table, "public", "gone", oid: 20_105)]
            input.target.objects = [PlanFixture.object(.table, "public", "theirs", oid: 20_106)]
        }

        #expect(PlanText.render(plan) == Self.expected)
    }

    private static let expected = """
        from   shop on localhost: database shop as postgres, Postgres 17.6, 7.6 MB
        to     app on db.example.com: database app as owner, Postgres 17.6, 7.6 MB
        how    in place, as one transaction; 1 lane; objects, row counts and checksums are verified
        tools  pg_dump 17.6 (/pg/pg_dump), pg_restore 17.6

        what   definitions and rows: 1 table of 8 kB, 1 sequence
               schemas public
               owners and grants are kept
        last   deploy 0123456789abcdef of 2026-11-20T10:00:00Z: 1 table, 10 rows

        tables
          public.orders  8 kB, about 10 rows

        extensions
          hstore 1.2 in public: created, 1.8

        dropped, as the source no longer has it (1)
          table public.gone
        kept, as no deploy made it (1)
          table public.theirs

        left out (1)
          publication: publications are not deployed (1)
            feed

        BLOCKED: the target is a standby (in recovery) and takes no writes [target-in-recovery]
            Name its primary server as the target.
        warning: the last deploy made what the source no longer has; it will be dropped: \
        table public.gone [objects-removed]
        warning: publications are left out: feed [publication-left-out]
            Create them in the target, if it is to be replicated from.
        note: the extension hstore 1.8 is created in the schema public [extension-created]
        note: what no deploy made stays as it is: table public.theirs [foreign-objects-kept]
        note: the source may be written to meanwhile: all is read in one snapshot [source-snapshot]
        note: 1 table of 8 kB and their indexes must fit on the target's disk, beside what the \
        last deploy made and is kept; how much is free there, no query says [sizes]

        The deploy cannot start: 1 finding must be settled first.

        """

    @Test func `a long list says how many more there are`() {
        let plan = PlanFixture.plan { input in
            input.source.relations = (0..<25).map { PlanFixture.relation("public", "t\($0)") }
        }

        #expect(PlanText.render(plan).contains("\n  and 5 more; --json lists all\n"))
    }

    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (8192, "8 kB"), (1536, "1.5 kB"), (268_435_456, "256 MB"),
        (1_181_116_006, "1.1 GB"),
    ])
    func `bytes are short`(bytes: Int64, text: String) {
        #expect(Phrase.bytes(bytes) == text)
    }

    @Test(arguments: PlanCases.all)
    func `JSON brings back the same plan`(example: PlanCase) throws {
        let plan = PlanFixture.plan(example.change)

        #expect(try DeployPlan(json: plan.json()) == plan)
    }

    @Test func `JSON is one line with keys in snake case`() throws {
        let json = try PlanFixture.plan().json()

        #expect(json.contains("\"format_version\":1"))
        #expect(json.contains("\"left_out\":[]"))
        #expect(!json.contains("\n"))
    }

    @Test func `a plan of a later format is refused`() throws {
        var plan = PlanFixture.plan()
        plan.formatVersion = DeployPlan.currentFormatVersion + 1
        let json = try plan.json()

        #expect(throws: DecodingError.self) { try DeployPlan(json: json) }
    }
}

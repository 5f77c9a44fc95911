import Deploy
import Foundation
import TestSupport
import Testing

/// What would make a statement fail, and end the deploy's transaction, is asked for first.
@Suite(.serialized) struct VerifyEdgesTests {
    static func scope(_ names: String..., contents: Bool = true) -> Verifier.Scope {
        var scope = Verifier.Scope()
        scope.tables = names.map { VerifiedTable(schema: "public", name: $0) }
        scope.contents = contents
        return scope
    }

    @Test func `databases of other encodings are compared by characters`() async throws {
        let pair = try VerifyPair(.v15, .v15, sourceEncoding: "LATIN1")
        try pair.both("create table t (id int primary key, t text, v varchar, j jsonb, n name)")
        try pair.both(
            """
            insert into t values (1, U&'\\00e4\\\\\\00fc', U&'\\00df', U&'{"\\00f6": 1}',
                U&'\\00e9');
            insert into t values (2, null, null, null, null)
            """)
        #expect(try await pair.verify(Self.scope("t")).mismatches == [])
        let report = try await pair.verify(
            Self.scope("t"), after: "update public.t set v = 'ss' where id = 1")
        #expect(report.mismatches.map(\.kind) == [.contents])
    }

    @Test(arguments: TestPostgres.Version.available)
    func `an owner verifies a table whose row security is forced on him`(
        version: TestPostgres.Version
    ) async throws {
        let pair = try VerifyPair(version, version)
        try pair.both("create table t (id int); insert into t values (1), (2)")
        try pair.target("alter table t owner to trusty")
        let force = "alter table public.t enable row level security, force row level security"
        let equal = try await pair.verify(Self.scope("t"), after: force, targetUser: "trusty")
        #expect(equal.mismatches == [])
        let other = try await pair.verify(
            Self.scope("t"), after: "update public.t set id = 3 where id = 1; " + force,
            targetUser: "trusty")
        #expect(other.mismatches.map(\.kind) == [.contents])
        let session = try pair.targetSession("trusty")
        try await session.rows("begin; " + force)
        _ = try await Verifier(Self.scope("t")).run(
            source: [try pair.sourceSession()], target: [session]
        ) { _ in }
        let flags = try await session.rows(
            "select relforcerowsecurity from pg_class where oid = 'public.t'::regclass")
        #expect(flags == [["t"]])
    }

    @Test func `tables that are missing, other, or not readable are told, and nothing fails`()
        async throws
    {
        let pair = try VerifyPair(.v15, .v15)
        try pair.source(
            "create table gone (i int); create table typed (i int); create table less (i int); "
                + "create table more (i int); create table secret (i int); "
                + "create table made (i int, g int generated always as (i) stored)")
        try pair.target(
            "create table typed (i bigint); create table less (); "
                + "create table more (i int, j int); create table secret (i int); "
                + "create table made (i int, g int); "
                + "grant select on typed, less, more, made to trusty"
        )
        let report = try await pair.verify(
            Self.scope("gone", "typed", "less", "more", "secret", "made", "nowhere"),
            targetUser: "trusty")
        #expect(
            report.mismatches.map(\.sentence) == [
                "table public.gone is missing at the target",
                "table public.typed: column \"i\" is integer at the source and bigint at the "
                    + "target",
                "table public.less: column \"i\" is missing at the target",
                "table public.more: column \"j\" is at the target only",
                "table public.secret cannot be compared: this role may not read all of its rows at "
                    + "the target",
                "table public.made: column \"g\" is integer (generated) at the source and integer "
                    + "at the target",
                "table public.nowhere is missing at the source",
            ])
    }

    @Test func `rows that one side lacks are counted, and the first is named`() async throws {
        let pair = try VerifyPair(.v15, .v15)
        try pair.both(
            "create table t (id bigint primary key, v text); "
                + "insert into t select g, g from generate_series(-1000, 100000) g; "
                + "create table u (k text, v int); "
                + "insert into u select g, g from generate_series(1, 9) g"
        )
        let report = try await pair.verify(
            Self.scope("t", "u"),
            after: "delete from public.t where id in (-7, 99999); "
                + "update public.u set v = 0 where k = '3'")
        #expect(
            report.mismatches.map(\.sentence) == [
                "table public.t has 101001 rows at the source and 100999 at the target; the first "
                    + "is the row with \"id\" = -7, and 2 ranges of keys differ",
                "table public.u has 9 rows at both sides, but not the same values; the difference "
                    + "is in column \"v\"",
            ])
        let counted = try await pair.verify(
            Self.scope("t", "u", contents: false),
            after: "delete from public.t where id = 5; update public.u set v = 0 where k = '3'")
        #expect(
            counted.mismatches.map(\.sentence) == [
                "table public.t has 101001 rows at the source and 101000 at the target"
            ])
        #expect(counted.tables.allSatisfy { $0.checksum == nil })
    }

    @Test func `values that changed places are a difference`() async throws {
        let pair = try VerifyPair(.v15, .v15)
        try pair.both("create table t (a int, b int); insert into t values (1, 2), (3, 4)")
        for change in [
            "update public.t set b = 6 - b", "update public.t set a = b, b = a",
            "update public.t set a = 4 - a",
        ] {
            let report = try await pair.verify(Self.scope("t"), after: change)
            #expect(report.mismatches.map(\.kind) == [.contents], "\(change)")
        }
    }

    @Test func `positions of sequences are compared with what was read`() async throws {
        let pair = try VerifyPair(.v15, .v15)
        try pair.both("create sequence a; create sequence b start 5; create sequence c")
        try pair.both("select nextval('a'), nextval('a')")
        let names = ["a", "b", "c", "gone"].map { PlannedSequence(schema: "public", name: $0) }
        var scope = Verifier.Scope()
        scope.sequences = try await SequencePositions.read(try pair.sourceSession(), names)
        #expect(scope.sequences.map(\.lastValue) == [2, 5, 1])
        #expect(try await pair.verify(scope).mismatches == [])
        let report = try await pair.verify(
            scope, after: "select setval('public.a', 7); drop sequence public.c")
        #expect(
            report.mismatches.map(\.sentence) == [
                "sequence public.a stands after 2 at the source and after 7 at the target",
                "sequence public.c is missing at the target, or cannot be read there",
            ])
    }

    @Test func `several sessions a side share the tables`() async throws {
        let pair = try VerifyPair(.v15, .v15)
        try pair.both(
            "create table a (i int); create table b (i int); create table c (i int); "
                + "insert into a values (1); insert into b values (2), (3)")
        let steps = Steps()
        let report = try await Verifier(Self.scope("a", "b", "c")).run(
            source: [try pair.sourceSession(), try pair.sourceSession()],
            target: [try pair.targetSession(), try pair.targetSession(), try pair.targetSession()]
        ) { steps.add($0) }
        #expect(report.mismatches == [])
        #expect(report.tables.map(\.rows) == [1, 2, 0])
        #expect(steps.all.count == 6)
        #expect(Set(steps.all.map(\.table)) == ["public.a", "public.b", "public.c"])
    }

    @Test func `a session that ends is a failure and no verdict`() async throws {
        let pair = try VerifyPair(.v15, .v15)
        try pair.both("create table a (i int)")
        let target = try pair.targetSession()
        let pid = try await target.rows("select pg_backend_pid()")[0][0] ?? ""
        try pair.target("select pg_terminate_backend(\(pid))")
        await #expect(throws: SQLFailure.self) {
            try await Verifier(Self.scope("a")).run(
                source: [try pair.sourceSession()], target: [target]
            ) { _ in }
        }
    }
}

import Deploy
import TestSupport
import Testing

/// Deploys, rollbacks and changes by others, in any order: every rollback that is allowed brings
/// back the state before byte for byte, and no step touches what no deploy made.
struct LedgerSequenceTests {
    /// A deployment that is there, and what a rollback must find.
    private struct Level {
        var before: String
        var canUndo: Bool
    }

    @Test(arguments: UInt64(0)..<6)
    func `any sequence of deploys and rollbacks keeps the promise`(seed: UInt64) async throws {
        let versions = TestPostgres.Version.available
        var random = SeededNumbers(seed: seed)
        let target = try LedgerTarget.make(
            versions[Int(seed) % versions.count], "ledger_sequence_\(seed)")
        try target.others("create schema theirs; create table theirs.log (i int)")
        var levels: [Level] = []
        for step in 0..<10 {
            switch Int.random(in: 0..<5, using: &random) {
            case 0, 1:
                let before = try target.dump(without: "theirs")
                let theirs = try target.dump(without: "public")
                let script = Self.script(step, &random)
                try await target.deploy(deploymentID("s\(seed)d\(step)n"), script)
                if levels.count > 1 { levels[levels.count - 1].canUndo = false }
                levels.append(Level(before: before, canUndo: true))
                #expect(Self.part(theirs) == Self.part(try target.dump(without: "public")))
            case 2, 3:
                guard let level = levels.last else { continue }
                guard level.canUndo else {
                    await #expect(throws: LedgerFailure.self) { try await target.rollback() }
                    continue
                }
                try await target.rollback()
                levels.removeLast()
                let now = try target.dump(without: "theirs")
                #expect(firstDifference(now, level.before) == nil, "step \(step)")
            default:
                try target.others("insert into theirs.log values (\(step))")
                try target.others(
                    """
                    do $$ begin
                        if to_regclass('public.t0') is not null then
                            insert into public.t0 values (-\(step));
                            create index on public.t0 (i);
                            alter table public.t0 add column c\(step) text default 'x';
                        end if;
                    end $$
                    """)
            }
        }
    }

    /// The rows of others' table.
    private static func part(_ dump: String) -> Substring? {
        dump.split(separator: "COPY theirs.log").last?.split(separator: "\\.").first
    }

    /// Some of these, in order.
    private static func script(_ step: Int, _ random: inout SeededNumbers) -> String {
        let all = [
            "create table public.t0 (i int default \(step)); insert into public.t0 values (1);",
            "create schema app; create table app.t1 (id serial primary key, s text);",
            "create type public.e as enum ('e\(step)'); create table public.t2 (e public.e);",
            """
            create schema more; create domain more.d as int;
            create function public.f(more.d) returns int language sql as 'select \(step)';
            create view more.v as select public.f(1) as f;
            create function more.g(more.v) returns int language sql as 'select 1';
            """,
            """
            create table public.p (i int) partition by list (i);
            create table public.p1 partition of public.p for values in (\(step));
            """,
            """
            select lo_from_bytea(60001, '\\x0\(step)');
            grant select on large object 60001 to scram; select lo_create(6001\(step % 3));
            """,
            "alter default privileges in schema public grant select on tables to scram;",
            """
            create table public.l (i int primary key, r int);
            create table public.r (i int primary key, l int references public.l);
            alter table public.l add foreign key (r) references public.r;
            create materialized view public.lr as select l.i from public.l, public.r;
            """,
        ]
        return all.filter { _ in Bool.random(using: &random) }.joined(separator: "\n")
    }
}

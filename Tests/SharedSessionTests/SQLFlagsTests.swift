import NIOCore
import Testing

@testable import SharedSession

private func flags(_ text: String) -> SQLStatement.Flags {
    SQLAnalysis(ByteBuffer(string: text)).flags
}

/// A database whose functions leave sessions alone, and one whose functions do not.
private let harmless = SessionInspection.StoredCode(mayTouchSession: false, customSettings: [])
private let harmful = SessionInspection.StoredCode(mayTouchSession: true, customSettings: [])

struct SQLFlagsTests {
    @Test(arguments: [
        "select 1", "select 'set_config(1)', \"f\"", "select pg_catalog.lower('A')",
        "begin", "rollback", "savepoint a", "show all", "listen a", "set local a.b to '1'",
        "select coalesce(null, 1)", "values (1), (2)", "with a(b) as (values (1)) select 1",
        "select pg_catalog.pg_advisory_xact_lock(1)",
        "select array(select 1)", "select case when (true) then (1) else (2) end where (1) in (1)",
        "lock t",
    ])
    func `nothing is left behind by what is known`(text: String) {
        #expect(flags(text) == [])
    }

    @Test(arguments: [
        "select * from t", "insert into t (a, b) values (1, 2) on conflict (a) do nothing",
        "insert into s.t as x (a) select 1", "update t set (a, b) = (1, 2)", "delete from t",
        "merge into t using u on (a = b) when not matched then insert (a) values (1)", "table t",
        "copy t (a) from stdin", "copy s.t (a) to stdout", "select 'a'::varchar(10)", "commit",
        "select cast('1' as numeric(10, 2))", "select positive '1'", "select 1 ||| 2",
        "with a as materialized (select 1) select * from a",
        "with a as not materialized (select 1) select * from a as b (c)",
        "prepare p (int, vector(3)) as select * from t", "fetch 1 from c", "truncate t",
        "select grouping sets (1) from t", "select information_schema._pg_expandarray(a) from t",
        "select lower('A')", "select \"lower\"('A')", "select 1 + 2", "select 1 = 2",
        "select count(a) filter (where true) over (partition by 1)",
        "select '[1]'::vector(3)", "select a from t tablesample system (1)",
    ])
    func `what may run stored code is harmful only if that is`(text: String) {
        #expect(flags(text) == .mayRunStoredCode)
        for statement in SQLAnalysis(ByteBuffer(string: text)).statements {
            #expect(statement.flags(given: harmless) == [])
            #expect(statement.flags(given: harmful).isSuperset(of: .session))
            #expect(statement.flags(given: nil).isSuperset(of: .session))
        }
    }

    @Test(arguments: [
        "select f()", "select s.lower('A')", "select s . f (1)", "select \"Lower\"('A')",
        "select * from f(1)", "select \"in\"(1)", "insert into t values (f(1))",
        "select distinct on (a) f(b)", "select lower(f(1))", "select a operator(s.+) f(1)",
        "select over(1)", "select then_insert(1)", "update t set a = f()",
        "prepare p as select f()",
        "declare c cursor for select f()", "explain analyze select f()",
        "copy (select f()) to stdout",
        "select U&\"lower\"('A')", "select U&\"f\"('A')", "values (f(1))",
    ])
    func `a function that nobody knows may do anything`(text: String) {
        #expect(flags(text).isSuperset(of: .session) || text.contains("U&\"lower\""))
        for statement in SQLAnalysis(ByteBuffer(string: text)).statements {
            #expect(statement.flags(given: harmless) == [])
        }
    }

    @Test(arguments: [
        "do $$ begin end $$", "call p()", "create table t (a int)", "create temp table t (a int)",
        "drop table t", "alter system set a = 1", "load 'x'", "execute p", "vacuum", "whatever",
        "create table t as execute p", "explain create table t as select 1", "discard_all",
    ])
    func `what is not known may do anything, whatever stored code does`(text: String) {
        let all = SQLAnalysis(ByteBuffer(string: text)).statements.map { $0.flags(given: harmless) }
        #expect(flags(text) == .all && all.allSatisfy { $0.isSuperset(of: .session) })
    }

    @Test(
        arguments: [
            ("set a to 1", .mayChangeSettings), ("reset all", .mayChangeSettings),
            ("set role x", .mayChangeSettings),
            ("select set_config('a', 'b', false)", .mayChangeSettings),
            ("select pg_catalog.Set_Config('a', 'b', false)", .mayChangeSettings),
            ("select 1; set a to 1; select 1", .mayChangeSettings),
            ("select set_config($1, $2, false)", [.mayChangeSettings, .mayNameSettings]),
            (
                "select set_config('a' || b, 'c', false)",
                [.mayChangeSettings, .mayNameSettings, .mayRunStoredCode]
            ),
            ("select U&\"set!005fconfig\" uescape '!' ('role', 'bob', false)", .all),
            ("select pg_try_advisory_lock(1)", .mayLockAdvisory),
            ("select pg_advisory_unlock_all()", .mayLockAdvisory),
            ("declare c cursor with hold for select 1", .mayHoldCursor),
            ("close c", .mayHoldCursor),
            ("discard all", .session), ("discard temp", .session),
            ("select 1 into t", [.mayMakeTemp, .mayChangeSchema, .mayRunStoredCode]),
            ("select * into temp t from u", [.mayMakeTemp, .mayChangeSchema, .mayRunStoredCode]),
        ] as [(String, SQLStatement.Flags)])
    func `what a text says is told`(text: String, expected: SQLStatement.Flags) {
        #expect(flags(text) == expected)
    }

    @Test func `functions that are known can be given`() {
        let analysis = SQLAnalysis(
            ByteBuffer(string: "select mine(), lower('A')"),
            knownFunctions: KnownFunctions(names: ["mine", "lower"]))
        #expect(analysis.flags == .mayRunStoredCode)
    }
}

struct SQLCustomSettingTests {
    @Test(arguments: [
        ("set app.user = 'x'", ["app.user"]), ("SET SESSION App.User TO 'x'", ["app.user"]),
        ("set \"app\".\"User\" = 1", ["app.user"]), ("set work_mem = '1.5'", []),
        ("select set_config('app.user', 'x.y', false)", ["app.user", "x.y"]),
        ("select set_config('application_name', 'x', false)", []),
        (
            "do $$ begin perform set_config('app.a', 'x y', true); set local app.b = 1; end $$",
            ["app.b", "app.a"]
        ),
        ("do 'begin perform set_config(''app.a'', ''x'', false); end'", ["app.a"]),
        ("create function f() returns void set app.c = 1 as 'select 1'", ["app.c"]),
        ("select 'app.user'", []), ("set a.b.c = 1; ", ["a.b.c"]), ("set a. = 1", []),
        ("set a.b = 1 -- set a.b", ["a.b"]), ("select 1, f(), 'set x.y = 1'", ["x.y"]),
    ])
    func `custom settings are found where they are set`(text: String, names: [String]) {
        #expect(statements(text).flatMap(\.customSettings) == names)
    }

    @Test func `their number is bounded`() {
        let text = "do 'x' " + (0..<1_000).map { "set a.x\($0) = 1" }.joined(separator: " ")
        #expect(statements(text).flatMap(\.customSettings).count == 64)
    }
}

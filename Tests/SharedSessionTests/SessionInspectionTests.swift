import PostgresWire
import TestSupport
import Testing

@testable import SharedSession

private typealias Version = TestPostgres.Version

struct SessionInspectionTests {
    @Test(arguments: TestPostgres.Version.available)
    func `a session that has set nothing holds nothing`(version: TestPostgres.Version) throws {
        let session = try InspectedSession(.shared(version))
        let found = try session.inspect(["app.nothing"], storedCode: true)
        let isNothing =
            found
            == .init(
                settings: SessionSettings(), hasTempObjects: false, hasAdvisoryLocks: false,
                hasHoldCursors: false, storedCode: found.storedCode)
        #expect(isNothing, "\(found)")
        #expect(found.storedCode != nil)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `what a session has set is found`(version: TestPostgres.Version) throws {
        let session = try InspectedSession(.shared(version))
        try session.rows(
            """
            set search_path to "$user", "Odd, ""name"" ", public;
            set time zone interval '-08:30' hour to minute;
            set names 'LATIN1'; set datestyle to sql, dmy; set statement_timeout = '1min';
            set session characteristics as transaction read only;
            select set_config('App.Who', U&'J\\00fcrgen ''\\\\', false);
            set role trusty
            """)
        let found = try session.inspect(["app.who", "app.other"])
        #expect(
            found.settings.values == [
                "search_path": #""$user", "Odd, ""name"" ", public"#, "TimeZone": "<-08:30>+08:30",
                "client_encoding": "LATIN1", "DateStyle": "SQL, DMY",
                "statement_timeout": "60000", "default_transaction_read_only": "on",
                "app.who": "Jürgen '\\", "role": "trusty",
            ])
        try session.rows("reset role; reset all; set app.who = ''")
        #expect(try session.inspect(["app.who"]).settings == SessionSettings())
    }

    @Test(arguments: TestPostgres.Version.available)
    func `what keeps a session with its client is found`(version: TestPostgres.Version) throws {
        let session = try InspectedSession(.shared(version))
        func pins() throws -> [Bool] {
            let found = try session.inspect()
            return [found.hasTempObjects, found.hasAdvisoryLocks, found.hasHoldCursors]
        }
        for (make, drop) in [
            ("create temp table a (b int)", "drop table a"),
            ("create temp view a as select 1", "drop view a"),
            ("create temp sequence a", "drop sequence a"),
            ("create type pg_temp.a as enum ('b')", "drop type pg_temp.a"),
            ("create domain pg_temp.a as int", "drop domain pg_temp.a"),
            (
                "create function pg_temp.a() returns int language sql as 'select 1'",
                "drop function pg_temp.a"
            ),
        ] {
            try session.rows(make)
            #expect(try pins() == [true, false, false], "\(make)")
            try session.rows(drop)
            #expect(try pins() == [false, false, false], "\(drop)")
        }
        try session.rows("select pg_advisory_lock(1), pg_advisory_xact_lock(2)")
        #expect(try pins() == [false, true, false])
        try session.rows("select pg_advisory_unlock(1)")
        try session.rows("select pg_advisory_xact_lock(2)")
        try session.rows("declare c cursor with hold for select 1")
        #expect(try pins() == [false, false, true])
        try session.rows("close c")
        #expect(try pins() == [false, false, false])
    }

    @Test(arguments: TestPostgres.Version.available)
    func `locks and temporary tables of others are not the session's`(
        version: TestPostgres.Version
    ) throws {
        let server = try TestPostgres.shared(version)
        let (session, other) = (try InspectedSession(server), try InspectedSession(server))
        try other.rows("create temp table a (b int); select pg_advisory_lock(7)")
        let found = try session.inspect()
        #expect(!found.hasTempObjects && !found.hasAdvisoryLocks)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `a session is looked at whatever its settings are`(version: TestPostgres.Version) throws {
        let session = try InspectedSession(.shared(version))
        try session.rows(
            """
            begin; create schema hostile;
            create function hostile.lie(text, text) returns bool language sql as 'select false';
            create operator hostile.= (leftarg = text, rightarg = text, function = hostile.lie);
            create function hostile.set_config(text, text, bool) returns text
            language sql as 'select (1/0)::text';
            create type hostile.text as (a int); create view hostile.pg_locks as select 1;
            set standard_conforming_strings = off; set search_path to hostile, pg_catalog;
            set bytea_output = escape; set quote_all_identifiers = on; set enable_seqscan = off;
            set client_encoding = 'SJIS'; set default_transaction_read_only = on;
            set default_transaction_isolation = serializable; set row_security = off;
            set app.who = E'\\\\'''; set backslash_quote = off; set role trusty
            """)
        let before = try session.inspect(["app.who"], storedCode: true)
        #expect(before.settings.values.count == 12)
        #expect(before.settings.values["app.who"] == "\\'")
        try session.apply(from: before.settings, to: SessionSettings())
        try session.apply(from: SessionSettings(), to: before.settings)
        #expect(try session.inspect(["app.who"]).settings == before.settings)
        try session.rows("rollback")
    }
}

struct SessionInspectionEngineTests {
    @Test(arguments: TestPostgres.Version.available)
    func `an engine tells what it reports`(version: TestPostgres.Version) throws {
        let session = try InspectedSession(.shared(version), "application_name=x")
        let rows = try session.rows(SessionInspection.engineQuery)
        let engine = try #require(SessionInspection.readEngine(rows))
        #expect(engine.database == "postgres" && engine.user == "postgres")
        #expect(engine.reported.first { $0.name == "application_name" }?.value == "x")
        for (name, _) in SessionInspection.reportedNames {
            #expect(
                engine.reported.first { $0.name == name }?.value == session.reported(name),
                "\(name)")
        }
    }

    @Test(arguments: [
        [], [["s", "61", "62"]], [["u", "", "6"]], [["u", "", "6g"]], [["u", "", nil]],
        [["u", "", "61", ""]], [["?", "", ""], ["u", "", "61"]],
        [["d", "", "61"], ["u", "", "61"]],
    ])
    func `rows of something else are not read`(rows: [[String?]]) {
        #expect(SessionInspection.read(rows, engine: InspectedSession.engine) == nil)
    }
}

struct SessionStoredCodeTests {
    @Test(arguments: TestPostgres.Version.available)
    func `code that touches the session is told from code that does not`(
        version: TestPostgres.Version
    ) throws {
        let session = try InspectedSession(.shared(version))
        try session.rows("create temp table t (a int)")
        func mayTouch(_ made: String) throws -> Bool? {
            try session.rows("begin; " + made)
            defer { _ = try? session.rows("rollback") }
            return try session.inspect(storedCode: true).storedCode?.mayTouchSession
        }
        func function(_ body: String, _ language: String = "plpgsql") -> String {
            "create function f() returns void language \(language) as $f$\(body)$f$"
        }
        for harmless in [
            "select 1", function("begin update only t as x set a = 1; update t set a = 2; end"),
            function("begin insert into t values (1) on conflict do nothing; end"),
            function("select pg_advisory", "sql").replacing("pg_advisory", with: "1"),
            "create view pg_temp.v as select lower('A'), current_setting('a.b', true)",
            "create function f() returns int language sql begin atomic select 1; end",
            function("begin insert into t values (1); update t set a = 1 where a = 2; end"),
        ] {
            #expect(try mayTouch(harmless) == false, "\(harmless)")
        }
        for harmful in [
            function("begin perform SET_CONFIG('a.b', 'c', false); end"),
            function("begin -- x\n set a.b = 1; end"), function("begin execute 'x'; end"),
            function("begin update t set a = 1; set a.b = 1; end"),
            function("begin create temp table u (a int); end"),
            function("select pg_advisory_lock(1)", "sql"),
            function("begin update pg_settings set setting = 1; end"),
            "create function f() returns text language sql begin atomic "
                + "select set_config('a.b', 'c', false); end",
            "create view pg_temp.v as select set_config('a.b', 'c', false)",
            "alter table t alter a set default pg_advisory_lock(1)::text::int",
            "alter table t add check (pg_try_advisory_lock(1))",
            "create policy p on t using (pg_try_advisory_lock(1))",
            "create rule r as on insert to t do also select set_config('a.b', 'c', false)",
        ] {
            #expect(try mayTouch(harmful) == true, "\(harmful)")
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `custom settings of functions are found`(version: TestPostgres.Version) throws {
        let session = try InspectedSession(.shared(version))
        try session.rows(
            """
            begin;
            create function f() returns void language plpgsql as $$ begin
              perform set_config('App.One', 'x', false); set app.two = 'y';
              set session app.Three to 1;
              execute 'select set_config(''app.four'', ''z'', false)';
            end $$;
            select f(); set app.five = '5'
            """)
        let found = try session.inspect(["app.five", "app.six"], storedCode: true)
        #expect(
            found.storedCode?.customSettings == ["app.one", "app.two", "app.three", "app.four"])
        #expect(
            found.settings.values == [
                "app.one": "x", "app.two": "y", "app.three": "1", "app.four": "z", "app.five": "5",
            ])
        try session.rows("rollback")
    }
}

import PostgresWire
import TestSupport
import Testing

@testable import SharedSession

struct SessionSettingsTests {
    @Test func `equal settings need no statement`() {
        let some = SessionSettings(values: ["work_mem": "64", "role": "a"])
        #expect(SessionInspection.applyStatement(from: some, to: some).isEmpty)
    }

    @Test func `only what differs is changed, and a role last`() {
        let statements = SessionInspection.applyStatement(
            from: SessionSettings(values: ["a": "1", "b": "1", "c": "1", "role": "x"]),
            to: SessionSettings(values: ["b": "1", "c": "2", "d": "it's ü", "role": "y"]))
        #expect(
            statements == [
                "select pg_catalog.cardinality(array["
                    + "pg_catalog.set_config(E'role', E'none', false), "
                    + "pg_catalog.set_config(E'session_authorization', null, false), "
                    + "pg_catalog.set_config(E'a', null, false), "
                    + "pg_catalog.set_config(E'c', E'2', false), "
                    + "pg_catalog.set_config(E'd', E'it''s \\U000000fc', false), "
                    + "pg_catalog.set_config(E'role', E'y', false)])"
            ])
    }

    /// Every setting that a superuser may change in a session gets another value; then it must be
    /// found, given up, and given back.
    @Test(arguments: TestPostgres.Version.available)
    func `all settings go and come back`(version: TestPostgres.Version) throws {
        let session = try InspectedSession(.shared(version))
        let before = try session.inspect().settings
        let changed = try self.changeEverything(in: session)
        let found = try session.inspect().settings
        #expect(Set(found.values.keys) == changed)
        #expect(changed.count > 130)
        try session.apply(from: found, to: before)
        #expect(try session.inspect().settings == before)
        let isUnchanged = try session.value(
            """
            select bool_and(setting = reset_val) from pg_settings
            where context in ('user', 'superuser') and source <> 'override'
            """)
        #expect(isUnchanged == "t")
        try session.apply(from: before, to: found)
        #expect(try session.inspect().settings == found)
    }

    /// Settings that a test server cannot have, that would stop the test, or that are left alone.
    private static let unchangeable: Set = [
        "temp_buffers", "transaction_isolation", "transaction_read_only", "transaction_deferrable",
        "statement_timeout", "transaction_timeout", "idle_session_timeout",
        "idle_in_transaction_session_timeout", "debug_discard_caches", "ignore_system_indexes",
        "log_statement_stats", "default_with_oids", "wal_consistency_checking", "max_stack_depth",
        "log_min_messages", "client_min_messages",
    ]

    private func changeEverything(in session: InspectedSession) throws -> Set<String> {
        let settings = try session.rows(
            """
            select name, vartype, setting, min_val, max_val, array_to_string(enumvals, '|')
            from pg_settings where context in ('user', 'superuser') and source <> 'override'
            """)
        var changed: Set<String> = []
        for row in settings {
            let columns = row.map { $0 ?? "" }
            let name = columns[0]
            guard !Self.unchangeable.contains(name) else { continue }
            let value: String
            switch columns[1] {
            case "bool": value = columns[2] == "on" ? "off" : "on"
            case "enum":
                let others = columns[5].split(separator: "|").map(String.init)
                guard let other = others.first(where: { $0 != columns[2] }) else { continue }
                value = other
            case "integer", "real":
                value = columns[2] == columns[4] ? columns[3] : columns[4]
            case _:
                guard let text = Self.texts[name] else { continue }
                value = text
            }
            // What this build, or this platform, does not have cannot be set.
            let sql = SessionInspection.applyStatement(
                from: SessionSettings(), to: SessionSettings(values: [name: value]))
            guard (try? session.rows(sql.joined())) != nil else { continue }
            changed.insert(name)
        }
        return changed
    }

    private static let texts = [
        "application_name": "it's \\ \"me\"", "DateStyle": "German, YMD", "TimeZone": "Asia/Tokyo",
        "search_path": "\"a, b\", pg_temp, \"\"\"\"", "client_encoding": "WIN1252",
        "timezone_abbreviations": "Australia", "default_text_search_config": "pg_catalog.german",
        "temp_tablespaces": "", "lc_time": "C.UTF-8", "backtrace_functions": "a,b",
        "debug_io_direct": "", "dynamic_library_path": "/nowhere", "log_line_prefix": "x",
        "restrict_nonsystem_relation_kind": "view", "createrole_self_grant": "set, inherit",
    ]

    @Test(arguments: TestPostgres.Version.available)
    func `custom settings come back, and are empty for who has not set them`(
        version: TestPostgres.Version
    ) throws {
        let session = try InspectedSession(.shared(version))
        let first = SessionSettings(values: ["app.a": "日本 'x' \\", "app.b": " "])
        let second = SessionSettings(values: ["app.b": "2", "client_encoding": "LATIN1"])
        try session.apply(from: SessionSettings(), to: first)
        #expect(try session.inspect(["app.a", "APP.B", "app.c"]).settings == first)
        try session.apply(from: first, to: second)
        #expect(try session.inspect(["app.a", "app.b", "app.c"]).settings == second)
        #expect(try session.value("select current_setting('app.a', true)") == "")
        try session.apply(from: second, to: first)
        #expect(try session.inspect(["app.a", "app.b"]).settings == first)
    }

    @Test(arguments: TestPostgres.Version.available)
    func `whoever a session acts as does not stand in the way`(
        version: TestPostgres.Version
    ) throws {
        let session = try InspectedSession(.shared(version))
        let powerful = SessionSettings(values: ["session_replication_role": "replica"])
        let roles = [
            SessionSettings(values: ["role": "trusty", "session_replication_role": "local"]),
            SessionSettings(values: ["session_authorization": "trusty"]),
            SessionSettings(values: ["session_authorization": "scram", "work_mem": "65"]),
            SessionSettings(values: ["role": "pg_monitor", "session_authorization": "postgres"]),
            powerful,
        ]
        for from in roles {
            for to in roles {
                try session.apply(from: SessionSettings(), to: from)
                var expected = to
                try session.apply(from: from, to: to)
                if to.values["session_authorization"] == "postgres" {
                    expected.values["session_authorization"] = nil
                }
                #expect(try session.inspect().settings == expected)
                try session.apply(from: to, to: SessionSettings())
                #expect(try session.inspect().settings == SessionSettings())
                #expect(try session.value("select current_user") == "postgres")
            }
        }
    }

    @Test(arguments: TestPostgres.Version.available)
    func `an error changes nothing`(version: TestPostgres.Version) throws {
        let session = try InspectedSession(.shared(version))
        let before = SessionSettings(values: ["work_mem": "65"])
        try session.apply(from: SessionSettings(), to: before)
        let bad = SessionSettings(values: ["app.a": "1", "role": "nobody there"])
        #expect(throws: InspectionError.self) { try session.apply(from: before, to: bad) }
        #expect(try session.inspect(["app.a"]).settings == before)
    }
}

struct SessionStartupTests {
    private func settings(_ parameters: [(String, String)]) -> [String] {
        let request = StartupRequest(
            parameters: parameters.map { StartupRequest.Parameter(name: $0, value: $1) })
        return SessionInspection.startupSettings(request).map { "\($0.name)=\($0.value)" }
    }

    @Test func `parameters of a startup packet are settings, but those that are none`() {
        let found = self.settings([
            ("user", "a"), ("database", "b"), ("replication", "false"), ("TimeZone", "UTC"),
            ("options", ""), ("application_name", "x"), ("app.Who", "me"),
        ])
        #expect(found == ["timezone=UTC", "application_name=x", "app.who=me"])
    }

    @Test(arguments: [
        ("-c a=b", ["a=b"]), ("-ca=b --c-d=e", ["a=b", "c_d=e"]), ("-c  a=b\\ c", ["a=b c"]),
        ("-c a=\\\\ -c b=", ["a=\\", "b="]), ("-c a", []), ("-e", ["datestyle=euro"]),
        ("-ec a=b", ["datestyle=euro", "a=b"]), ("-S 64 -c a=b", ["work_mem=64", "a=b"]),
        ("-p c -c a=b", ["a=b"]), ("x -c a=b", ["a=b"]), ("-c", []), ("-", []), ("- c", []),
        ("-c a=b -c A=c -c search_path=a,b", ["a=c", "search_path=a,b"]), ("-c =b", []),
    ])
    func `options are taken apart as Postgres does`(options: String, expected: [String]) {
        #expect(self.settings([("options", options)]) == expected)
    }

    @Test func `parameters win over options`() {
        let found = self.settings([("datestyle", "sql"), ("options", "-c DateStyle=iso -c a=b")])
        #expect(found == ["a=b", "datestyle=sql"])
    }

    /// A greeting made without the engine against what a server says to the same startup packet.
    @Test(arguments: TestPostgres.Version.available)
    func `the greeting is the one that Postgres gives`(version: TestPostgres.Version) throws {
        let plain = try InspectedSession(.shared(version))
        let rows = try plain.rows(SessionInspection.engineQuery)
        let engine = try #require(SessionInspection.readEngine(rows))
        for options in [
            "-c client_encoding=utf-8 -c datestyle=dmy,SQL -c TimeZone=Europe/Berlin",
            "-c client_encoding=latin1 -c datestyle=german -c intervalstyle=ISO_8601",
            "-c client_encoding=Win-1252 -c datestyle=postgres,european -c search_path=a,b",
            "-c standard_conforming_strings=0 -c default_transaction_read_only=y -e",
            "-c datestyle=us -c application_name=me -c default_transaction_read_only=false",
        ] {
            let session = try InspectedSession(.shared(version), "options='\(options)'")
            let startup = StartupRequest(parameters: [.init(name: "options", value: options)])
            let greeting = SessionInspection.greetingParameters(
                reported: engine.reported, startup: SessionInspection.startupSettings(startup))
            for parameter in greeting {
                #expect(session.reported(parameter.name) == parameter.value, "\(options)")
            }
        }
    }

    @Test func `what Postgres would refuse is not greeted with`() {
        let reported = [
            ("DateStyle", "ISO, MDY"), ("client_encoding", "UTF8"), ("TimeZone", "UTC"),
            ("standard_conforming_strings", "on"), ("IntervalStyle", "postgres"),
        ].map { SessionInspection.Parameter(name: $0, value: $1) }
        let startup = reported.map { SessionInspection.Parameter(name: $0.name, value: "odd") }
        let greeting = SessionInspection.greetingParameters(reported: reported, startup: startup)
        #expect(greeting.map(\.value) == ["ISO, MDY", "UTF8", "odd", "on", "postgres"])
    }
}

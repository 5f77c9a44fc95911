import NIOCore

extension ScriptGenerator {
    // MARK: Settings

    private mutating func setting() -> (name: String, value: String) {
        self.pick([
            ("datestyle", "'German'"), ("datestyle", "'ISO, DMY'"), ("datestyle", "sql"),
            ("timezone", "'Asia/Tokyo'"), ("timezone", "'UTC'"), ("timezone", "-3"),
            ("client_encoding", "'LATIN1'"), ("client_encoding", "'UTF8'"),
            ("application_name", "'named \(self.client)'"), ("application_name", "''"),
            ("search_path", "public"), ("search_path", "shadow, pg_catalog, public"),
            ("search_path", "''"), ("search_path", "\"$user\", public"),
            ("work_mem", "'2MB'"), ("work_mem", "999999999999"),
            ("app.tenant", "'it''s me'"), ("app.tenant", "''"), ("app.other", "'two'"),
            ("my.\"Odd\"", "'three'"), ("statement_timeout", "'90s'"), ("lock_timeout", "80000"),
            ("intervalstyle", "iso_8601"), ("extra_float_digits", "-3"), ("bytea_output", "escape"),
            ("standard_conforming_strings", "off"), ("standard_conforming_strings", "on"),
            ("default_transaction_read_only", "on"), ("default_transaction_read_only", "off"),
            ("default_transaction_isolation", "'serializable'"), ("row_security", "off"),
            ("transform_null_equals", "on"), ("enable_seqscan", "off"), ("array_nulls", "off"),
            ("client_min_messages", "warning"), ("client_min_messages", "notice"),
            ("session_replication_role", "replica"), ("xmlbinary", "hex"),
            ("idle_in_transaction_session_timeout", "95000"), ("nonsense", "1"),
            ("quote_all_identifiers", "on"), ("default_table_access_method", "heap"),
        ])
    }

    mutating func settingTopic() {
        let (name, value) = self.setting()
        switch self.number(0..<14) {
        case 0, 1, 2: self.query("set \(name) = \(value)")
        case 3: self.query("set session \(name) to \(value); show \(name)")
        case 4: self.query("reset \(name)")
        case 5: self.query(self.pick(["reset all", "set \(name) to default"]))
        case 6: self.query("begin; set local \(name) = \(value); show \(name); commit")
        case 7: self.query("begin; set \(name) = \(value); rollback; show \(name)")
        case 8: self.query("select set_user('by function'), set_config('app.other', 'x', false)")
        case 9: self.query("select set_style('SQL, DMY')")
        case 10: self.roles()
        case 11: self.characteristics()
        case 12:
            self.exchange(
                "PBES set \(name)",
                [
                    FrontendMessage.parse("", "set \(name) = \(value)"), FrontendMessage.bind(""),
                    FrontendMessage.execute(),
                ])
        default: self.query("set \(name) = \(value); select 1/0")
        }
        self.look(name)
    }

    /// Asks for what was set, so that a setting that was lost is seen.
    private mutating func look(_ name: String) {
        if self.chance(1, of: 2) { self.query("show \(name)") }
        if self.chance(1, of: 3) {
            self.query(
                "select at, '1 mon 2 days'::interval, b, 1.1::float8, 'é' from \(self.items) "
                    + "where id = 1")
        }
        if self.chance(1, of: 12) {
            // LATIN1 bytes, or no UTF-8 at all, as the client's encoding has it.
            let text: [UInt8] = Array("select 'caf".utf8) + [0xe9] + Array("', length('x')".utf8)
            self.add(
                ScriptStep("Q select 'caf<e9>'", [FrontendMessage.query(bytes: text)], readies: 1))
        }
    }

    private mutating func roles() {
        self.query(
            self.pick([
                "set role app_reader", "set session authorization app_reader", "set role none",
                "set role nobody_there", "set session authorization default",
            ]))
        self.query("select current_user, session_user")
        if self.chance(1, of: 2) { self.query("update \(self.items) set n = 0 where id = 1") }
        if self.chance(3, of: 4) {
            self.query(self.pick(["reset role", "reset session authorization"]))
        }
    }

    private mutating func characteristics() {
        self.query(
            self.pick([
                "set session characteristics as transaction isolation level serializable",
                "set session characteristics as transaction read only",
                "set session characteristics as transaction read write",
                "set time zone 'Europe/Paris'", "set names 'LATIN1'", "set names 'UTF8'",
                "set time zone local", "set xml option content",
            ]))
        self.query("show transaction_isolation; show transaction_read_only; show timezone")
    }

    // MARK: Statements of SQL

    mutating func statementTopic() {
        let name = self.pick(["q1", "q2", "\"Q 3\"", "s1"])
        switch self.number(0..<9) {
        case 0, 1: self.query("prepare \(name) as select '\(name)', \(self.client)")
        case 2: self.query("prepare \(name)(int, text) as select $1 + 1, $2; select 'behind'")
        case 3: self.query("execute \(name)")
        case 4: self.query("execute \(name)(1, 'a;b'); select 'behind'")
        case 5: self.query("deallocate \(self.pick([name, "prepare \(name)", "all"]))")
        case 6:
            self.query("prepare \(name) as select id from \(self.items) where id < 3 order by id")
            self.query("explain (costs off) execute \(name)")
            self.query("create temp table made as execute \(name); drop table made")
        case 7: self.query(self.pick(["discard all", "discard plans", "discard temp"]))
        default:
            let sql = self.pick(["\(name)", "Q 3", "s1"]).replacing("\"", with: "")
            self.exchange(
                "BE '\(sql)'", [FrontendMessage.bind(sql), FrontendMessage.execute()])
        }
        if self.chance(1, of: 2) { self.query("execute \(name)") }
    }

    // MARK: What keeps the session

    mutating func pinTopic() {
        switch self.number(0..<6) {
        case 0, 1:
            self.query("create temp table scratch (a int, b text); insert into scratch values (1)")
            self.query("select * from scratch")
            if self.chance(1, of: 2) { self.query(self.statement()) }
            self.query("insert into scratch values (2, 'b'); table scratch")
            if self.chance(3, of: 4) {
                self.query(self.pick(["drop table scratch", "discard temp", "discard all"]))
            }
            self.query("table scratch")
        case 2:
            self.query("declare cur cursor with hold for select id from \(self.items) order by id")
            self.query("fetch 2 from cur")
            if self.chance(1, of: 2) { self.query(self.statement()) }
            self.query("fetch 2 from cur; move 1 in cur")
            if self.chance(3, of: 4) { self.query(self.pick(["close cur", "close all"])) }
            self.query("fetch 1 from cur")
        case 3:
            self.query("select pg_advisory_lock(\(self.client)), pg_try_advisory_lock(77)")
            if self.chance(1, of: 2) { self.query(self.statement()) }
            if self.chance(3, of: 4) { self.query("select pg_advisory_unlock(77)") }
            self.query("select pg_advisory_unlock(\(self.client))")
        case 4:
            self.query("begin; declare cur cursor for select id from \(self.items) order by id")
            self.query("fetch 3 from cur; fetch backward 1 from cur")
            self.query(self.pick(["commit", "rollback", "close cur; commit"]))
            self.query("fetch 1 from cur")
            self.isInTransaction = false
        default:
            self.query("select nextval('c\(self.client)_seq')")
            self.query("select currval('c\(self.client)_seq')")
        }
    }

    // MARK: Notifications

    /// Channels of this client alone, so that what comes can be told from the script.
    mutating func channelTopic() {
        let channel = self.pick(["c\(self.client)_a", "\"C\(self.client) b\""])
        switch self.number(0..<8) {
        case 0, 1: self.query("listen \(channel)")
        case 2: self.query("notify \(channel)")
        case 3: self.query("notify \(channel), 'it''s; news'; select 1")
        case 4: self.query("unlisten \(self.pick([channel, "*"]))")
        case 5:
            self.query("begin; listen \(channel); notify \(channel), 'in'; select 1")
            self.query(self.pick(["commit", "rollback"]))
            self.isInTransaction = false
        case 6: self.query("select pg_notify('c\(self.client)_a', 'by function')")
        default:
            self.exchange(
                "PBES notify",
                [
                    FrontendMessage.parse("", "notify \(channel), 'extended'"),
                    FrontendMessage.bind(""), FrontendMessage.execute(),
                ])
        }
    }
}

import NIOCore
import Simulation

/// Makes scripts of clients, by a seed alone.
///
/// A script touches only tables of its own number. Names of statements, portals, cursors, settings
/// and channels are the same for all clients, so that whatever leaks from one to another is seen.
struct ScriptGenerator {
    let client: Int
    var random: SeededGenerator
    /// What the script believes of its session; it may be wrong, then there is an error to compare.
    var isInTransaction = false
    var steps: [ScriptStep] = []

    init(client: Int, seed: UInt64) {
        self.client = client
        self.random = SeededGenerator(seed: seed &* 1_000_003 &+ UInt64(client))
        _ = self.random.next()
    }

    /// A whole script of about `length` topics.
    mutating func script(length: Int) -> ClientScript {
        var script = ClientScript()
        script.startup = self.startup()
        for _ in 0..<length {
            if self.isInTransaction, self.chance(1, of: 3) { self.transactionTopic() }
            self.topic()
        }
        script.steps = self.steps
        script.isPolite = self.chance(3, of: 4)
        return script
    }

    private mutating func topic() {
        switch self.number(0..<100) {
        case 0..<12: self.simpleTopic()
        case 12..<30: self.extendedTopic()
        case 30..<38: self.pipelineTopic()
        case 38..<48: self.transactionTopic()
        case 48..<64: self.settingTopic()
        case 64..<72: self.statementTopic()
        case 72..<80: self.pinTopic()
        case 80..<86: self.channelTopic()
        case 86..<95: self.copyTopic()
        case 95..<97: self.largeTopic()
        default: self.oddTopic()
        }
    }

    private mutating func startup() -> [(String, String)] {
        var parameters: [(String, String)] = []
        if self.chance(1, of: 2) {
            parameters.append(("application_name", self.pick(["psql", "app \(self.client)", ""])))
        }
        if self.chance(1, of: 4) {
            parameters.append(("client_encoding", self.pick(["UTF8", "LATIN1", "'utf-8'"])))
        }
        if self.chance(1, of: 4) {
            parameters.append(("DateStyle", self.pick(["ISO, DMY", "German", "sql, mdy"])))
        }
        if self.chance(1, of: 4) {
            parameters.append(("TimeZone", self.pick(["Europe/Berlin", "Asia/Tokyo", "UTC"])))
        }
        if self.chance(1, of: 4) {
            parameters.append(
                (
                    "options",
                    self.pick([
                        "-c work_mem=8MB", "-c datestyle=SQL,DMY -c app.tenant=startup",
                        "--search-path=shadow,public", "-c statement_timeout=70s",
                        "-c intervalstyle=iso_8601 -cextra_float_digits=0",
                    ])
                ))
        }
        if self.chance(1, of: 8) { parameters.append(("search_path", "public, pg_catalog")) }
        if self.chance(1, of: 16) { parameters.append(("extra_float_digits", "nonsense")) }
        return parameters
    }

    // MARK: Small words

    var items: String { "c\(self.client)_items" }
    var lines: String { "c\(self.client)_lines" }

    mutating func number(_ range: Range<Int>) -> Int { .random(in: range, using: &self.random) }

    mutating func chance(_ part: Int, of whole: Int) -> Bool { self.number(0..<whole) < part }

    mutating func pick<Value>(_ values: [Value]) -> Value {
        values[self.number(0..<values.count)]
    }

    mutating func add(_ step: ScriptStep) { self.steps.append(step) }
    mutating func query(_ sql: String) { self.add(.query(sql)) }

    /// A few extended messages up to Sync.
    mutating func exchange(_ label: String, _ parts: [ByteBuffer]) {
        self.add(ScriptStep(label, parts + [FrontendMessage.sync], readies: 1))
    }

    // MARK: Statements that stand alone

    /// A statement that neither changes the session nor ends a transaction.
    mutating func statement() -> String {
        let items = self.items
        return self.pick([
            "select 1",
            "select id, name from \(items) order by id limit \(self.number(0..<5))",
            "select count(*), sum(n) from \(items)",
            "select at, '2024-03-04'::date, interval '1 day 2 hours' from \(items) where id = 1",
            "select 0.1::float8 + 0.2::float8, b, m from \(items) where id = 2",
            "update \(items) set n = n + 1 where id <= \(self.number(1..<9)) returning id, n",
            "insert into \(items) (id, name) values (\(self.number(15..<60)), 'it''s')",
            "delete from \(items) where id = \(self.number(10..<60)) returning *",
            "select generate_series(1, \(self.number(1..<30)))",
            "select 1/0", "select nope", "selec 1", "select 'unended", "select fail('x')",
            "select tell('a'), tell('b')", "values (1, 'a'), (2, null)", "table \(items)",
            "select current_user, session_user, current_schemas(false)",
            "select current_setting('datestyle'), current_setting('app.tenant', true)",
            "select pg_typeof(1), 'x'::text collate \"C\"", "select 'é', length('é')",
            "select -5::positive", "select $$a;b$$, E'\\n', '\\n' /* ; /* ; */ */ -- ;",
            "insert into \(self.lines) values (\(self.number(0..<99)), 'line') returning a",
            "do $$ begin raise notice 'noticed'; raise warning 'warned'; end $$",
            "show datestyle", "show search_path", "show app.tenant", "show client_encoding",
            "show work_mem", "show transaction_isolation", "", ";",
        ])
    }

    private mutating func simpleTopic() {
        guard self.chance(1, of: 3) else { return self.query(self.statement()) }
        var parts = (0..<self.number(2..<5)).map { _ in self.statement() }
        if self.chance(1, of: 3) {
            let word = self.pick([
                "begin", "commit", "rollback", "savepoint s", "set work_mem=2048",
            ])
            parts.insert(word, at: self.number(0..<parts.count))
        }
        self.query(parts.joined(separator: "; "))
        if !self.isInTransaction { self.settle() }
    }

    /// Ends whatever a text may have begun.
    mutating func settle() { self.query("rollback") }

    private mutating func transactionTopic() {
        if self.isInTransaction {
            self.query(
                self.pick(["commit", "rollback", "end", "abort", "commit and chain", "rollback"]))
            if self.chance(1, of: 8) { self.settle() }
            self.isInTransaction = false
            return self.settle()
        }
        self.query(
            self.pick([
                "begin", "start transaction isolation level serializable", "begin read only",
                "BEGIN -- now",
            ]))
        self.isInTransaction = true
        for _ in 0..<self.number(0..<4) {
            self.query(
                self.pick([
                    "savepoint a", "rollback to a", "release a", "savepoint \"B b\"",
                    "rollback to savepoint \"B b\"", self.statement(), self.statement(),
                    "set local datestyle = 'German'", "set datestyle = 'SQL, DMY'",
                    "set local app.tenant = 'local'", "select set_config('app.tenant', 'tx', true)",
                ]))
        }
        if self.chance(1, of: 2) {
            self.query(self.pick(["commit", "rollback"]))
            self.isInTransaction = false
        }
    }

    private mutating func largeTopic() {
        switch self.number(0..<4) {
        case 0: self.query("select i, repeat('x', 200) from generate_series(1, 2000) i")
        case 1: self.query("select repeat('long', 60000)")
        case 2:
            let text = String(repeating: "p", count: self.number(70_000..<300_000))
            self.exchange(
                "large parameter",
                [
                    FrontendMessage.parse("", "select length($1), md5($1)", types: [25]),
                    FrontendMessage.bind("", [.text(text)]), FrontendMessage.execute(),
                ])
        default:
            let text = String(repeating: "q", count: self.number(20_000..<150_000))
            self.query("select length('\(text)')")
        }
    }

    /// What no sane client does, and Postgres answers all the same.
    private mutating func oddTopic() {
        switch self.number(0..<8) {
        case 0: self.exchange("S alone", [])
        case 1: self.exchange("E of no portal", [FrontendMessage.execute(portal: "none")])
        case 2: self.exchange("B of no statement", [FrontendMessage.bind("none")])
        case 3: self.exchange("C of nothing", [FrontendMessage.close(statement: "none")])
        case 4: self.exchange("D of no portal", [FrontendMessage.describe(portal: "none")])
        case 5: self.add(ScriptStep("H alone", [FrontendMessage.flush], readies: 0))
        case 6:
            self.add(
                ScriptStep(
                    "F int4pl", [FrontendMessage.functionCall(177, ["20", "22"])], readies: 1))
        default:
            self.add(
                ScriptStep(
                    "stray CopyDone",
                    [FrontendMessage.copyDone, FrontendMessage.query("select 7")],
                    readies: 1))
        }
    }
}

import NIOCore

extension ScriptGenerator {
    /// A statement with parameters, its values, and the OIDs of their types where they are said.
    private struct Parameterised {
        var sql: String
        var values: [FrontendMessage.Value] = []
        var types: [UInt32] = []
    }

    private mutating func parameterised() -> Parameterised {
        switch self.number(0..<10) {
        case 0: .init(sql: "select $1::int + $2::int", values: [.text("2"), .text("40")])
        case 1:
            .init(
                sql: "select id, name, m from \(self.items) where id < $1 order by id",
                values: [.text("\(self.number(1..<25))")])
        case 2:
            .init(
                sql: "update \(self.items) set name = $1, m = $3 where id = $2 returning *",
                values: [.text("é ☃"), .text("3"), .text(self.pick(["sad", "happy", "odd"]))])
        case 3: .init(sql: "select $1", values: [.null], types: [25])
        case 4: .init(sql: "select 1 / $1::int", values: [.text(self.pick(["0", "1"]))])
        case 5: .init(sql: "select set_user($1)", values: [.text("u\(self.client)")])
        case 6: .init(sql: "select $1::int", values: [.bytes([0, 0xff])])
        case 7: .init(sql: "select generate_series(1, $1::int)", values: [.text("12")])
        case 8:
            .init(
                sql: "insert into \(self.lines) values ($1, $2)", values: [.text("7"), .text("x")])
        default: .init(sql: self.statement())
        }
    }

    private mutating func statementName() -> String { self.pick(["", "", "s1", "s2", "S \"3\""]) }

    mutating func extendedTopic() {
        switch self.number(0..<8) {
        case 0, 1: self.oneExchange()
        case 2: self.parseThenUse()
        case 3: self.rowLimits()
        case 4: self.flushed()
        case 5: self.reparse()
        case 6: self.unnamedThroughQuery()
        default: self.describeAll()
        }
    }

    private mutating func oneExchange() {
        let statement = self.parameterised()
        let portal = self.pick(["", "", "p"])
        var parts = [FrontendMessage.parse("", statement.sql, types: statement.types)]
        if self.chance(1, of: 3) { parts.append(FrontendMessage.describe(statement: "")) }
        let isBinary = self.chance(1, of: 4)
        parts.append(
            FrontendMessage.bind(portal: portal, "", statement.values, binary: isBinary))
        if self.chance(1, of: 2) { parts.append(FrontendMessage.describe(portal: portal)) }
        parts.append(FrontendMessage.execute(portal: portal))
        if self.chance(1, of: 4) { parts.append(FrontendMessage.close(portal: portal)) }
        self.exchange("PBES \(statement.sql)", parts)
    }

    private mutating func parseThenUse() {
        let statement = self.parameterised()
        let name = self.statementName()
        let again = self.pick([name, name, "s1"])
        self.exchange(
            "P '\(name)' \(statement.sql)",
            [FrontendMessage.parse(name, statement.sql, types: statement.types)]
                + (self.chance(1, of: 2) ? [FrontendMessage.describe(statement: name)] : []))
        for _ in 0..<self.number(0..<3) {
            self.exchange(
                "BE '\(again)'",
                [FrontendMessage.bind(again, statement.values), FrontendMessage.execute()])
        }
        if self.chance(1, of: 3) { self.query(self.statement()) }
        self.exchange(
            "BDE '\(name)'",
            [
                FrontendMessage.bind(name, statement.values), FrontendMessage.describe(portal: ""),
                FrontendMessage.execute(),
            ])
        if self.chance(1, of: 2) {
            self.exchange("C '\(name)'", [FrontendMessage.close(statement: name)])
        }
        if self.chance(1, of: 4), name == "s1" { self.query("execute s1") }
        if self.chance(1, of: 4), name == "s2" { self.query("deallocate s2") }
    }

    private mutating func reparse() {
        let name = self.statementName()
        let first = FrontendMessage.parse(name, "select 'first'")
        let second = FrontendMessage.parse(name, "select 'second', $1::int")
        let bind = [
            FrontendMessage.bind(name, [.text("1")]), FrontendMessage.execute(),
        ]
        if self.chance(1, of: 2) {
            self.exchange("PP '\(name)'", [first, second] + bind)
        } else {
            let close = FrontendMessage.close(statement: name)
            self.exchange("PCP '\(name)'", [first, close, second] + bind)
        }
    }

    /// A Query ends the unnamed statement and the unnamed portal.
    private mutating func unnamedThroughQuery() {
        self.exchange("P '' select 5", [FrontendMessage.parse("", "select 5")])
        if self.chance(1, of: 2) { self.query(self.pick(["select 1", "", "selec"])) }
        self.exchange("BE ''", [FrontendMessage.bind(""), FrontendMessage.execute()])
        // Not in a transaction that failed: there Postgres 15 reads freed memory of the portal of
        // the Query that failed.
        self.settle()
        self.isInTransaction = false
        self.exchange("E ''", [FrontendMessage.execute()])
    }

    private mutating func describeAll() {
        let name = self.statementName()
        let sql = self.parameterised().sql
        self.exchange(
            "PD '\(name)' \(sql)",
            [FrontendMessage.parse(name, sql), FrontendMessage.describe(statement: name)])
        self.exchange("D '\(name)'", [FrontendMessage.describe(statement: name)])
    }

    private mutating func rowLimits() {
        let portal = self.pick(["p", "q q"])
        let parse = FrontendMessage.parse("", "select i from generate_series(1, 7) i")
        let bind = FrontendMessage.bind(portal: portal, "")
        let execute = FrontendMessage.execute(portal: portal, rows: 3)
        let execution = [parse, bind, execute]
        if self.chance(1, of: 2) {
            self.exchange("PBEEE limited", execution + [execute, execute])
            // The portal is gone with its transaction, unless there is a longer one.
            return self.exchange("E limited", [execute])
        }
        self.query("begin")
        self.exchange("PBE limited", execution)
        if self.chance(1, of: 3) { self.query("savepoint x") }
        self.exchange("E limited", [execute])
        if self.chance(1, of: 3) { self.query(self.pick(["select 1", "rollback to x"])) }
        self.exchange("E limited", [FrontendMessage.execute(portal: portal)])
        self.query(self.pick(["commit", "rollback"]))
        self.isInTransaction = false
    }

    /// A client that asks for its answers before Sync.
    private mutating func flushed() {
        let statement = self.parameterised()
        let name = self.statementName()
        self.add(
            ScriptStep(
                "PDH '\(name)' \(statement.sql)",
                [
                    FrontendMessage.parse(name, statement.sql, types: statement.types),
                    FrontendMessage.describe(statement: name), FrontendMessage.flush,
                ], readies: 0, wait: .answers(2)))
        if self.chance(1, of: 2) {
            self.add(
                ScriptStep(
                    "BEH '\(name)'",
                    [
                        FrontendMessage.bind(name, statement.values),
                        FrontendMessage.execute(rows: self.pick([0, 0, 2])), FrontendMessage.flush,
                    ], readies: 0, wait: .answers(2)))
        }
        if self.chance(1, of: 2) {
            self.exchange("CS '\(name)'", [FrontendMessage.close(statement: name)])
        } else {
            self.exchange("S", [])
        }
    }

    /// Several exchanges sent at once, with errors between them.
    mutating func pipelineTopic() {
        if self.chance(1, of: 3) { return self.severalQueries() }
        var parts: [ByteBuffer] = []
        var label = ""
        let count = self.number(2..<6)
        for _ in 0..<count {
            for _ in 0..<self.number(0..<4) {
                let (message, letter) = self.pipelinePart()
                parts += message
                label += letter
            }
            parts.append(FrontendMessage.sync)
            label += "S "
        }
        self.add(ScriptStep("pipeline \(label)", parts, readies: count))
        self.settle()
        self.isInTransaction = false
    }

    private mutating func pipelinePart() -> ([ByteBuffer], String) {
        let name = self.statementName()
        switch self.number(0..<7) {
        case 0, 1, 2:
            let statement = self.parameterised()
            return (
                [
                    FrontendMessage.parse("", statement.sql, types: statement.types),
                    FrontendMessage.bind("", statement.values), FrontendMessage.execute(),
                ], "[\(statement.sql)]"
            )
        case 3:
            return ([FrontendMessage.parse(name, "select \(self.number(1..<9))")], "P'\(name)'")
        case 4:
            return ([FrontendMessage.bind(name), FrontendMessage.execute()], "BE'\(name)'")
        case 5: return ([FrontendMessage.close(statement: name)], "C'\(name)'")
        default:
            let word = self.pick(["begin", "commit", "rollback", "set datestyle = 'German'"])
            return (
                [
                    FrontendMessage.parse("", word), FrontendMessage.bind(""),
                    FrontendMessage.execute(),
                ], "[\(word)]"
            )
        }
    }

    /// Queries behind each other without waiting, perhaps with an exchange among them.
    private mutating func severalQueries() {
        for _ in 0..<self.number(1..<4) {
            var step = ScriptStep.query(self.statement())
            step.wait = .nothing
            self.add(step)
            if self.chance(1, of: 3) {
                let statement = self.parameterised()
                var parts = [
                    FrontendMessage.parse("", statement.sql, types: statement.types),
                    FrontendMessage.bind("", statement.values), FrontendMessage.execute(),
                ]
                parts.append(FrontendMessage.sync)
                self.add(ScriptStep("PBES", parts, readies: 1, wait: .nothing))
            }
        }
        self.query(self.statement())
    }
}

import NIOCore

extension ScriptGenerator {
    mutating func copyTopic() {
        switch self.number(0..<8) {
        case 0: self.copyOut()
        case 1, 2, 3: self.copyIn()
        case 4: self.copyInExtended()
        case 5: self.copyInTransaction()
        case 6: self.copyBetween()
        default: self.copyEager()
        }
        self.query("select count(*), sum(a), max(b) from \(self.lines)")
    }

    private mutating func copyOut() {
        let copy = self.pick([
            "copy \(self.items) to stdout", "copy (select 1, 'a;b' where false) to stdout csv",
            "copy (select i, 1 / (3 - i) from generate_series(1, 5) i) to stdout",
            "select 1; copy \(self.items) to stdout (format csv, header); select 2",
            "copy (select repeat('y', 500) from generate_series(1, 300)) to stdout",
        ])
        if self.chance(1, of: 2) { return self.query(copy) }
        self.exchange(
            "PBES \(copy)",
            [FrontendMessage.parse("", copy), FrontendMessage.bind(""), FrontendMessage.execute()])
    }

    private mutating func copyCommand() -> String {
        self.pick([
            "copy \(self.lines) from stdin", "COPY public.\(self.lines)(a, b) FROM STDIN",
            "/* ; */ copy \(self.lines) from stdin (format csv)",
            "copy \(self.lines) (a) from stdin with null 'N'", "copy none_such from stdin",
            "copy \(self.lines) from stdin where a > 2",
        ])
    }

    /// CopyData, cut anywhere, and its end: done, failed, or broken rows.
    private mutating func copyBody() -> [ByteBuffer] {
        var rows = ""
        for _ in 0..<self.number(0..<6) { rows += "\(self.number(0..<9))\n" }
        if self.chance(1, of: 2) { rows = rows.replacing("\n", with: "\tx\n") }
        if self.chance(1, of: 6) { rows += "broken\n" }
        if self.chance(1, of: 10) {
            rows += String(repeating: "5\n", count: self.number(1000..<30_000))
        }
        var parts: [ByteBuffer] = []
        var rest = Substring(rows)
        while !rest.isEmpty {
            let size = self.number(1..<max(2, rest.utf8.count + 1))
            parts.append(FrontendMessage.copyData(String(rest.prefix(size))))
            rest = rest.dropFirst(size)
        }
        let isGivenUp = self.chance(1, of: 6)
        return parts + [isGivenUp ? FrontendMessage.copyFail("no more") : FrontendMessage.copyDone]
    }

    /// The steps of a client that waits for CopyInResponse.
    private mutating func copySteps(_ sql: String, copies: Int = 1) {
        self.add(
            ScriptStep("Q \(sql)", [FrontendMessage.query(sql)], readies: 1, wait: .copyOrReady))
        for _ in 0..<copies {
            let body = self.copyBody()
            if self.chance(1, of: 3), body.count > 1 {
                // In two parts, with nothing to wait for between them.
                self.add(
                    ScriptStep(
                        "data", [body[0]], readies: 0, wait: .nothing, needsCopy: true))
                self.add(
                    ScriptStep(
                        "data, end", Array(body.dropFirst()), readies: 0, wait: .copyOrReady,
                        needsCopy: true))
            } else {
                self.add(
                    ScriptStep("data, end", body, readies: 0, wait: .copyOrReady, needsCopy: true))
            }
        }
        self.add(
            ScriptStep(
                "give up", [FrontendMessage.copyFail("odd")], readies: 0, wait: .ready,
                needsCopy: true))
    }

    private mutating func copyIn() { self.copySteps(self.copyCommand()) }

    private mutating func copyInTransaction() {
        self.query(self.pick(["begin", "begin", "rollback"]))
        self.copySteps(self.copyCommand())
        if self.chance(1, of: 3) { self.copySteps(self.copyCommand()) }
        self.query(self.pick(["commit", "rollback"]))
        self.isInTransaction = false
    }

    private mutating func copyBetween() {
        let lines = self.lines
        let text = self.pick([
            "select 1; copy \(lines) from stdin; select 2",
            "copy \(lines) from stdin; copy \(lines) from stdin; select 3",
            "insert into \(lines) values (9, 'nine'); copy \(lines) from stdin; select 1/0",
            "begin; copy \(lines) from stdin; commit; select 4",
            "select 1/0; copy \(lines) from stdin", "set app.tenant = 'copy'; copy x from stdin",
        ])
        self.copySteps(text, copies: 2)
    }

    private mutating func copyInExtended() {
        let copy = self.copyCommand()
        let parts = [
            FrontendMessage.parse("", copy), FrontendMessage.bind(""),
            FrontendMessage.describe(portal: ""), FrontendMessage.execute(),
        ]
        if self.chance(1, of: 2) {
            // As libpq: Sync at once, which Postgres ignores in CopyIn, and again at the end.
            self.add(
                ScriptStep(
                    "PBDES \(copy)", parts + [FrontendMessage.sync], readies: 1, wait: .copyOrReady)
            )
            self.add(
                ScriptStep(
                    "data, end, S", self.copyBody() + [FrontendMessage.sync], readies: 0,
                    wait: .ready, needsCopy: true))
        } else {
            self.add(
                ScriptStep(
                    "PBDEH \(copy)", parts + [FrontendMessage.flush], readies: 0,
                    wait: .copyOrError))
            self.add(
                ScriptStep(
                    "data, end", self.copyBody(), readies: 0, wait: .nothing, needsCopy: true)
            )
            self.exchange("S", [])
        }
    }

    /// The data come behind the command, unasked.
    private mutating func copyEager() {
        let copy = "copy \(self.lines) from stdin"
        self.add(
            ScriptStep(
                "eager \(copy)", [FrontendMessage.query(copy)] + self.copyBody(), readies: 1))
        if self.chance(1, of: 2) {
            self.exchange(
                "eager PBE… \(copy)",
                [
                    FrontendMessage.parse("", copy), FrontendMessage.bind(""),
                    FrontendMessage.execute(),
                ] + self.copyBody())
        }
    }
}

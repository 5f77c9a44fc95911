import Testing

@testable import Deploy

@Suite struct ToolLogTests {
    private func lines(_ text: String, secrets: [String] = []) -> [String] {
        var log = ToolLog(tool: "pg_restore", secrets: secrets)
        _ = log.receive(Array(text.utf8))
        _ = log.finish()
        return log.lines
    }

    @Test(
        arguments: [
            ("pg_restore: creating TABLE \"public.t\"", .progress, "creating TABLE \"public.t\""),
            ("pg_restore: warning: no such thing", .warning, "no such thing"),
            ("pg_restore: error: could not", .error, "could not"),
            ("pg_restore: hint: try", .other, "try"),
            ("DETAIL:  more", .other, "DETAIL:  more"),
        ] as [(String, ToolMessage.Kind, String)])
    func `a line says what kind it is`(line: String, kind: ToolMessage.Kind, text: String) {
        let message = ToolMessage(tool: "pg_restore", line: line)
        #expect(message.kind == kind)
        #expect(message.text == text)
    }

    @Test(arguments: 1...9)
    func `lines are the same however the bytes are cut`(size: Int) {
        let text = "pg_restore: one\npg_restore: error: zwölf\nlast"
        var log = ToolLog(tool: "pg_restore", secrets: [])
        var seen: [String] = []
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            seen += log.receive(rest.prefix(size)).map(\.text)
            rest = rest.dropFirst(size)
        }
        seen += log.finish().map(\.text)
        #expect(seen == ["one", "zwölf", "last"])
    }

    @Test func `from the first error on lines are kept, and progress is not`() {
        let kept = self.lines(
            """
            pg_restore: creating A
            pg_restore: error: first
            DETAIL:  why
            pg_restore: creating B
            pg_restore: error: second

            """)
        #expect(kept == ["pg_restore: error: first", "DETAIL:  why", "pg_restore: error: second"])
    }

    @Test func `a statement that failed is cut before its values`() {
        let kept = self.lines(
            """
            pg_restore: error: could not execute query: ERROR:  no
            Command was: CREATE USER MAPPING FOR me SERVER s OPTIONS (
                password 'hidden'
            );
            pg_restore: error: Command was: over

            """)
        #expect(
            kept == [
                "pg_restore: error: could not execute query: ERROR:  no",
                "Command was: CREATE USER MAPPING FOR me SERVER s OPTIONS ",
                "pg_restore: error: Command was: over",
            ])
        let connection = self.lines("Command was: CREATE SUBSCRIPTION s CONNECTION 'password=x'\n")
        #expect(connection == ["Command was: CREATE SUBSCRIPTION s CONNECTION "])
    }

    @Test func `a password is not repeated`() {
        let kept = self.lines("pg_restore: error: bad password hidden!\n", secrets: ["hidden!"])
        #expect(kept == ["pg_restore: error: bad password …"])
    }

    @Test func `neither a long line nor many lines take memory`() {
        let long = self.lines(String(repeating: "x", count: 100_000))
        #expect(long.map(\.utf8.count) == [ToolLog.maximumLineBytes])
        let before = (1...100).map { "line \($0)\n" }.joined()
        #expect(self.lines(before).first == "line 91")
        let errors = (1...100).map { "pg_restore: error: \($0)\n" }.joined()
        #expect(self.lines(errors).count == ToolLog.maximumErrorLines)
    }
}

import Deploy

/// What a demo says between the things that it runs.
struct DemoNarrator: Sendable {
    /// Whether it prints JSON and nothing else.
    let json: Bool

    /// One line of JSON.
    private struct Line: Encodable {
        var event: String
        var text: String?
        var command: String?
        var database: String?
        var sql: String?
        var rows: [[String?]]?
        var seconds: Double?
    }

    /// For a person only.
    func say(_ text: String) {
        guard !self.json else { return }
        print(text)
        Output.flush()
    }

    /// A part of the demo begins.
    func step(_ text: String) { self.tell(Line(event: "demo-step", text: text), "\n== \(text)") }

    /// What a person would type for what comes now.
    func command(_ text: String) {
        self.tell(Line(event: "demo-command", command: text), "\n$ \(text)")
    }

    /// What a query gave.
    func answered(_ query: DemoQuery, _ rows: [[String?]], at database: String) {
        let table = Output.table([query.columns] + rows.map { row in row.map { $0 ?? "" } })
        let indented = table.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n")
        self.tell(
            Line(event: "demo-query", database: database, sql: query.sql, rows: rows),
            "\nAsked \(database):\n\(ProgressText.printableLines(indented))")
    }

    /// A sentence that was checked.
    func proved(_ text: String) { self.tell(Line(event: "demo-proved", text: text), text) }

    /// The end; everything is cleaned up. Where it is not whole, a signal ended it.
    func finished(isWhole: Bool, seconds: Double) {
        let words = isWhole ? "Done in \(ProgressText.duration(seconds))" : "Stopped"
        self.tell(
            Line(event: isWhole ? "demo-finished" : "demo-stopped", seconds: seconds),
            "\n\(words). Everything of the demo is gone.")
    }

    private func tell(_ line: Line, _ text: String) {
        guard self.json else { return self.say(text) }
        // Texts and numbers are always JSON.
        try? Output.printSafeJSON(line)
        Output.flush()
    }
}

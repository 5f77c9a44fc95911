public import NIOCore

/// What a person reads during a run: lines that stay, and how far it is in between.
///
/// Pure: events and the time in, text out. The texts are safe to print: they hold no control
/// characters of others.
public struct ProgressTranscript: Sendable {
    /// A line, and how it may be coloured.
    public struct Line: Sendable, Hashable {
        /// What a line means to its reader.
        public enum Tone: Sendable, Hashable {
            /// Nothing special.
            case plain
            /// It worked.
            case good
            /// Look at it.
            case warning
            /// It did not work.
            case bad
        }

        /// The text, without a line end.
        public var text: String
        /// What it means.
        public var tone: Tone

        /// Creates a line.
        public init(_ text: String, _ tone: Tone = .plain) {
            self.text = text
            self.tone = tone
        }
    }

    /// How often a log is told of work that takes long.
    public static let plainInterval = TimeAmount.seconds(10)

    private var meter = ProgressMeter()
    private let hasBar: Bool
    private var phase: DeployPhase?
    private var phaseBegan = NIODeadline.uptimeNanoseconds(0)
    private var lastLine = NIODeadline.uptimeNanoseconds(0)
    private var isOver = false

    /// Creates a transcript.
    ///
    /// - Parameter hasBar: Whether a bar tells how far the run is. Otherwise lines do.
    public init(hasBar: Bool) {
        self.hasBar = hasBar
    }

    /// One event happened.
    ///
    /// A plan and a failure have no lines here: the plan is a text of its own, and a failure goes
    /// to standard error (``ProgressText/failure(_:)``).
    ///
    /// - Returns: The lines to print, none for most events.
    public mutating func apply(_ event: DeployEvent, now: NIODeadline) -> [Line] {
        var lines: [Line] = []
        switch event {
        case .phase(let phase): lines = self.enter(phase, now: now)
        case .finished, .failed: lines = self.leave(now: now)
        case .tableStarted, .tableProgress, .tableFinished, .started, .planned, .finding, .step,
            .notice, .verified, .committed, .rolledBack:
            break
        }
        self.meter.apply(event, now: now)
        lines += self.lines(for: event)
        if !lines.isEmpty { self.lastLine = now }
        return lines
    }

    /// What belongs into the bar now; nil where there is none.
    public mutating func bar(now: NIODeadline, columns: Int) -> String? {
        guard self.hasBar, self.phase != nil, !self.isOver else { return nil }
        return ProgressText.bar(self.meter.snapshot(now: now), columns: columns)
    }

    /// A line for a log that has heard nothing for ``plainInterval``; nil if none is due.
    public mutating func overdue(now: NIODeadline) -> Line? {
        guard !self.hasBar, self.phase != nil, !self.isOver,
            now - self.lastLine >= Self.plainInterval
        else { return nil }
        self.lastLine = now
        return Line(ProgressText.plain(self.meter.snapshot(now: now)))
    }

    private mutating func enter(_ phase: DeployPhase, now: NIODeadline) -> [Line] {
        guard phase != self.phase else { return [] }
        let lines = self.leave(now: now)
        self.isOver = false
        self.phase = phase
        self.phaseBegan = now
        return lines + (self.hasBar ? [] : [Line(ProgressText.doing(phase))])
    }

    /// The rows are worth a line when they are all there, also where a bar told of them.
    private mutating func leave(now: NIODeadline) -> [Line] {
        defer { self.phase = nil }
        guard self.phase == .data else { return [] }
        let done = self.meter.snapshot(now: now)
        guard done.finishedTables > 0, done.tables.isEmpty else { return [] }
        let seconds = Double((now - self.phaseBegan).nanoseconds) / 1e9
        return [
            Line(
                "copied \(ProgressText.count(done.rows, "row")) of "
                    + "\(ProgressText.count(Int64(done.finishedTables), "table")), "
                    + "\(ProgressText.bytes(done.bytes)), in \(ProgressText.duration(seconds))")
        ]
    }

    private mutating func lines(for event: DeployEvent) -> [Line] {
        switch event {
        case .started(let run):
            [
                Line(
                    "deployment \(ProgressText.printable(run.id)): "
                        + "\(ProgressText.printable(run.source)) to "
                        + ProgressText.printable(run.target))
            ]
        case .finding(let finding): Self.lines(for: finding)
        case .tableFinished(let table): self.hasBar ? [] : [Self.line(for: table)]
        case .notice(let notice): [Self.line(for: notice)]
        case .verified(let found): Self.lines(for: found)
        case .committed: [Line("committed: the target holds the new state", .good)]
        case .rolledBack: [Line("undone: the target is as it was before", .warning)]
        case .finished(let end): self.lines(for: end)
        case .failed: self.end()
        case .planned, .phase, .step, .tableStarted, .tableProgress: []
        }
    }

    private static func lines(for finding: Finding) -> [Line] {
        let (name, tone): (String, Line.Tone) =
            switch finding.severity {
            case .info: ("note", .plain)
            case .warning: ("warning", .warning)
            case .blocking: ("blocked", .bad)
            }
        let fix = finding.fix.map { [Line("  " + ProgressText.printableLines($0))] } ?? []
        return [Line("\(name): " + ProgressText.printableLines(finding.sentence), tone)] + fix
    }

    private static func line(for table: TableProgress) -> Line {
        let rows = table.rows.map { ProgressText.count($0, "row") + ", " } ?? ""
        return Line(
            "  \(ProgressText.name(table)): \(rows)\(ProgressText.bytes(table.bytes)), "
                + ProgressText.duration(table.seconds))
    }

    private static func line(for notice: RunNotice) -> Line {
        let text = ProgressText.printable(notice.text, limit: 500)
        return notice.isWarning ? Line("warning: " + text, .warning) : Line(text)
    }

    /// The most differences that are printed; the history has them all.
    private static let maximumMismatches = 20

    private static func lines(for found: RunVerified) -> [Line] {
        let tables = ProgressText.count(Int64(found.tables), "table")
        let time = ProgressText.duration(found.seconds)
        guard !found.mismatches.isEmpty else {
            let how = found.level == .full ? "with the same checksums" : "as many"
            let rows = ProgressText.count(found.rows, "row")
            return [Line("verified: \(rows) of \(tables), \(how) as at the source, \(time)", .good)]
        }
        let count = ProgressText.count(Int64(found.mismatches.count), "difference")
        let shown = found.mismatches.prefix(Self.maximumMismatches).map {
            Line("  " + ProgressText.printable($0, limit: 500), .bad)
        }
        let rest = found.mismatches.count - shown.count
        return [Line("verification found \(count) in \(tables), \(time)", .bad)] + shown
            + (rest > 0 ? [Line("  and \(rest) more", .bad)] : [])
    }

    private mutating func lines(for end: RunFinished) -> [Line] {
        let time = ProgressText.duration(end.seconds)
        let first =
            switch end.outcome {
            case .deployed:
                Line(
                    "deployed \(ProgressText.count(Int64(end.tables), "table")), "
                        + "\(ProgressText.count(end.rows, "row")), "
                        + "\(ProgressText.bytes(end.bytes)), in \(time)", .good)
            case .planned: Line("nothing was changed")
            case .declined: Line("not deployed; nothing was changed")
            case .rolledBack: Line("rolled back in \(time)", .good)
            }
        let width = end.connections.map(\.label.count).max() ?? 0
        let connections = end.connections.map { connection in
            let label = ProgressText.printable(connection.label)
            let space = String(repeating: " ", count: max(0, width - connection.label.count))
            return Line(
                "  \(label)\(space)  \(ProgressText.printable(connection.url, limit: 2_000))")
        }
        return self.end() + [first] + connections
    }

    /// Nothing is said of progress any more.
    private mutating func end() -> [Line] {
        self.isOver = true
        return []
    }
}

import NIOCore
import Testing

@testable import Deploy

struct ProgressTranscriptTests {
    /// A short run, a second an event.
    static let run: [DeployEvent] = [
        .started(RunStarted(id: "abc", source: "share x", target: "u@h\u{1B}/d")),
        .phase(.connecting),
        .planned(.made([("a", 1_000_000)])),
        .phase(.data),
        .tableStarted(.made("a")),
        .tableProgress(.made("a", 500)),
        .tableFinished(.made("a", 900, rows: 12, seconds: 2)),
        .phase(.verifying),
        .verified(RunVerified(level: .full, tables: 1, rows: 12, mismatches: [], seconds: 1)),
        .phase(.committing),
        .committed,
        .finished(
            RunFinished(
                outcome: .deployed, seconds: 12, tables: 1, rows: 12, bytes: 900,
                connections: [
                    ConnectionLabel(label: "direct", url: "postgres://u@h/d"),
                    ConnectionLabel(label: "pooler", url: "postgres://u@p/d"),
                ])),
    ]

    static func lines(_ events: [DeployEvent], hasBar: Bool) -> [String] {
        var transcript = ProgressTranscript(hasBar: hasBar)
        return events.enumerated().flatMap {
            transcript.apply($1, now: .at(Double($0))).map(\.text)
        }
    }

    @Test func `a log has a line a phase and one a table`() {
        #expect(
            Self.lines(Self.run, hasBar: false) == [
                "deployment abc: share x to u@h\\x1b/d",
                "connecting",
                "copying rows",
                "  public.a: 12 rows, 900 B, 2.0 s",
                "copied 12 rows of 1 table, 900 B, in 4.0 s",
                "verifying",
                "verified: 12 rows of 1 table, with the same checksums as at the source, 1.0 s",
                "committing",
                "committed: the target holds the new state",
                "deployed 1 table, 12 rows, 900 B, in 12 s",
                "  direct  postgres://u@h/d",
                "  pooler  postgres://u@p/d",
            ])
    }

    @Test func `where there is a bar only what matters afterwards stays`() {
        let lines = Self.lines(Self.run, hasBar: true)
        #expect(!lines.contains("copying rows"))
        #expect(!lines.contains { $0.hasPrefix("  public.a") })
        #expect(lines.contains("copied 12 rows of 1 table, 900 B, in 4.0 s"))
        #expect(lines.last == "  pooler  postgres://u@p/d")
    }

    @Test func `the bar is there from the first phase to the end`() {
        var transcript = ProgressTranscript(hasBar: true)
        for (second, event) in Self.run.enumerated() {
            _ = transcript.apply(event, now: .at(Double(second)))
            let bar = transcript.bar(now: .at(Double(second)), columns: 80)
            #expect((bar != nil) == (1..<11).contains(second), "after event \(second)")
        }
    }

    @Test func `a log hears of long work every ten seconds, and of nothing after the end`() {
        var transcript = ProgressTranscript(hasBar: false)
        for event in Self.run[0...4] { _ = transcript.apply(event, now: .at(0)) }
        var told: [Int] = []
        for second in 1...60 {
            let bytes = Int64(second) * 1_000
            _ = transcript.apply(.tableProgress(.made("a", bytes)), now: .at(Double(second)))
            if transcript.overdue(now: .at(Double(second))) != nil { told.append(second) }
        }
        #expect(told == [10, 20, 30, 40, 50, 60])
        _ = transcript.apply(
            .failed(RunFailed(message: "m", target: .untouched)), now: .at(61))
        let late = transcript.overdue(now: .at(200))
        #expect(late == nil)
    }

    @Test func `what is told of long work is where it stands`() throws {
        var transcript = ProgressTranscript(hasBar: false)
        for event in Self.run[0...4] { _ = transcript.apply(event, now: .at(0)) }
        for second in 1...20 {
            _ = transcript.apply(
                .tableProgress(.made("a", Int64(second) * 10_000)), now: .at(Double(second)))
        }
        let line = transcript.overdue(now: .at(20))
        let text = try #require(line?.text)
        #expect(text.wholeMatch(of: /\ \ \d+% public\.a, 200 kB, 10 kB\/s, .* left/) != nil)
    }

    @Test func `findings tell how grave they are and what to do`() {
        let finding = Finding(
            .blocking, .extensionMissing, "no vector\u{7}", fix: "CREATE EXTENSION vector")
        let lines = Self.lines([.finding(finding)], hasBar: true)
        #expect(lines == ["blocked: no vector\\x07", "  CREATE EXTENSION vector"])
    }

    @Test func `differences are listed, and not without end`() {
        let many = (0..<100).map { "difference \($0)" }
        let found = RunVerified(level: .counts, tables: 3, rows: 9, mismatches: many, seconds: 1)
        let lines = Self.lines([.verified(found)], hasBar: false)
        #expect(lines.count == 22)
        #expect(lines.first == "verification found 100 differences in 3 tables, 1.0 s")
        #expect(lines.last == "  and 80 more")
    }

    @Test func `a run that copied nothing does not say that it did`() {
        let events: [DeployEvent] = [.phase(.data), .phase(.sequences)]
        #expect(Self.lines(events, hasBar: true).isEmpty)
    }
}

struct ProgressEventTests {
    static let events: [DeployEvent] =
        ProgressTranscriptTests.run + [
            .finding(Finding(.info, .extensionMissing, "s")),
            .step(PhaseStep(.indexes, "i", done: 1, total: 2)),
            .notice(RunNotice("n", isWarning: true)),
            .rolledBack,
            .failed(RunFailed(message: "m", hint: "h", target: .unknown)),
        ]

    @Test(arguments: Self.events)
    func `an event is one line of JSON with its name, and reads back the same`(
        event: DeployEvent
    ) throws {
        let json = try event.json()
        #expect(!json.contains("\n"))
        #expect(json.contains("\"event\":\"\(event.name.rawValue)\""))
        #expect(try DeployEvent(json: json) == event)
    }

    @Test func `every name of an event is covered here`() {
        #expect(Set(Self.events.map(\.name)) == Set(DeployEvent.Name.allCases))
    }

    @Test func `keys and names are what programs were promised`() throws {
        let progress = DeployEvent.tableProgress(.made("a", 5, of: 9, rows: 2, seconds: 1.5))
        let expected = """
            {"bytes":5,"event":"table_progress","expected_bytes":9,"name":"a","rows":2,\
            "schema":"public","seconds":1.5}
            """
        #expect(try progress.json() == expected)
        let phase = try DeployEvent.phase(.settingAside).json()
        #expect(phase == #"{"event":"phase","phase":"setting-aside"}"#)
        let failed = try DeployEvent.failed(RunFailed(message: "m", target: .untouched)).json()
        #expect(failed == #"{"event":"failed","message":"m","target":"untouched"}"#)
    }
}

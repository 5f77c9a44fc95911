import Deploy
import Foundation
import ShareStore
import Testing

@testable import pgshare

struct DeployHistoryTests {
    static let start = StoreMoment(
        date: Date(timeIntervalSince1970: 1_800_000_000), uptimeNanoseconds: 5_000_000_000_000)
    static let later = StoreMoment(
        date: Self.start.date.addingTimeInterval(65), uptimeNanoseconds: 5_065_000_000_000)

    static func machine(gone: Set<Int32> = []) -> DeploymentMachine {
        DeploymentMachine(host: "laptop", boot: "1", processSpace: "1") {
            gone.contains($0) ? .gone : .running(start: nil)
        }
    }

    static func record(_ state: DeploymentRecord.State) -> DeploymentRecord {
        let heartbeat = StoreMoment(
            date: Self.start.date.addingTimeInterval(50), uptimeNanoseconds: 5_050_000_000_000)
        var record = DeploymentRecord(
            id: "abcdefgh01234567", action: .deploy, source: "share x\u{1B}[2J",
            target: "app@db/app", key: "k",
            lease: DeploymentLease(
                pid: 42, processStart: nil, host: "laptop", boot: "1", processSpace: "1",
                heartbeat: heartbeat),
            now: Self.start)
        record.state = state
        if state == .succeeded || state == .failed {
            record.finishedAt = Self.start.date.addingTimeInterval(20)
        }
        return record
    }

    static func entry(
        _ record: DeploymentRecord, gone: Set<Int32> = []
    ) -> DeploymentEntry {
        DeploymentEntry(record, now: Self.later, on: Self.machine(gone: gone))
    }

    @Test func `a list says what became of each run and how to go on after a crash`() {
        var failed = Self.record(.failed)
        failed.id = "ffffffffffffffff"
        let entries = [
            Self.entry(Self.record(.running)), Self.entry(Self.record(.running), gone: [42]),
            Self.entry(failed),
        ]
        let lines = DeployHistory.list(entries).split(
            separator: "\n", omittingEmptySubsequences: false)
        let cells = lines.prefix(4).map { line in
            line.split(separator: /\ {2,}/).dropFirst(2).map(String.init)
        }
        #expect(
            cells == [
                ["STATE", "TOOK", "SOURCE", "TARGET"],
                ["running", "1 min 5 s", "share x\\x1b[2J", "app@db/app"],
                ["crashed", "50 s", "share x\\x1b[2J", "app@db/app"],
                ["failed", "20 s", "share x\\x1b[2J", "app@db/app"],
            ])
        #expect(lines[1].hasPrefix("abcdefgh01234567  2027-01-15T08:00:00Z  running  "))
        let hint = "What to do about a crash: pgshare deploy show abcdefgh01234567"
        #expect(lines.dropFirst(4) == ["", hint[...]])
        #expect(DeployHistory.list([]) == "No deployments yet.")
    }

    @Test func `a crashed run says how it was found, what the target holds and what to do`() {
        var record = Self.record(.running)
        record.project = #"{"id":"p"}"#
        let text = DeployHistory.show(Self.entry(record, gone: [42]), record)
        #expect(text.contains("state              crashed\n"))
        #expect(text.contains("last sign of life  2027-01-15T08:00:50Z"))
        #expect(text.contains("process 42 ended without a word"))
        #expect(text.contains("pgshare deploy resume abcdefgh01234567"))
        #expect(text.contains("adopts the database"))
        #expect(text.contains("pgshare deploy rollback"))
        #expect(!text.contains("\u{1B}"))
    }

    static let deaths: [(DeploymentRecord.State, Set<Int32>, DeploymentLease.Crash?)] = [
        (.running, [], nil), (.running, [42], .processGone), (.crashed, [], nil),
        (.crashed, [42], .processGone), (.succeeded, [42], nil), (.failed, [42], nil),
        (.rolledBack, [42], nil),
    ]

    @Test(arguments: Self.deaths)
    func `only a run that is not over can be found dead`(
        state: DeploymentRecord.State, gone: Set<Int32>, crash: DeploymentLease.Crash?
    ) {
        let entry = Self.entry(Self.record(state), gone: gone)
        #expect(entry.crash == crash)
        #expect((entry.state == .crashed) == (state == .crashed || crash != nil))
    }

    @Test func `a run that worked shows counts, checksums and how to take it back`() throws {
        var record = Self.record(.succeeded)
        record.keptIn = "pgshare_kept"
        var verification = VerificationReport()
        verification.tables = [
            TableSum(table: "public.film", rows: 1_000, checksum: "-12345678901234567890")
        ]
        verification.seconds = 3
        record.report = try DeployReport(
            finished: RunFinished(
                outcome: .deployed, seconds: 20, tables: 1, rows: 1_000, bytes: 5_000),
            verification: verification
        ).json()
        let text = DeployHistory.show(Self.entry(record), record)
        #expect(text.contains("1,000 rows of 1 table, 5.0 kB"))
        #expect(text.contains("the same as the source, 3.0 s"))
        #expect(text.contains("public.film  1,000  -12345678901234567890"))
        #expect(text.hasSuffix("to have it back: pgshare deploy rollback \(record.id)"))
    }

    @Test func `differences and the reason of a failure are shown`() throws {
        var record = Self.record(.failed)
        record.message = "verification failed\u{7}"
        var verification = VerificationReport()
        verification.mismatches = [Mismatch(.rows, "public.film", "public.film has 2 rows, not 3")]
        record.report = try DeployReport(verification: verification).json()
        let text = DeployHistory.show(Self.entry(record), record)
        #expect(text.contains("verification failed\\x07"))
        #expect(text.contains("Differences:\n  public.film has 2 rows, not 3"))
    }

    @Test func `plan and report are passed on as the JSON that they are`() throws {
        var record = Self.record(.succeeded)
        record.plan = #"{"bytes":9223372036854775807,"list":[1,2.5,true,null,"x"]}"#
        record.report = "not JSON"
        let shown = ShownDeployment(Self.entry(record), record)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let json = String(decoding: try encoder.encode(shown), as: UTF8.self)
        #expect(
            json.contains(#""plan":{"bytes":9223372036854775807,"list":[1,2.5,true,null,"x"]}"#))
        #expect(json.contains(#""state":"succeeded""#))
        #expect(!json.contains("report"))
    }

    @Test func `a plan of another version is said to be one`() {
        var record = Self.record(.succeeded)
        record.plan = #"{"format_version":99}"#
        let text = DeployHistory.show(Self.entry(record), record)
        #expect(text.contains("written by another version"))
    }
}

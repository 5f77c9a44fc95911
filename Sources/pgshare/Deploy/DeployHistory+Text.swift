import Deploy
import Foundation
import ShareStore

/// How the history reads. Pure.
enum DeployHistory {
    /// The most characters of a database's description in a list.
    private static let maximumColumn = 48

    /// `pgshare deploy list`.
    static func list(_ entries: [DeploymentEntry]) -> String {
        guard !entries.isEmpty else { return "No deployments yet." }
        let head = ["ID", "STARTED", "STATE", "TOOK", "SOURCE", "TARGET"]
        let rows = entries.map {
            [
                $0.id, Output.time($0.startedAt), Self.state($0),
                ProgressText.duration($0.seconds),
                ProgressText.printable($0.source, limit: Self.maximumColumn),
                ProgressText.printable($0.target, limit: Self.maximumColumn),
            ]
        }
        let crashed = entries.first { $0.state == .crashed }
        let hint = crashed.map { "\n\nWhat to do about a crash: pgshare deploy show \($0.id)" }
        return Output.table([head] + rows) + (hint ?? "")
    }

    /// `pgshare deploy show`.
    static func show(_ entry: DeploymentEntry, _ record: DeploymentRecord) -> String {
        var rows = [
            ["id", entry.id], ["state", Self.state(entry)],
            ["source", ProgressText.printable(entry.source)],
            ["target", ProgressText.printable(entry.target)],
            ["started", Output.time(entry.startedAt)],
        ]
        if let finished = entry.finishedAt { rows.append(["finished", Output.time(finished)]) }
        rows.append(["took", ProgressText.duration(entry.seconds)])
        if let heartbeat = entry.heartbeatAt {
            rows.append(["process", "\(entry.pid) on \(ProgressText.printable(entry.host))"])
            rows.append(["last sign of life", Output.time(heartbeat)])
        }
        if let kept = entry.keptIn { rows.append(["kept", ProgressText.printable(kept)]) }
        let report = record.report.flatMap { DeployReport(json: $0) }
        rows += report.map(Self.rows) ?? []
        let parts: [String?] = [
            Output.table(rows), entry.message.map(ProgressText.printableLines),
            report?.verification.flatMap(Self.mismatches), Self.plan(record),
            report?.verification.flatMap(Self.tables), entry.next,
        ]
        return parts.compactMap { $0 }.joined(separator: "\n\n")
    }

    private static func state(_ entry: DeploymentEntry) -> String {
        let state = entry.state.rawValue.replacing("_", with: " ")
        return entry.action == .rollback ? "rollback \(state)" : state
    }

    // MARK: What to do next

    /// What a person can do about a run's state.
    static func next(_ entry: DeploymentEntry, _ record: DeploymentRecord) -> String? {
        switch entry.state {
        case .running:
            "It is running. To stop it, end process \(entry.pid)."
        case .crashed:
            [Self.crash(entry), Self.afterCrash(entry, record)].joined(separator: "\n")
        case .failed:
            "Settle what the message says, and \(Self.again(entry)) again."
        case .succeeded where entry.action == .deploy && entry.keptIn != nil:
            "The state before is kept; to have it back: pgshare deploy rollback \(entry.id)"
        case .succeeded, .rolledBack: nil
        }
    }

    private static func crash(_ entry: DeploymentEntry) -> String {
        switch entry.crash {
        case .processGone: "It crashed: process \(entry.pid) ended without a word."
        case .machineRestarted: "It crashed: the machine was restarted while it ran."
        case .silent:
            "It crashed, or hangs: nothing was heard of process \(entry.pid) for longer than "
                + "\(Int(DeploymentLease.staleAfter)) s."
        case nil: "It crashed; another run took its place."
        }
    }

    private static func afterCrash(_ entry: DeploymentEntry, _ record: DeploymentRecord) -> String {
        let project =
            record.project == nil
            ? "" : " It adopts the database that this one made at the provider."
        return """
            The target holds all of it or the state before, never a part of it.
            To go on: pgshare deploy resume \(entry.id). The new run sees in the target which it \
            is, and clears away what was left.\(project)
            If all of it is there and you want the state before: pgshare deploy rollback \(entry.id)
            """
    }

    private static func again(_ entry: DeploymentEntry) -> String {
        switch entry.action {
        case .deploy: "deploy"
        case .rollback: "roll back"
        }
    }

    // MARK: Plan and report

    private static func rows(_ report: DeployReport) -> [[String]] {
        var rows: [[String]] = []
        if let end = report.finished, end.outcome == .deployed {
            rows.append([
                "copied",
                "\(ProgressText.count(end.rows, "row")) of "
                    + "\(ProgressText.count(Int64(end.tables), "table")), "
                    + ProgressText.bytes(end.bytes),
            ])
        }
        if let verification = report.verification {
            let count = Int64(verification.mismatches.count)
            rows.append([
                "verified",
                verification.isEqual
                    ? "the same as the source, \(ProgressText.duration(verification.seconds))"
                    : ProgressText.count(count, "difference"),
            ])
        }
        return rows
    }

    private static func plan(_ record: DeploymentRecord) -> String? {
        guard let json = record.plan else { return nil }
        guard let plan = try? DeployPlan(json: json) else {
            return "The plan was written by another version of pgshare; --json shows it."
        }
        let way =
            switch plan.method {
            case .inPlace: "in place, in one transaction"
            case .swap: "beside the target, \(plan.jobs) at once, then swapped"
            }
        let rows = [
            ["method", way],
            ["source server", Self.side(plan.source)], ["target server", Self.side(plan.target)],
            [
                "pg_dump, pg_restore",
                "\(plan.tools.pgDump.version), \(plan.tools.pgRestore.version)",
            ],
            [
                "tables",
                "\(ProgressText.count(Int64(plan.tables.count))), "
                    + "\(ProgressText.bytes(plan.totalBytes)) at the source",
            ],
            [
                "extensions",
                plan.extensions.isEmpty
                    ? "none"
                    : plan.extensions.map { "\($0.name) \($0.sourceVersion)" }
                        .map { ProgressText.printable($0) }.joined(separator: ", "),
            ],
            ["left out", ProgressText.count(Int64(plan.leftOut.count))],
        ]
        let findings = plan.findings.map { finding in
            "  \(finding.severity.rawValue): \(ProgressText.printableLines(finding.sentence))"
        }
        let list = findings.isEmpty ? "" : "\n\nFindings:\n" + findings.joined(separator: "\n")
        return "Plan:\n" + Self.indented(Output.table(rows)) + list
    }

    private static func side(_ side: DeployPlan.Side) -> String {
        ProgressText.printable(
            "\(side.serverVersionText), \(side.database) as \(side.role), "
                + ProgressText.bytes(side.bytes))
    }

    private static func tables(_ verification: VerificationReport) -> String? {
        guard !verification.tables.isEmpty else { return nil }
        let rows = verification.tables.map {
            [
                ProgressText.printable($0.table), ProgressText.count($0.rows),
                $0.checksum.map { ProgressText.printable($0) } ?? "-",
            ]
        }
        return "Tables:\n"
            + Self.indented(Output.table([["TABLE", "ROWS", "CHECKSUM"]] + rows))
    }

    private static func mismatches(_ verification: VerificationReport) -> String? {
        guard !verification.isEqual else { return nil }
        let lines = verification.mismatches.map { "  " + ProgressText.printable($0.sentence) }
        return "Differences:\n" + lines.joined(separator: "\n")
    }

    private static func indented(_ text: String) -> String {
        text.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n")
    }
}

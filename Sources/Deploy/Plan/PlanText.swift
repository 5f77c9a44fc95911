import Foundation

/// A plan as a person reads it, at most 100 columns wide but for names and SQL.
public enum PlanText {
    /// How many of one kind are listed by name; the JSON lists all.
    static let listed = 20

    /// The whole plan: both ends, how, what, what stays behind, and every finding.
    public static func render(_ plan: DeployPlan) -> String {
        let parts = [
            self.ends(plan), self.contents(plan), self.tables(plan), self.extensions(plan),
            self.changes(plan), self.leftOut(plan), self.findings(plan), [self.verdict(plan)],
        ]
        return parts.filter { !$0.isEmpty }.map { $0.joined(separator: "\n") }
            .joined(separator: "\n\n") + "\n"
    }

    private static func ends(_ plan: DeployPlan) -> [String] {
        func end(_ word: String, _ side: DeployPlan.Side) -> String {
            let provider = side.provider == "generic" ? "" : ", \(side.provider)"
            return "\(word)  \(side.description): database \(side.database) as \(side.role), "
                + "Postgres \(side.serverVersionText), \(Phrase.bytes(side.bytes))\(provider)"
        }
        let how =
            switch plan.method {
            case .inPlace: "in place, as one transaction"
            case .swap: "into a new database that takes the target's name at the end"
            }
        let verify =
            switch plan.options.verify {
            case .none: "nothing is verified"
            case .counts: "objects and row counts are verified"
            case .full: "objects, row counts and checksums are verified"
            }
        let dump = plan.tools.pgDump
        return [
            end("from ", plan.source), end("to   ", plan.target),
            "how    \(how); \(Phrase.count(plan.jobs, "lane")); \(verify)",
            "tools  pg_dump \(dump.version) (\(dump.path)), "
                + "pg_restore \(plan.tools.pgRestore.version)",
        ]
    }

    private static func contents(_ plan: DeployPlan) -> [String] {
        let what =
            switch plan.options.content {
            case .all: "definitions and rows"
            case .schemaOnly: "definitions only"
            case .dataOnly: "rows only"
            }
        var counts = [
            Phrase.count(plan.tables.count, "table") + " of " + Phrase.bytes(plan.totalBytes),
            Phrase.count(plan.sequences.count, "sequence"),
        ]
        if !plan.materializedViews.isEmpty {
            counts.append(Phrase.count(plan.materializedViews.count, "materialized view"))
        }
        if plan.largeObjects.count > 0 {
            counts.append(
                Phrase.count(plan.largeObjects.count, "large object") + " of "
                    + Phrase.bytes(plan.largeObjects.bytes))
        }
        var lines = [
            "what   \(what): \(counts.joined(separator: ", "))",
            "       schemas \(plan.schemas.joined(separator: ", "))",
            "       "
                + (plan.keepsOwnership
                    ? "owners and grants are kept"
                    : "everything will belong to \(plan.target.role), grants are not kept"),
        ]
        if let last = plan.lastDeployment {
            let rows = last.rowCounts.values.reduce(0, +)
            lines.append(
                "last   deploy \(last.id) of \(last.at.formatted(.iso8601)): "
                    + "\(Phrase.count(last.rowCounts.count, "table")), "
                    + Phrase.count(rows, "row"))
        }
        return lines
    }

    private static func tables(_ plan: DeployPlan) -> [String] {
        guard !plan.tables.isEmpty else { return [] }
        let shown = plan.tables.prefix(Self.listed)
        let width = shown.map { "\($0.schema).\($0.name)".count }.max() ?? 0
        let lines = shown.map { table in
            let name = "\(table.schema).\(table.name)"
            let pad = String(repeating: " ", count: width - name.count)
            let rows = table.estimatedRows.map { "about \(Phrase.count($0, "row"))" }
            return "  \(name)\(pad)  \(Phrase.bytes(table.bytes))"
                + (rows.map { ", \($0)" } ?? "") + (table.copyFilter.map { ", \($0)" } ?? "")
        }
        return ["tables"] + lines + self.more(plan.tables.count)
    }

    private static func extensions(_ plan: DeployPlan) -> [String] {
        guard !plan.extensions.isEmpty else { return [] }
        return ["extensions"]
            + plan.extensions.map { found in
                let there =
                    switch (found.isInstalled, found.targetVersion) {
                    case (true, let version): "there already, \(version ?? "of no version")"
                    case (false, .some(let version)): "created, \(version)"
                    case (false, .none): "not there"
                    }
                return "  \(found.name) \(found.sourceVersion) in \(found.schema): \(there)"
            }
    }

    /// What happens to what the target holds.
    private static func changes(_ plan: DeployPlan) -> [String] {
        self.list("dropped, as the source no longer has it", plan.removed)
            + self.list(
                "replaced, though no deploy made it",
                plan.replaced.map { "\($0.kind.rawValue) \($0.identity)" })
            + self.list("kept, as no deploy made it", plan.foreign)
    }

    private static func list(_ title: String, _ names: [String]) -> [String] {
        guard !names.isEmpty else { return [] }
        return ["\(title) (\(names.count))"]
            + names.prefix(Self.listed).map { "  " + $0 } + self.more(names.count)
    }

    private static func more(_ count: Int) -> [String] {
        count > Self.listed ? ["  and \(count - Self.listed) more; --json lists all"] : []
    }

    /// By kind and reason, in the order in which they first occur.
    private static func leftOut(_ plan: DeployPlan) -> [String] {
        let titles = plan.leftOut.map { "\($0.kind): \($0.reason)" }
        let groups = Dictionary(grouping: zip(titles, plan.leftOut), by: \.0)
        guard !groups.isEmpty else { return [] }
        return ["left out (\(plan.leftOut.count))"]
            + titles.uniqued.flatMap { title in
                self.list("  " + title, (groups[title] ?? []).map { "  " + $0.1.identity })
            }
    }

    private static func findings(_ plan: DeployPlan) -> [String] {
        plan.findings.flatMap { finding in
            let word =
                switch finding.severity {
                case .info: "note"
                case .warning: "warning"
                case .blocking: "BLOCKED"
                }
            let fix = finding.fix.map { fix in
                fix.split(separator: "\n").map { "    \($0)" }
            }
            return ["\(word): \(finding.sentence) [\(finding.code.rawValue)]"] + (fix ?? [])
        }
    }

    private static func verdict(_ plan: DeployPlan) -> String {
        let blocking = plan.findings.count { $0.severity == .blocking }
        guard blocking > 0 else { return "The deploy can start." }
        return
            "The deploy cannot start: \(Phrase.count(blocking, "finding")) must be settled first."
    }
}

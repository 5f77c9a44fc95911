extension PlanContext {
    /// What the target holds already.
    var aboutTarget: [Finding] {
        var findings: [Finding] = []
        if let refusal = self.ledger.refusal {
            findings.append(
                Finding(
                    .blocking, .ledgerUnusable, refusal,
                    fix: "Rename the schema pgshare of the target, if it is not pgshare's.",
                    objects: ["pgshare"]))
        }
        return findings + self.aboutInTheWay + self.aboutDependents + self.aboutForeign
            + self.aboutChanged
            + Self.found(
                .warning, .objectsRemoved, self.removed.map(\.title),
                { "the last deploy made what the source no longer has; it will be dropped: \($0)" })
    }

    private var aboutInTheWay: [Finding] {
        let names = self.inTheWay.map(\.title)
        guard !self.options.replaceForeign else {
            return Self.found(
                .warning, .objectReplaced, names,
                { "what no deploy made is replaced, as asked: \($0)" })
        }
        return Self.found(
            .blocking, .objectInTheWay, names,
            { "the target holds objects of the same names that no deploy made: \($0)" },
            fix: "Use --replace to replace them, or rename or drop them, or name another target.")
    }

    private var aboutDependents: [Finding] {
        let blocking = self.ledger.dependents.filter(\.isBlocking)
        let others = self.ledger.dependents.filter { !$0.isBlocking }
        let drops = Phrase.sql(
            blocking.filter { $0.dependent.kind == .view || $0.dependent.kind == .materializedView }
                .map { "DROP \($0.dependent.kind.rawValue.uppercased()) \($0.dependent.identity);" }
        )
        return Self.found(
            .blocking, .dependedOn, blocking.map(\.dependent.title),
            { _ in
                "objects that no deploy made depend on what the last one made: "
                    + Phrase.list(blocking.map(\.sentence))
            },
            fix: "Drop them before and make them again afterwards."
                + (drops.isEmpty ? "" : "\n" + drops))
            + Self.found(
                .warning, .dependedOn, others.map(\.dependent.title),
                { _ in Phrase.list(others.map(\.sentence)) },
                fix: "Add the new tables to the publication afterwards.")
    }

    private var aboutForeign: [Finding] {
        let kept = self.foreign.filter { !self.inTheWay.contains($0) && $0.kind != .schema }
        return Self.found(
            .info, .foreignObjectsKept, kept.map(\.title),
            { "what no deploy made stays as it is: \($0)" })
    }

    /// Objects of the last deploy that somebody renamed or dropped since.
    private var aboutChanged: [Finding] {
        let changed = self.ledger.changed
        return Self.found(
            .warning, .objectsChanged, changed.map(\.object.title),
            { _ in Phrase.list(changed.map(\.sentence)) })
    }

    /// Rows alone need tables that take them.
    var aboutExistingTables: [Finding] {
        guard self.options.content == .dataOnly else { return [] }
        var missing: [String] = []
        var filled: [RelationFacts] = []
        for table in self.tables {
            let there = self.target.relations.first {
                $0.schema == table.schema && $0.name == table.name
            }
            guard let there, [.table, .partitionedTable].contains(there.kind) else {
                missing.append("\(table.schema).\(table.name)")
                continue
            }
            missing += table.columns.filter { !there.columns.contains($0) }
                .map { "\(table.schema).\(table.name).\($0)" }
            if !there.isEmpty { filled.append(there) }
        }
        let truncate = "TRUNCATE " + filled.map(\.identity).joined(separator: ", ") + ";"
        return Self.found(
            .blocking, .targetTableMissing, missing,
            { "the target lacks tables or columns for the rows: \($0)" },
            fix: "Deploy the definitions, too.")
            + Self.found(
                self.options.replaceForeign ? .warning : .blocking, .targetTableNotEmpty,
                filled.map(\.identity),
                {
                    self.options.replaceForeign
                        ? "tables of the target are emptied first, as asked: \($0)"
                        : "tables of the target may hold rows: \($0)"
                },
                fix: self.options.replaceForeign
                    ? nil : "Use --replace to empty them, or \(truncate)")
    }

    /// How the target changes.
    var aboutMethod: [Finding] {
        if self.method.chosen == .swap {
            return Self.found(
                .blocking, .swapNotPossible, self.method.objections,
                { _ in
                    "a swap is not possible: " + self.method.objections.joined(separator: "; ")
                },
                fix: "Use --method in-place.")
        }
        let factor = self.ledger.live == nil ? 1 : 2
        return self.aboutLocks(
            side: "target", self.target.server, needed: factor * self.lockedRelations,
            advice: " Or use --method swap, which needs no such transaction.")
            + self.aboutLocks(
                side: "source", self.source.server,
                needed: self.source.relations.count { self.selection.contains($0) }, advice: "")
    }

    /// Locks of a transaction that makes everything that is deployed.
    private var lockedRelations: Int {
        let all = max(self.source.relations.count, 1)
        let chosen = self.source.relations.count { self.selection.contains($0) }
        return self.source.lockableRelations * chosen / all
    }

    /// All sessions share `max_locks_per_transaction * (max_connections +
    /// max_prepared_transactions)` places.
    ///
    /// Source: PostgreSQL documentation, "Lock Management". The server adds a tenth, which is left
    /// to the others.
    private func aboutLocks(
        side: String,
        _ server: ServerFacts,
        needed: Int,
        advice: String
    ) -> [Finding] {
        let sessions = max(server.maximumConnections + server.maximumPreparedTransactions, 1)
        let room = server.maximumLocksPerTransaction * sessions
        guard needed > room else { return [] }
        // Half as much again, in steps of 64.
        let enough = (needed * 3 / 2 / sessions / 64 + 1) * 64
        return [
            Finding(
                .blocking, .locksShort,
                "one transaction has to lock about \(needed) relations of the \(side), which has "
                    + "room for \(room) locks",
                fix: "ALTER SYSTEM SET max_locks_per_transaction = \(enough); then restart the "
                    + side + "." + advice)
        ]
    }
}

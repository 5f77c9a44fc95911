extension PlanContext {
    /// Whether both ends are one database, however they are reached.
    var aboutIdentity: [Finding] {
        let (source, target) = (self.source.server, self.target.server)
        let end = self.input.targetEnd.description
        let isOneServer = source.startedAt != nil && source.startedAt == target.startedAt
        let isOneCluster =
            source.systemIdentifier != nil
            && source.systemIdentifier == target.systemIdentifier
        let mayBeOneCluster =
            isOneCluster || source.systemIdentifier == nil || target.systemIdentifier == nil
        guard source.databaseOID == target.databaseOID else { return [] }
        if isOneServer, mayBeOneCluster {
            return [
                Finding(
                    .blocking, .targetIsSource,
                    "the target is the source: \(self.input.sourceEnd.description) and \(end) "
                        + "lead to the same database, \(target.database)",
                    fix: "Name another database as the target.", objects: [target.database])
            ]
        }
        guard isOneCluster, source.isInRecovery, !target.isInRecovery else { return [] }
        return [
            Finding(
                .blocking, .targetIsSourcePrimary,
                "the source is a standby of the target, so that the target is what it copies",
                fix: "Name another database as the target.", objects: [target.database])
        ]
    }

    /// A pooler in transaction mode cannot take a restore, nor export a snapshot.
    var aboutPoolers: [Finding] {
        [
            ("source", self.input.sourceEnd, self.source.server.pooling),
            ("target", self.input.targetEnd, self.target.server.pooling),
        ].compactMap { side, end, pooling in
            let known = PoolerAddress(end)
            guard pooling == .transaction || known != nil else { return nil }
            return Finding(
                .blocking, .transactionPooler,
                "the \(side) \(end.description) is a connection pooler in transaction mode: "
                    + "every transaction may meet another session, and a deploy needs one that "
                    + "stays",
                fix: known?.advice
                    ?? "Connect to the server itself, or to a pool with pool_mode = session.",
                objects: [side])
        }
    }

    /// What the servers are doing now, and how they are set.
    var aboutStates: [Finding] {
        var findings: [Finding] = []
        let target = self.target.server
        if target.isInRecovery {
            findings.append(
                Finding(
                    .blocking, .targetInRecovery,
                    "the target is a standby (in recovery) and takes no writes",
                    fix: "Name its primary server as the target."))
        }
        if target.isReadOnly, !target.isInRecovery {
            let name = SQLText.identifier(target.database)
            findings.append(
                Finding(
                    .blocking, .targetReadOnly,
                    "transactions of the target are read-only by default; some providers do that "
                        + "when its disk is full",
                    fix: "Free or add disk space, then "
                        + "ALTER DATABASE \(name) SET default_transaction_read_only = off;"))
        }
        if self.source.server.isInRecovery {
            findings.append(
                Finding(
                    .info, .sourceInRecovery,
                    "the source is a standby: what its primary wrote a moment ago may be missing"))
        }
        if target.statementTimeout != "0", !target.statementTimeout.isEmpty {
            findings.append(
                Finding(
                    .info, .statementTimeout,
                    "statement_timeout of the target is \(target.statementTimeout) ms; it is "
                        + "switched off for the deploy's own sessions"))
        }
        return findings + self.aboutPreparedTransactions
    }

    private var aboutPreparedTransactions: [Finding] {
        let sides = [("source", self.source), ("target", self.target)]
        return sides.flatMap { side, facts in
            Self.found(
                .warning, .preparedTransactions, facts.preparedTransactions,
                {
                    "prepared transactions of the \(side) hold locks to wait for: \($0)"
                },
                fix: Phrase.sql(
                    facts.preparedTransactions.map {
                        "COMMIT PREPARED \(SQLText.literal($0)); -- or ROLLBACK PREPARED"
                    }))
        }
    }

    /// How many connections there are, and what that means.
    var aboutSessions: [Finding] {
        var findings: [Finding] = []
        let source = self.source.server
        if !source.acceptsSecondConnection {
            findings.append(
                Finding(
                    .warning, .sourceSingleSession,
                    "the source takes one connection at a time: definitions and rows are read one "
                        + "after the other, not in one snapshot",
                    fix: "Write nothing to the source until the deploy has ended."))
        } else if source.canExportSnapshot {
            findings.append(
                Finding(
                    .info, .sourceSnapshot,
                    "the source may be written to meanwhile: all is read in one snapshot"))
        }
        findings += self.aboutFreeSessions(
            .sourceSessionsShort, "source", self.source,
            // pg_dump beside the session that holds the snapshot.
            needed: source.acceptsSecondConnection ? 1 : 0)
        findings += self.aboutFreeSessions(
            .targetSessionsShort, "target", self.target,
            needed: self.method.chosen == .swap ? 1 : 0)
        if let asked = self.method.reducedFrom {
            findings.append(
                Finding(
                    .info, .jobsReduced,
                    self.method.chosen == .inPlace
                        ? "one lane is used instead of \(asked): the deploy is one transaction"
                        : "\(self.method.jobs) lanes are used instead of \(asked): there are no "
                            + "more free connections",
                    fix: self.method.chosen == .inPlace ? "Use --method swap." : nil))
        }
        return findings
    }

    private func aboutFreeSessions(
        _ code: Finding.Code,
        _ side: String,
        _ facts: DatabaseFacts,
        needed: Int
    ) -> [Finding] {
        guard facts.server.freeConnections < needed else { return [] }
        return [
            Finding(
                .blocking, code,
                "the \(side) has no connection free for \(facts.role.name): all of "
                    + "\(facts.server.maximumConnections) (or of the role's or the database's "
                    + "limit) are in use",
                fix: "Close some, or raise max_connections or the limit of the role.")
        ]
    }

    /// How much there is, and where it has to fit.
    var aboutSizes: [Finding] {
        guard self.options.content != .schemaOnly else { return [] }
        let bytes = self.tables.reduce(0) { $0 + $1.bytes } + self.largeObjects.bytes
        let copies = self.ledger.live != nil && self.options.keepsPrevious ? 2 : 1
        let twice = copies == 2 ? ", beside what the last deploy made and is kept" : ""
        return [
            Finding(
                .info, .sizes,
                "\(Phrase.count(self.tables.count, "table")) of \(Phrase.bytes(bytes)) and their "
                    + "indexes must fit on the target's disk\(twice); how much is free there, "
                    + "no query says")
        ]
    }
}

/// What an address says about a pooler in transaction mode, without asking it.
struct PoolerAddress {
    /// What to connect to instead.
    var advice: String

    /// Nil for an address that is not known for such a pooler.
    ///
    /// Source: FIELD-NOTES 5.10: Supabase :6543, Neon `-pooler`.
    init?(_ end: PlanInput.End) {
        guard let host = end.host?.lowercased() else { return nil }
        let isSupabase = host.hasSuffix(".supabase.com") || host.hasSuffix(".supabase.co")
        if isSupabase, end.port == 6543 {
            self.advice = "Use \(host):5432, which gives a session."
        } else if let first = host.split(separator: ".").first, first.hasSuffix("-pooler"),
            host.hasSuffix(".neon.tech") || host.hasSuffix(".neon.build")
        {
            let direct = first.dropLast("-pooler".count) + host.dropFirst(first.count)
            self.advice = "Use the direct host \(direct)."
        } else {
            return nil
        }
    }
}

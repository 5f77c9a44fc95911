extension Ledger {
    /// Writes down what the deploy made. Last in its transaction.
    ///
    /// - Parameters:
    ///   - session: In the caller's transaction.
    ///   - deployment: With the id that ``setAside(_:deploymentID:keeps:)`` was given.
    ///   - before: What ``ObjectInventory/read(_:)`` gave before the restore.
    ///   - isOneTransaction: True: the restore ran in this transaction, and what others made
    ///     meanwhile is not ours. False: everything that is new is.
    /// - Throws: ``LedgerFailure/impossible(_:)`` for a deployment that was not begun.
    /// - Returns: What it made or took over.
    @discardableResult
    public static func record(
        _ session: any SQLSession,
        _ deployment: NewDeployment,
        before: [DeployedObject],
        isOneTransaction: Bool = true
    ) async throws(LedgerFailure) -> [DeployedObject] {
        let session = LedgerSession(session: session)
        try self.check(deployment.id)
        try await self.requireUsable(session)
        let survey = try await session.survey()
        let pending = try await session.rows(
            """
            select previous, undo from pgshare.pending
            where deployment = \(SQLText.literal(deployment.id))
            """)
        guard let row = pending.first, let undo = row[1] else {
            throw .impossible("deployment \(deployment.id) was not begun in this ledger")
        }
        let there = Set(before.map(\.address))
        let made = survey.catalog.entries.values.filter {
            !there.contains($0.object.address) && !survey.catalog.isOurs($0.object)
                && !(isOneTransaction && $0.isOfThisTransaction == false)
        }.map(\.object)
        // What stayed in place when the rest was set aside.
        let carried = survey.objects.compactMap { survey.catalog.entries[$0.address]?.object }
            .filter { !survey.catalog.isOurs($0) }
        let objects = (made + carried).sorted()
        try await session.run(
            LedgerRows.deployed(
                objects, carried: Set(carried.map(\.address)), deploymentID: deployment.id)
                + LargeObjects.recordMade(by: deployment.id, isOneTransaction: isOneTransaction))
        try await self.recordSettings(session, deployment.id)
        try await self.releaseReferenced(session, deployment.id)
        let kind = deployment.isReversible ? undo : LedgerDeployment.Undo.impossible.rawValue
        try await session.run(self.finish(deployment, session, previous: row[0], undo: kind))
        return objects
    }

    /// Keeps the settings that the restore changed; forgets the others.
    private static func recordSettings(
        _ session: LedgerSession,
        _ deploymentID: String
    ) async throws(LedgerFailure) {
        let id = SQLText.literal(deploymentID)
        let now = Dictionary(try await session.settings().map { ($0.key, $0) }) { first, _ in first
        }
        let rows = try await session.rows(
            "select base, before from pgshare.setting where deployment = \(id)")
        var statements: [String] = []
        for row in rows {
            guard let base = Setting(json: row[0]), let before = Setting(json: row[1])
            else { continue }
            // Default privileges that became the standard ones are no row of the catalog.
            let after = now[before.key] ?? before.unset
            let key = SQLText.literal(before.key)
            statements.append(
                after == before && after == base
                    ? "delete from pgshare.setting where deployment = \(id) and key = \(key)"
                    : """
                    update pgshare.setting set after = \(SQLText.literal(after.json))
                    where deployment = \(id) and key = \(key)
                    """)
        }
        try await session.run(statements)
    }

    /// A kept table must not stop anybody from deleting rows of a table that no deploy made: its
    /// foreign keys to such tables go, and a rollback makes them anew, NOT VALID where rows that
    /// they referred to are gone. Late, because it locks those tables.
    private static func releaseReferenced(
        _ session: LedgerSession,
        _ deploymentID: String
    ) async throws(LedgerFailure) {
        let id = SQLText.literal(deploymentID)
        let rows = try await session.rows(
            """
            select k.identity || ' ' || quote_ident(c.conname),
                format('alter table %s drop constraint %I', c.conrelid::regclass, c.conname),
                format('alter table %s add constraint %I %s', k.identity, c.conname,
                    pg_get_constraintdef(c.oid)) || coalesce(s.comment, ''),
                case when not c.convalidated or r.relkind = 'p' then 'select 1'
                    else format('alter table %s add constraint %I %s not valid', k.identity,
                        c.conname, pg_get_constraintdef(c.oid)) || coalesce(s.comment, '') end
            from pg_constraint c
                join pg_class r on r.oid = c.conrelid
                join pgshare.kept_object k on k.deployment = \(id)
                    and k.classid = 'pg_class'::regclass and k.objid = c.conrelid
                left join lateral (select format('; comment on constraint %I on %s is %L',
                        c.conname, k.identity, d.description) as comment
                    from pg_description d where d.objoid = c.oid
                        and d.classoid = 'pg_constraint'::regclass) s on true
            where c.contype = 'f' and c.conparentid = 0 and not exists (
                select from pgshare.kept_object o where o.deployment = \(id)
                    and o.classid = 'pg_class'::regclass and o.objid = c.confrelid)
            order by 1
            """)
        guard !rows.isEmpty else { return }
        let lockTimeout = try await session.waitBrieflyForLocks()
        try await session.run(rows.compactMap { $0[1] })
        let saved = rows.map {
            LedgerRecords.Saved(
                identity: "foreign key \($0[0] ?? "")", sql: $0[2] ?? "", otherwise: $0[3])
        }
        try await session.run(
            LedgerRows.saved(saved, firstNumber: 2_000_000, deploymentID: deploymentID))
        try await session.waitForLocksAsBefore(lockTimeout)
    }

    private static func finish(
        _ deployment: NewDeployment,
        _ session: LedgerSession,
        previous: String?,
        undo: String
    ) -> [String] {
        let values = LedgerRows.texts([
            deployment.id, deployment.source, deployment.plan,
            LedgerRecords.encode(deployment.rowCounts), LedgerRecords.encode(deployment.checksums),
            LedgerRecords.encode(deployment.toolVersions), previous, undo,
        ])
        let known = LedgerRows.texts([deployment.id, previous ?? deployment.id])
        return [
            """
            insert into pgshare.deployment (id, source, plan, row_counts, checksums,
                tool_versions, previous, undo, server_major)
            values (\(values), \(session.session.serverVersion / 10_000))
            """,
            "delete from pgshare.pending",
            "delete from pgshare.deployed_object where deployment not in (\(known))",
            "delete from pgshare.deployed_large_object where deployment not in (\(known))",
            "delete from pgshare.setting where deployment not in (\(known))",
        ]
    }
}

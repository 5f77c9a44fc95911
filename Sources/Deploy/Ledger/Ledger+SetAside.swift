extension Ledger {
    /// Moves everything that the last deploy made, and that is still as it left it, out of the
    /// way; drops what the deploy before the last had left. To be called by every deploy, the
    /// first too: it also notes what is set before.
    ///
    /// Tables that are moved one by one (their schema stays) are locked until the transaction
    /// ends. Of a schema that moves whole, readers see the old tables until then, and only
    /// writers wait.
    ///
    /// - Parameters:
    ///   - session: In the caller's transaction.
    ///   - deploymentID: Of the deploy that begins: 16 characters of `[0-9a-z]`.
    ///   - keeps: False: what would be kept is dropped. There is no rollback then.
    /// - Throws: ``LedgerFailure/dependents(_:)`` before anything is changed.
    /// - Returns: What was set aside, what stays, what was left alone.
    public static func setAside(
        _ session: any SQLSession,
        deploymentID: String,
        keeps: Bool
    ) async throws(LedgerFailure) -> SetAsideReport {
        let session = LedgerSession(session: session)
        try self.check(deploymentID)
        try await self.requireUsable(session)
        var aside = SettingAside(
            session: session, deploymentID: deploymentID, keeps: keeps,
            survey: try await session.survey())
        try aside.checkDependents()
        let lockTimeout = try await session.waitBrieflyForLocks()
        let settings = try await session.settings()
        try await aside.dropOlder()
        let ours = aside.survey.ours
        try await aside.remove(ours.subtracting(aside.survey.stays(of: ours)), isForeign: false)
        try await aside.removeLargeObjects()
        try await aside.takeBackSettings(settings)
        try await aside.begin()
        try await session.waitForLocksAsBefore(lockTimeout)
        return aside.report
    }

    /// The same for objects that no deploy made and that stand in the way of one. After
    /// ``setAside(_:deploymentID:keeps:)``, in the same transaction.
    ///
    /// - Parameters:
    ///   - session: In the caller's transaction.
    ///   - deploymentID: Of the deploy that goes on.
    ///   - objects: Kinds and identities; what is not there is passed over.
    ///   - keeps: False: they are dropped for good.
    /// - Throws: ``LedgerFailure/dependents(_:)``, if others need what is not named;
    ///   ``LedgerFailure/impossible(_:)`` for what cannot be moved.
    /// - Returns: What was set aside.
    @discardableResult
    public static func replaceForeign(
        _ session: any SQLSession,
        deploymentID: String,
        objects: Set<ObjectKey>,
        keeps: Bool
    ) async throws(LedgerFailure) -> SetAsideReport {
        let session = LedgerSession(session: session)
        try self.check(deploymentID)
        try await self.requireUsable(session)
        var aside = SettingAside(
            session: session, deploymentID: deploymentID, keeps: keeps,
            survey: try await session.survey())
        let catalog = aside.survey.catalog
        let named = catalog.entries.values.map(\.object)
            .filter { objects.contains($0.key) && !catalog.isOurs($0) }
        let addresses = Set(named.map(\.address))
        let stays = aside.survey.stays(of: addresses)
        if let stuck = named.first(where: { stays.contains($0.address) && $0.kind != .schema }) {
            throw .impossible("\(stuck.title) is not a deploy's, and cannot be moved or replaced")
        }
        let moving = addresses.subtracting(stays)
        let dependents = aside.survey.dependents(on: moving, allowed: addresses)
        guard dependents.allSatisfy({ !$0.isBlocking }) else {
            throw .dependents(dependents.filter(\.isBlocking))
        }
        let lockTimeout = try await session.waitBrieflyForLocks()
        try await aside.remove(moving, isForeign: true)
        try await aside.noteForeign(!moving.isEmpty)
        try await session.waitForLocksAsBefore(lockTimeout)
        return aside.report
    }

    static func check(_ deploymentID: String) throws(LedgerFailure) {
        let isID =
            deploymentID.utf8.count == 16
            && deploymentID.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0)
            }
        guard isID else {
            throw .impossible("\(deploymentID) is no deployment's id: 16 characters of 0-9a-z")
        }
    }
}

/// One run of ``Ledger/setAside(_:deploymentID:keeps:)``.
struct SettingAside: Sendable {
    let session: LedgerSession
    let deploymentID: String
    let keeps: Bool
    let survey: LedgerSurvey
    var report = SetAsideReport()

    private var live: LedgerDeployment? { self.survey.records.live }

    /// Nothing of others may need what is moved or dropped.
    mutating func checkDependents() throws(LedgerFailure) {
        let state = self.survey.state
        self.report.stays = state.stays
        self.report.leftAlone = state.changed
        let blocking = state.dependents.filter(\.isBlocking)
        guard blocking.isEmpty else { throw .dependents(blocking) }
        self.report.notes = state.dependents.map(\.sentence)
    }

    /// Drops what the live deployment had set aside: one previous deploy is kept, not two.
    mutating func dropOlder() async throws(LedgerFailure) {
        guard let live = self.live else { return }
        let kept = self.survey.keptAddresses()
        self.report.droppedOlder = kept.compactMap { self.survey.catalog.entries[$0]?.object }
            .filter { $0.kind != .schema }.sorted()
        try await self.session.run(DropOrder.statements(dropping: kept, of: self.survey.catalog))
        try await self.session.run(LedgerRows.forgetKept(deploymentID: live.id))
        try await self.session.run([
            """
            update pgshare.deployment set undo = 'dropped'
            where id = \(SQLText.literal(live.id)) and undo = 'kept'
            """
        ])
    }

    /// Moves these, or drops them.
    mutating func remove(
        _ addresses: Set<ObjectAddress>,
        isForeign: Bool
    ) async throws(LedgerFailure) {
        let catalog = self.survey.catalog
        let objects = addresses.compactMap { catalog.entries[$0]?.object }.sorted()
        self.report.setAside = objects
        let plan = SetAsidePlan(
            moving: addresses, catalog: catalog, deploymentID: self.deploymentID,
            firstNumber: self.firstNumber)
        let saved = try await self.session.savedStatements(
            self.keeps
                ? plan.saved : Set(objects.filter { $0.kind == .defaultPrivileges }.map(\.address)),
            catalog)
        try await self.session.run(saved.drops)
        guard self.keeps else {
            return try await self.session.run(
                DropOrder.statements(dropping: addresses, of: catalog))
        }
        try await self.session.run(
            plan.locks.map { "lock table only \($0) in share row exclusive mode" })
        try await self.session.run(plan.statements)
        try await self.session.run(
            LedgerRows.kept(
                plan.moved.map { KeptObject(object: $0, isForeign: isForeign) },
                deploymentID: self.deploymentID)
                + LedgerRows.keptSchemas(plan.keptSchemas, deploymentID: self.deploymentID)
                + LedgerRows.saved(
                    saved.saved, firstNumber: isForeign ? 1_000_000 : 0,
                    deploymentID: self.deploymentID))
    }

    /// The first number that no kept name of this deployment has.
    private var firstNumber: Int {
        let prefix = LedgerLayout.keptName(self.deploymentID, 0).dropLast()
        let taken = self.survey.catalog.entries.values.compactMap { entry in
            entry.object.schema == nil ? entry.object.name : nil
        }.filter { $0.hasPrefix(prefix) }.compactMap { Int($0.dropFirst(prefix.count)) }
        return (taken.max() ?? 0) + 1
    }

    mutating func removeLargeObjects() async throws(LedgerFailure) {
        if let live = self.live, self.survey.records.largeObjects > 0 {
            if self.keeps {
                try await self.session.run(
                    LargeObjects.save(madeBy: live.id, for: self.deploymentID))
            }
            try await self.session.rows(LargeObjects.unlink(madeBy: live.id))
            self.report.largeObjects = self.survey.records.largeObjects
        }
        try await self.session.run([LargeObjects.rememberBefore])
    }

    /// Notes how schemas and default privileges are set, and sets those that the last deploy
    /// changed, and nobody since, to what it had found.
    mutating func takeBackSettings(_ settings: [Setting]) async throws(LedgerFailure) {
        let now = Dictionary(settings.map { ($0.key, $0) }) { first, _ in first }
        let still = Set(try await self.session.settings().map(\.key))
        var bases: [String: Setting] = [:]
        var statements: [String] = []
        for change in self.survey.records.changes {
            guard let after = change.after, now[after.key] == after, still.contains(after.key)
            else { continue }
            bases[after.key] = change.base
            statements += after.statements(to: change.base)
        }
        try await self.session.run(statements)
        let changes = settings.filter { still.contains($0.key) }.map {
            LedgerRecords.Change(base: bases[$0.key] ?? $0, before: $0, after: nil)
        }
        try await self.session.run(
            LedgerRows.settings(changes, deploymentID: self.deploymentID))
    }

    /// Notes what the deployment will follow.
    mutating func begin() async throws(LedgerFailure) {
        let undo: LedgerDeployment.Undo =
            self.live == nil ? .nothingBefore : self.keeps ? .kept : .dropped
        let values = LedgerRows.texts([self.deploymentID, self.live?.id, undo.rawValue])
        try await self.session.run([
            "insert into pgshare.pending (deployment, previous, undo) values (\(values))"
        ])
        let schemas = try await self.session.rows(
            """
            select nspname from pg_namespace
            where nspname !~ '^pg_' and nspname <> 'information_schema'
            order by nspname collate "C"
            """)
        self.report.schemas = schemas.compactMap { $0.first.flatMap { $0 } }
            .filter { !LedgerLayout.isReserved($0) }
    }

    /// A first deploy that replaces something has something to go back to, or no longer.
    mutating func noteForeign(_ isAny: Bool) async throws(LedgerFailure) {
        guard isAny else { return }
        let undo: LedgerDeployment.Undo = self.keeps ? .kept : .dropped
        try await self.session.run([
            """
            update pgshare.pending set undo = '\(undo.rawValue)'
            where deployment = \(SQLText.literal(self.deploymentID))
            """
        ])
    }
}

extension Ledger {
    /// Undoes the live deployment: what it made and nobody changed since is dropped, what it had
    /// set aside comes back, and the deployment before is live again. Where nothing was before,
    /// the ledger goes too.
    ///
    /// What the live deployment's tables were given since is gone with them.
    ///
    /// - Parameters:
    ///   - session: In the caller's transaction.
    ///   - deploymentID: The deployment to undo; nil: whichever is live.
    /// - Throws: ``LedgerFailure/dependents(_:)`` and ``LedgerFailure/impossible(_:)`` before
    ///   anything is changed.
    /// - Returns: What went, what came back, and what was left alone.
    public static func rollback(
        _ session: any SQLSession,
        deploymentID: String? = nil
    ) async throws(LedgerFailure) -> RollbackReport {
        let session = LedgerSession(session: session)
        try await self.requireUsable(session)
        let survey = try await session.survey()
        guard let live = survey.records.live else {
            throw .impossible("no deployment is live in this target")
        }
        try self.check(live, is: deploymentID)
        let plan = try RollbackPlan(survey)
        let lockTimeout = try await session.waitBrieflyForLocks()
        var rollback = RollingBack(session: session, survey: survey, plan: plan, live: live)
        try await rollback.drop()
        try await rollback.bringBack()
        try await rollback.finish()
        if rollback.report.live != nil {
            try await session.waitForLocksAsBefore(lockTimeout)
        }
        return rollback.report
    }

    private static func check(
        _ live: LedgerDeployment,
        is wanted: String?
    ) throws(LedgerFailure) {
        if let wanted, wanted != live.id {
            throw .impossible(
                "deployment \(wanted) is not the last of this target: that is \(live.id)")
        }
        switch live.undo {
        case .nothingBefore, .kept: return
        case .dropped:
            throw .impossible(
                """
                what was there before deployment \(live.id) is no longer kept: only the last \
                deploy can be rolled back, and only once
                """)
        case .impossible:
            throw .impossible(
                """
                deployment \(live.id) changed rows of tables that it did not make: nothing here \
                can bring them back
                """)
        }
    }
}

/// One run of ``Ledger/rollback(_:deploymentID:)``.
private struct RollingBack: Sendable {
    let session: LedgerSession
    let survey: LedgerSurvey
    let plan: RollbackPlan
    let live: LedgerDeployment
    var report: RollbackReport

    init(
        session: LedgerSession,
        survey: LedgerSurvey,
        plan: RollbackPlan,
        live: LedgerDeployment
    ) {
        self.session = session
        self.survey = survey
        self.plan = plan
        self.live = live
        self.report = RollbackReport(undone: live.id, live: live.previous)
        self.report.left = plan.left
        self.report.restored = plan.restored
        self.report.dropped = plan.dropping.compactMap { survey.catalog.entries[$0]?.object }
            .sorted()
    }

    func drop() async throws(LedgerFailure) {
        let defaults = self.plan.dropping.filter {
            self.survey.catalog.entries[$0]?.object.kind == .defaultPrivileges
        }
        let taken = try await self.session.savedStatements(defaults, self.survey.catalog)
        try await self.session.run(taken.drops)
        try await self.session.run(self.plan.evacuations)
        // An evacuated object has another name now, and an argument's type another schema.
        let catalog =
            self.plan.evacuations.isEmpty
            ? self.survey.catalog : try await self.session.catalog()
        try await self.session.run(
            DropOrder.statements(dropping: self.plan.dropping, of: catalog))
        if self.survey.records.largeObjects > 0 {
            try await self.session.rows(LargeObjects.unlink(madeBy: self.live.id))
        }
    }

    mutating func bringBack() async throws(LedgerFailure) {
        try await self.session.run(self.plan.moves)
        try await self.restoreSettings()
        for saved in self.survey.records.saved { try await self.restore(saved) }
        let count = try await self.session.rows(LargeObjects.restore(savedBy: self.live.id))
        self.report.largeObjects = count.first?.first?.flatMap { Int($0) } ?? 0
        let settings = try await self.session.rows(LargeObjects.settings(savedBy: self.live.id))
        try await self.session.run(settings.flatMap(LargeObjects.restoreSettings))
    }

    private mutating func restoreSettings() async throws(LedgerFailure) {
        let settings = try await self.session.settings()
        let now = Dictionary(settings.map { ($0.key, $0) }) { first, _ in first }
        var statements: [String] = []
        for change in self.survey.records.changes {
            guard let after = change.after else { continue }
            let current = now[change.before.key] ?? change.before.unset
            guard current == after else {
                self.report.left.append("\(after.key) was changed by somebody since: left alone")
                continue
            }
            statements += current.statements(to: change.before)
        }
        try await self.session.run(statements)
    }

    /// What cannot be as it was becomes what comes nearest, and is told.
    private mutating func restore(_ saved: LedgerRecords.Saved) async throws(LedgerFailure) {
        guard let otherwise = saved.otherwise else {
            return try await self.session.run([saved.sql])
        }
        try await self.session.run(["savepoint pgshare_saved"])
        do {
            try await self.session.run([saved.sql])
        } catch .sql(let failure) where !failure.isConnectionLost {
            try await self.session.run(["rollback to savepoint pgshare_saved", otherwise])
            self.report.left.append("\(saved.identity) is not as it was: \(failure.message)")
        }
        try await self.session.run(["release savepoint pgshare_saved"])
    }

    func finish() async throws(LedgerFailure) {
        guard let previous = self.live.previous else {
            return try await self.session.run(LedgerLayout.drop)
        }
        let id = SQLText.literal(self.live.id)
        try await self.session.run(
            LedgerRows.forgetMade(deploymentID: self.live.id)
                + LedgerRows.forgetKept(deploymentID: self.live.id) + [
                    "update pgshare.deployment set is_rolled_back = true where id = \(id)"
                ])
        try await self.renumber(previous)
    }

    /// What was made anew has other OIDs than the ledger knows.
    private func renumber(_ deploymentID: String) async throws(LedgerFailure) {
        let survey = try await self.session.survey()
        let made = survey.changed.map(\.object).filter {
            ObjectSQL.way($0.kind) == .savedStatement
        }
        guard !made.isEmpty else { return }
        let now = Dictionary(
            survey.catalog.entries.values.map { ($0.object.key, $0.object.oid) }
        ) { first, _ in first }
        try await self.session.run(
            made.compactMap { object in
                now[object.key].map {
                    """
                    update pgshare.deployed_object set objid = \($0)
                    where deployment = \(SQLText.literal(deploymentID))
                        and classid = \(object.classID) and objid = \(object.oid)
                    """
                }
            })
    }
}

import NIOCore
import PostgresClient

/// One transaction of one session of the target, from the first change to the COMMIT.
///
/// pg_restore joins that session through a ``SessionDoor``; rows go straight from the source's
/// session into it. Until the COMMIT nobody sees anything of it, and whatever dies before leaves
/// the target as it was, with nothing to clean up.
struct InPlaceRun: Sendable {
    /// How often it is tried to move tables that readers hold. Each attempt has waited for about a
    /// second, the server's `deadlock_timeout`.
    private static let deadlockAttempts = 10

    private let deployment: Deployment
    private let target: DeploySession
    private let filler: TargetFiller

    init(_ deployment: Deployment) {
        self.deployment = deployment
        self.target = deployment.target
        self.filler = TargetFiller(deployment)
    }

    func run() async throws(DeployFailure) -> DeploymentResult {
        let started = ContinuousClock.now
        let filled: TargetFiller.Filled
        do {
            try await self.target.rows("BEGIN ISOLATION LEVEL READ COMMITTED")
            filled = try await self.fill()
            try Task.checkCancellation()
        } catch {
            await self.rollBack()
            throw DeployFailure(error)
        }
        self.deployment.observer(.phase(.committing))
        try await self.commit()
        self.deployment.observer(.committed)
        let warnings = await AfterDeploy(self.deployment).run(self.target)
        return filled.report(
            self.deployment.request.id, seconds: started.seconds, warnings: warnings)
    }

    /// Everything but BEGIN and COMMIT.
    private func fill() async throws -> TargetFiller.Filled {
        let deployment = self.deployment
        try await Ledger.lock(self.target)
        try await deployment.checkUnchanged()
        deployment.observer(.phase(.settingAside))
        try await Ledger.prepare(self.target)
        let aside = try await self.setAside()
        let before = try await ObjectInventory.read(self.target)
        var rules = deployment.plan.rules
        rules.existingSchemas = Set(aside.schemas)
        rules.existingObjects = Set(aside.stays.map(\.title))
        var filled = try await self.filler.fill(self.target, rules: rules)
        try await Ledger.record(self.target, try self.filler.record(filled), before: before)
        filled.verification = try await self.filler.verify([self.target], filled)
        return filled
    }

    private func setAside() async throws -> SetAsideReport {
        let deployment = self.deployment
        let id = deployment.request.id
        guard deployment.plan.options.content != .dataOnly else {
            return try await Ledger.begin(self.target, deploymentID: id)
        }
        let keeps = deployment.plan.options.keepsPrevious
        let report = try await self.despiteDeadlocks {
            try await Ledger.setAside(self.target, deploymentID: id, keeps: keeps)
        }
        for change in report.leftAlone {
            deployment.observer(.notice(RunNotice(change.sentence, isWarning: true)))
        }
        guard !deployment.plan.replaced.isEmpty else { return report }
        return try await self.despiteDeadlocks {
            try await Ledger.replaceForeign(
                self.target, deploymentID: id, objects: Set(deployment.plan.replaced), keeps: keeps)
        }
    }

    /// Moving locks table after table, and so does a reader of several, in an order of its own.
    /// Which of the two gives way is the server's choice; we can do it over.
    private func despiteDeadlocks(
        _ body: () async throws -> SetAsideReport
    ) async throws -> SetAsideReport {
        for _ in 1..<Self.deadlockAttempts {
            try await self.target.rows("SAVEPOINT pgshare_locks")
            do {
                let report = try await body()
                try await self.target.rows("RELEASE SAVEPOINT pgshare_locks")
                return report
            } catch LedgerFailure.sql(let failure) where failure.sqlState == "40P01" {
                try await self.target.rows(
                    "ROLLBACK TO SAVEPOINT pgshare_locks; RELEASE SAVEPOINT pgshare_locks")
            }
        }
        return try await body()
    }

    /// Without regard to a cancelled task: a transaction must not stay open at the target.
    private func rollBack() async {
        let target = self.target
        let deployment = self.deployment
        await Task {
            deployment.observer(.phase(.cleaningUp))
            await target.session.cancel()
            _ = try? await target.rows("ROLLBACK")
            deployment.observer(.rolledBack)
        }.value
    }

    /// COMMIT, and where its answer is lost, the ledger tells what became of it.
    private func commit() async throws(DeployFailure) {
        let target = self.target
        let result = await Task { () -> SQLFailure? in
            do throws(SQLFailure) {
                try await target.rows("COMMIT")
                return target.session.transactionStatus == .idle
                    ? nil : SQLFailure(sqlState: nil, message: "COMMIT did not end the transaction")
            } catch {
                return error
            }
        }.value
        guard let failure = result else { return }
        guard failure.isConnectionLost else {
            await self.rollBack()
            throw DeployFailure(failure, at: "committing at the target")
        }
        try await CommitOutcome(self.deployment).settle(failure)
    }
}

import NIOCore
import PostgresClient

/// A second database beside the target, filled by several lanes, verified, and given the target's
/// name in one transaction. Until then nobody sees it; the former target is kept under a name of
/// ours for a rollback.
struct SwapRun: Sendable {
    private let deployment: Deployment
    private let filler: TargetFiller

    init(_ deployment: Deployment) {
        self.deployment = deployment
        self.filler = TargetFiller(deployment)
    }

    func run() async throws(DeployFailure) -> DeploymentResult {
        let started = ContinuousClock.now
        let server: ServerSession
        do {
            server = try await ServerSession.open(self.deployment)
        } catch {
            throw DeployFailure(error, at: "the target")
        }
        let staging = StagingDatabase(self.deployment, server)
        do {
            let report = try await self.run(server, staging, started)
            await server.close()
            return report
        } catch {
            let failure = DeployFailure(error)
            // A name that may be the target's by now is not dropped.
            if failure.target == .untouched { await self.drop(staging) }
            await server.close()
            throw failure
        }
    }

    private func run(
        _ server: ServerSession, _ staging: StagingDatabase, _ started: ContinuousClock.Instant
    ) async throws -> DeploymentResult {
        try await server.lock()
        try await Ledger.lockSession(self.deployment.target)
        try await self.deployment.checkUnchanged()
        for name in try await server.dropLeftovers() {
            self.deployment.observer(
                .notice(RunNotice("dropped \(name), which a crashed deploy left behind")))
        }
        try await staging.create()
        var filled = try await self.fill(staging)
        let warnings = try await self.finish(staging, &filled)
        try Task.checkCancellation()
        self.deployment.observer(.phase(.swapping))
        try await self.deployment.checkUnchanged()
        // Ours would keep the database from being renamed.
        await self.deployment.target.close()
        try await staging.swap()
        self.deployment.observer(.committed)
        return filled.report(
            self.deployment.request.id, seconds: started.seconds, warnings: warnings)
    }

    private func fill(_ staging: StagingDatabase) async throws -> TargetFiller.Filled {
        let deployment = self.deployment
        return try await staging.withSession { session in
            try await session.rows("BEGIN")
            try await Ledger.prepare(session)
            let aside = try await Ledger.setAside(
                session, deploymentID: deployment.request.id, keeps: false)
            let before = try await ObjectInventory.read(session)
            try await session.rows("COMMIT")
            var rules = deployment.plan.rules
            rules.existingSchemas = Set(aside.schemas)
            let fill = ParallelFill(deployment, staging, jobs: deployment.plan.jobs)
            let filled = try await fill.fill(session, rules: rules)
            try await session.rows("BEGIN")
            try await Ledger.record(
                session, try self.filler.record(filled), before: before, isOneTransaction: false)
            try await session.rows("COMMIT")
            return filled
        }
    }

    /// The comparison and the statistics, all before anybody sees the database.
    private func finish(
        _ staging: StagingDatabase, _ filled: inout TargetFiller.Filled
    ) async throws -> [String] {
        let copy = filled
        let (verification, warnings) = try await staging.withSession { session in
            let verification = try await self.filler.verify([session], copy)
            return (verification, await AfterDeploy(self.deployment).run(session))
        }
        filled.verification = verification
        return warnings
    }

    /// Without regard to a cancelled task: half a database must not stay.
    private func drop(_ staging: StagingDatabase) async {
        let observer = self.deployment.observer
        await Task {
            observer(.phase(.cleaningUp))
            await staging.drop()
            observer(.rolledBack)
        }.value
    }
}

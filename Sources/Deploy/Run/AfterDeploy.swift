/// What follows once everybody sees the new state: nothing of it can undo the deploy.
struct AfterDeploy: Sendable {
    private let deployment: Deployment

    init(_ deployment: Deployment) {
        self.deployment = deployment
    }

    /// Gathers statistics, so that the first queries have good plans.
    ///
    /// - Returns: Sentences about what did not work.
    func run(_ session: DeploySession) async -> [String] {
        let plan = self.deployment.plan
        guard plan.options.analyzes, plan.options.content != .schemaOnly else { return [] }
        self.deployment.observer(.phase(.analyzing))
        var warnings: [String] = []
        let total = Int64(plan.tables.count)
        for (index, table) in plan.tables.enumerated() {
            if Task.isCancelled { return warnings + ["ANALYZE was stopped; autovacuum will do it"] }
            let name = SQLText.identifier(table.schema, table.name)
            self.deployment.observer(
                .step(PhaseStep(.analyzing, name, done: Int64(index), total: total)))
            do throws(SQLFailure) {
                try await session.rows("ANALYZE \(name)")
            } catch {
                warnings.append("ANALYZE of \(name) failed: \(error.message)")
                if error.isConnectionLost { return warnings }
            }
        }
        return warnings
    }
}

extension ContinuousClock.Instant {
    /// Seconds from then to now.
    package var seconds: Double {
        let duration = self.duration(to: .now).components
        return Double(duration.seconds) + Double(duration.attoseconds) / 1e18
    }
}

import ArgumentParser
import CloudProviders
import Deploy
import Foundation
import ShareStore

/// One run of `pgshare deploy`, from the words of the command line to its place in the history.
struct DeployRun: Sendable {
    let source: DeploySource
    let target: DeployTarget
    let options: DeployOptions
    let onlyPlans: Bool
    let saysYes: Bool
    let context: DeployContext
    let printer: DeployPrinter
    let json: Bool

    /// Runs, and stops cleanly on Ctrl-C.
    func untilSignal() async throws {
        try await self.printer.finishing {
            try await runUntilSignal {
                do { try await self.run() } catch is CancellationError {
                    throw DeployFailure(CancellationError())
                }
            }
        }
    }

    /// Runs, and leaves signals to the caller.
    func untilDone() async throws {
        try await self.printer.finishing { try await self.run() }
    }

    private func run() async throws {
        var generator = SystemRandomNumberGenerator()
        let id = DeploymentRecord.makeID(using: &generator)
        let source = try await self.source.end(self.context)
        guard !self.onlyPlans else {
            return try await self.plan(id, source)
        }
        let history = try RecordedRun(
            self.context.state, id: id, action: .deploy, source: try self.source.description,
            target: try self.target.description)
        try await history.run { warn in
            warn.forEach { self.printer.happened(.notice(RunNotice($0, isWarning: true))) }
            return try await self.deploy(id, source, history)
        }
    }

    /// `--plan`: connects and reads, and changes nothing.
    private func plan(_ id: String, _ source: DeployEnd) async throws {
        let place = try await self.target.planned(self.context, source, self.printer)
        guard let place else {
            return self.printer.happened(.finished(RunFinished(outcome: .planned, seconds: 0)))
        }
        let plan: DeployPlan
        do {
            let deployment = try await self.prepare(id, source, place)
            plan = deployment.plan
            await deployment.close()
            await place.release()
        } catch {
            await place.release()
            throw error
        }
        self.show(plan)
        self.printer.happened(.finished(RunFinished(outcome: .planned, seconds: 0)))
        guard !plan.isBlocked else { throw ExitCode(1) }
    }

    private func prepare(
        _ id: String, _ source: DeployEnd, _ place: DeployPlace
    ) async throws(DeployFailure) -> Deployment {
        let printer = self.printer
        return try await Deployment.prepare(
            DeployRequest(
                id: id, source: source, target: place.end, options: self.options,
                profile: place.profile, afterRestore: place.afterRestore,
                folder: self.context.state + "/deploys",
                environment: ProcessInfo.processInfo.environment)
        ) { printer.happened($0) }
    }

    private func deploy(
        _ id: String, _ source: DeployEnd, _ history: RecordedRun
    ) async throws -> DeployReport? {
        let started = ContinuousClock.now
        self.printer.happened(
            .started(
                RunStarted(
                    id: id, source: source.description, target: try self.target.description)))
        let place = try await self.target.end(
            self.context, source, history, self.printer)
        do {
            let deployment = try await self.prepare(id, source, place)
            let report: DeploymentResult?
            do {
                report = try await self.run(deployment, history)
            } catch {
                await deployment.close()
                throw error
            }
            await deployment.close()
            await place.release()
            return self.finished(report, place, seconds: started.seconds)
        } catch {
            await place.release()
            throw error
        }
    }

    private func run(
        _ deployment: Deployment, _ history: RecordedRun
    ) async throws -> DeploymentResult? {
        try await history.keep(plan: deployment.plan)
        self.printer.happened(.planned(deployment.plan))
        guard !deployment.plan.isBlocked else {
            self.printer.say(PlanText.render(deployment.plan))
            throw DeployFailure(
                Self.reason(deployment.plan), hint: "Settle that, then deploy again.")
        }
        for finding in deployment.plan.findings where self.json || finding.severity > .info {
            self.printer.happened(.finding(finding))
        }
        guard try self.confirms(deployment.plan) else { return nil }
        let result = try await deployment.run()
        if let kept = Self.keptIn(deployment.plan, id: result.id) {
            // The deploy stands, whether the history takes the note or not.
            try? await history.keep(keptIn: kept)
        }
        return result
    }

    /// What forbids a deploy, for the person and the history; its fixes stand in the plan.
    private static func reason(_ plan: DeployPlan) -> String {
        let sentences = plan.findings.filter { $0.severity == .blocking }.map(\.sentence)
        return "the deploy cannot start: " + sentences.joined(separator: "; ")
    }

    /// Where the state before is, for the history; nil where a rollback has nothing to go back to.
    private static func keptIn(_ plan: DeployPlan, id: String) -> String? {
        guard plan.options.keepsPrevious, plan.options.content != .dataOnly else { return nil }
        switch plan.method {
        case .swap: return "database pgshare_kept_\(id)"
        case .inPlace where plan.lastDeployment == nil && plan.replaced.isEmpty:
            return "the target held no deploy before"
        case .inPlace: return "schemas pgshare_kept_\(id)_… of the target"
        }
    }

    private func finished(
        _ result: DeploymentResult?, _ place: DeployPlace, seconds: Double
    ) -> DeployReport? {
        for warning in result?.warnings ?? [] {
            self.printer.happened(.notice(RunNotice(warning, isWarning: true)))
        }
        let finished = RunFinished(
            outcome: result == nil ? .declined : .deployed, seconds: seconds,
            tables: result?.rows.count ?? 0, rows: result?.rows.values.reduce(0, +) ?? 0,
            bytes: result?.bytes ?? 0, connections: result == nil ? [] : place.connections)
        self.printer.happened(.finished(finished))
        self.showPassword(place)
        return result.map {
            DeployReport(finished: finished, verification: $0.verification)
        }
    }

    /// The password of a database that was made for this run, this once.
    private func showPassword(_ place: DeployPlace) {
        guard let password = place.newPassword else { return }
        self.printer.pause()
        if self.json {
            try? Output.printJSON(NewPassword(password: password.reveal))
        } else {
            print("Password of the new database, shown this once: \(password.reveal)")
        }
        Output.flush()
    }

    // MARK: Asking

    private func show(_ plan: DeployPlan) {
        if self.json {
            self.printer.happened(.planned(plan))
        } else {
            self.printer.say(PlanText.render(plan))
        }
    }

    /// Asks where something that is there will be replaced.
    private func confirms(_ plan: DeployPlan) throws -> Bool {
        guard plan.lastDeployment != nil || !plan.replaced.isEmpty, !self.saysYes else {
            return true
        }
        self.printer.pause()
        self.printer.say(PlanText.render(plan))
        guard self.context.asks else {
            throw DeployFailure(
                "the target holds a deploy already, and nobody is there to be asked",
                hint: "Add --yes to replace it.")
        }
        self.printer.say(DeployQuestion.text(plan))
        // What was said must stand before the question.
        self.printer.pause()
        return try DeployQuestion.ask("Replace it?")
    }
}

/// The line of `--json` that holds a secret, as the first line of `pgshare share --json` does.
private struct NewPassword: Encodable {
    var event = "password"
    var password: String
}

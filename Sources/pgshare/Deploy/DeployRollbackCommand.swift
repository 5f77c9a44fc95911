import ArgumentParser
import Deploy
import Foundation
import ShareStore

/// `pgshare deploy rollback TARGET`.
struct DeployRollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Take the last deploy of a target back: the state before it returns.",
        discussion: """
            What was written to the deployed tables since then is lost. TARGET is what the deploy \
            was given, or the id of a deploy of this machine.
            """)

    @Argument(help: "A URL, supabase:…, neon:… or rds:…, or the id of a deploy.")
    var target: String
    @OptionGroup var connection: DeployConnectionFlags

    func run() async throws {
        let context = try await self.connection.context()
        let store = try SQLiteShareStore(folder: context.state)
        let isAddress = self.target.contains(":") || self.target.contains("=")
        let record = isAddress ? nil : try await store.deployment(self.target)
        let target = try DeployTarget(record?.target ?? self.target)
            .forRollback(project: record?.project)
        let run = RollbackRun(
            target: target, id: isAddress ? nil : self.target,
            saysYes: try await context.settings.bool(.yes, flag: self.connection.yes),
            context: context, printer: DeployPrinter(json: self.connection.json))
        try await run.printer.finishing { try await runUntilSignal { try await run.run() } }
    }
}

/// One run of `pgshare deploy rollback`.
struct RollbackRun: Sendable {
    let target: DeployTarget
    /// Begins the id of the deploy that is meant; nil for whichever is the last.
    let id: String?
    let saysYes: Bool
    let context: DeployContext
    let printer: DeployPrinter

    func run() async throws {
        var generator = SystemRandomNumberGenerator()
        let description = try self.target.description
        let history = try RecordedRun(
            self.context.state, id: DeploymentRecord.makeID(using: &generator),
            action: .rollback, source: "", target: description)
        try await history.run { warnings in
            warnings.forEach { self.printer.happened(.notice(RunNotice($0, isWarning: true))) }
            let place = try await self.target.end(self.context, nil, history, self.printer)
            do {
                let undone = try await self.roll(place, history)
                await place.release()
                return undone
            } catch {
                await place.release()
                throw error
            }
        }
    }

    private func roll(_ place: DeployPlace, _ history: RecordedRun) async throws -> DeployReport? {
        let started = ContinuousClock.now
        let printer = self.printer
        let rollback = try await Rollback.prepare(place.end) { printer.happened($0) }
        do {
            let live = rollback.deployment.id
            if let id = self.id, !live.hasPrefix(id) {
                throw DeployFailure(
                    "the last deploy of this target is \(live), not \(id)",
                    hint: "Only the last one can be taken back.")
            }
            guard try self.confirms(rollback) else {
                await rollback.close()
                printer.happened(.finished(RunFinished(outcome: .declined, seconds: 0)))
                return nil
            }
            let report = try await rollback.run()
            await rollback.close()
            for sentence in report.left {
                printer.happened(.notice(RunNotice(sentence, isWarning: true)))
            }
            try await history.markRolledBack(report.undone)
            let finished = RunFinished(outcome: .rolledBack, seconds: started.seconds)
            printer.happened(.finished(finished))
            return DeployReport(finished: finished)
        } catch {
            await rollback.close()
            throw error
        }
    }

    private func confirms(_ rollback: Rollback) throws -> Bool {
        guard !self.saysYes else { return true }
        self.printer.pause()
        let live = rollback.deployment
        self.printer.say(
            "Deploy \(live.id) of \(live.madeAt), from \(live.source), will be taken back.")
        for warning in rollback.warnings { self.printer.say("  " + warning) }
        guard self.context.asks else {
            throw DeployFailure("nobody is there to be asked", hint: "Add --yes to go on.")
        }
        // What was said must stand before the question.
        self.printer.pause()
        return try DeployQuestion.ask("Take it back?")
    }
}

extension DeployPrinter {
    /// Runs `body`, prints how it failed, and ends what is on the terminal.
    func finishing(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let failure as DeployFailure {
            self.happened(
                .failed(
                    RunFailed(
                        message: failure.message, hint: failure.hint, target: failure.target)))
            self.finish()
            guard !self.isJSON else { throw ExitCode(1) }
            throw CommandFailure(
                [failure.message, failure.target.sentence, failure.hint].compactMap { $0 }
                    .joined(separator: "\n"))
        } catch let failure as CommandFailure {
            self.happened(
                .failed(
                    RunFailed(message: failure.description, hint: nil, target: .untouched)))
            self.finish()
            guard !self.isJSON else { throw ExitCode(1) }
            throw failure
        } catch {
            self.finish()
            throw error
        }
        self.finish()
    }
}

extension RunFailed.TargetState {
    /// For a person.
    var sentence: String {
        switch self {
        case .untouched: "The target is as it was."
        case .complete: "The target holds the new state."
        case .unknown: "It is not known whether the target holds the new state."
        }
    }
}

import ArgumentParser
import Deploy
import ShareStore

/// `pgshare deploy resume ID`.
struct DeployResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Run a deploy that crashed or failed again, with what it was asked.",
        discussion: """
            The target holds all of the crashed run or nothing of it, so that the run begins anew. \
            What the crashed one left is adopted (a provider's database) or cleared away. \
            Passwords are not kept: they come from where they came from then.
            """)

    @Argument(help: "The deploy's id, or how it begins; see pgshare deploy list.")
    var id: String
    @OptionGroup var connection: DeployConnectionFlags

    func run() async throws {
        let context = try await self.connection.context()
        let store = try SQLiteShareStore(folder: context.state)
        let record = try await store.deployment(self.id)
        guard record.action == .deploy else {
            throw CommandFailure(
                "\(record.id) is a rollback: pgshare deploy rollback '\(record.target)'")
        }
        switch record.state(now: .now()) {
        case .running: throw CommandFailure("deploy \(record.id) is running")
        case .succeeded, .rolledBack:
            throw CommandFailure("deploy \(record.id) has ended; deploy again for a new one")
        case .crashed, .failed: break
        }
        guard let plan = try record.plan.map({ try DeployPlan(json: $0) }) else {
            throw CommandFailure(
                "deploy \(record.id) ended before it had a plan: give the command again")
        }
        let run = DeployRun(
            source: try DeploySource(record.source), target: try DeployTarget(record.target),
            options: plan.options, onlyPlans: false,
            saysYes: try await context.settings.bool(.yes, flag: self.connection.yes),
            context: context, printer: DeployPrinter(json: self.connection.json),
            json: self.connection.json)
        try await run.untilSignal()
    }
}

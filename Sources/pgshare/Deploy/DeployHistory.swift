import ArgumentParser
import Foundation
import ShareStore

/// `pgshare deploy list`.
struct DeployListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the deployments that began on this machine.")

    /// Lines of a screen, more or less.
    static let usualLimit = 20

    @Option(help: "The most that are listed, newest first; default: 20.")
    var limit: Int = Self.usualLimit
    @OptionGroup var options: StateOptions

    func validate() throws {
        guard self.limit > 0 else { throw ValidationError("--limit takes a number from 1 up") }
    }

    func run() async throws {
        let store = try await self.options.store()
        do {
            let records = try await store.deployments(limit: self.limit)
            let now = StoreMoment.now()
            let entries = records.map { DeploymentEntry($0, now: now, on: .current) }
            guard !self.options.json else {
                return try Output.printSafeJSON(ListedDeployments(deployments: entries))
            }
            print(DeployHistory.list(entries))
        } catch let error as ShareStoreError {
            throw CommandFailure("\(error)")
        }
    }
}

/// `pgshare deploy show ID`.
struct DeployShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a deployment: its plan, its outcome, and what to do next.")

    @Argument(help: "The deployment's id, or the beginning of it.")
    var id: String
    @OptionGroup var options: StateOptions

    func run() async throws {
        let store = try await self.options.store()
        do {
            let record = try await store.deployment(self.id)
            let entry = DeploymentEntry(record, now: .now(), on: .current)
            guard !self.options.json else {
                return try Output.printSafeJSON(ShownDeployment(entry, record))
            }
            print(DeployHistory.show(entry, record))
        } catch let error as ShareStoreError {
            throw CommandFailure(Self.printable("\(error)"))
        }
    }

    /// The error may repeat what was typed.
    private static func printable(_ text: String) -> String { SharePrinter.printable(text) }
}

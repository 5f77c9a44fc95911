import NIOCore
import NIOPosix
import PostgresClient

/// A deploy that is connected and planned, and can be run once.
///
/// The source's snapshot is taken here, so that what the plan shows is what is deployed. Whoever
/// prepares a deployment closes it.
public final class Deployment: Sendable {
    /// What will be done.
    public let plan: DeployPlan

    let request: DeployRequest
    let observer: DeployObserver
    let folder: RunFolder
    let tools: ClientTools
    let archive: SchemaArchive
    let source: SourceSnapshot
    let sourceTool: ToolConnection
    let sourceFacts: DatabaseFacts
    let target: DeploySession
    let targetFacts: DatabaseFacts
    let ledger: LedgerState
    let inventory: [DeployedObject]
    let connectors: Connectors

    /// The ways to both ends.
    struct Connectors: Sendable {
        var source: DatabaseConnector
        var target: DatabaseConnector
        var eventLoop: any EventLoop
    }

    /// Connects to both ends, reads them, and plans. The target is not changed.
    ///
    /// - Parameters:
    ///   - request: What is asked.
    ///   - observer: Told of what happens.
    /// - Returns: The deployment, for whoever runs and closes it.
    /// - Throws: ``DeployFailure``; then nothing stays open.
    public static func prepare(
        _ request: DeployRequest, observer: @escaping DeployObserver
    ) async throws(DeployFailure) -> Deployment {
        var preparation = Preparation(request: request, observer: observer)
        do {
            return try await preparation.run()
        } catch {
            await preparation.close()
            throw DeployFailure(error)
        }
    }

    init(_ preparation: Preparation, _ read: Preparation.Read, plan: DeployPlan) {
        self.plan = plan
        self.request = preparation.request
        self.observer = preparation.observer
        self.folder = read.folder
        self.tools = read.tools
        self.archive = read.archive
        self.source = read.source
        self.sourceTool = read.sourceTool
        self.sourceFacts = read.sourceFacts
        self.target = read.target
        self.targetFacts = read.targetFacts
        self.ledger = read.ledger
        self.inventory = read.inventory
        self.connectors = read.connectors
    }

    /// Does what the plan says.
    ///
    /// - Throws: ``DeployFailure``; ``DeployFailure/target`` tells what a reader of the target
    ///   finds.
    public func run() async throws(DeployFailure) -> DeploymentResult {
        guard !self.plan.isBlocked else {
            throw DeployFailure("the plan has findings that forbid the deploy")
        }
        do {
            try await self.source.hold(self.plan.tables)
        } catch {
            throw DeployFailure(error, at: "the source")
        }
        switch self.plan.method {
        case .inPlace: return try await InPlaceRun(self).run()
        case .swap: return try await SwapRun(self).run()
        }
    }

    /// Closes both ends and removes the run's files.
    public func close() async {
        await self.source.close()
        await self.target.close()
        self.folder.remove()
    }

    /// What was planned for is still there: somebody may have changed the target meanwhile.
    func checkUnchanged() async throws {
        let ledger = try await Ledger.read(self.target)
        let inventory = try await ObjectInventory.read(self.target)
        guard ledger.live?.id == self.ledger.live?.id, Set(inventory) == Set(self.inventory)
        else {
            throw DeployFailure(
                "the target has changed since the plan was made",
                hint: "Nothing was done. Deploy again to see the new plan.")
        }
    }
}

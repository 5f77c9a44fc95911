import NIOCore
import NIOPosix
import PostgresClient

/// Everything before a deploy touches its target.
struct Preparation {
    private(set) var request: DeployRequest
    let observer: DeployObserver
    private var opened: [DeploySession] = []
    private var folder: RunFolder?

    /// What was read of both ends.
    struct Read {
        var folder: RunFolder
        var tools: ClientTools
        var archive: SchemaArchive
        var source: SourceSnapshot
        var sourceTool: ToolConnection
        var sourceFacts: DatabaseFacts
        var target: DeploySession
        var targetFacts: DatabaseFacts
        var ledger: LedgerState
        var inventory: [DeployedObject]
        var connectors: Deployment.Connectors
    }

    init(request: DeployRequest, observer: @escaping DeployObserver) {
        self.request = request
        self.observer = observer
    }

    /// Closes what a failed preparation opened.
    func close() async {
        for session in self.opened { await session.close() }
        self.folder?.remove()
    }

    mutating func run() async throws -> Deployment {
        self.observer(.phase(.connecting))
        RunFolder.removeStale(in: self.request.folder)
        let folder = try RunFolder(parent: self.request.folder, name: self.request.id)
        self.folder = folder
        let connectors = try self.connectors()
        let (target, targetFacts) = try await self.openTarget(connectors)
        if self.request.profile == .generic {
            // A provider's database by its plain URL.
            self.request.profile =
                ProviderProfile.named(targetFacts.server.provider) ?? .generic
        }
        var (source, sourceFacts) = try await self.openSource(connectors)
        self.observer(.phase(.planning))
        let tools = try await ClientTools.find(
            environment: self.request.environment, sourceMajor: sourceFacts.server.major)
        let sourceTool = try ToolConnection(
            target: self.request.source.database.target, label: "source", in: folder)
        if !sourceFacts.server.acceptsSecondConnection {
            // pg_dump is the one connection that there is room for; ours comes back after it.
            await source.close()
        }
        let archive = try await self.dump(tools, sourceTool, source, sourceFacts, folder)
        if !sourceFacts.server.acceptsSecondConnection {
            source = try await self.snapshot(connectors)
        }
        let ledger = try await Ledger.read(target)
        let plan = Planner.plan(
            PlanInput(
                options: self.request.options,
                sourceEnd: self.request.source.planned, source: sourceFacts,
                targetEnd: self.request.target.planned, target: targetFacts,
                ledger: ledger, contents: archive.contents, tools: tools,
                provider: self.request.profile, cores: System.coreCount))
        let read = Read(
            folder: folder, tools: tools, archive: archive, source: source,
            sourceTool: sourceTool, sourceFacts: sourceFacts, target: target,
            targetFacts: targetFacts, ledger: ledger, inventory: targetFacts.objects,
            connectors: connectors)
        return Deployment(self, read, plan: plan)
    }

    private func connectors() throws -> Deployment.Connectors {
        Deployment.Connectors(
            source: try DatabaseConnector(self.request.source.database.target),
            target: try DatabaseConnector(self.request.target.database.target),
            eventLoop: MultiThreadedEventLoopGroup.singleton.next())
    }

    private mutating func openTarget(
        _ connectors: Deployment.Connectors
    ) async throws -> (DeploySession, DatabaseFacts) {
        do {
            let session = try await DeploySession.open(
                connectors.target, self.request.target, on: connectors.eventLoop)
            self.opened.append(session)
            // Outside a transaction: the lock is free again at once. Whoever deploys holds locks
            // for which reading the target would wait.
            try await Ledger.lock(session)
            let second = try? await DeploySession.open(
                connectors.target, self.request.target, on: connectors.eventLoop)
            return (session, try await Self.inspect(session, closing: second))
        } catch {
            throw DeployFailure(error, at: "the target")
        }
    }

    private mutating func openSource(
        _ connectors: Deployment.Connectors
    ) async throws -> (SourceSnapshot, DatabaseFacts) {
        do {
            let source = try await self.snapshot(connectors)
            let second = try? await DeploySession.open(
                connectors.source, self.request.source, on: connectors.eventLoop)
            return (source, try await Self.inspect(source.session, closing: second))
        } catch {
            throw DeployFailure(error, at: "the source")
        }
    }

    /// A second session shows whether there may be one, and is needed no longer than that.
    private static func inspect(
        _ session: DeploySession, closing second: DeploySession?
    ) async throws(SQLFailure) -> DatabaseFacts {
        let facts: DatabaseFacts
        do throws(SQLFailure) {
            facts = try await DatabaseInspector.inspect(session, second: second)
        } catch {
            await second?.close()
            throw error
        }
        await second?.close()
        return facts
    }

    private mutating func snapshot(
        _ connectors: Deployment.Connectors
    ) async throws(SQLFailure) -> SourceSnapshot {
        let source = try await SourceSnapshot.open(
            self.request.source, connectors.source, on: connectors.eventLoop)
        self.opened.append(source.session)
        return source
    }

    private func dump(
        _ tools: ClientTools, _ tool: ToolConnection, _ source: SourceSnapshot,
        _ facts: DatabaseFacts, _ folder: RunFolder
    ) async throws -> SchemaArchive {
        let selection = Planner.selection(
            options: self.request.options, source: facts, provider: self.request.profile)
        let observer = self.observer
        return try await SchemaArchive.dump(
            tools: tools, source: tool,
            snapshot: facts.server.acceptsSecondConnection ? source.name : nil,
            selection: selection, in: folder
        ) { message in
            guard message.kind == .warning else { return }
            observer(.notice(RunNotice(message.text, isWarning: true)))
        }
    }
}

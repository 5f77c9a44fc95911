import NIOCore
import NIOPosix
import PostgresClient

/// Fills a staging database by several lanes. A lane is a pair of sessions, one at each end; large
/// tables are cut into ranges of blocks, so that one table can keep all lanes busy.
struct ParallelFill: Sendable {
    /// Bytes of a table below which it is not cut: a COPY of this size takes about a second, and
    /// each costs a few round trips.
    static let leastPartBytes: Int64 = 64 << 20

    private let deployment: Deployment
    private let staging: StagingDatabase
    private let filler: TargetFiller
    private let jobs: Int

    /// One COPY.
    struct Part: Hashable, Sendable {
        var table: PlannedTable
        /// Blocks of the source's table; nil for all.
        var pages: Range<Int64>?
        /// For the order: the largest first.
        var bytes: Int64
    }

    init(_ deployment: Deployment, _ staging: StagingDatabase, jobs: Int) {
        self.deployment = deployment
        self.staging = staging
        self.filler = TargetFiller(deployment)
        self.jobs = jobs
    }

    /// Definitions, rows and indexes.
    ///
    /// - Parameters:
    ///   - session: A session in the staging database, outside a transaction.
    ///   - rules: What of the archive is restored.
    /// - Returns: What came of it.
    /// - Throws: Whatever its parts do.
    func fill(
        _ session: DeploySession, rules: RestoreRules
    ) async throws -> TargetFiller.Filled {
        let tool = try self.staging.tool()
        let split = self.deployment.archive.contents.split(by: rules)
        var filled = TargetFiller.Filled()
        filled.split = split
        try await self.filler.makeSchemas(session)
        try await self.restore(.preData, split.kept, .schema, tool, session, jobs: 1)
        if self.deployment.plan.options.content != .schemaOnly {
            self.deployment.observer(.phase(.data))
            filled.copied = try await self.copyAll()
            filled.sequences = try await self.filler.setSequences(session)
            try await self.copyLargeObjects(tool, session)
        }
        try await self.restore(.postData, split.kept, .indexes, tool, session, jobs: self.jobs)
        for statement in self.deployment.request.afterRestore(
            self.deployment.plan.schemas)
        {
            try await session.rows(statement)
        }
        return filled
    }

    private func restore(
        _ part: SchemaArchive.Part, _ entries: [TableOfContents.Entry], _ phase: DeployPhase,
        _ tool: ToolConnection, _ session: DeploySession, jobs: Int
    ) async throws {
        guard !self.needsDoor else {
            try await session.rows("BEGIN")
            try await self.filler.restore(part, entries, phase, session)
            try await session.rows("COMMIT")
            return
        }
        self.deployment.observer(.phase(phase))
        try await self.deployment.archive.restore(
            part, entries: entries, to: tool, options: self.filler.restoreOptions(jobs: jobs),
            observer: RestoreLog().observer(phase, self.deployment.observer))
    }

    /// From 17 on pg_restore sets `transaction_timeout`, which older servers do not have; the door
    /// answers that itself.
    private var needsDoor: Bool {
        self.deployment.tools.pgRestore.version.major >= 17
            && self.deployment.targetFacts.server.major < 17
    }

    private func copyLargeObjects(_ tool: ToolConnection, _ session: DeploySession) async throws {
        guard !self.needsDoor else {
            try await session.rows("BEGIN")
            try await self.filler.copyLargeObjects(session)
            try await session.rows("COMMIT")
            return
        }
        guard self.deployment.plan.largeObjects.count > 0 else { return }
        self.deployment.observer(.phase(.largeObjects))
        try await SchemaArchive.copyLargeObjects(
            tools: self.deployment.tools, from: self.deployment.sourceTool,
            snapshot: self.deployment.source.name, to: tool,
            options: self.filler.restoreOptions(jobs: 1),
            observer: RestoreLog().observer(.largeObjects, self.deployment.observer))
    }

    // MARK: Lanes

    private func copyAll() async throws -> [CopiedTable] {
        let parts = CopyParts(try await self.parts())
        let lanes = try await self.lanes(atMost: min(self.jobs, parts.count))
        do {
            let done = try await withThrowingTaskGroup(of: [CopiedTable].self) { group in
                for lane in lanes {
                    group.addTask { try await self.work(lane, parts) }
                }
                var all: [CopiedTable] = []
                for try await copied in group { all += copied }
                return all
            }
            for lane in lanes { await lane.close() }
            return Self.sum(done)
        } catch {
            for lane in lanes { await lane.close() }
            throw error
        }
    }

    private func work(_ lane: Lane, _ parts: CopyParts) async throws -> [CopiedTable] {
        var copied: [CopiedTable] = []
        while let part = parts.next() {
            try Task.checkCancellation()
            copied.append(try await self.copy(part, lane, parts))
        }
        return copied
    }

    /// A whole table is copied frozen, in a transaction that has truncated it.
    private func copy(_ part: Part, _ lane: Lane, _ parts: CopyParts) async throws -> CopiedTable {
        let copy = TableCopy(observer: parts.observer(of: part, self.deployment.observer))
        let freezes = part.pages == nil && self.filler.freezes(part.table)
        guard freezes else {
            return try await copy.copy(
                part.table, pages: part.pages, from: lane.source, to: lane.target, freezes: false)
        }
        let name = SQLText.identifier(part.table.schema, part.table.name)
        try await lane.target.rows("BEGIN; TRUNCATE ONLY \(name)")
        let copied = try await copy.copy(
            part.table, from: lane.source, to: lane.target, freezes: true)
        try await lane.target.rows("COMMIT")
        return copied
    }

    private func lanes(atMost count: Int) async throws -> [Lane] {
        var lanes: [Lane] = []
        do {
            while lanes.count < count {
                let loop = MultiThreadedEventLoopGroup.singleton.next()
                guard let source = try await self.deployment.source.lane(on: loop) else { break }
                do {
                    let target = try await self.staging.session(on: loop)
                    lanes.append(Lane(source: source, target: target, ownsSource: true))
                } catch {
                    await source.close()
                    guard error.sqlState == "53300", !lanes.isEmpty else { throw error }
                    break
                }
            }
            guard lanes.isEmpty else { return lanes }
            // One lane, through the session that has the snapshot.
            let source = self.deployment.source.session
            let loop = self.deployment.connectors.eventLoop
            return [
                Lane(
                    source: source, target: try await self.staging.session(on: loop),
                    ownsSource: false)
            ]
        } catch {
            for lane in lanes { await lane.close() }
            throw error
        }
    }

    private func parts() async throws -> [Part] {
        let tables = self.deployment.plan.tables
        let total = tables.reduce(0) { $0 + $1.bytes }
        let partBytes = max(Self.leastPartBytes, total / Int64(self.jobs * 4))
        var parts: [Part] = []
        for table in tables {
            guard self.jobs > 1, table.copyFilter == nil, table.bytes > 2 * partBytes else {
                parts.append(Part(table: table, pages: nil, bytes: table.bytes))
                continue
            }
            let name = SQLText.literal(SQLText.identifier(table.schema, table.name))
            let blocks = try await self.deployment.source.session.value(
                """
                SELECT pg_catalog.pg_relation_size(\(name)::pg_catalog.regclass)
                    / pg_catalog.current_setting('block_size')::bigint
                """)
            parts += Self.cut(table, blocks: blocks.flatMap { Int64($0) } ?? 0, partBytes)
        }
        return parts.sorted { $0.bytes > $1.bytes }
    }

    /// Ranges of about equal size. The last is open, for a table that grew; what was added later is
    /// not in the snapshot anyway.
    static func cut(_ table: PlannedTable, blocks: Int64, _ partBytes: Int64) -> [Part] {
        let count = max(1, min(blocks, table.bytes / partBytes))
        guard count > 1 else { return [Part(table: table, pages: nil, bytes: table.bytes)] }
        return (0..<count).map { index in
            let first = blocks * index / count
            let end = index == count - 1 ? Int64(UInt32.max) : blocks * (index + 1) / count
            return Part(table: table, pages: first..<end, bytes: table.bytes / count)
        }
    }

    /// The parts of a table as one.
    static func sum(_ copied: [CopiedTable]) -> [CopiedTable] {
        var sums: [PlannedTable: CopiedTable] = [:]
        for part in copied {
            let before = sums[part.table]
            sums[part.table] = CopiedTable(
                table: part.table, rows: part.rows + (before?.rows ?? 0),
                bytes: part.bytes + (before?.bytes ?? 0))
        }
        return Array(sums.values)
    }
}

/// A session at each end, on one event loop.
struct Lane: Sendable {
    var source: DeploySession
    var target: DeploySession
    var ownsSource: Bool

    func close() async {
        if self.ownsSource { await self.source.close() }
        await self.target.close()
    }
}

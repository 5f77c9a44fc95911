import NIOCore
import PostgresClient

/// Fills a target that is ready for it: definitions, rows, positions, large objects, indexes.
struct TargetFiller: Sendable {
    /// What came of it.
    struct Filled: Sendable {
        var copied: [CopiedTable] = []
        var sequences: [SequencePosition] = []
        var split = TableOfContents.Split(kept: [], leftOut: [])
        var verification: VerificationReport?
        /// Whether the target gives nothing of its own to what is made in it.
        var comparesGrants = true

        /// Rows by the table's identity.
        var rows: [String: Int64] {
            Dictionary(copied.map { ("\($0.table.schema).\($0.table.name)", $0.rows) }) { $1 }
        }

        func report(_ id: String, seconds: Double, warnings: [String]) -> DeploymentResult {
            DeploymentResult(
                id: id, rows: self.rows, bytes: self.copied.reduce(0) { $0 + $1.bytes },
                seconds: seconds, verification: self.verification, warnings: warnings)
        }
    }

    let deployment: Deployment
    private var plan: DeployPlan { self.deployment.plan }
    private var observer: DeployObserver { self.deployment.observer }

    /// The source's, by their quoted names.
    private let relations: [String: RelationFacts]

    init(_ deployment: Deployment) {
        self.deployment = deployment
        let named = deployment.sourceFacts.relations.map {
            (SQLText.identifier($0.schema, $0.name), $0)
        }
        self.relations = Dictionary(named) { first, _ in first }
    }

    /// Through one session, in its open transaction.
    func fill(_ target: DeploySession, rules: RestoreRules) async throws -> Filled {
        let split = self.deployment.archive.contents.split(by: rules)
        var filled = Filled()
        filled.split = split
        filled.comparesGrants = try await self.givesNothing(target)
        try await self.makeSchemas(target)
        try await self.restore(.preData, split.kept, .schema, target)
        if self.plan.options.content != .schemaOnly {
            self.observer(.phase(.data))
            try await self.empty(target)
            try await self.emptyOfExtensions(target)
            for table in try self.order() {
                try Task.checkCancellation()
                let copy = TableCopy(observer: self.observer)
                filled.copied.append(
                    try await copy.copy(
                        table, from: self.deployment.source.session, to: target,
                        freezes: self.freezes(table)))
            }
            filled.sequences = try await self.setSequences(target)
            try await self.copyLargeObjects(target)
        }
        try await self.restore(.postData, split.kept, .indexes, target)
        for statement in self.deployment.request.afterRestore(self.plan.schemas) {
            try await target.rows(statement)
        }
        return filled
    }

    /// What the ledger remembers.
    func record(_ filled: Filled) throws -> NewDeployment {
        NewDeployment(
            id: self.deployment.request.id,
            source: self.plan.source.description,
            plan: try self.plan.json(),
            rowCounts: filled.rows,
            toolVersions: [
                "pg_dump": "\(self.plan.tools.pgDump.version)",
                "pg_restore": "\(self.plan.tools.pgRestore.version)",
            ],
            isReversible: self.plan.options.content != .dataOnly)
    }

    /// Default privileges of the target add grants to whatever is made there, so that grants
    /// cannot be compared with the source's.
    private func givesNothing(_ target: DeploySession) async throws -> Bool {
        let count = try await target.value("SELECT count(*) FROM pg_catalog.pg_default_acl")
        guard self.plan.keepsOwnership, count != "0" else { return true }
        self.observer(
            .notice(
                RunNotice("the target's default privileges add grants; grants are not compared")))
        return false
    }

    // MARK: Definitions

    /// Those of tables that were named: pg_dump leaves schemas out then.
    func makeSchemas(_ target: DeploySession) async throws {
        let schemas = self.plan.schemas
        guard !self.plan.options.tables.isEmpty, self.plan.options.content != .dataOnly,
            !schemas.isEmpty
        else { return }
        let names = schemas.map(SQLText.literal).joined(separator: ", ")
        let rows = try await target.rows(
            "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname IN (\(names))")
        let there = Set(rows.compactMap { $0.first.flatMap { $0 } })
        for schema in schemas where !there.contains(schema) {
            try await target.rows("CREATE SCHEMA \(SQLText.identifier(schema))")
        }
    }

    func restore(
        _ part: SchemaArchive.Part, _ entries: [TableOfContents.Entry], _ phase: DeployPhase,
        _ target: DeploySession
    ) async throws {
        guard self.plan.options.content != .dataOnly else { return }
        self.observer(.phase(phase))
        try await self.throughDoor(target) { door, log in
            try await self.deployment.archive.restore(
                part, entries: entries, to: door, options: self.restoreOptions(jobs: 1),
                observer: log.observer(phase, self.observer))
        }
    }

    /// Lets a program into the target's session.
    private func throughDoor(
        _ target: DeploySession,
        _ body: (ToolConnection, RestoreLog) async throws -> Void
    ) async throws {
        let log = RestoreLog()
        let door = try await SessionDoor.open(
            target.session, in: self.doorParent, observer: log.door)
        do {
            try await body(ToolConnection(doorFolder: door.socketFolder, port: door.port), log)
            await door.close()
            try await target.session.restoreSettings()
        } catch {
            await door.close()
            throw log.failure(instead: error)
        }
    }

    /// The run's folder, so that a crashed run's door is cleared away with it; nil where its path
    /// is too long for a socket below it.
    private var doorParent: String? {
        let folder = self.deployment.folder.path
        let longest = "/pgshare-door-XXXXXX/.s.PGSQL.5432".utf8.count
        return folder.utf8.count + longest <= SessionDoor.maximumPathBytes ? folder : nil
    }

    func restoreOptions(jobs: Int) -> SchemaArchive.RestoreOptions {
        SchemaArchive.RestoreOptions(
            jobs: jobs, leavesOutOwnership: !self.plan.keepsOwnership,
            role: self.deployment.request.target.role)
    }

    // MARK: Rows

    /// Rows that the user said may go make room for the source's.
    private func empty(_ target: DeploySession) async throws {
        let options = self.plan.options
        guard options.content == .dataOnly, options.replaceForeign else { return }
        let names = self.plan.tables.map { SQLText.identifier($0.schema, $0.name) }
        guard !names.isEmpty else { return }
        try await target.rows("TRUNCATE ONLY \(names.joined(separator: ", "))")
    }

    /// An extension that the last deploy made stays, and with it the rows that came from the
    /// source into tables of its own; they come again.
    private func emptyOfExtensions(_ target: DeploySession) async throws {
        guard self.plan.options.content == .all else { return }
        let made = self.deployment.ledger.objects.filter { $0.kind == .extension }
        let extensions = Set(made.compactMap(\.name))
        for table in self.plan.tables {
            guard let relation = self.relation(table),
                let owner = relation.extensionName, extensions.contains(owner)
            else { continue }
            let name = SQLText.identifier(table.schema, table.name)
            try await target.rows("DELETE FROM ONLY \(name) \(table.copyFilter ?? "")")
        }
    }

    private func relation(_ table: PlannedTable) -> RelationFacts? {
        self.relations[SQLText.identifier(table.schema, table.name)]
    }

    /// Where the target's own constraints stand already, what others refer to goes first.
    private func order() throws -> [PlannedTable] {
        guard self.plan.options.content == .dataOnly else { return self.plan.tables }
        return TableOrder.referencedFirst(
            self.plan.tables, self.deployment.sourceFacts.foreignKeys)
    }

    /// Only tables that this deploy makes are empty for certain, and nobody else's.
    func freezes(_ table: PlannedTable) -> Bool {
        self.plan.options.content == .all && self.relation(table)?.extensionName == nil
            && table.copyFilter == nil
    }

    func setSequences(_ target: DeploySession) async throws -> [SequencePosition] {
        guard !self.plan.sequences.isEmpty else { return [] }
        self.observer(.phase(.sequences))
        let positions = try await SequencePositions.read(
            self.deployment.source.session, self.plan.sequences)
        for batch in positions.batches(of: 500) {
            let calls = batch.map { position in
                let name = SQLText.literal(SQLText.identifier(position.schema, position.name))
                return "pg_catalog.setval(\(name)::pg_catalog.regclass, \(position.lastValue), "
                    + "\(position.isCalled))"
            }
            try await target.rows("SELECT \(calls.joined(separator: ", "))")
        }
        return positions
    }

    func copyLargeObjects(_ target: DeploySession) async throws {
        guard self.plan.largeObjects.count > 0 else { return }
        self.observer(.phase(.largeObjects))
        try await self.throughDoor(target) { door, log in
            try await SchemaArchive.copyLargeObjects(
                tools: self.deployment.tools, from: self.deployment.sourceTool,
                snapshot: self.deployment.source.name, to: door,
                options: self.restoreOptions(jobs: 1),
                observer: log.observer(.largeObjects, self.observer))
        }
    }

    // MARK: Verification

    /// Compares; both ends work at the same time.
    ///
    /// - Throws: ``DeployFailure`` that names the first differences.
    func verify(
        _ target: [DeploySession], _ filled: Filled
    ) async throws -> VerificationReport? {
        guard self.plan.options.verify != .none else { return nil }
        self.observer(.phase(.verifying))
        var scope = Verifier.Scope()
        scope.contents = self.plan.options.verify == .full
        if self.plan.options.content != .dataOnly {
            scope.kept = filled.split.kept
            scope.leftOut = filled.split.leftOut.map(\.entry)
            scope.grants = self.plan.keepsOwnership && filled.comparesGrants
        }
        if self.plan.options.content != .schemaOnly {
            scope.tables = self.plan.tables.map {
                VerifiedTable(schema: $0.schema, name: $0.name, filter: $0.copyFilter)
            }
            scope.sequences = filled.sequences
            scope.largeObjects = self.plan.largeObjects.count > 0
        }
        let observer = self.observer
        let report = try await Verifier(scope).run(
            source: [self.deployment.source.session], target: target
        ) { step in
            observer(
                .step(
                    PhaseStep(
                        .verifying, "\(step.side.rawValue): \(step.table)", done: step.bytes,
                        total: step.totalBytes)))
        }
        self.observer(.verified(RunVerified(report, level: self.plan.options.verify)))
        guard report.isEqual else {
            let first = report.mismatches.prefix(5).map(\.sentence).joined(separator: "; ")
            let more = report.mismatches.count - min(5, report.mismatches.count)
            throw DeployFailure(
                "source and target differ: \(first)" + (more > 0 ? "; and \(more) more" : ""),
                hint: "Nothing was changed. Is something else writing to the target's tables?")
        }
        return report
    }
}

extension Array {
    /// The elements in order, at most `count` at a time.
    func batches(of count: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: self.count, by: count).map {
            self[$0..<Swift.min($0 + count, self.count)]
        }
    }
}

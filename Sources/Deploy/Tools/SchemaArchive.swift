import Foundation

/// What of the source a dump looks at; empty is all of it.
public struct DumpSelection: Codable, Hashable, Sendable {
    /// Only these schemas, and what is in them.
    public var schemas: [String]
    /// Not these schemas: they are not even locked, so the role needs no right on them.
    public var excludedSchemas: [String]
    /// Only these relations and what belongs to them.
    public var tables: [Table]
    /// Whether large objects are read. With schemas or tables named, they are not by themselves.
    public var includesLargeObjects: Bool

    /// A relation by its exact names.
    public struct Table: Codable, Hashable, Sendable {
        /// Its schema.
        public var schema: String
        /// Its name.
        public var name: String

        /// Creates it.
        public init(schema: String, name: String) {
            self.schema = schema
            self.name = name
        }
    }

    /// Creates a selection.
    public init(
        schemas: [String] = [],
        excludedSchemas: [String] = [],
        tables: [Table] = [],
        includesLargeObjects: Bool = true
    ) {
        self.schemas = schemas
        self.excludedSchemas = excludedSchemas
        self.tables = tables
        self.includesLargeObjects = includesLargeObjects
    }

    /// pg_dump's arguments. Its patterns take what stands in double quotes as it is.
    ///
    /// Source: PostgreSQL documentation, "psql", "Patterns".
    var arguments: [String] {
        self.schemas.map { "--schema=" + SQLText.identifier($0) }
            + self.excludedSchemas.map { "--exclude-schema=" + SQLText.identifier($0) }
            + self.tables.map { "--table=" + SQLText.identifier($0.schema, $0.name) }
            + [self.includesLargeObjects ? "-b" : "-B"]
    }
}

/// The schema of the source in a file of the run's folder, and its table of contents.
public struct SchemaArchive: Sendable {
    /// How entries are restored.
    public struct RestoreOptions: Codable, Hashable, Sendable {
        /// Sessions at once. With one, all is sent as one transaction (`BEGIN` and `COMMIT` are
        /// the program's); with more, each entry is its own.
        public var jobs: Int
        /// Whether everything becomes the property of the role that restores.
        public var leavesOutOwnership: Bool
        /// Whether tablespaces are the target's default.
        public var leavesOutTablespaces: Bool
        /// The role that is to own what is made; nil is the role that logs in.
        public var role: String?

        /// Creates options.
        public init(
            jobs: Int = 1,
            leavesOutOwnership: Bool = false,
            leavesOutTablespaces: Bool = true,
            role: String? = nil
        ) {
            self.jobs = jobs
            self.leavesOutOwnership = leavesOutOwnership
            self.leavesOutTablespaces = leavesOutTablespaces
            self.role = role
        }

        var arguments: [String] {
            (self.jobs > 1 ? ["--jobs=\(self.jobs)"] : ["--single-transaction"])
                + (self.leavesOutOwnership ? ["--no-owner", "--no-privileges"] : [])
                + (self.leavesOutTablespaces ? ["--no-tablespaces"] : [])
                + (self.role.map { ["--role=\($0)"] } ?? [])
        }
    }

    /// The two parts of a schema.
    public enum Part: String, Codable, Hashable, Sendable {
        /// Before the rows.
        case preData = "pre-data"
        /// Behind the rows.
        case postData = "post-data"

        var section: TableOfContents.Section {
            switch self {
            case .preData: .preData
            case .postData: .postData
            }
        }
    }

    /// What the archive holds.
    public let contents: TableOfContents
    /// The archive: mode 0600, in the run's folder.
    public let path: String
    private let folder: RunFolder
    private let tools: ClientTools

    /// The largest table of contents that is read, in bytes: some 100,000 objects.
    static let maximumBytes = 1 << 27

    private static let fileName = "schema.dump"
    /// How long pg_dump waits for tables that somebody at the source has locked.
    private static let lockTimeout = "60s"

    /// Dumps everything but rows.
    ///
    /// - Parameters:
    ///   - tools: From ``ClientTools/find(environment:sourceMajor:packageFolders:)``.
    ///   - source: Where from.
    ///   - snapshot: Of `pg_export_snapshot()`, in a transaction that is still open; nil for a
    ///     snapshot of the dump's own.
    ///   - selection: What of the source.
    ///   - folder: Holds the archive.
    ///   - observer: Takes what pg_dump says.
    /// - Returns: The archive; its file lives as long as `folder`.
    /// - Throws: ``ToolFailure``.
    public static func dump(
        tools: ClientTools,
        source: ToolConnection,
        snapshot: String?,
        selection: DumpSelection = DumpSelection(),
        in folder: RunFolder,
        observer: @escaping ToolProcess.Observer = { _ in }
    ) async throws(ToolFailure) -> SchemaArchive {
        // Made by us first, so that it is nobody else's to read from its first byte on.
        try folder.write("", to: self.fileName)
        let path = folder.path(self.fileName)
        let arguments =
            [
                "--format=custom", "--section=pre-data", "--section=post-data", "--encoding=UTF8",
                "--lock-wait-timeout=\(self.lockTimeout)",
            ]
            + self.common(source, snapshot) + selection.arguments + ["--file=\(path)"]
        let invocation = ToolInvocation(tools.pgDump, arguments, connection: source)
        try await ToolProcess.run(invocation, observer: observer)
        let contents = try TableOfContents(archive: try self.read(path))
        return SchemaArchive(contents: contents, path: path, folder: folder, tools: tools)
    }

    /// Restores those of the entries that belong to one part.
    ///
    /// - Parameters:
    ///   - part: The part.
    ///   - entries: Of ``contents``; those of other parts are passed over. None of this part:
    ///     nothing is run.
    ///   - target: Where to.
    ///   - options: How.
    ///   - observer: Takes what pg_restore says: a message of the kind
    ///     ``ToolMessage/Kind/progress`` for every entry.
    /// - Throws: ``ToolFailure``; it stops at the first error.
    public func restore(
        _ part: Part,
        entries: [TableOfContents.Entry],
        to target: ToolConnection,
        options: RestoreOptions,
        observer: @escaping ToolProcess.Observer = { _ in }
    ) async throws(ToolFailure) {
        let wanted = entries.filter { $0.section == part.section }
        guard !wanted.isEmpty else { return }
        let list = part.rawValue + ".list"
        try self.folder.write(TableOfContents.listing(of: wanted), to: list)
        // The list alone selects: by `--section`, a comment at its head would be of no section.
        let arguments =
            ["--use-list=\(self.folder.path(list))"] + Self.restoring(target, options)
            + [self.path]
        let invocation = ToolInvocation(self.tools.pgRestore, arguments, connection: target)
        try await ToolProcess.run(invocation, observer: observer)
    }

    /// Copies all large objects: contents, and with tools of 17 and later their creation, owners,
    /// comments and privileges; older tools have those in the schema archive.
    ///
    /// - Parameters: As for ``dump(tools:source:snapshot:selection:in:observer:)`` and
    ///   ``restore(_:entries:to:options:observer:)``; `options.jobs` is passed over, since a pipe
    ///   has one reader.
    /// - Throws: ``ToolFailure``.
    public static func copyLargeObjects(
        tools: ClientTools,
        from source: ToolConnection,
        snapshot: String?,
        to target: ToolConnection,
        options: RestoreOptions,
        observer: @escaping ToolProcess.Observer = { _ in }
    ) async throws(ToolFailure) {
        // No schema is looked at, so that no table is locked.
        let dumping =
            [
                "--format=custom", "--compress=0", "--section=data", "--encoding=UTF8", "-b",
                "--exclude-schema=*", "--exclude-table-data=*.*",
            ] + self.common(source, snapshot)
        var single = options
        single.jobs = 1
        let restoring = ["--format=custom"] + self.restoring(target, single)
        try await ToolProcess.pipe(
            ToolInvocation(tools.pgDump, dumping, connection: source),
            into: ToolInvocation(tools.pgRestore, restoring, connection: target),
            observer: observer)
    }

    private static func common(_ source: ToolConnection, _ snapshot: String?) -> [String] {
        ["--no-password", "--dbname=\(source.databaseArgument)"]
            + (snapshot.map { ["--snapshot=\($0)"] } ?? [])
    }

    private static func restoring(
        _ target: ToolConnection,
        _ options: RestoreOptions
    ) -> [String] {
        ["--no-password", "--exit-on-error", "--verbose", "--dbname=\(target.databaseArgument)"]
            + options.arguments
    }

    private static func read(_ path: String) throws(ToolFailure) -> [UInt8] {
        try ToolFailure.forFiles {
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            defer { try? handle.close() }
            return Array(try handle.read(upToCount: self.maximumBytes) ?? Data())
        }
    }
}

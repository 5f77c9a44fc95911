public import Foundation

/// What a deploy will do, as a value: printed by `--plan`, executed without it, stored afterwards.
///
/// It holds no secret.
public struct DeployPlan: Codable, Hashable, Sendable {
    /// The version of this value's JSON. A reader refuses a later one.
    public static let currentFormatVersion = 1

    /// How the target changes.
    public enum Method: String, Codable, Hashable, Sendable {
        /// One transaction in the target database.
        case inPlace = "in-place"
        /// A staging database beside the target, renamed at the end.
        case swap
    }

    /// One end of the deploy.
    public struct Side: Codable, Hashable, Sendable {
        /// Where it is, without password: what the user typed, shortened.
        public var description: String
        /// As libpq numbers it: 150018 is 15.18.
        public var serverVersion: Int
        /// As the server says it: `15.18 (Debian 15.18-0+deb12u1)`.
        public var serverVersionText: String
        /// The name of the database.
        public var database: String
        /// The size of the database in bytes.
        public var bytes: Int64
        /// The role we are there.
        public var role: String
        /// The name of the ``ProviderProfile`` it looks like.
        public var provider: String

        /// Creates a side; see the properties.
        public init(
            description: String, serverVersion: Int, serverVersionText: String, database: String,
            bytes: Int64, role: String, provider: String
        ) {
            self.description = description
            self.serverVersion = serverVersion
            self.serverVersionText = serverVersionText
            self.database = database
            self.bytes = bytes
            self.role = role
            self.provider = provider
        }
    }

    /// What the last deploy into this target was.
    public struct LastDeployment: Codable, Hashable, Sendable {
        /// Its id.
        public var id: String
        /// When it was committed.
        public var at: Date
        /// Rows by table (`schema.table`), as counted then.
        public var rowCounts: [String: Int64]

        /// Creates it; see the properties.
        public init(id: String, at: Date, rowCounts: [String: Int64]) {
            self.id = id
            self.at = at
            self.rowCounts = rowCounts
        }
    }

    /// ``currentFormatVersion`` of the program that made the plan.
    public var formatVersion: Int
    /// Where it comes from.
    public var source: Side
    /// Where it goes.
    public var target: Side
    /// The programs that read and write definitions.
    public var tools: ClientTools
    /// What the user asked for.
    public var options: DeployOptions
    /// How the target changes.
    public var method: Method
    /// Lanes that copy at once; 1 in place.
    public var jobs: Int
    /// Whether owners and grants are kept.
    public var keepsOwnership: Bool
    /// What of the source pg_dump looks at, by exact names.
    public var selection: DumpSelection
    /// What of its table of contents is not restored.
    public var rules: RestoreRules
    /// Schemas of the source that are deployed.
    public var schemas: [String]
    /// Tables whose rows are copied, the largest first.
    public var tables: [PlannedTable]
    /// Sequences whose position is set.
    public var sequences: [PlannedSequence]
    /// Materialized views that are filled, `schema.name` as identities.
    public var materializedViews: [String]
    /// Large objects.
    public var largeObjects: LargeObjectFacts
    /// Extensions that the deployed objects come with.
    public var extensions: [PlannedExtension]
    /// Every entry of the source that is not deployed.
    public var leftOut: [LeftOut]
    /// What the last deploy made and the source no longer has, as `table public.orders`: dropped.
    public var removed: [String]
    /// What the target holds and no deploy made: kept, but for what is ``replaced``.
    public var foreign: [String]
    /// What no deploy made and is replaced, because the user said so.
    public var replaced: [ObjectKey]
    /// The last deploy into this target, nil if there was none.
    public var lastDeployment: LastDeployment?
    /// What a person should know, the gravest first.
    public var findings: [Finding]

    /// Creates a plan of nothing between two ends; the planner fills in the rest.
    public init(source: Side, target: Side, tools: ClientTools, options: DeployOptions) {
        self.formatVersion = Self.currentFormatVersion
        self.source = source
        self.target = target
        self.tools = tools
        self.options = options
        self.method = .inPlace
        self.jobs = 1
        self.keepsOwnership = false
        self.selection = DumpSelection()
        self.rules = RestoreRules()
        self.schemas = []
        self.tables = []
        self.sequences = []
        self.materializedViews = []
        self.largeObjects = LargeObjectFacts()
        self.extensions = []
        self.leftOut = []
        self.removed = []
        self.foreign = []
        self.replaced = []
        self.findings = []
    }

    /// Whether a finding forbids the deploy.
    public var isBlocked: Bool { self.findings.contains { $0.severity == .blocking } }

    /// Bytes of all tables that are copied.
    public var totalBytes: Int64 { self.tables.reduce(0) { $0 + $1.bytes } }
}

/// One entry of the source that is not deployed, and why.
public struct LeftOut: Codable, Hashable, Sendable {
    /// What it is, in Postgres's words: `event trigger`, `table`, `comment`.
    public var kind: String
    /// Its name, as Postgres writes its identity.
    public var identity: String
    /// One sentence for a person, without a full stop.
    public var reason: String

    /// Creates an entry; see the properties.
    public init(kind: String, identity: String, reason: String) {
        self.kind = kind
        self.identity = identity
        self.reason = reason
    }
}

/// A table whose rows are copied.
public struct PlannedTable: Codable, Hashable, Sendable {
    /// Its schema.
    public var schema: String
    /// Its name.
    public var name: String
    /// An ordinary table, or a materialized view's or partition's own storage.
    public var kind: RelationFacts.Kind
    /// The columns to copy, in order: generated ones are not.
    public var columns: [String]
    /// The condition of an extension's configuration table (`WHERE …`), nil for all rows.
    public var copyFilter: String?
    /// Bytes on disk at the source, TOAST included.
    public var bytes: Int64
    /// Rows as last estimated by ANALYZE, nil where that never ran.
    public var estimatedRows: Int64?

    /// Creates a table; see the properties.
    public init(
        schema: String, name: String, kind: RelationFacts.Kind = .table, columns: [String],
        copyFilter: String? = nil, bytes: Int64 = 0, estimatedRows: Int64? = nil
    ) {
        self.schema = schema
        self.name = name
        self.kind = kind
        self.columns = columns
        self.copyFilter = copyFilter
        self.bytes = bytes
        self.estimatedRows = estimatedRows
    }
}

/// A sequence whose position is set.
public struct PlannedSequence: Codable, Hashable, Sendable {
    /// Its schema.
    public var schema: String
    /// Its name.
    public var name: String

    /// Creates a sequence.
    public init(schema: String, name: String) {
        self.schema = schema
        self.name = name
    }
}

/// An extension of the source that is deployed.
public struct PlannedExtension: Codable, Hashable, Sendable {
    /// Its name.
    public var name: String
    /// Its schema at the source.
    public var schema: String
    /// Its version at the source.
    public var sourceVersion: String
    /// Its version at the target: installed, or what CREATE EXTENSION would give; nil if neither.
    public var targetVersion: String?
    /// Whether the target has it already.
    public var isInstalled: Bool

    /// Creates an extension; see the properties.
    public init(
        name: String, schema: String, sourceVersion: String, targetVersion: String?,
        isInstalled: Bool
    ) {
        self.name = name
        self.schema = schema
        self.sourceVersion = sourceVersion
        self.targetVersion = targetVersion
        self.isInstalled = isInstalled
    }
}

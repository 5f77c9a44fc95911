/// What the user asked of a deploy.
public struct DeployOptions: Codable, Hashable, Sendable {
    /// What of the source is deployed.
    public enum Content: String, Codable, Hashable, Sendable, CaseIterable {
        /// Definitions and rows.
        case all
        /// Definitions only.
        case schemaOnly = "schema-only"
        /// Rows only, into tables that the target already has.
        case dataOnly = "data-only"
    }

    /// How much is compared afterwards.
    public enum VerifyLevel: String, Codable, Hashable, Sendable, CaseIterable {
        /// Nothing.
        case none
        /// Object inventory, row counts, sequences, indexes and constraints.
        case counts
        /// The same and a checksum of every table.
        case full
    }

    /// How the target changes from the state before to the state after.
    public enum Method: String, Codable, Hashable, Sendable, CaseIterable {
        /// The planner decides.
        case auto
        /// One transaction in the target database.
        case inPlace = "in-place"
        /// A staging database beside the target, renamed at the end.
        case swap
    }

    /// Whether owners and grants of the source are kept.
    public enum Ownership: String, Codable, Hashable, Sendable, CaseIterable {
        /// Kept where the target has all the roles and we may act for them.
        case auto
        /// Kept; a missing role is a blocking finding.
        case keep
        /// Left out: everything belongs to the target's role.
        case leaveOut = "leave-out"
    }

    /// How many lanes a user may ask for.
    ///
    /// Each lane is a connection at both ends; a small cloud database has 60 to 100 in all.
    public static let allowedJobs = 1...16

    /// Definitions, rows or both.
    public var content: Content
    /// Schemas to deploy, as ``NamePattern``; empty means all.
    public var schemas: [String]
    /// Schemas to leave out, as ``NamePattern``.
    public var excludedSchemas: [String]
    /// Tables to deploy, as ``NamePattern`` (`schema.table`); empty means all.
    public var tables: [String]
    /// How much is compared afterwards.
    public var verify: VerifyLevel
    /// How the target changes.
    public var method: Method
    /// Lanes, in ``allowedJobs``; nil leaves it to the planner.
    public var jobs: Int?
    /// Owners and grants.
    public var ownership: Ownership
    /// Whether objects of the same name that no deploy made are replaced.
    public var replaceForeign: Bool
    /// Whether what the last deploy made is kept for a rollback.
    public var keepsPrevious: Bool
    /// Whether ANALYZE runs at the end.
    public var analyzes: Bool

    /// Creates options; see the properties.
    public init(
        content: Content = .all,
        schemas: [String] = [],
        excludedSchemas: [String] = [],
        tables: [String] = [],
        verify: VerifyLevel = .full,
        method: Method = .auto,
        jobs: Int? = nil,
        ownership: Ownership = .auto,
        replaceForeign: Bool = false,
        keepsPrevious: Bool = true,
        analyzes: Bool = true
    ) {
        self.content = content
        self.schemas = schemas
        self.excludedSchemas = excludedSchemas
        self.tables = tables
        self.verify = verify
        self.method = method
        self.jobs = jobs
        self.ownership = ownership
        self.replaceForeign = replaceForeign
        self.keepsPrevious = keepsPrevious
        self.analyzes = analyzes
    }
}

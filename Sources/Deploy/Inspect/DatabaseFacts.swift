/// What ``DatabaseInspector`` found out about one end, by catalogue queries only.
///
/// Names are exact, never quoted; identities are as `pg_identify_object` writes them.
public struct DatabaseFacts: Codable, Hashable, Sendable {
    /// The server and the database within it.
    public var server: ServerFacts
    /// The role we are.
    public var role: RoleFacts
    /// The names of all roles of the server.
    public var roles: Set<String>
    /// The extensions that are installed.
    public var extensions: [ExtensionFacts]
    /// What CREATE EXTENSION could create, by name.
    public var availableExtensions: [String: AvailableExtension]
    /// Schemas, without Postgres's own and pgshare's.
    public var schemas: [SchemaFacts]
    /// Schemas of pgshare: the ledger, and what it keeps for a rollback.
    public var ownSchemas: [String]
    /// Tables, views, sequences and their like, without Postgres's own.
    public var relations: [RelationFacts]
    /// Every object that stands for itself, those above once more.
    public var objects: [DeployedObject]
    /// Which object needs which other. None is Postgres's own.
    public var dependencies: [Dependency]
    /// Languages that the role may write functions in.
    public var languages: Set<String>
    /// Foreign keys.
    public var foreignKeys: [ForeignKeyFacts]
    /// Triggers that a user made.
    public var triggers: [TriggerFacts]
    /// Roles that policies are for.
    public var policyRoles: [RoleUse]
    /// Roles that own something or were granted something.
    public var roleUses: [RoleUse]
    /// Default privileges, one an entry of `pg_default_acl`.
    public var defaultPrivileges: [DefaultPrivilegeFacts]
    /// Names of event triggers that belong to no extension.
    public var eventTriggers: [String]
    /// Names of publications.
    public var publications: [String]
    /// Names of subscriptions of this database.
    public var subscriptions: [String]
    /// Security labels, as `provider on object`.
    public var securityLabels: [String]
    /// Tablespaces in use other than the database's own, with the relations in them.
    public var tablespaces: [String: [String]]
    /// Indexes that are not valid.
    public var invalidIndexes: [LocatedObject]
    /// Constraints that were never validated.
    public var unvalidatedConstraints: [LocatedObject]
    /// Collations that columns, domains and indexes use, other than default, C and POSIX.
    public var usedCollations: [String]
    /// Collations of `pg_catalog` that exist.
    public var systemCollations: Set<String>
    /// Collations whose library changed since they were made, or this database's own, as sentences.
    public var changedCollations: [String]
    /// Features in use that older servers lack.
    public var features: [FeatureUse]
    /// Large objects.
    public var largeObjects: LargeObjectFacts
    /// Transactions prepared in this database, by their global identifier.
    public var preparedTransactions: [String]
    /// Relations that have storage or a lock of their own: tables, indexes, TOAST, sequences.
    public var lockableRelations: Int
}

/// The server and the database within it.
public struct ServerFacts: Codable, Hashable, Sendable {
    /// As libpq numbers it.
    public var version: Int
    /// As the server says it.
    public var versionText: String
    /// The database's name.
    public var database: String
    /// The database's OID.
    public var databaseOID: String
    /// The role that owns the database.
    public var databaseOwner: String
    /// Comment on the database, nil if there is none.
    public var databaseComment: String?
    /// Size of the database in bytes, 0 where we may not know.
    public var bytes: Int64
    /// The cluster's system identifier, nil where we may not know.
    public var systemIdentifier: String?
    /// When the postmaster started, to the microsecond; nil where there is none (PGlite).
    public var startedAt: String?
    /// The encoding's name: `UTF8`.
    public var encoding: String
    /// How the database compares text.
    public var locale: LocaleFacts
    /// Whether it is a standby.
    public var isInRecovery: Bool
    /// Whether every transaction starts read-only, by a setting.
    public var isReadOnly: Bool
    /// Of this role in this database, as SHOW prints it at the start of a session: `0` is none.
    public var statementTimeout: String
    /// `max_connections`.
    public var maximumConnections: Int
    /// Connections that this role could still open.
    public var freeConnections: Int
    /// `max_locks_per_transaction`.
    public var maximumLocksPerTransaction: Int
    /// `max_prepared_transactions`.
    public var maximumPreparedTransactions: Int
    /// Sessions of others in this database.
    public var otherSessions: Int
    /// Other databases that this role may connect to.
    public var otherDatabases: [String]
    /// What sits between us and the server.
    public var pooling: Pooling
    /// Whether a second connection works while the first is open. The caller tried.
    public var acceptsSecondConnection: Bool
    /// Whether a snapshot can be exported to other sessions.
    public var canExportSnapshot: Bool
    /// The name of the ``ProviderProfile`` it looks like.
    public var provider: String

    /// The major version: 15.
    public var major: Int { self.version / 10_000 }

    /// What sits between us and the server.
    public enum Pooling: String, Codable, Hashable, Sendable {
        /// Nothing, or a pooler that gives us one backend for as long as we stay.
        case session
        /// A pooler that may give every transaction another backend.
        case transaction
    }
}

/// How a database compares text.
public struct LocaleFacts: Codable, Hashable, Sendable {
    /// `libc`, `icu` or `builtin`.
    public var provider: String
    /// `datcollate`.
    public var collate: String
    /// `datctype`.
    public var ctype: String
    /// The ICU or built-in locale, nil for libc.
    public var locale: String?
}

/// The role that we are at one end.
public struct RoleFacts: Codable, Hashable, Sendable {
    /// Its name.
    public var name: String
    /// Superuser.
    public var isSuperuser: Bool
    /// CREATEDB.
    public var canCreateDatabases: Bool
    /// CREATEROLE.
    public var canCreateRoles: Bool
    /// BYPASSRLS.
    public var bypassesRowSecurity: Bool
    /// CREATE on the database.
    public var canCreateInDatabase: Bool
    /// Owns the database, or is a member of the role that does.
    public var ownsDatabase: Bool
    /// Roles that it may act for, itself included.
    public var memberOf: Set<String>
}

/// An extension that is installed.
public struct ExtensionFacts: Codable, Hashable, Sendable {
    /// Its name.
    public var name: String
    /// Its version.
    public var version: String
    /// The schema that it is in.
    public var schema: String
    /// Whether ALTER EXTENSION … SET SCHEMA works.
    public var isRelocatable: Bool
    /// Whether an object that is no extension's needs a member of it.
    public var isUsed: Bool
}

/// An extension that could be installed.
public struct AvailableExtension: Codable, Hashable, Sendable {
    /// The version that CREATE EXTENSION gives.
    public var defaultVersion: String
    /// All versions there are.
    public var versions: Set<String>
    /// Whether only a superuser can; a trusted one takes no more than CREATE on the database.
    public var needsSuperuser: Bool
}

/// A schema.
public struct SchemaFacts: Codable, Hashable, Sendable {
    /// Its name.
    public var name: String
    /// The role that owns it.
    public var owner: String
    /// The extension it belongs to, nil if none.
    public var extensionName: String?
    /// Whether we may create in it.
    public var canCreate: Bool
    /// Whether we may look into it.
    public var canUse: Bool
}

/// A table, a view, a sequence or their like.
public struct RelationFacts: Codable, Hashable, Sendable {
    /// What it is.
    public enum Kind: String, Codable, Hashable, Sendable, CaseIterable {
        /// Rows of its own. A partition is one too.
        case table
        /// Rows in its partitions only.
        case partitionedTable = "partitioned-table"
        /// Rows in another server.
        case foreignTable = "foreign-table"
        /// No rows.
        case view
        /// Rows that REFRESH makes.
        case materializedView = "materialized-view"
        /// A position.
        case sequence
    }

    /// Its schema.
    public var schema: String
    /// Its name.
    public var name: String
    /// What it is.
    public var kind: Kind
    /// The role that owns it.
    public var owner: String
    /// Bytes on disk, TOAST included, indexes not.
    public var bytes: Int64
    /// Rows as last estimated, nil where ANALYZE never ran.
    public var estimatedRows: Int64?
    /// Columns that COPY moves, in order.
    public var columns: [String]
    /// Columns that are computed.
    public var generatedColumns: [String]
    /// The extension it belongs to, nil if none.
    public var extensionName: String?
    /// For a configuration table of an extension, which rows the user made: `WHERE …`, or empty
    /// for all. Nil for every other table.
    public var configurationFilter: String?
    /// Whether it is unlogged.
    public var isUnlogged: Bool
    /// Whether row security is on.
    public var hasRowSecurity: Bool
    /// Whether it is on for the owner too.
    public var forcesRowSecurity: Bool
    /// Whether it would hide rows from the role we are.
    public var rowSecurityApplies: Bool
    /// Whether we may read it.
    public var isReadable: Bool
    /// The table that it is a partition of, as `schema.name`.
    public var partitionOf: String?
    /// Whether it has no page at all, and so surely no row; true for what has no storage.
    public var isEmpty: Bool
    /// Whether a materialized view is filled; true for all else.
    public var isPopulated: Bool

    /// `schema.name`, quoted where needed, as identities are.
    public var identity: String
}

/// An object that needs another.
public struct Dependency: Codable, Hashable, Sendable {
    /// Its schema, or that of the table it belongs to; empty for what is in none.
    public var schema: String
    /// What it is, as `pg_identify_object` says: `view`, `trigger`, `table constraint`, ….
    public var kind: String
    /// Its identity.
    public var identity: String
    /// The identity of the table it belongs to, or its own.
    public var host: String
    /// The schema of what it needs, empty for what is in none.
    public var neededSchema: String
    /// What that is.
    public var neededKind: String
    /// Its identity.
    public var needed: String
    /// The extension that it belongs to, nil if none.
    public var neededExtension: String?
}

/// An object within a schema.
public struct LocatedObject: Codable, Hashable, Sendable {
    /// The schema.
    public var schema: String
    /// The object's identity.
    public var identity: String

    /// Creates it.
    public init(schema: String, identity: String) {
        self.schema = schema
        self.identity = identity
    }
}

/// A foreign key.
public struct ForeignKeyFacts: Codable, Hashable, Sendable {
    /// Its name.
    public var name: String
    /// The schema of the table that has it.
    public var schema: String
    /// The table that has it.
    public var table: String
    /// The schema of the table that it points to.
    public var referencedSchema: String
    /// The table that it points to.
    public var referencedTable: String
    /// The constraint as SQL.
    public var definition: String
}

/// A trigger.
public struct TriggerFacts: Codable, Hashable, Sendable {
    /// Its name.
    public var name: String
    /// The schema of its table.
    public var schema: String
    /// Its table.
    public var table: String
    /// The schema of its function.
    public var functionSchema: String
    /// The identity of its function.
    public var function: String
    /// The extension of its function, nil if none.
    public var functionExtension: String?
    /// The trigger as SQL.
    public var definition: String
}

/// A role that an object needs.
public struct RoleUse: Codable, Hashable, Sendable {
    /// Why it is needed.
    public enum Reason: String, Codable, Hashable, Sendable {
        /// It owns the object.
        case owner
        /// It was granted a right on the object.
        case grant
        /// A policy is for it.
        case policy
    }

    /// The role's name.
    public var role: String
    /// Why it is needed.
    public var reason: Reason
    /// The object's schema, nil for what is in none.
    public var schema: String?
    /// The identity of one such object.
    public var object: String
}

/// One entry of `pg_default_acl`.
public struct DefaultPrivilegeFacts: Codable, Hashable, Sendable {
    /// Whose new objects it is about.
    public var role: String
    /// In which schema, nil for all.
    public var schema: String?
    /// `tables`, `sequences`, `functions`, `types`, `schemas`.
    public var objects: String
    /// The roles that it grants to, without PUBLIC.
    public var grantees: [String]
}

/// A feature in use that older servers lack.
public struct FeatureUse: Codable, Hashable, Sendable {
    /// The feature, for a person.
    public var feature: String
    /// The first major version that has it.
    public var since: Int
    /// The identity of an object that uses it.
    public var object: String
    /// Its schema.
    public var schema: String
}

/// The large objects of a database.
public struct LargeObjectFacts: Codable, Hashable, Sendable {
    /// How many.
    public var count: Int64
    /// Bytes on disk of all of them.
    public var bytes: Int64

    /// Creates it.
    public init(count: Int64 = 0, bytes: Int64 = 0) {
        self.count = count
        self.bytes = bytes
    }
}

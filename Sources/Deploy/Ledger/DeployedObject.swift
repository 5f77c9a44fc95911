/// One object of a database that stands for itself: a table with its columns, indexes, triggers,
/// policies and owned sequences is one, as is a function, a type or a schema.
///
/// Members of an extension, row types, array types and whatever else comes and goes with another
/// object are none. Large objects, of which there may be millions, are counted apart.
public struct DeployedObject: Codable, Hashable, Sendable {
    /// What it is.
    public var kind: ObjectKind
    /// The OID of the catalog that it stands in.
    public var classID: UInt32
    /// Its OID within that catalog.
    public var oid: UInt32
    /// The schema that it is in, unquoted; nil for what is in none.
    public var schema: String?
    /// Its name, unquoted; nil for what has none: casts, transforms, user mappings, default
    /// privileges.
    public var name: String?
    /// What `pg_identify_object` calls it, quoted where it must be.
    public var identity: String
    /// Its owner's name; nil for what has none.
    public var owner: String?

    /// Creates one.
    public init(
        kind: ObjectKind,
        classID: UInt32,
        oid: UInt32,
        schema: String?,
        name: String?,
        identity: String,
        owner: String?
    ) {
        self.kind = kind
        self.classID = classID
        self.oid = oid
        self.schema = schema
        self.name = name
        self.identity = identity
        self.owner = owner
    }

    /// Where the catalogs have it.
    public var address: ObjectAddress { ObjectAddress(classID: self.classID, oid: self.oid) }
    /// What a person or another database knows it by.
    public var key: ObjectKey { ObjectKey(kind: self.kind, identity: self.identity) }
    /// Kind and identity, for sentences: `table public.orders`.
    public var title: String { "\(self.kind.rawValue) \(self.identity)" }
}

/// An object of one database by its OIDs. It outlives renaming.
public struct ObjectAddress: Codable, Hashable, Sendable {
    /// The OID of the catalog.
    public var classID: UInt32
    /// The OID within it.
    public var oid: UInt32

    /// Creates one.
    public init(classID: UInt32, oid: UInt32) {
        self.classID = classID
        self.oid = oid
    }
}

/// An object by kind and name: equal for the same object of two databases.
public struct ObjectKey: Codable, Hashable, Sendable {
    /// What it is.
    public var kind: ObjectKind
    /// What `pg_identify_object` calls it.
    public var identity: String

    /// Creates one.
    public init(kind: ObjectKind, identity: String) {
        self.kind = kind
        self.identity = identity
    }
}

/// The kinds of objects that stand for themselves, by the words of `pg_identify_object`.
public enum ObjectKind: String, Codable, Hashable, Sendable, CaseIterable {
    /// Also a partitioned one, or a partition.
    case table
    /// Not a materialized one.
    case view
    /// With its rows.
    case materializedView = "materialized view"
    /// One that no column owns.
    case sequence
    /// Of a server.
    case foreignTable = "foreign table"
    /// Base, composite, enum, range or domain.
    case type
    /// Also a window function.
    case function
    /// Called by CALL.
    case procedure
    /// Plain, ordered-set or hypothetical.
    case aggregate
    /// Binary or prefix.
    case `operator`
    /// With what belongs to it.
    case operatorClass = "operator class"
    /// With its loose operators and functions.
    case operatorFamily = "operator family"
    /// A way to sort.
    case collation
    /// Between encodings.
    case conversion
    /// Extended statistics.
    case statistics = "statistics object"
    /// With its mappings.
    case textSearchConfiguration = "text search configuration"
    /// Of a template.
    case textSearchDictionary = "text search dictionary"
    /// Superusers make them.
    case textSearchParser = "text search parser"
    /// Superusers make them.
    case textSearchTemplate = "text search template"
    /// A namespace.
    case schema
    /// With its members.
    case `extension`
    /// Procedural.
    case language
    /// Of a server's kind.
    case foreignDataWrapper = "foreign-data wrapper"
    /// Foreign.
    case server
    /// Of a role at a server.
    case userMapping = "user mapping"
    /// Between two types.
    case cast
    /// Between a type and a language.
    case transform
    /// What ALTER DEFAULT PRIVILEGES made.
    case defaultPrivileges = "default acl"
    /// Of tables or indexes.
    case accessMethod = "access method"
    /// Of logical replication.
    case publication
    /// Of logical replication.
    case subscription
    /// Fires on DDL.
    case eventTrigger = "event trigger"
}

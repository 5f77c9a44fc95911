/// The objects of a database and who needs whom, as one moment shows them.
struct Catalog: Sendable {
    /// An object with what only this database knows of it.
    struct Entry: Hashable, Sendable {
        var object: DeployedObject
        /// How DDL names it.
        var ddlName: String
        /// Whether this very transaction made or changed it; nil where nobody can tell.
        var isOfThisTransaction: Bool?
    }

    /// Everything that stands for itself, our own schemas included.
    private(set) var entries: [ObjectAddress: Entry] = [:]
    /// What an object needs.
    private(set) var needs: [ObjectAddress: Set<ObjectAddress>] = [:]
    /// What needs an object. What is in a schema needs the schema.
    private(set) var neededBy: [ObjectAddress: Set<ObjectAddress>] = [:]

    /// Two queries. The transaction's `search_path` is empty from here on: identities are whole.
    static func read(_ session: any SQLSession) async throws(SQLFailure) -> Catalog {
        _ = try await session.rows("select pg_catalog.set_config('search_path', '', true)")
        let version = session.serverVersion
        let objects = try await session.rows(CatalogSQL.objects(serverVersion: version))
        let edges = try await session.rows(CatalogSQL.edges(serverVersion: version))
        return Catalog(objects: objects, edges: edges)
    }

    /// Rows as the two queries give them; a row that says nothing is passed over.
    init(objects: [[String?]], edges: [[String?]]) {
        for row in objects {
            guard row.count == 9, let object = DeployedObject(row: row) else { continue }
            self.entries[object.address] = Entry(
                object: object, ddlName: row[8] ?? object.identity,
                isOfThisTransaction: row[7].map { $0 == "t" })
        }
        for row in edges {
            let numbers = row.compactMap { $0.flatMap { UInt32($0) } }
            guard numbers.count == 4 else { continue }
            let dependent = ObjectAddress(classID: numbers[0], oid: numbers[1])
            let needed = ObjectAddress(classID: numbers[2], oid: numbers[3])
            self.needs[dependent, default: []].insert(needed)
            self.neededBy[needed, default: []].insert(dependent)
        }
    }

    /// Whether it is our own: the ledger, or kept by it.
    func isOurs(_ object: DeployedObject) -> Bool {
        let place = object.schema ?? object.name
        if let place { return LedgerLayout.isReserved(place) }
        return self.needs[object.address, default: []].contains { address in
            guard let needed = self.entries[address]?.object else { return false }
            return (needed.schema ?? needed.name).map(LedgerLayout.isReserved) ?? false
        }
    }

    /// The schema of this name.
    func schema(named name: String) -> Entry? {
        self.entries.values.first { $0.object.kind == .schema && $0.object.name == name }
    }

    /// What stands in a schema, or is set for it: objects, extensions, default privileges.
    func contents(of schema: ObjectAddress) -> Set<ObjectAddress> {
        self.neededBy[schema, default: []]
    }
}

/// Lists what a database holds.
public enum ObjectInventory {
    /// Every object that stands for itself, but for the system's, members of extensions, large
    /// objects and what belongs to pgshare itself (the ledger and what it keeps).
    ///
    /// Works on Postgres 14 to 18, for every role. Sets the transaction's `search_path` to empty.
    ///
    /// - Returns: Ordered by kind and identity.
    public static func read(_ session: any SQLSession) async throws(SQLFailure) -> [DeployedObject]
    {
        let catalog = try await Catalog.read(session)
        return catalog.entries.values.map(\.object).filter { !catalog.isOurs($0) }.sorted()
    }
}

extension DeployedObject {
    /// Kind, class, oid, schema, name, identity, owner; more is passed over.
    init?(row: [String?]) {
        guard row.count >= 7, let word = row[0], let kind = ObjectKind(rawValue: word),
            let classID = row[1].flatMap({ UInt32($0) }), let oid = row[2].flatMap({ UInt32($0) }),
            let identity = row[5]
        else { return nil }
        self.init(
            kind: kind, classID: classID, oid: oid, schema: row[3], name: row[4],
            identity: identity, owner: row[6])
    }
}

extension DeployedObject: Comparable {
    /// By kind and identity; two of one name differ by OID.
    public static func < (one: DeployedObject, other: DeployedObject) -> Bool {
        (one.kind.rawValue, one.identity, one.oid)
            < (other.kind.rawValue, other.identity, other.oid)
    }
}

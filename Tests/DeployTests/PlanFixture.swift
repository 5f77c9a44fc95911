@testable import Deploy

/// Two ends that nothing speaks against, to be spoilt by one fact at a time.
enum PlanFixture {
    /// A plan of these ends; `change` spoils them.
    static func plan(_ change: (inout PlanInput) -> Void = { _ in }) -> DeployPlan {
        var input = self.input
        change(&input)
        return Planner.plan(input)
    }

    static var input: PlanInput {
        PlanInput(
            options: DeployOptions(),
            sourceEnd: .init("shop on localhost", host: "localhost", port: 5432),
            source: self.source,
            targetEnd: .init("app on db.example.com", host: "db.example.com", port: 5432),
            target: self.facts(database: "app", role: "owner", started: "2"),
            ledger: nil,
            contents: self.contents,
            tools: ClientTools(
                pgDump: .init(path: "/pg/pg_dump", version: .init(major: 17, minor: 6)),
                pgRestore: .init(path: "/pg/pg_restore", version: .init(major: 17, minor: 6))),
            provider: .generic, cores: 2)
    }

    /// A table of orders and its view; a function and a sequence.
    static var source: DatabaseFacts {
        var facts = self.facts(database: "shop", role: "postgres", started: "1")
        facts.role.isSuperuser = true
        facts.relations = [
            self.relation("public", "orders"),
            self.relation("public", "totals", .view),
            self.relation("public", "orders_id_seq", .sequence),
        ]
        facts.objects = [
            self.object(.table, "public", "orders", classID: 1259, oid: 20_001),
            self.object(.view, "public", "totals", classID: 1259, oid: 20_002),
            self.object(.function, "public", "f()", classID: 1255, oid: 20_003),
        ]
        facts.lockableRelations = 6
        return facts
    }

    static var contents: TableOfContents {
        TableOfContents(entries: [
            self.entry(1, "TABLE", "public", "orders", 1259, 20_001),
            self.entry(2, "VIEW", "public", "totals", 1259, 20_002, needs: [1]),
            self.entry(3, "FUNCTION", "public", "f()", 1255, 20_003),
            self.entry(4, "SEQUENCE", "public", "orders_id_seq", 1259, 20_004),
        ])
    }

    static func entry(
        _ dumpID: Int, _ kind: String, _ schema: String?, _ tag: String,
        _ catalog: UInt32 = 0, _ oid: UInt32 = 0, needs: [Int] = [], definition: String = ""
    ) -> TableOfContents.Entry {
        TableOfContents.Entry(
            dumpID: dumpID, kind: kind, schema: schema, tag: tag, owner: "postgres",
            catalogOID: catalog, oid: oid, dependencies: needs, definition: definition)
    }

    static func object(
        _ kind: ObjectKind, _ schema: String?, _ name: String, classID: UInt32 = 1259,
        oid: UInt32
    ) -> DeployedObject {
        DeployedObject(
            kind: kind, classID: classID, oid: oid, schema: schema, name: name,
            identity: schema.map { "\($0).\(name)" } ?? name, owner: "postgres")
    }

    static func relation(
        _ schema: String, _ name: String, _ kind: RelationFacts.Kind = .table,
        bytes: Int64 = 8192
    ) -> RelationFacts {
        RelationFacts(
            schema: schema, name: name, kind: kind, owner: "postgres",
            bytes: kind == .table ? bytes : 0, estimatedRows: kind == .table ? 10 : nil,
            columns: ["id", "note"], generatedColumns: [], isUnlogged: false,
            hasRowSecurity: false, forcesRowSecurity: false, rowSecurityApplies: false,
            isReadable: true, isEmpty: false, isPopulated: true,
            identity: "\(schema).\(name)")
    }

    static func schema(_ name: String, canCreate: Bool = true) -> SchemaFacts {
        SchemaFacts(name: name, owner: "postgres", canCreate: canCreate, canUse: true)
    }

    static func installed(
        _ name: String, _ version: String = "1.2", schema: String = "public", isUsed: Bool = true
    ) -> ExtensionFacts {
        ExtensionFacts(
            name: name, version: version, schema: schema, isRelocatable: true, isUsed: isUsed)
    }

    static func available(
        _ version: String = "1.2", needsSuperuser: Bool = false
    ) -> AvailableExtension {
        AvailableExtension(
            defaultVersion: version, versions: [version], needsSuperuser: needsSuperuser)
    }

    /// An empty Postgres 17 in UTF8, and an ordinary role that owns its database.
    static func facts(database: String, role: String, started: String) -> DatabaseFacts {
        DatabaseFacts(
            server: ServerFacts(
                version: 170_006, versionText: "17.6", database: database, databaseOID: "16384",
                databaseOwner: role, bytes: 8_000_000, systemIdentifier: "70\(started)",
                startedAt: started, encoding: "UTF8",
                locale: LocaleFacts(provider: "libc", collate: "C", ctype: "C"),
                isInRecovery: false, isReadOnly: false, statementTimeout: "0",
                maximumConnections: 100, freeConnections: 90, maximumLocksPerTransaction: 64,
                maximumPreparedTransactions: 0, otherSessions: 0, otherDatabases: ["postgres"],
                pooling: .session, acceptsSecondConnection: true, canExportSnapshot: true,
                provider: "generic"),
            role: RoleFacts(
                name: role, isSuperuser: false, canCreateDatabases: true, canCreateRoles: false,
                bypassesRowSecurity: false, canCreateInDatabase: true, ownsDatabase: true,
                memberOf: [role]),
            roles: ["postgres", "owner"], extensions: [self.installed("plpgsql", "1.0")],
            availableExtensions: ["plpgsql": self.available("1.0")],
            schemas: [self.schema("public")], ownSchemas: [], relations: [], objects: [],
            dependencies: [], languages: ["c", "internal", "plpgsql", "sql"], foreignKeys: [],
            triggers: [], policyRoles: [], roleUses: [], defaultPrivileges: [],
            eventTriggers: [], publications: [], subscriptions: [], securityLabels: [],
            tablespaces: [:], invalidIndexes: [], unvalidatedConstraints: [], usedCollations: [],
            systemCollations: ["C", "POSIX", "default"], changedCollations: [], features: [],
            largeObjects: LargeObjectFacts(), preparedTransactions: [], lockableRelations: 0)
    }
}

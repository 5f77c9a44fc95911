extension CatalogReader {
    func schemas() async throws(SQLFailure) -> [SchemaFacts] {
        try await self.rows(CatalogQueries.schemas) { row in
            SchemaFacts(
                name: row.text(), owner: row.text(), extensionName: row.optional(),
                canCreate: row.bool(), canUse: row.bool())
        }
    }

    func relations() async throws(SQLFailure) -> [RelationFacts] {
        try await self.rows(CatalogQueries.relations) { row in
            RelationFacts(
                schema: row.text(),
                name: row.text(),
                kind: Self.kind(row.text()),
                owner: row.text(),
                bytes: row.int64(),
                estimatedRows: row.optional().flatMap { Int64($0) },
                columns: row.list(),
                generatedColumns: row.list(),
                extensionName: row.optional(),
                configurationFilter: row.optional(),
                isUnlogged: row.bool(),
                hasRowSecurity: row.bool(),
                forcesRowSecurity: row.bool(),
                rowSecurityApplies: row.bool(),
                isReadable: row.bool(),
                partitionOf: row.optional(),
                isEmpty: row.bool(),
                isPopulated: row.bool(),
                identity: row.text()
            )
        }
    }

    /// `pg_class.relkind`; the statement asks for no others.
    private static func kind(_ letter: String) -> RelationFacts.Kind {
        switch letter {
        case "p": .partitionedTable
        case "f": .foreignTable
        case "v": .view
        case "m": .materializedView
        case "S": .sequence
        default: .table
        }
    }

    func dependencies() async throws(SQLFailure) -> [Dependency] {
        try await self.rows(CatalogQueries.dependencies) { row in
            Dependency(
                schema: row.unquoted() ?? "", kind: row.text(), identity: row.text(),
                host: row.text(), neededSchema: row.unquoted() ?? "", neededKind: row.text(),
                needed: row.text(),
                neededExtension: row.optional())
        }
    }

    func foreignKeys() async throws(SQLFailure) -> [ForeignKeyFacts] {
        try await self.rows(CatalogQueries.foreignKeys) { row in
            ForeignKeyFacts(
                name: row.text(), schema: row.text(), table: row.text(),
                referencedSchema: row.text(), referencedTable: row.text(),
                definition: row.text())
        }
    }

    func triggers() async throws(SQLFailure) -> [TriggerFacts] {
        try await self.rows(CatalogQueries.triggers) { row in
            TriggerFacts(
                name: row.text(), schema: row.text(), table: row.text(),
                functionSchema: row.text(), function: row.text(),
                functionExtension: row.optional(), definition: row.text())
        }
    }

    func policyRoles() async throws(SQLFailure) -> [RoleUse] {
        try await self.rows(CatalogQueries.policyRoles) { row in
            RoleUse(
                role: row.text(), reason: .policy, schema: row.optional(), object: row.text())
        }
    }

    func roleUses() async throws(SQLFailure) -> [RoleUse] {
        try await self.rows(CatalogQueries.roleUses) { row in
            RoleUse(
                role: row.text(), reason: row.bool() ? .grant : .owner,
                schema: row.unquoted(), object: row.text())
        }
    }

    func defaultPrivileges() async throws(SQLFailure) -> [DefaultPrivilegeFacts] {
        try await self.rows(CatalogQueries.defaultPrivileges) { row in
            DefaultPrivilegeFacts(
                role: row.text(), schema: row.optional(), objects: row.text(),
                grantees: row.list())
        }
    }

    func tablespaces() async throws(SQLFailure) -> [String: [String]] {
        let rows = try await self.rows(CatalogQueries.tablespaces) { row in
            (row.text(), row.list())
        }
        return Dictionary(rows) { first, _ in first }
    }

    func located(_ sql: String) async throws(SQLFailure) -> [LocatedObject] {
        try await self.rows(sql) { row in
            LocatedObject(schema: row.text(), identity: row.text())
        }
    }

    func features() async throws(SQLFailure) -> [FeatureUse] {
        try await self.rows(self.queries.features) { row in
            FeatureUse(
                feature: row.text(), since: row.int(), object: row.text(), schema: row.text())
        }
    }

    func largeObjects() async throws(SQLFailure) -> LargeObjectFacts {
        var row = try await self.row(CatalogQueries.largeObjects)
        return LargeObjectFacts(count: row.int64(), bytes: row.int64())
    }
}

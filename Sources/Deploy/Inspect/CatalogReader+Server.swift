extension CatalogReader {
    /// Everything about the server and the database as a whole.
    func server(
        pooling: ServerFacts.Pooling,
        hasSecond: Bool
    ) async throws(SQLFailure) -> ServerFacts {
        let callable = Set(try await self.texts(CatalogQueries.callable))
        var database = try await self.row(self.queries.database)
        var settings = try await self.row(self.queries.settings)
        var connections = try await self.row(self.queries.connections)
        let free = connections.int()
        let others = connections.int() - (hasSecond && pooling == .session ? 1 : 0)
        return ServerFacts(
            version: database.int(),
            versionText: database.text(),
            database: database.text(),
            databaseOID: database.text(),
            databaseOwner: database.text(),
            databaseComment: database.optional(),
            bytes: database.int64(),
            systemIdentifier: callable.contains("pg_control_system()")
                ? try await self.texts(CatalogQueries.systemIdentifier).first : nil,
            startedAt: callable.contains("pg_postmaster_start_time()")
                ? try await self.startedAt() : nil,
            encoding: database.text(),
            locale: LocaleFacts(
                provider: database.text(), collate: database.text(), ctype: database.text(),
                locale: database.optional()),
            isInRecovery: settings.bool(),
            isReadOnly: settings.bool(),
            statementTimeout: settings.text(),
            maximumConnections: settings.int(),
            freeConnections: free,
            maximumLocksPerTransaction: settings.int(),
            maximumPreparedTransactions: settings.int(),
            otherSessions: max(others, 0),
            otherDatabases: try await self.texts(CatalogQueries.otherDatabases),
            pooling: pooling,
            acceptsSecondConnection: hasSecond,
            canExportSnapshot: hasSecond && pooling == .session
                && callable.contains("pg_export_snapshot()"),
            provider: try await self.provider()
        )
    }

    /// When the postmaster started, in seconds since 1970.
    ///
    /// Where there is no postmaster (PGlite) it is Postgres's own year 0, for everybody alike.
    private func startedAt() async throws(SQLFailure) -> String? {
        let year2000 = 946_684_800.0
        return try await self.texts(CatalogQueries.startedAt).first.flatMap { text in
            Double(text) == year2000 ? nil : text
        }
    }

    /// By the roles that each provider, and nobody else, has.
    private func provider() async throws(SQLFailure) -> String {
        let roles = Set(try await self.texts(CatalogQueries.roles))
        let known: [(role: String, profile: ProviderProfile)] = [
            ("supabase_admin", .supabase), ("neon_superuser", .neon), ("rds_superuser", .rds),
        ]
        return (known.first { roles.contains($0.role) }?.profile ?? .generic).name
    }

    /// Who we are.
    func role() async throws(SQLFailure) -> RoleFacts {
        var row = try await self.row(self.queries.role)
        return RoleFacts(
            name: row.text(),
            isSuperuser: row.bool(),
            canCreateDatabases: row.bool(),
            canCreateRoles: row.bool(),
            bypassesRowSecurity: row.bool(),
            canCreateInDatabase: row.bool(),
            ownsDatabase: row.bool(),
            memberOf: Set(row.list())
        )
    }

    /// What CREATE EXTENSION could create.
    func availableExtensions() async throws(SQLFailure) -> [String: AvailableExtension] {
        let rows = try await self.rows(CatalogQueries.availableExtensions) { row in
            let name = row.text()
            return (
                name,
                AvailableExtension(
                    defaultVersion: row.text(), versions: Set(row.list()),
                    needsSuperuser: row.bool())
            )
        }
        return Dictionary(rows) { first, _ in first }
    }

    /// What is installed; `used` holds the names of extensions that objects of no extension need.
    func extensions(used: Set<String>) async throws(SQLFailure) -> [ExtensionFacts] {
        try await self.rows(CatalogQueries.extensions) { row in
            let name = row.text()
            return ExtensionFacts(
                name: name, version: row.text(), schema: row.text(), isRelocatable: row.bool(),
                isUsed: used.contains(name))
        }
    }
}

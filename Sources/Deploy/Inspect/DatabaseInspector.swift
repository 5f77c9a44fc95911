/// Finds out what one end is and holds, by catalogue queries only: nothing is created, nothing is
/// locked, and a role without any rights gets an answer too.
public enum DatabaseInspector {
    /// Asks everything that a plan needs.
    ///
    /// It may run within a transaction, which then sees one snapshot; no statement of it fails for
    /// want of a right.
    ///
    /// - Parameters:
    ///   - session: A session of the database, Postgres 14 or later (PGlite too).
    ///   - second: Another session of the same database, outside a transaction, or nil if the
    ///     database takes only one. With two it can be told for certain whether a pooler gives
    ///     every transaction another backend.
    /// - Returns: The facts.
    /// - Throws: ``SQLFailure``: the connection is lost, or the server is no Postgres that we know.
    public static func inspect(
        _ session: any SQLSession,
        second: (any SQLSession)? = nil
    ) async throws(SQLFailure) -> DatabaseFacts {
        let catalog = CatalogReader(session: session)
        let pooling = try await self.pooling(session, second)
        let server = try await catalog.server(pooling: pooling, hasSecond: second != nil)
        let dependencies = try await catalog.dependencies()
        return DatabaseFacts(
            server: server,
            role: try await catalog.role(),
            roles: Set(try await catalog.texts(CatalogQueries.roles)),
            extensions: try await catalog.extensions(
                used: Set(dependencies.compactMap(\.neededExtension))),
            availableExtensions: try await catalog.availableExtensions(),
            schemas: try await catalog.schemas(),
            ownSchemas: try await catalog.texts(CatalogQueries.ownSchemas),
            relations: try await catalog.relations(),
            objects: try await ObjectInventory.read(session),
            dependencies: dependencies,
            languages: Set(try await catalog.texts(CatalogQueries.languages)),
            foreignKeys: try await catalog.foreignKeys(),
            triggers: try await catalog.triggers(),
            policyRoles: try await catalog.policyRoles(),
            roleUses: try await catalog.roleUses(),
            defaultPrivileges: try await catalog.defaultPrivileges(),
            eventTriggers: try await catalog.texts(CatalogQueries.eventTriggers),
            publications: try await catalog.texts(CatalogQueries.publications),
            subscriptions: try await catalog.texts(CatalogQueries.subscriptions),
            securityLabels: try await catalog.texts(CatalogQueries.securityLabels),
            tablespaces: try await catalog.tablespaces(),
            invalidIndexes: try await catalog.located(CatalogQueries.invalidIndexes),
            unvalidatedConstraints: try await catalog.located(
                CatalogQueries.unvalidatedConstraints),
            usedCollations: try await catalog.texts(CatalogQueries.usedCollations),
            systemCollations: Set(try await catalog.texts(CatalogQueries.systemCollations)),
            changedCollations: try await catalog.texts(catalog.queries.changedCollations),
            features: try await catalog.features(),
            largeObjects: try await catalog.largeObjects(),
            preparedTransactions: try await catalog.texts(CatalogQueries.preparedTransactions),
            lockableRelations: try await catalog.count(CatalogQueries.lockableRelations)
        )
    }

    /// Whether a pooler gives every transaction another backend.
    ///
    /// Two sessions that are open at once never share a backend, unless it is such a pooler's; and
    /// one session never changes its backend. A pooler that is asked in turns hands out the same
    /// backend again (PgBouncer's default: last in, first out) or the next one (round robin):
    /// either way it shows within a few turns.
    static func pooling(
        _ first: any SQLSession,
        _ second: (any SQLSession)?
    ) async throws(SQLFailure) -> ServerFacts.Pooling {
        var firsts: Set<String> = []
        var seconds: Set<String> = []
        for _ in 0..<3 {
            firsts.insert(try await self.backend(first))
            if let second { seconds.insert(try await self.backend(second)) }
        }
        let isSteady = firsts.count == 1 && seconds.count <= 1
        return isSteady && firsts.isDisjoint(with: seconds) ? .session : .transaction
    }

    private static func backend(_ session: any SQLSession) async throws(SQLFailure) -> String {
        var row = CatalogRow(
            try await session.rows("select pg_catalog.pg_backend_pid()").first ?? [])
        return row.text()
    }
}

import NIOCore
import PostgresClient

/// The database that will be the target.
struct StagingDatabase: Sendable {
    let name: String
    private let keptName: String
    private let deployment: Deployment
    private let server: ServerSession

    init(_ deployment: Deployment, _ server: ServerSession) {
        self.deployment = deployment
        self.server = server
        self.name = ServerSession.stagingName(server.database, deployment.request.id)
        self.keptName = ServerSession.keptPrefix + deployment.request.id
    }

    /// An empty database with the target's encoding, locale, settings and owner.
    func create() async throws(SQLFailure) {
        let server = self.server.session
        try await server.rows(
            DatabaseLikeness.create(
                self.name, like: self.deployment.targetFacts.server,
                serverVersion: server.serverVersion))
        let comment = SQLText.literal(ServerSession.stagingComment(self.server.database))
        try await server.rows(
            "COMMENT ON DATABASE \(SQLText.identifier(self.name)) IS \(comment)")
        for statement in try await DatabaseLikeness(session: server).statements(
            from: self.server.database, to: self.name)
        {
            try await server.rows(statement)
        }
    }

    /// A session in it.
    func session(
        on eventLoop: (any EventLoop)? = nil
    ) async throws(SQLFailure) -> DeploySession {
        try await DeploySession.open(
            self.deployment.connectors.target, self.deployment.request.target,
            database: self.name, on: eventLoop ?? self.deployment.connectors.eventLoop)
    }

    /// Runs `body` with a session in it.
    func withSession<Value: Sendable>(
        _ body: @Sendable (DeploySession) async throws -> Value
    ) async throws -> Value {
        let session = try await self.session()
        do {
            let value = try await body(session)
            await session.close()
            return value
        } catch {
            await session.close()
            throw error
        }
    }

    /// How tools reach it.
    func tool() throws(ToolFailure) -> ToolConnection {
        var target = self.deployment.request.target.database.target
        target.database = self.name
        return try ToolConnection(
            target: target, label: "staging", in: self.deployment.folder)
    }

    /// Renames target and staging database in one transaction.
    func swap() async throws {
        let deployment = self.deployment
        try await self.limitConnections()
        let swap = DatabaseSwap(
            database: self.server.database, incoming: self.name, outgoing: self.keptName,
            outgoingComment: ServerSession.keptComment(self.server.database),
            comment: deployment.targetFacts.server.databaseComment)
        try await swap.run(self.server) { try await ServerSession.open(deployment) }
        await self.forgetOlder()
    }

    /// Late, for the lanes are connections too.
    private func limitConnections() async throws(SQLFailure) {
        let limit = try await self.server.session.value(
            "SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = "
                + SQLText.literal(self.server.database))
        guard let limit, limit != "-1" else { return }
        let name = SQLText.identifier(self.name)
        try await self.server.session.rows("ALTER DATABASE \(name) CONNECTION LIMIT \(limit)")
    }

    /// One former target is kept: the one of this deploy.
    private func forgetOlder() async {
        let comment = SQLText.literal(ServerSession.keptComment(self.server.database))
        let current = SQLText.literal(self.keptName)
        let keeps = self.deployment.plan.options.keepsPrevious
        let rows = try? await self.server.session.rows(
            """
            SELECT datname FROM pg_catalog.pg_database
            WHERE pg_catalog.starts_with(datname, \(SQLText.literal(ServerSession.keptPrefix)))
            AND pg_catalog.shobj_description(oid, 'pg_database') = \(comment)
            AND (datname <> \(current) OR \(!keeps))
            """)
        for row in rows ?? [] {
            if let name = row.first ?? nil { try? await self.server.drop(name) }
        }
    }

    /// Drops it, if it is there; a failure leaves it for the next deploy to find.
    func drop() async {
        let sql = "DROP DATABASE IF EXISTS \(SQLText.identifier(self.name)) WITH (FORCE)"
        guard self.server.session.session.isOver else {
            _ = try? await self.server.session.rows(sql)
            return
        }
        // What ended the deploy may have ended this session, too.
        guard let server = try? await ServerSession.open(self.deployment) else { return }
        _ = try? await server.session.rows(sql)
        await server.close()
    }
}

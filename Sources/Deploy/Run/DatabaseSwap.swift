/// Gives a database another one's name, and that one another, in one transaction.
struct DatabaseSwap: Sendable {
    /// How often the swap is tried while sessions of others are being ended.
    private static let attempts = 10
    /// How often sessions of others are ended meanwhile. Postgres itself waits 5 s for them.
    private static let endEvery = Duration.milliseconds(200)
    /// How often it is asked whether a lost rename is over, ``settlingPause`` apart: a minute.
    private static let settlingAttempts = 30
    private static let settlingPause = Duration.seconds(2)

    /// The name that changes hands.
    var database: String
    /// What gets it.
    var incoming: String
    /// What the former holder is called then.
    var outgoing: String
    /// What the former holder's comment says then.
    var outgoingComment: String
    /// The comment of the new holder.
    var comment: String?

    /// Renames.
    ///
    /// A database with sessions in it cannot be renamed. While the rename waits, its lock keeps new
    /// ones out, and a second session ends the old ones.
    ///
    /// - Parameters:
    ///   - server: Renames.
    ///   - reopen: Connects once more: for the second session, and to see what became of a rename
    ///     whose answer was lost.
    /// - Throws: ``DeployFailure``, ``SQLFailure``.
    func run(
        _ server: ServerSession,
        reopen: @Sendable () async throws -> ServerSession
    ) async throws {
        let helper = try await reopen()
        do {
            try await self.run(server, helper, reopen)
            await helper.close()
        } catch {
            await helper.close()
            throw error
        }
    }

    private func run(
        _ server: ServerSession, _ helper: ServerSession,
        _ reopen: @Sendable () async throws -> ServerSession
    ) async throws {
        for attempt in 1...Self.attempts {
            let ending = Task {
                while !Task.isCancelled {
                    _ = try? await helper.session.rows(self.end)
                    try? await Task.sleep(for: Self.endEvery)
                }
            }
            defer { ending.cancel() }
            do throws(SQLFailure) {
                try await server.session.rows(self.rename)
                return
            } catch {
                guard !error.isConnectionLost else { return try await self.settle(error, reopen) }
                _ = try? await server.session.rows("ROLLBACK")
                guard error.sqlState == "55006", attempt < Self.attempts else {
                    throw DeployFailure(
                        error.message,
                        hint: "Close the sessions of \(self.database), or deploy with "
                            + "--method in-place.")
                }
            }
        }
    }

    /// The connection broke while the names changed: the names tell what became of it.
    private func settle(
        _ failure: SQLFailure, _ reopen: @Sendable () async throws -> ServerSession
    ) async throws {
        let isDone: Bool
        do {
            let server = try await reopen()
            // Who renames holds the lock, and may be at it still.
            try await Self.wait(for: server)
            let name = SQLText.literal(self.outgoing)
            let found = try await server.session.value(
                "SELECT 1 FROM pg_catalog.pg_database WHERE datname = \(name)")
            await server.close()
            isDone = found != nil
        } catch {
            throw DeployFailure(
                "the connection broke while the databases were renamed, and the target does not "
                    + "answer",
                hint: "It is complete or as before: pgshare deploy again will tell.",
                target: .unknown)
        }
        guard isDone else { throw failure }
    }

    /// Until the session that was lost is over.
    private static func wait(for server: ServerSession) async throws {
        for attempt in 1...self.settlingAttempts {
            do {
                return try await server.lock()
            } catch let busy as DeployFailure {
                guard attempt < self.settlingAttempts else { throw busy }
                try await Task.sleep(for: self.settlingPause)
            }
        }
    }

    private var end: String {
        """
        SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
        WHERE datname = any(\(SQLText.array([self.database, self.incoming])))
        AND pid <> pg_catalog.pg_backend_pid()
        """
    }

    private var rename: String {
        let (database, incoming, outgoing) = (
            SQLText.identifier(self.database), SQLText.identifier(self.incoming),
            SQLText.identifier(self.outgoing)
        )
        return """
            BEGIN;
            ALTER DATABASE \(database) RENAME TO \(outgoing);
            ALTER DATABASE \(incoming) RENAME TO \(database);
            COMMENT ON DATABASE \(outgoing) IS \(SQLText.literal(self.outgoingComment));
            COMMENT ON DATABASE \(database) IS \(self.comment.map(SQLText.literal) ?? "NULL");
            COMMIT
            """
    }
}

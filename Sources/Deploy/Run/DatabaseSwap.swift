/// Gives a database another one's name, and that one another, in one transaction.
struct DatabaseSwap: Sendable {
    /// How often the swap is tried while sessions of others are being ended.
    private static let attempts = 10
    /// How often sessions of others are ended meanwhile. Postgres itself waits 5 s for them.
    private static let endEvery = Duration.milliseconds(200)

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

    /// The connection broke while the names changed: once the session that changed them is over,
    /// the names tell what became of it.
    private func settle(
        _ failure: SQLFailure, _ reopen: @Sendable () async throws -> ServerSession
    ) async throws {
        for attempt in 0..<CommitOutcome.attempts {
            if attempt > 0 {
                guard (try? await Task.sleep(for: CommitOutcome.pause)) != nil else { break }
            }
            switch await self.isDone(reopen) {
            case true: return
            case false: throw failure
            case nil: continue
            }
        }
        throw DeployFailure(
            "the connection broke while the databases were renamed, and the target does not "
                + "answer",
            hint: "It is complete or as before: pgshare deploy again will tell.",
            target: .unknown)
    }

    /// Nil as long as nobody can tell. Whoever changed the names has the lock: the server may go
    /// on with it after its client is gone.
    private func isDone(_ reopen: @Sendable () async throws -> ServerSession) async -> Bool? {
        guard let server = try? await reopen() else { return nil }
        let name = SQLText.literal(self.outgoing)
        var isDone: Bool?
        do {
            try await server.lock()
            isDone =
                try await server.session.value(
                    "SELECT 1 FROM pg_catalog.pg_database WHERE datname = \(name)") != nil
        } catch {
            isDone = nil
        }
        await server.close()
        return isDone
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

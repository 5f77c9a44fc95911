/// A session as the ledger uses it.
struct LedgerSession: Sendable {
    let session: any SQLSession

    /// Bytes of statements that travel together.
    private static let batchBytes = 64 * 1024
    /// How long a statement of ours waits for locks that others hold: longer than any fair query
    /// of a moment, short enough that those who queue up behind us forgive.
    private static let lockTimeoutSeconds = 10

    @discardableResult
    func rows(_ sql: String) async throws(LedgerFailure) -> [[String?]] {
        do {
            return try await self.session.rows(sql)
        } catch {
            throw Self.failure(error)
        }
    }

    /// Runs statements in order, many at once.
    func run(_ statements: [String]) async throws(LedgerFailure) {
        var batch: [String] = []
        var bytes = 0
        for statement in statements {
            batch.append(statement)
            bytes += statement.utf8.count
            guard bytes >= Self.batchBytes else { continue }
            try await self.rows(batch.joined(separator: ";\n"))
            batch = []
            bytes = 0
        }
        guard !batch.isEmpty else { return }
        try await self.rows(batch.joined(separator: ";\n"))
    }

    func catalog() async throws(LedgerFailure) -> Catalog {
        do {
            return try await Catalog.read(self.session)
        } catch {
            throw Self.failure(error)
        }
    }

    func survey() async throws(LedgerFailure) -> LedgerSurvey {
        do {
            let catalog = try await Catalog.read(self.session)
            return LedgerSurvey(
                catalog: catalog, records: try await LedgerRecords.read(self.session))
        } catch {
            throw Self.failure(error)
        }
    }

    func settings() async throws(LedgerFailure) -> [Setting] {
        do {
            return try await Setting.readAll(self.session)
        } catch {
            throw Self.failure(error)
        }
    }

    func savedStatements(
        _ addresses: Set<ObjectAddress>,
        _ catalog: Catalog
    ) async throws(LedgerFailure) -> SavedStatements {
        do {
            return try await SavedStatements.read(self.session, addresses, catalog)
        } catch {
            throw Self.failure(error)
        }
    }

    /// From here to the end of the transaction, or to ``waitForLocksAsBefore(_:)``, nothing waits
    /// for a lock longer than ``lockTimeoutSeconds``.
    ///
    /// - Returns: What held before.
    func waitBrieflyForLocks() async throws(LedgerFailure) -> String {
        let before = try await self.rows("select current_setting('lock_timeout')")
        try await self.rows("set local lock_timeout = '\(Self.lockTimeoutSeconds)s'")
        return before.first?.first?.flatMap { $0 } ?? "0"
    }

    func waitForLocksAsBefore(_ before: String) async throws(LedgerFailure) {
        try await self.rows("set local lock_timeout = \(SQLText.literal(before))")
    }

    private static func failure(_ failure: SQLFailure) -> LedgerFailure {
        guard failure.sqlState == "55P03" else { return .sql(failure) }
        return .impossible(
            """
            another session of the target holds locks on what the last deploy made, and did not \
            let go within \(self.lockTimeoutSeconds) s (\(failure.message)); end its transaction, \
            then try again
            """)
    }
}

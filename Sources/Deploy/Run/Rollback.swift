import NIOPosix
import PostgresClient

/// Takes the last deploy of a target back, in one transaction.
public final class Rollback: Sendable {
    /// What the ledger in the target says.
    public let ledger: LedgerState
    /// The deployment that is taken back.
    public let deployment: LedgerDeployment
    /// Sentences about what a person should know first.
    public let warnings: [String]

    private let end: DeployEnd
    private let session: DeploySession
    private let connector: DatabaseConnector
    private let observer: DeployObserver
    private let kept: String?

    /// Connects to the target and looks what there is to take back.
    ///
    /// - Throws: ``DeployFailure``; then nothing stays open.
    public static func prepare(
        _ end: DeployEnd, observer: @escaping DeployObserver
    ) async throws(DeployFailure) -> Rollback {
        observer(.phase(.connecting))
        do {
            let connector = try DatabaseConnector(end.database.target)
            let session = try await DeploySession.open(
                connector, end, on: MultiThreadedEventLoopGroup.singleton.next())
            do {
                return try await Rollback(end, session, connector, observer)
            } catch {
                await session.close()
                throw error
            }
        } catch {
            throw DeployFailure(error, at: "the target")
        }
    }

    private init(
        _ end: DeployEnd, _ session: DeploySession, _ connector: DatabaseConnector,
        _ observer: @escaping DeployObserver
    ) async throws {
        self.end = end
        self.session = session
        self.connector = connector
        self.observer = observer
        self.ledger = try await Ledger.read(session)
        guard let live = self.ledger.live else {
            throw DeployFailure(
                "there is no deploy in \(end.description) that could be taken back")
        }
        self.deployment = live
        let plan = try? DeployPlan(json: live.plan)
        if plan?.method == .swap {
            let name = ServerSession.keptPrefix + live.id
            let found = try await session.value(
                "SELECT 1 FROM pg_catalog.pg_database WHERE datname = \(SQLText.literal(name))")
            guard found != nil else {
                throw DeployFailure(
                    "the database from before deploy \(live.id) is gone: it was not kept")
            }
            self.kept = name
        } else {
            self.kept = nil
        }
        self.warnings = try await Self.changes(since: live, session)
    }

    /// Rows that came or went since the deploy, which a rollback takes along.
    private static func changes(
        since live: LedgerDeployment, _ session: DeploySession
    ) async throws(SQLFailure) -> [String] {
        let counts = try await session.rows(
            """
            SELECT n.nspname || '.' || c.relname, s.n_tup_ins + s.n_tup_upd + s.n_tup_del
            FROM pg_catalog.pg_stat_user_tables AS s
            JOIN pg_catalog.pg_class AS c ON c.oid = s.relid
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            """)
        return counts.compactMap { row -> String? in
            guard row.count == 2, let table = row[0], let text = row[1], let writes = Int64(text),
                let deployed = live.rowCounts[table], writes > deployed
            else { return nil }
            return "\(table) was written to since the deploy (\(writes - deployed) rows or more)"
        }
    }

    /// Takes it back.
    ///
    /// - Throws: ``DeployFailure``.
    public func run() async throws(DeployFailure) -> RollbackReport {
        self.observer(.phase(.rollingBack))
        do {
            guard let kept = self.kept else { return try await self.inPlace() }
            return try await self.swapBack(kept)
        } catch {
            throw DeployFailure(error)
        }
    }

    /// Closes the target.
    public func close() async { await self.session.close() }

    private func inPlace() async throws -> RollbackReport {
        let session = self.session
        do {
            try await session.rows("BEGIN ISOLATION LEVEL READ COMMITTED")
            try await Ledger.lock(session)
            let report = try await Ledger.rollback(session)
            try Task.checkCancellation()
            try await session.rows("COMMIT")
            self.observer(.rolledBack)
            return report
        } catch {
            await Task { _ = try? await session.rows("ROLLBACK") }.value
            throw error
        }
    }

    /// The present database goes as a whole, with whatever stands in it.
    private func checkNothingElseGoes() async throws {
        let known = Set(try await Ledger.read(self.session).objects.map(\.address))
        let others = try await ObjectInventory.read(self.session).filter {
            !known.contains($0.address) && $0.oid >= Self.firstObjectOfUsers
        }
        guard others.isEmpty else {
            let names = others.prefix(5).map(\.title).joined(separator: ", ")
            let more = others.count > 5 ? " and \(others.count - 5) more" : ""
            throw DeployFailure(
                "others made, renamed or took over in \(self.end.description) since the deploy: "
                    + names + more + "; the rollback would take that away",
                hint: "Save it elsewhere and drop it, then roll back again.")
        }
    }

    /// Source: `FirstNormalObjectId` in PostgreSQL's `transam.h`.
    private static let firstObjectOfUsers: UInt32 = 16_384

    private func swapBack(_ kept: String) async throws -> RollbackReport {
        let database = self.end.database.target.database
        let others = try await self.session.rows(
            "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate")
        let candidates = ["postgres", "template1"] + others.compactMap { $0.first ?? nil }
        let open = { @Sendable [end = self.end, connector = self.connector] in
            try await ServerSession.open(
                database, candidates.filter { $0 != kept }, connector, end,
                MultiThreadedEventLoopGroup.singleton.next())
        }
        let server = try await open()
        do {
            try await server.lock()
            try await self.checkNothingElseGoes()
            await self.session.close()
            let comment = try await server.session.value(
                """
                SELECT pg_catalog.shobj_description(oid, 'pg_database')
                FROM pg_catalog.pg_database WHERE datname = \(SQLText.literal(database))
                """)
            let undone = ServerSession.stagingName(database, self.deployment.id)
            let swap = DatabaseSwap(
                database: database, incoming: kept, outgoing: undone,
                outgoingComment: ServerSession.stagingComment(database), comment: comment)
            try await swap.run(server, reopen: open)
            self.observer(.rolledBack)
            _ = try await server.dropLeftovers()
            await server.close()
        } catch {
            await server.close()
            throw error
        }
        return RollbackReport(undone: self.deployment.id, live: self.deployment.previous)
    }
}

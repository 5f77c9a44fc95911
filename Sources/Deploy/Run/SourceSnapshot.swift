import NIOCore
import PostgresClient

/// The source, read in one snapshot by however many sessions.
///
/// The first session opens a transaction and exports its snapshot; pg_dump and the other lanes join
/// it. Writers at the source go on: what they commit later is not part of the deploy. Where the
/// source has room for one session only, or cannot export, everything goes through that one.
struct SourceSnapshot: Sendable {
    /// The session that holds the snapshot.
    let session: DeploySession
    /// What the others join, nil where the source cannot export.
    let name: String?
    private let end: DeployEnd
    private let connector: DatabaseConnector

    private static let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    /// Connects and takes the snapshot.
    static func open(
        _ end: DeployEnd, _ connector: DatabaseConnector, on eventLoop: any EventLoop
    ) async throws(SQLFailure) -> SourceSnapshot {
        let session = try await DeploySession.open(connector, end, on: eventLoop)
        do throws(SQLFailure) {
            try await session.rows(Self.begin)
            let name = session.isShared ? nil : try await Self.export(session)
            return SourceSnapshot(session: session, name: name, end: end, connector: connector)
        } catch {
            await session.close()
            throw error
        }
    }

    /// Nil where the source is no server that can (a database in a browser).
    private static func export(_ session: DeploySession) async throws(SQLFailure) -> String? {
        try await session.rows("SAVEPOINT pgshare_export")
        do throws(SQLFailure) {
            let name = try await session.value("SELECT pg_catalog.pg_export_snapshot()")
            try await session.rows("RELEASE SAVEPOINT pgshare_export")
            return name
        } catch {
            guard !error.isConnectionLost else { throw error }
            try await session.rows("ROLLBACK TO SAVEPOINT pgshare_export")
            return nil
        }
    }

    /// One more session in the same snapshot.
    ///
    /// - Returns: Nil where the snapshot cannot be joined, or the source has no place left.
    func lane(on eventLoop: any EventLoop) async throws(SQLFailure) -> DeploySession? {
        guard let name = self.name else { return nil }
        let session: DeploySession
        do throws(SQLFailure) {
            session = try await DeploySession.open(self.connector, self.end, on: eventLoop)
        } catch {
            guard error.sqlState == "53300" else { throw error }
            return nil
        }
        do throws(SQLFailure) {
            try await session.rows(Self.begin)
            try await session.rows("SET TRANSACTION SNAPSHOT \(SQLText.literal(name))")
            return session
        } catch {
            await session.close()
            throw error
        }
    }

    /// Keeps these tables from being emptied, rewritten or dropped until the snapshot ends.
    ///
    /// TRUNCATE and rewrites show in every snapshot, older ones too: rows that should be there are
    /// not. Hence the locks, which readers and writers pass, and a look at whether it was done
    /// before them.
    func hold(_ tables: [PlannedTable]) async throws {
        for batch in tables.batches(of: 500) {
            let names = batch.map { "ONLY " + SQLText.identifier($0.schema, $0.name) }
            try await self.session.rows(
                "LOCK TABLE \(names.joined(separator: ", ")) IN ACCESS SHARE MODE")
            // The catalog shows the snapshot, the function the present.
            let changed = try await self.session.value(
                """
                SELECT pg_catalog.string_agg(w.schema || '.' || w.name, ', ')
                FROM unnest(\(SQLText.array(batch.map(\.schema))),
                    \(SQLText.array(batch.map(\.name)))) AS w(schema, name)
                LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
                LEFT JOIN pg_catalog.pg_class AS c
                    ON c.relnamespace = n.oid AND c.relname = w.name
                WHERE pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode
                    OR c.oid IS NULL
                """)
            if let changed {
                throw DeployFailure(
                    "emptied, rewritten or replaced at the source since the deploy began: "
                        + changed,
                    hint: "Nothing was changed. Deploy again.")
            }
        }
    }

    func close() async { await self.session.close() }
}

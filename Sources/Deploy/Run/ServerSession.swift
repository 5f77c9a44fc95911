import NIOCore
import PostgresClient

/// A session of the target's server in another of its databases: the target's own cannot be renamed
/// by a session that is in it.
struct ServerSession: Sendable {
    /// Begins the name of every staging database.
    static let stagingPrefix = "pgshare_stage_"
    /// Begins the name of every database that was a target.
    static let keptPrefix = "pgshare_kept_"
    /// Databases that exist on most servers and that nobody works in.
    private static let usual = ["postgres", "template1", "defaultdb", "rdsadmin"]

    let session: DeploySession
    /// The name of the target database.
    let database: String

    /// Connects to the first database of the server that lets us in.
    static func open(_ deployment: Deployment) async throws(DeployFailure) -> ServerSession {
        let database = deployment.targetFacts.server.database
        let others = deployment.targetFacts.server.otherDatabases.filter {
            !$0.hasPrefix(Self.stagingPrefix) && !$0.hasPrefix(Self.keptPrefix)
        }
        return try await Self.open(
            database, Self.usual + others, deployment.connectors.target,
            deployment.request.target, deployment.connectors.eventLoop)
    }

    /// The same without a deployment, for a rollback.
    static func open(
        _ database: String, _ candidates: [String], _ connector: DatabaseConnector,
        _ end: DeployEnd, _ eventLoop: any EventLoop
    ) async throws(DeployFailure) -> ServerSession {
        var last: SQLFailure?
        for name in candidates where name != database {
            do throws(SQLFailure) {
                let session = try await DeploySession.open(
                    connector, end, database: name, on: eventLoop)
                return ServerSession(session: session, database: database)
            } catch {
                last = error
            }
        }
        throw DeployFailure(
            "no other database of the target's server can be entered"
                + (last.map { ": \($0.message)" } ?? ""),
            hint: "Deploy with --method in-place.")
    }

    /// One deploy at a time to a database of this server, as long as this session lives.
    func lock() async throws {
        let name = SQLText.literal("pgshare deploy \(self.database)")
        let sql = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended(\(name), 0))"
        guard try await self.session.value(sql) == "t" else {
            throw DeployFailure(
                "another deploy or rollback of this target is running; wait until it ends")
        }
    }

    /// What a crashed deploy of this database left. Whoever holds the lock knows that nobody is at
    /// work on it.
    ///
    /// - Returns: The names of the databases that were dropped.
    func dropLeftovers() async throws(SQLFailure) -> [String] {
        let comment = SQLText.literal(Self.stagingComment(self.database))
        let mark = Self.stagingMark(self.database)
        let rows = try await self.session.rows(
            """
            SELECT datname FROM pg_catalog.pg_database
            WHERE pg_catalog.starts_with(datname, \(SQLText.literal(Self.stagingPrefix)))
            AND (pg_catalog.shobj_description(oid, 'pg_database') = \(comment)
                OR pg_catalog.right(datname, \(mark.utf8.count)) = \(SQLText.literal(mark)))
            AND pg_catalog.pg_has_role(datdba, 'USAGE')
            """)
        let names = rows.compactMap { $0.first ?? nil }
        for name in names { try await self.drop(name) }
        return names
    }

    /// Drops a database of ours and the sessions in it.
    func drop(_ name: String) async throws(SQLFailure) {
        try await self.session.rows("DROP DATABASE \(SQLText.identifier(name)) WITH (FORCE)")
    }

    /// The name of the staging database of one deploy of `database`: 48 bytes of the 63 that there
    /// are.
    static func stagingName(_ database: String, _ id: String) -> String {
        self.stagingPrefix + id + self.stagingMark(database)
    }

    /// Ends the names of all staging databases of `database`. They are known by it as long as they
    /// have no comment: a crash may come between the two.
    ///
    /// Source: FNV-1a, 64 bits.
    private static func stagingMark(_ database: String) -> String {
        let hash = database.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { hash, byte in
            (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
        }
        let digits = String(hash, radix: 16)
        return "_" + String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// What a staging database of `database` is known by.
    static func stagingComment(_ database: String) -> String {
        "pgshare: staging of \(database)"
    }

    /// What a database that was `database` is known by.
    static func keptComment(_ database: String) -> String {
        "pgshare: \(database) before the deploy"
    }

    func close() async { await self.session.close() }
}

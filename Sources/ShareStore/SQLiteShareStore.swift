public import Foundation
import GRDB
public import SharePolicy

/// The store in one SQLite file, shared by a running relay and `pgshare token` beside it.
///
/// - One connection, a queue in front: the store is asked a few times a tunnel, never a client's
///   query. It makes `PRAGMA data_version` mean "another process", because SQLite does not count
///   the asking connection's own commits.
/// - WAL, so that a reading process and a writing one do not wait for each other.
/// - `synchronous = FULL`. In WAL, NORMAL may lose the last commits when the power fails, and a
///   revocation that was confirmed must not be undone by that. A commit costs one `fsync`, and
///   there is about one a tunnel.
/// - Folder 0700, files 0600: verifiers allow guessing offline.
public final class SQLiteShareStore: ShareStore {
    /// The file's name within the state folder.
    public static let fileName = "pgshare.sqlite"

    /// How long a verb waits for another process, in seconds. Transactions here take milliseconds;
    /// 5 s outlasts a slow disk.
    public static let busyTimeout: TimeInterval = 5

    /// How long ended shares, revoked tokens and shares nobody serves are remembered, in seconds.
    ///
    /// 30 days: a holiday of the laptop the share lives on, and long enough for an audit.
    public static let retention: TimeInterval = 30 * 24 * 3_600

    /// The most events of the audit trail; the oldest go first. Some 10 MiB.
    public static let maximumAuditEvents = 100_000

    /// Where the file is, for messages.
    public let path: String

    let queue: DatabaseQueue

    /// Opens the store of a state folder and brings it up to date; makes both if need be.
    ///
    /// Blocks for as long as the disk does, and up to ``busyTimeout`` for another process.
    ///
    /// - Parameter folder: The state folder. Its parents must not be writable by strangers. An
    ///   existing folder keeps its mode, since it may hold more than ours.
    /// - Throws: ``ShareStoreError``.
    public init(folder: String) throws(ShareStoreError) {
        self.path = (folder as NSString).appendingPathComponent(Self.fileName)
        try StoreFiles.prepare(folder: folder, file: self.path)
        do {
            var configuration = Configuration()
            configuration.journalMode = .wal
            configuration.busyMode = .timeout(Self.busyTimeout)
            configuration.foreignKeysEnabled = true
            configuration.label = "pgshare.store"
            // A statement's arguments hold verifiers and hashes; errors must not repeat them.
            configuration.publicStatementArguments = false
            self.queue = try DatabaseQueue(path: self.path, configuration: configuration)
            try Self.prepare(self.queue, path: self.path)
        } catch {
            throw Self.storeError(error, path: self.path)
        }
    }

    private static func prepare(_ queue: DatabaseQueue, path: String) throws {
        try queue.writeWithoutTransaction { database in
            try database.execute(sql: "PRAGMA synchronous = FULL")
            let verdict = try String.fetchOne(database, sql: "PRAGMA quick_check(1)")
            guard verdict == "ok" else {
                throw ShareStoreError.corrupted(path: path, reason: verdict ?? "no answer")
            }
        }
        let migrator = StoreSchema.migrator()
        guard try !queue.read(migrator.hasBeenSuperseded) else {
            throw ShareStoreError.newerLayout(path: path)
        }
        try migrator.migrate(queue)
    }

    // MARK: Shares

    /// See ``ShareStore/allShares()``.
    public func allShares() async throws(ShareStoreError) -> [Share] {
        try await self.read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM share ORDER BY created_at, id")
                .map { try Share(row: $0) }
        }
    }

    /// See ``ShareStore/share(_:)``.
    public func share(_ id: ShareID) async throws(ShareStoreError) -> Share? {
        try await self.read { try Self.share(id, in: $0) }
    }

    /// See ``ShareStore/claimed(id:name:by:now:)``.
    public func claimed(
        id: ShareID?, name: ShareName?, by owner: OwnerID, now: Date
    ) async throws(ShareStoreError) -> ClaimedShares {
        try await self.read { database in
            let sql = "SELECT * FROM share WHERE name = ?"
            return ClaimedShares(
                byID: try id.flatMap { try Self.share($0, in: database) },
                byName: try name.flatMap {
                    try Row.fetchOne(database, sql: sql, arguments: [$0.rawValue])
                        .map { try Share(row: $0) }
                },
                occupancy: try Self.occupancy(of: owner, without: id, now: now, in: database))
        }
    }

    /// Counts live shares.
    private static func occupancy(
        of owner: OwnerID, without id: ShareID?, now: Date, in database: Database
    ) throws -> Claim.Occupancy {
        let sql = """
            SELECT count(*) AS total, coalesce(sum(owner = :owner), 0) AS owned FROM share
            WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now) AND id <> :id
            """
        let row = try Row.fetchOne(
            database, sql: sql,
            arguments: [
                "owner": owner.rawValue, "now": StoreTime.milliseconds(now),
                "id": id?.rawValue ?? "",
            ])
        return Claim.Occupancy(ofOwner: row?["owned"] ?? 0, inTotal: row?["total"] ?? 0)
    }

    /// See ``ShareStore/upsert(_:limits:now:)``.
    public func upsert(
        _ share: Share, limits: Claim.Limits?, now: Date
    ) async throws(ShareStoreError) -> Share {
        try await self.write { database in
            try Self.checkOwner(share.owner, in: database)
            let before = try Self.share(share.id, in: database)
            guard before == nil || before?.owner == share.owner else {
                throw ShareStoreError.shareTaken(share.id)
            }
            if before == nil, let limits {
                let live = try Self.occupancy(
                    of: share.owner, without: share.id, now: now, in: database)
                guard live.ofOwner < limits.maximumAnOwner, live.inTotal < limits.maximumInTotal
                else { throw ShareStoreError.tooManyShares(share.owner) }
            }
            if let name = share.name {
                try Self.free(name, for: share.id, now: now, in: database)
            }
            try database.execute(sql: Self.upsert, arguments: share.arguments(servedAt: now))
            if before == nil {
                try Self.record(.shareCreated, share.id.rawValue, share.owner, now, in: database)
            }
            guard let kept = try Self.share(share.id, in: database) else {
                throw DamagedRow(table: "share")
            }
            return kept
        }
    }

    /// A page of database.build claims its share without knowing the password: the verifier that
    /// the owner asked for in the meantime stands.
    private static let upsert = """
        INSERT INTO share (id, kind, name, owner, verifier, auth_method, limits, created_at,
            expires_at, revoked_at, served_at, generation, database, user, awaited)
        VALUES (:id, :kind, :name, :owner, :verifier, :auth_method, :limits, :created_at,
            :expires_at, :revoked_at, :served_at, :generation, :database, :user, 1)
        ON CONFLICT (id) DO UPDATE SET
            kind = excluded.kind, name = excluded.name,
            verifier = CASE
                WHEN share.kind = 'database_build' AND excluded.kind = 'database_build'
                THEN share.verifier ELSE excluded.verifier END,
            auth_method = excluded.auth_method, limits = excluded.limits,
            expires_at = excluded.expires_at, served_at = excluded.served_at,
            revoked_at = coalesce(share.revoked_at, excluded.revoked_at),
            generation = max(share.generation, excluded.generation),
            database = excluded.database, user = excluded.user, awaited = 1
        """

    /// An owner whose token was revoked while its tunnel was being set up must not get a share
    /// that outlives the revocation. Owners without a token of ours are not known here: `--open`
    /// makes anonymous ones, and an issuer vouches for its own.
    private static func checkOwner(_ owner: OwnerID, in database: Database) throws {
        guard owner.hasToken else { return }
        let sql = "SELECT EXISTS (SELECT 1 FROM token WHERE name = ? AND revoked_at IS NULL)"
        guard try Bool.fetchOne(database, sql: sql, arguments: [owner.rawValue]) == true else {
            throw ShareStoreError.ownerRevoked(owner)
        }
    }

    /// Takes a name from the ended share that still has it.
    private static func free(
        _ name: ShareName, for id: ShareID, now: Date, in database: Database
    ) throws {
        let sql = "SELECT * FROM share WHERE name = ? AND id <> ?"
        let arguments: StatementArguments = [name.rawValue, id.rawValue]
        guard let row = try Row.fetchOne(database, sql: sql, arguments: arguments) else { return }
        let holder = try Share(row: row)
        guard holder.state(now: now) != .live else { throw ShareStoreError.shareNameTaken(name) }
        try database.execute(
            sql: "UPDATE share SET name = NULL WHERE id = ?", arguments: [holder.id.rawValue])
    }

    /// See ``ShareStore/revoke(_:owner:now:)``.
    public func revoke(
        _ id: ShareID, owner: OwnerID?, now: Date
    ) async throws(ShareStoreError) -> Share? {
        try await self.write { database in
            guard let share = try Self.share(id, in: database),
                owner == nil || share.owner == owner
            else { return nil }
            return try Self.end(share, owner: owner, now: now, in: database)
        }
    }

    /// See ``ShareStore/setVerifier(_:of:owner:kind:now:)``.
    public func setVerifier(
        _ verifier: String, of id: ShareID, owner: OwnerID, kind: Share.Kind, now: Date
    ) async throws(ShareStoreError) -> Share? {
        try await self.write { database in
            guard var share = try Self.share(id, in: database), share.owner == owner,
                share.kind == kind, share.state(now: now) == .live
            else { return nil }
            try database.execute(
                sql: "UPDATE share SET verifier = ? WHERE id = ?",
                arguments: [verifier, id.rawValue])
            try Self.record(.passwordMade, id.rawValue, owner, now, in: database)
            share.verifier = verifier
            return share
        }
    }

    /// See ``ShareStore/delete(_:)``.
    public func delete(_ id: ShareID) async throws(ShareStoreError) -> Bool {
        try await self.write { database in
            try database.execute(sql: "DELETE FROM share WHERE id = ?", arguments: [id.rawValue])
            return database.changesCount > 0
        }
    }

    /// See ``ShareStore/deleteStale(served:now:)``.
    public func deleteStale(
        served: Set<ShareID>, now: Date
    ) async throws(ShareStoreError) -> [ShareID] {
        let limit = StoreTime.milliseconds(now.addingTimeInterval(-Self.retention))
        return try await self.write { database in
            for id in served {
                try database.execute(
                    sql: "UPDATE share SET served_at = ? WHERE id = ?",
                    arguments: [StoreTime.milliseconds(now), id.rawValue])
            }
            let rows = try Row.fetchAll(
                database, sql: "DELETE FROM share WHERE \(Self.isStale) RETURNING id, owner",
                arguments: ["limit": limit])
            try database.execute(
                sql: "DELETE FROM token WHERE revoked_at <= ?", arguments: [limit])
            var deleted: [ShareID] = []
            for row in rows {
                guard let id = ShareID(rawValue: row["id"]) else { continue }
                try Self.record(
                    .shareDeleted, id.rawValue, OwnerID(rawValue: row["owner"]), now, in: database)
                deleted.append(id)
            }
            return deleted
        }
    }

    private static let isStale =
        "served_at <= :limit OR revoked_at <= :limit OR expires_at <= :limit"

    // MARK: Tokens

    /// See ``ShareStore/tokens()``.
    public func tokens() async throws(ShareStoreError) -> [TokenRecord] {
        try await self.read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM token ORDER BY created_at, name")
                .map { try TokenRecord(row: $0) }
        }
    }

    /// See ``ShareStore/createToken(_:now:)``.
    public func createToken(
        _ name: OwnerID, now: Date
    ) async throws(ShareStoreError) -> TunnelToken {
        var generator = SystemRandomNumberGenerator()
        let token = TunnelToken.make(using: &generator)
        try await self.write { database in
            let sql = "SELECT EXISTS (SELECT 1 FROM token WHERE name = ? AND revoked_at IS NULL)"
            let isTaken = try Bool.fetchOne(database, sql: sql, arguments: [name.rawValue]) == true
            guard name.hasToken, !isTaken else { throw ShareStoreError.tokenNameTaken(name) }
            try database.execute(
                sql: "INSERT INTO token (hash, name, created_at) VALUES (?, ?, ?)",
                arguments: [token.hash.hex, name.rawValue, StoreTime.milliseconds(now)])
            try Self.record(.tokenCreated, name.rawValue, nil, now, in: database)
        }
        return token
    }

    /// See ``ShareStore/revokeToken(_:now:)``.
    public func revokeToken(
        _ name: OwnerID, now: Date
    ) async throws(ShareStoreError) -> [Share] {
        try await self.write { database in
            try database.execute(
                sql: "UPDATE token SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL",
                arguments: [StoreTime.milliseconds(now), name.rawValue])
            guard database.changesCount > 0 else { throw ShareStoreError.tokenUnknown(name) }
            try Self.record(.tokenRevoked, name.rawValue, nil, now, in: database)
            let sql = "SELECT * FROM share WHERE owner = ? ORDER BY created_at, id"
            let shares = try Row.fetchAll(database, sql: sql, arguments: [name.rawValue])
                .map { try Share(row: $0) }
            return try shares.filter { $0.state(now: now) == .live }
                .map { try Self.end($0, owner: nil, now: now, in: database) }
        }
    }

    /// See ``ShareStore/owner(of:)``.
    public func owner(of hash: TokenHash) async throws(ShareStoreError) -> OwnerID? {
        try await self.read { database in
            let sql = "SELECT name FROM token WHERE hash = ? AND revoked_at IS NULL"
            return try String.fetchOne(database, sql: sql, arguments: [hash.hex])
                .flatMap { OwnerID(tokenName: $0) }
        }
    }

    // MARK: Audit and changes

    /// See ``ShareStore/audit(_:)``.
    public func audit(_ event: AuditEvent) async throws(ShareStoreError) {
        try await self.write { database in
            try Self.record(event.action, event.subject, event.owner, event.at, in: database)
        }
    }

    /// See ``ShareStore/auditTrail(limit:)``.
    public func auditTrail(limit: Int) async throws(ShareStoreError) -> [AuditEvent] {
        try await self.read { database in
            let sql = "SELECT * FROM audit ORDER BY id DESC LIMIT ?"
            return try Row.fetchAll(database, sql: sql, arguments: [max(0, limit)])
                .map { try AuditEvent(row: $0) }
        }
    }

    /// See ``ShareStore/changeCounter()``.
    public func changeCounter() async throws(ShareStoreError) -> Int64 {
        try await self.read { database in
            try Int64.fetchOne(database, sql: "PRAGMA data_version") ?? 0
        }
    }

    // MARK: Shared steps, within a transaction of the caller

    private static func share(_ id: ShareID, in database: Database) throws -> Share? {
        try Row.fetchOne(
            database, sql: "SELECT * FROM share WHERE id = ?", arguments: [id.rawValue]
        ).map { try Share(row: $0) }
    }

    private static func end(
        _ share: Share, owner: OwnerID?, now: Date, in database: Database
    ) throws -> Share {
        guard share.revokedAt == nil else { return share }
        let revokedAt = StoreTime.milliseconds(now)
        try database.execute(
            sql: "UPDATE share SET revoked_at = ? WHERE id = ?",
            arguments: [revokedAt, share.id.rawValue])
        try Self.record(.shareRevoked, share.id.rawValue, owner, now, in: database)
        var ended = share
        ended.revokedAt = StoreTime.date(revokedAt)
        return ended
    }

    private static func record(
        _ action: AuditEvent.Action, _ subject: String, _ owner: OwnerID?, _ at: Date,
        in database: Database
    ) throws {
        try database.execute(
            sql: "INSERT INTO audit (at, action, subject, owner) VALUES (?, ?, ?, ?)",
            arguments: [
                StoreTime.milliseconds(at), action.rawValue, subject, owner?.rawValue,
            ])
        try database.execute(
            sql: "DELETE FROM audit WHERE id <= ?",
            arguments: [database.lastInsertedRowID - Int64(Self.maximumAuditEvents)])
    }
}

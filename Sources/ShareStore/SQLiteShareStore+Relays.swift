public import Foundation
import GRDB
public import SharePolicy

/// Which relay serves, and which agents are to come back by themselves: what one relay leaves for
/// the next.
extension SQLiteShareStore {
    /// Relays that drain are forgotten after this long, in seconds, if they did not say that they
    /// ended: twice the longest drain.
    private static let longestDrain: TimeInterval = 2 * 3_600

    /// A relay serves from now on. Every other one that sees a higher number than its own must
    /// drain.
    ///
    /// - Returns: Its number; numbers grow and are never used twice.
    /// - Throws: ``ShareStoreError`` if the file cannot be used.
    public func relayServes(pid: Int32, now: Date) async throws(ShareStoreError) -> Int64 {
        try await self.write { database in
            let latest = StoreTime.milliseconds(now.addingTimeInterval(-Self.longestDrain))
            try database.execute(
                sql: "DELETE FROM relay WHERE draining_at < ?", arguments: [latest])
            try database.execute(
                sql: "INSERT INTO relay (pid, started_at) VALUES (?, ?)",
                arguments: [Int64(pid), StoreTime.milliseconds(now)])
            return database.lastInsertedRowID
        }
    }

    /// The number of the relay that began to serve last; 0 where none did.
    public func servingRelay() async throws(ShareStoreError) -> Int64 {
        try await self.read { database in
            try Int64.fetchOne(database, sql: "SELECT max(number) FROM relay") ?? 0
        }
    }

    /// A relay drains, and takes cancel requests on that port of this machine meanwhile.
    public func relayDrains(
        _ number: Int64, cancelPort: Int?, now: Date
    ) async throws(ShareStoreError) {
        try await self.write { database in
            try database.execute(
                sql: "UPDATE relay SET draining_at = ?, cancel_port = ? WHERE number = ?",
                arguments: [StoreTime.milliseconds(now), cancelPort, number])
        }
    }

    /// A relay has ended.
    public func relayEnded(_ number: Int64) async throws(ShareStoreError) {
        try await self.write { database in
            try database.execute(sql: "DELETE FROM relay WHERE number = ?", arguments: [number])
        }
    }

    /// Where draining relays take cancel requests: ports of this machine.
    public func cancelPorts(except number: Int64) async throws(ShareStoreError) -> [Int] {
        try await self.read { database in
            let sql = "SELECT cancel_port FROM relay WHERE cancel_port IS NOT NULL AND number <> ?"
            return try Int.fetchAll(database, sql: sql, arguments: [number])
        }
    }

    /// The shares whose agent did not say goodbye: it comes back by itself.
    public func awaitedShares() async throws(ShareStoreError) -> Set<ShareID> {
        try await self.read { database in
            let ids = try String.fetchAll(database, sql: "SELECT id FROM share WHERE awaited = 1")
            return Set(ids.compactMap { ShareID(rawValue: $0) })
        }
    }

    /// A share's agent has said goodbye, or was away for too long. A tunnel that came later counts
    /// for more: nothing changes then.
    public func agentLeft(_ id: ShareID, generation: UInt64) async throws(ShareStoreError) {
        try await self.write { database in
            try database.execute(
                sql: "UPDATE share SET awaited = 0 WHERE id = ? AND generation = ?",
                arguments: [id.rawValue, Int64(clamping: generation)])
        }
    }
}

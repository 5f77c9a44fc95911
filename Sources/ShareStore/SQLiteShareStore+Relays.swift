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
    /// - Parameters:
    ///   - pid: Its process.
    ///   - cancelPort: Where it takes cancel requests, on this machine; nil for nowhere.
    ///   - isAlone: Whether no other one serves: then those that are said to have not ended well.
    ///   - now: The time.
    /// - Returns: Its number; numbers grow and are never used twice.
    /// - Throws: ``ShareStoreError`` if the file cannot be used.
    public func relayServes(
        pid: Int32, cancelPort: Int?, isAlone: Bool, now: Date
    ) async throws(ShareStoreError) -> Int64 {
        try await self.write { database in
            let latest = StoreTime.milliseconds(now.addingTimeInterval(-Self.longestDrain))
            try database.execute(
                sql: "DELETE FROM relay WHERE draining_at < ?", arguments: [latest])
            if isAlone {
                try database.execute(sql: "DELETE FROM relay WHERE draining_at IS NULL")
            }
            try database.execute(
                sql: "INSERT INTO relay (pid, started_at, cancel_port) VALUES (?, ?, ?)",
                arguments: [Int64(pid), StoreTime.milliseconds(now), cancelPort])
            return database.lastInsertedRowID
        }
    }

    /// The number of the relay that began to serve last; 0 where none did.
    public func servingRelay() async throws(ShareStoreError) -> Int64 {
        try await self.read { database in
            try Int64.fetchOne(database, sql: "SELECT max(number) FROM relay") ?? 0
        }
    }

    /// A relay drains.
    public func relayDrains(_ number: Int64, now: Date) async throws(ShareStoreError) {
        try await self.write { database in
            try database.execute(
                sql: "UPDATE relay SET draining_at = ? WHERE number = ?",
                arguments: [StoreTime.milliseconds(now), number])
        }
    }

    /// A relay has ended.
    public func relayEnded(_ number: Int64) async throws(ShareStoreError) {
        try await self.write { database in
            try database.execute(sql: "DELETE FROM relay WHERE number = ?", arguments: [number])
        }
    }

    /// Where relays that served before this one take cancel requests: ports of this machine. Two
    /// relays never ask each other.
    public func cancelPorts(before number: Int64) async throws(ShareStoreError) -> [Int] {
        try await self.read { database in
            let sql = "SELECT cancel_port FROM relay WHERE cancel_port IS NOT NULL AND number < ?"
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

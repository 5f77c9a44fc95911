import Foundation
import GRDB
import SharePolicy

/// A row that this program did not write, or that was damaged.
struct DamagedRow: Error {
    var table: String
}

/// Milliseconds since 1970, the unit of every time in the file.
enum StoreTime {
    static func milliseconds(_ date: Date) -> Int64 {
        // Clamped: a date from afar (`Date.distantFuture` times a million) must not trap.
        let value = (date.timeIntervalSince1970 * 1_000).rounded()
        return Int64(min(max(value, -9e15), 9e15))
    }

    static func date(_ milliseconds: Int64) -> Date {
        Date(timeIntervalSince1970: Double(milliseconds) / 1_000)
    }
}

extension Share {
    init(row: Row) throws(DamagedRow) {
        let damaged = DamagedRow(table: "share")
        let name = row["name"] as String?
        guard let id = ShareID(rawValue: row["id"]),
            let kind = Kind(rawValue: row["kind"]),
            let owner = OwnerID(rawValue: row["owner"]),
            let authMethod = AuthMethod(rawValue: row["auth_method"]),
            let generation = UInt64(exactly: row["generation"] as Int64)
        else { throw damaged }
        let readName = name.flatMap { ShareName(rawValue: $0) }
        guard (name == nil) == (readName == nil) else { throw damaged }
        let limits: ShareLimits
        do {
            let text = row["limits"] as String
            limits = try JSONDecoder().decode(ShareLimits.self, from: Data(text.utf8)).validated()
        } catch {
            throw damaged
        }
        self.init(
            id: id,
            kind: kind,
            name: readName,
            owner: owner,
            verifier: row["verifier"],
            authMethod: authMethod,
            limits: limits,
            createdAt: StoreTime.date(row["created_at"]),
            expiresAt: (row["expires_at"] as Int64?).map(StoreTime.date),
            revokedAt: (row["revoked_at"] as Int64?).map(StoreTime.date),
            generation: generation,
            database: row["database"],
            user: row["user"]
        )
    }

    /// The share as the named arguments of a statement.
    func arguments(servedAt: Date) throws -> StatementArguments {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return [
            "id": self.id.rawValue,
            "kind": self.kind.rawValue,
            "name": self.name?.rawValue,
            "owner": self.owner.rawValue,
            "verifier": self.verifier,
            "auth_method": self.authMethod.rawValue,
            "limits": String(decoding: try encoder.encode(self.limits), as: UTF8.self),
            "created_at": StoreTime.milliseconds(self.createdAt),
            "expires_at": self.expiresAt.map(StoreTime.milliseconds),
            "revoked_at": self.revokedAt.map(StoreTime.milliseconds),
            "served_at": StoreTime.milliseconds(servedAt),
            "generation": Int64(clamping: self.generation),
            "database": self.database,
            "user": self.user,
        ]
    }
}

extension TokenRecord {
    init(row: Row) throws(DamagedRow) {
        guard let name = OwnerID(tokenName: row["name"]) else { throw DamagedRow(table: "token") }
        self.init(
            name: name,
            createdAt: StoreTime.date(row["created_at"]),
            revokedAt: (row["revoked_at"] as Int64?).map(StoreTime.date)
        )
    }
}

extension AuditEvent {
    init(row: Row) throws(DamagedRow) {
        guard let action = Action(rawValue: row["action"]) else { throw DamagedRow(table: "audit") }
        self.init(
            at: StoreTime.date(row["at"]),
            action: action,
            subject: row["subject"],
            owner: (row["owner"] as String?).flatMap { OwnerID(rawValue: $0) }
        )
    }
}

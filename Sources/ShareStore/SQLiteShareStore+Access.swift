import GRDB
import SharePolicy

extension SQLiteShareStore {
    /// Runs a block that changes nothing.
    func read<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(ShareStoreError) -> Value {
        do {
            return try await self.queue.read(body)
        } catch {
            throw Self.storeError(error, path: self.path)
        }
    }

    /// Runs a block in one transaction: all of it is kept, or nothing.
    func write<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(ShareStoreError) -> Value {
        do {
            return try await self.queue.write(body)
        } catch {
            throw Self.storeError(error, path: self.path)
        }
    }

    /// The one place where an error of SQLite becomes one of ours.
    ///
    /// Source: SQLite documentation, "Result and Error Codes".
    static func storeError(_ error: any Error, path: String) -> ShareStoreError {
        if let error = error as? ShareStoreError { return error }
        if let row = error as? DamagedRow {
            return .corrupted(path: path, reason: "a row of \(row.table) cannot be read")
        }
        guard let error = error as? DatabaseError else {
            return .failed(path: path, reason: "\(error)")
        }
        let reason = error.message ?? "SQLite error \(error.resultCode.rawValue)"
        return switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: .corrupted(path: path, reason: reason)
        case .SQLITE_READONLY, .SQLITE_PERM: .readOnly(path: path)
        case .SQLITE_FULL: .diskFull(path: path)
        // What a full disk gives at the first opening, when the file beside the WAL is made.
        case .SQLITE_IOERR where error.extendedResultCode == .SQLITE_IOERR_SHMSIZE:
            .diskFull(path: path)
        case .SQLITE_BUSY, .SQLITE_LOCKED: .busy(path: path)
        case .SQLITE_CANTOPEN: .cannotOpen(path: path, reason: reason)
        default: .failed(path: path, reason: reason)
        }
    }
}

import CLibpq
import Deploy
import Dispatch
import TestSupport

/// A session by libpq, for tests: each statement runs on a queue of its own.
final class VerifySession: SQLSession, @unchecked Sendable {
    // The queue is serial, so the connection, which only it touches, is used by one at a time.
    private let connection: OpaquePointer?
    private let queue = DispatchQueue(label: "VerifySession")
    let serverVersion: Int

    init(_ server: TestPostgres, database: String, user: String = "postgres") throws {
        let connection = PQconnectdb(server.conninfo(user: user, database: database))
        guard PQstatus(connection) == CONNECTION_OK else {
            defer { PQfinish(connection) }
            throw SQLFailure(
                sqlState: nil, message: String(cString: PQerrorMessage(connection)),
                isConnectionLost: true)
        }
        PQsetClientEncoding(connection, "UTF8")
        self.connection = connection
        self.serverVersion = Int(PQserverVersion(connection))
    }

    deinit {
        PQfinish(self.connection)
    }

    @discardableResult
    func rows(_ sql: String) async throws(SQLFailure) -> [[String?]] {
        let result: Result<[[String?]], SQLFailure> = await withCheckedContinuation { done in
            self.queue.async { done.resume(returning: self.run(sql)) }
        }
        return try result.get()
    }

    private func run(_ sql: String) -> Result<[[String?]], SQLFailure> {
        guard PQsendQuery(self.connection, sql) == 1 else {
            return .failure(self.failure(nil))
        }
        var rows: [[String?]] = []
        var failure: SQLFailure?
        while let result = PQgetResult(self.connection) {
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK: rows = Self.values(result)
            case PGRES_FATAL_ERROR: failure = failure ?? self.failure(result)
            case _: break
            }
        }
        return failure.map { .failure($0) } ?? .success(rows)
    }

    private func failure(_ result: OpaquePointer?) -> SQLFailure {
        let state = PQresultErrorField(result, Int32(UnicodeScalar("C").value))
        return SQLFailure(
            sqlState: state.map { String(cString: $0) },
            message: String(cString: PQerrorMessage(self.connection)),
            isConnectionLost: PQstatus(self.connection) != CONNECTION_OK)
    }

    private static func values(_ result: OpaquePointer) -> [[String?]] {
        (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { column in
                PQgetisnull(result, row, column) == 1
                    ? nil : String(cString: PQgetvalue(result, row, column))
            }
        }
    }
}

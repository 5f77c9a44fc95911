import CLibpq
import TestSupport

@testable import SharedSession

/// A session of a real server, by libpq.
final class InspectedSession {
    private let connection: OpaquePointer

    init(_ server: TestPostgres, user: String = "postgres", _ more: String = "") throws {
        guard let connection = PQconnectdb(server.conninfo(user: user, more)) else {
            throw InspectionError("no memory")
        }
        self.connection = connection
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
        guard PQstatus(connection) == CONNECTION_OK else {
            throw InspectionError(String(cString: PQerrorMessage(connection)))
        }
    }

    deinit { PQfinish(self.connection) }

    /// The rows of the only, or last, statement of a simple Query.
    @discardableResult
    func rows(_ sql: String) throws -> [[String?]] {
        let result = PQexec(self.connection, sql)
        defer { PQclear(result) }
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK: break
        case _: throw InspectionError(String(cString: PQresultErrorMessage(result)))
        }
        return (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { column in
                PQgetisnull(result, row, column) == 1
                    ? nil : PQgetvalue(result, row, column).map { String(cString: $0) }
            }
        }
    }

    /// How many statements of a simple Query the server has completed; nil after an error.
    func completed(_ sql: String) -> Int? {
        guard PQsendQuery(self.connection, sql) == 1 else { return nil }
        var count = 0
        var isBroken = false
        while let result = PQgetResult(self.connection) {
            switch PQresultStatus(result) {
            case PGRES_COMMAND_OK, PGRES_TUPLES_OK: count += 1
            case PGRES_EMPTY_QUERY: break
            case _: isBroken = true
            }
            PQclear(result)
        }
        return isBroken ? nil : count
    }

    func value(_ sql: String) throws -> String? { try self.rows(sql).first?.first ?? nil }

    /// What the server has reported of a parameter.
    func reported(_ name: String) -> String? {
        PQparameterStatus(self.connection, name).map { String(cString: $0) }
    }

    /// What the session holds.
    func inspect(
        _ candidates: Set<String> = [], storedCode: Bool = false
    ) throws -> SessionInspection.Inspection {
        let rows = try self.rows(
            SessionInspection.query(customCandidates: candidates, storedCode: storedCode))
        guard let found = SessionInspection.read(rows, engine: Self.engine) else {
            throw InspectionError("the rows are not understood: \(rows)")
        }
        return found
    }

    func apply(from: SessionSettings, to: SessionSettings) throws {
        for statement in SessionInspection.applyStatement(from: from, to: to) {
            try self.rows(statement)
        }
    }

    static let engine = SessionInspection.Engine(
        reported: [], database: "postgres", user: "postgres")
}

struct InspectionError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

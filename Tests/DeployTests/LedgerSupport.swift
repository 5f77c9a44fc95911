import CLibpq
import Deploy
import Foundation
import TestSupport
import Testing

/// A session of libpq. It blocks its caller, which only a test may.
actor LibpqSession: SQLSession {
    nonisolated let serverVersion: Int
    private let connection: OpaquePointer

    init(_ conninfo: String) throws {
        guard let connection = PQconnectdb(conninfo) else { throw LedgerTestFailure("no memory") }
        self.connection = connection
        self.serverVersion = Int(PQserverVersion(connection))
        guard PQstatus(connection) == CONNECTION_OK else {
            throw LedgerTestFailure(String(cString: PQerrorMessage(connection)))
        }
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
    }

    isolated deinit {
        PQfinish(self.connection)
    }

    @discardableResult
    func rows(_ sql: String) async throws(SQLFailure) -> [[String?]] {
        var rows: [[String?]] = []
        var failure: SQLFailure?
        PQsendQuery(self.connection, sql)
        while let result = PQgetResult(self.connection) {
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK: rows = Self.rows(of: result)
            case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: break
            default: failure = failure ?? Self.failure(of: result)
            }
        }
        if let failure { throw failure }
        return rows
    }

    private static func rows(of result: OpaquePointer) -> [[String?]] {
        (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { column in
                guard PQgetisnull(result, row, column) == 0 else { return nil }
                return PQgetvalue(result, row, column).map { String(cString: $0) }
            }
        }
    }

    private static func failure(of result: OpaquePointer) -> SQLFailure {
        func field(_ code: Character) -> String? {
            let value = PQresultErrorField(result, Int32(code.asciiValue ?? 0))
            return value.map { String(cString: $0) }
        }
        return SQLFailure(
            sqlState: field("C"), message: field("M") ?? "", detail: field("D"), hint: field("H"))
    }
}

struct LedgerTestFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}

/// A database of its own, and a session of the role that deploys.
struct LedgerTarget: Sendable {
    let server: TestPostgres
    let database: String
    let session: LibpqSession

    /// - Parameters:
    ///   - version: Of the server.
    ///   - name: Of the database; of this test alone.
    ///   - user: `postgres`, or `trusty`, who may create schemas here and objects in `public`.
    /// - Throws: What the server says.
    /// - Returns: An empty database with its two roles.
    static func make(
        _ version: TestPostgres.Version,
        _ name: String,
        user: String = "trusty"
    ) throws -> LedgerTarget {
        let server = try TestPostgres.shared(version)
        try server.sql("drop database if exists \(name)")
        try server.sql("create database \(name)")
        try server.sql(
            """
            grant create on database \(name) to trusty;
            grant create on schema public to trusty
            """, database: name)
        return LedgerTarget(
            server: server, database: name,
            session: try LibpqSession(server.conninfo(user: user, database: name)))
    }

    /// What somebody else does, as superuser.
    func others(_ sql: String) throws {
        try self.server.sql(sql, database: self.database)
    }

    /// Schema and data as text, without what is ours.
    func dump(without schema: String = "pgshare") throws -> String {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: self.server.binaries + "/pg_dump")
        process.arguments = [
            "-h", self.server.socketFolder, "-p", "\(self.server.port)", "-U", "postgres",
            "-N", "pgshare*", "-N", schema, self.database,
        ]
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw LedgerTestFailure("pg_dump failed") }
        // A key of each dump's own.
        return String(decoding: data, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false
        ).filter { !$0.hasPrefix("\\restrict") && !$0.hasPrefix("\\unrestrict") }
            .joined(separator: "\n")
    }

    /// Runs `body` in a transaction, which it leaves rolled back if it throws.
    @discardableResult
    func transaction<Value>(
        _ body: (LibpqSession) async throws -> Value
    ) async throws -> Value {
        try await self.session.rows("begin isolation level read committed")
        do {
            let value = try await body(self.session)
            try await self.session.rows("commit")
            return value
        } catch {
            try await self.session.rows("rollback")
            throw error
        }
    }

    /// A deploy whose restore is a script.
    @discardableResult
    func deploy(
        _ id: String,
        _ script: String,
        keeps: Bool = true,
        replacing foreign: Set<ObjectKey> = []
    ) async throws -> SetAsideReport {
        try await self.transaction { session in
            try await Ledger.lock(session)
            try await Ledger.prepare(session)
            let before = try await ObjectInventory.read(session)
            var report = try await Ledger.setAside(session, deploymentID: id, keeps: keeps)
            if !foreign.isEmpty {
                report = try await Ledger.replaceForeign(
                    session, deploymentID: id, objects: foreign, keeps: keeps)
            }
            try await session.rows(script)
            try await session.rows("set search_path = ''")
            try await Ledger.record(
                session,
                NewDeployment(
                    id: id, source: "app.example.com/app", plan: "{}",
                    rowCounts: ["public.t": 3], toolVersions: ["pg_dump": "17.6"]),
                before: before)
            return report
        }
    }

    @discardableResult
    func rollback(_ id: String? = nil) async throws -> RollbackReport {
        try await self.transaction { session in
            try await Ledger.lock(session)
            return try await Ledger.rollback(session, deploymentID: id)
        }
    }

    func state() async throws -> LedgerState {
        try await self.transaction { try await Ledger.read($0) }
    }
}

/// An id of the right shape: `first00000000000`.
func deploymentID(_ word: String) -> String {
    word + String(repeating: "0", count: 16 - word.utf8.count)
}

/// The first line in which two texts differ, with both; nil if they are alike.
func firstDifference(_ one: String, _ other: String) -> String? {
    let lines = one.split(separator: "\n", omittingEmptySubsequences: false)
    let others = other.split(separator: "\n", omittingEmptySubsequences: false)
    for index in 0..<max(lines.count, others.count) {
        let line = index < lines.count ? lines[index] : "(end)"
        let otherLine = index < others.count ? others[index] : "(end)"
        if line != otherLine { return "line \(index + 1): \(line) | \(otherLine)" }
    }
    return nil
}

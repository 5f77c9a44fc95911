import Deploy
import Foundation
import Synchronization
import TestSupport
import Testing

/// Two databases of one's own, and the sessions that compare them.
final class VerifyPair: Sendable {
    let sourceServer: TestPostgres
    let targetServer: TestPostgres
    let name: String

    init(
        _ source: TestPostgres.Version, _ target: TestPostgres.Version,
        sourceEncoding: String = "UTF8"
    ) throws {
        self.sourceServer = try TestPostgres.shared(source)
        self.targetServer = try TestPostgres.shared(target)
        self.name = "verify_" + UUID().uuidString.prefix(8).lowercased()
        try self.sourceServer.sql(
            "create database \(self.name)_source template template0 encoding '\(sourceEncoding)'")
        try self.targetServer.sql("create database \(self.name)_target")
    }

    deinit {
        _ = try? self.sourceServer.sql("drop database \(self.name)_source with (force)")
        _ = try? self.targetServer.sql("drop database \(self.name)_target with (force)")
    }

    func both(_ sql: String) throws {
        try self.source(sql)
        try self.target(sql)
    }

    /// Dumps the source and restores it at the target, by the source's programs.
    ///
    /// - Returns: What the archive holds; large objects and rows too.
    func deploy(allows: [Int32] = [0]) throws -> TableOfContents {
        let source = self.sourceServer
        let target = self.targetServer
        let file = FileManager.default.temporaryDirectory.appending(path: self.name + ".dump").path
        defer { try? FileManager.default.removeItem(atPath: file) }
        try Self.run([
            source.binaries + "/pg_dump", "-Fc", "-f", file, "-d",
            source.conninfo(database: self.name + "_source"),
        ])
        try Self.run(
            [
                source.binaries + "/pg_restore", "-d",
                target.conninfo(database: self.name + "_target"),
                file,
            ], allows: allows)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        return try TableOfContents(archive: Array(bytes))
    }

    private static func run(_ arguments: [String], allows: [Int32] = [0]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: arguments[0])
        process.arguments = Array(arguments.dropFirst())
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard allows.contains(process.terminationStatus) else {
            throw SQLFailure(sqlState: nil, message: "\(arguments[0]) failed")
        }
    }

    /// Runs a file of this checkout at the source.
    func source(file: String) throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        try Self.run([
            self.sourceServer.binaries + "/psql", "-X", "-q", "-d",
            self.sourceServer.conninfo(database: self.name + "_source"), "-f",
            root.appending(path: file).path,
        ])
    }

    /// Every table of the source that holds rows and is no extension's.
    func tables() async throws -> [VerifiedTable] {
        let rows = try await self.sourceSession().rows(
            """
            select n.nspname, c.relname from pg_class c
            join pg_namespace n on n.oid = c.relnamespace
            where c.relkind = 'r' and c.oid >= 16384 and not exists (
                select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
            order by 1, 2
            """)
        return rows.compactMap { row in
            guard let schema = row[0], let name = row[1] else { return nil }
            return VerifiedTable(schema: schema, name: name)
        }
    }

    func source(_ sql: String) throws {
        try self.sourceServer.sql(sql, database: self.name + "_source")
    }

    func target(_ sql: String) throws {
        try self.targetServer.sql(sql, database: self.name + "_target")
    }

    func sourceSession(_ user: String = "postgres") throws -> VerifySession {
        try VerifySession(self.sourceServer, database: self.name + "_source", user: user)
    }

    func targetSession(_ user: String = "postgres") throws -> VerifySession {
        try VerifySession(self.targetServer, database: self.name + "_target", user: user)
    }

    func verify(
        _ tables: [VerifiedTable], after change: String = "select 1"
    ) async throws -> VerificationReport {
        var scope = Verifier.Scope()
        scope.tables = tables
        return try await self.verify(scope, after: change)
    }

    /// As a deploy does it: a snapshot at the source, an open transaction at the target, in which
    /// `change` was made.
    func verify(
        _ scope: Verifier.Scope, after change: String = "select 1", targetUser: String = "postgres"
    ) async throws -> VerificationReport {
        let source = try self.sourceSession()
        let target = try self.targetSession(targetUser)
        try await source.rows("begin isolation level repeatable read read only")
        try await target.rows("begin; " + change)
        let report = try await Verifier(scope).run(source: [source], target: [target]) { _ in }
        // An aborted transaction would answer ROLLBACK's error to this.
        #expect(try await target.rows("select 1") == [["1"]])
        return report
    }
}

/// Steps that a verifier told of.
final class Steps: Sendable {
    private let steps = Mutex<[VerificationStep]>([])

    var all: [VerificationStep] { self.steps.withLock { $0 } }

    func add(_ step: VerificationStep) {
        self.steps.withLock { $0.append(step) }
    }
}

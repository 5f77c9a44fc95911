import Foundation
import NIOPosix
import PostgresClient

/// A Postgres of the demo's own: initdb in a temporary folder, a unix socket, no TCP.
struct DemoPostgres: Sendable {
    /// How often the socket is looked for while Postgres starts: 30 s in all.
    private static let startPolls = 300
    /// Its only role, a superuser.
    private static let user = "demo"

    private let process: Process
    private let log: String
    private let socketFolder: String

    /// Runs a server for as long as `body` takes; its folder and its log have `name`.
    static func serving(
        _ name: String, in folder: DemoFolder,
        _ body: @escaping @Sendable (DemoPostgres) async throws -> Void
    ) async throws {
        let server = try await self.start(name, in: folder)
        do {
            try await server.waitUntilReady()
            try await body(server)
        } catch {
            server.stop()
            throw error
        }
        server.stop()
    }

    private static func start(_ name: String, in folder: DemoFolder) async throws -> DemoPostgres {
        let tools = try DemoServerTools()
        let owned = "\(folder.path)/\(name)"
        try FileManager.default.createDirectory(
            atPath: owned, withIntermediateDirectories: false)
        try tools.giveToServer(owned)
        try await tools.run(
            "initdb",
            [
                "-D", "\(owned)/data", "-U", self.user, "--auth=trust", "--no-sync", "-E", "UTF8",
            ])
        let log = "\(folder.path)/\(name).log"
        let process = try tools.start(
            "postgres",
            [
                "-D", "\(owned)/data", "-c", "listen_addresses=", "-c", "port=5432", "-c",
                "unix_socket_directories=\(owned)", "-c", "fsync=off", "-c", "wal_level=logical",
            ], log: log)
        return DemoPostgres(process: process, log: log, socketFolder: owned)
    }

    /// How a database of it is reached.
    func conninfo(_ database: String = "postgres") -> String {
        "host=\(self.socketFolder) port=5432 user=\(Self.user) dbname=\(database)"
    }

    /// The same as a URL.
    func url(_ database: String) -> String {
        let host = self.socketFolder.replacing("/", with: "%2F")
        return "postgres://\(Self.user)@\(host):5432/\(database)"
    }

    /// Runs SQL in a session of its own.
    @discardableResult
    func rows(_ sql: String, in database: String) async throws -> [[String?]] {
        let found = try await DatabaseSettings.resolve(self.conninfo(database))
        let session = try await PostgresSession.connect(
            try DatabaseConnector(found.target), applicationName: "pgshare demo",
            on: MultiThreadedEventLoopGroup.singleton.next())
        do {
            let rows = try await session.rows(sql)
            await session.close()
            return rows
        } catch {
            await session.close()
            throw CommandFailure("the demo's own SQL failed: \(error)")
        }
    }

    private func waitUntilReady() async throws {
        for _ in 0..<Self.startPolls where self.process.isRunning {
            if FileManager.default.fileExists(atPath: "\(self.socketFolder)/.s.PGSQL.5432"),
                (try? await DatabaseSettings.resolve(self.conninfo())) != nil
            {
                return
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        let log = (try? String(contentsOfFile: self.log, encoding: .utf8)) ?? ""
        let end = log.split(separator: "\n").suffix(3).joined(separator: "\n")
        throw CommandFailure("Postgres did not start:\n\(end)")
    }

    /// Fast shutdown: sessions are ended, nothing is kept.
    private func stop() {
        if self.process.isRunning { self.process.interrupt() }
        self.process.waitUntilExit()
    }
}

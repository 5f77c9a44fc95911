import Agent
import ArgumentParser
import Foundation
import Logging
import NIOCore
import PostgresClient
import Relay
import ServiceLifecycle
import SharePolicy
import ShareStore

/// `pgshare demo`: all of it on one machine, with no set-up.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Relay, throw-away Postgres and share on this machine; Ctrl-C cleans up.")

    @Flag(help: "Print JSON, one object a line.")
    var json = false

    func run() async throws {
        PgshareLog.bootstrap(format: .text, level: .warning)
        let folder = try DemoFolder()
        defer { folder.remove() }
        let json = self.json
        if !json { Self.say("Starting a throw-away Postgres …") }
        let postgres = try await DemoPostgres.start(in: folder)
        let result: Result<Void, any Error>
        do {
            try await runUntilSignal { try await Self.share(postgres, folder, json: json) }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        postgres.stop()
        if !json { Self.say("Everything of the demo is gone.") }
        try result.get()
    }

    private static func say(_ text: String) {
        print(text)
        Output.flush()
    }

    private static func share(
        _ postgres: DemoPostgres, _ folder: DemoFolder, json: Bool
    ) async throws {
        let token = try await self.token(in: folder)
        var configuration = RelayConfiguration(stateFolder: folder.state)
        configuration.postgresPort = 0
        configuration.httpsPort = 0
        let (listening, continuation) = AsyncStream.makeStream(of: RelayAddresses.self)
        let relay = Relay(
            configuration: configuration, logger: Logger(label: "pgshare.relay")
        ) { continuation.yield($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await relay.run() }
            group.addTask {
                for await addresses in listening {
                    try await self.runAgent(postgres, addresses, token, json: json)
                }
            }
            try await group.next()
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    private static func token(in folder: DemoFolder) async throws -> String {
        let store = try SQLiteShareStore(folder: folder.state)
        guard let owner = OwnerID(tokenName: "demo") else {
            throw CommandFailure("no token could be made")
        }
        return try await store.createToken(owner, now: Date()).reveal
    }

    private static func runAgent(
        _ postgres: DemoPostgres, _ relay: RelayAddresses, _ token: String, json: Bool
    ) async throws {
        guard let port = relay.https.split(separator: ":").last else { return }
        var arguments = [
            postgres.conninfo, "--relay", "https://localhost:\(port)", "--name", "demo",
        ]
        if let caFile = relay.caFile { arguments += ["--ca-file", caFile] }
        if json { arguments.append("--json") }
        let command = try ShareCommand.parse(arguments)
        let settings = try await Settings(
            configFile: nil, environment: ["PGSHARE_TOKEN": token])
        let plan = try await SharePlan(command, settings)
        let printer = SharePrinter(plan: plan, json: json)
        let database = try await plan.resolveDatabase()
        printer.found(database.probe)
        try await plan.share(database.target, database.probe, printer)
    }
}

/// A folder of the demo's own, readable by the user that Postgres runs as.
struct DemoFolder: Sendable {
    let path: String
    var state: String { "\(self.path)/state" }
    var data: String { "\(self.path)/data" }

    init() throws {
        // Short: the path of a unix socket has at most 107 bytes.
        self.path = "/tmp/pgshare-demo-\(UInt32.random(in: .min ... .max))"
        do {
            try FileManager.default.createDirectory(
                atPath: self.path, withIntermediateDirectories: false,
                attributes: [.posixPermissions: 0o755])
        } catch {
            throw CommandFailure("cannot create \(self.path)")
        }
    }

    func remove() { try? FileManager.default.removeItem(atPath: self.path) }
}

/// A Postgres of the demo's own: initdb in a temporary folder, a unix socket, no TCP.
struct DemoPostgres: Sendable {
    /// How often the socket is looked for while Postgres starts: 30 s in all.
    private static let startPolls = 300

    private let process: Process
    private let folder: DemoFolder
    let conninfo: String

    static func start(in folder: DemoFolder) async throws -> DemoPostgres {
        let tools = try Tools()
        let owned = "\(folder.path)/postgres"
        try FileManager.default.createDirectory(
            atPath: owned, withIntermediateDirectories: false)
        try tools.giveToServer(owned)
        try await tools.run(
            "initdb",
            [
                "-D", "\(owned)/data", "-U", "demo", "--auth=trust", "--no-sync", "-E", "UTF8",
            ])
        let process = try tools.start(
            "postgres",
            [
                "-D", "\(owned)/data", "-c", "listen_addresses=", "-c",
                "unix_socket_directories=\(owned)", "-c", "fsync=off", "-c", "wal_level=logical",
            ], log: "\(folder.path)/postgres.log")
        let conninfo = "host=\(owned) user=demo dbname=postgres"
        let postgres = DemoPostgres(process: process, folder: folder, conninfo: conninfo)
        try await postgres.waitUntilReady(socket: "\(owned)/.s.PGSQL.5432")
        return postgres
    }

    private init(process: Process, folder: DemoFolder, conninfo: String) {
        self.process = process
        self.folder = folder
        self.conninfo = conninfo
    }

    private func waitUntilReady(socket: String) async throws {
        for _ in 0..<Self.startPolls where self.process.isRunning {
            if FileManager.default.fileExists(atPath: socket),
                (try? await DatabaseSettings.resolve(self.conninfo)) != nil
            {
                return
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        self.stop()
        throw CommandFailure("Postgres did not start; see \(self.folder.path)/postgres.log")
    }

    /// Fast shutdown: sessions are ended, nothing is kept.
    func stop() {
        if self.process.isRunning { self.process.interrupt() }
        self.process.waitUntilExit()
    }

    /// Postgres's programs, run as a user that is not root.
    private struct Tools {
        let folder: String
        let isRoot = getuid() == 0

        init() throws {
            let manager = FileManager.default
            let debian = "/usr/lib/postgresql"
            let versions = (try? manager.contentsOfDirectory(atPath: debian)) ?? []
            let newest = versions.compactMap(Int.init).max().map { "\(debian)/\($0)/bin" }
            let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
            let inPath = path.split(separator: ":").map(String.init)
            let candidates = [newest].compactMap { $0 } + inPath
            let found = candidates.first { manager.isExecutableFile(atPath: "\($0)/initdb") }
            guard let found else {
                throw CommandFailure("no initdb found; install PostgreSQL (apt install postgresql)")
            }
            self.folder = found
        }

        func giveToServer(_ path: String) throws {
            guard self.isRoot else { return }
            guard let user = getpwnam("postgres") else {
                throw CommandFailure("Postgres does not run as root, and there is no user postgres")
            }
            chown(path, user.pointee.pw_uid, user.pointee.pw_gid)
        }

        private func process(_ name: String, _ arguments: [String]) -> Process {
            let process = Process()
            let program = "\(self.folder)/\(name)"
            if self.isRoot {
                process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
                process.arguments =
                    ["--reuid=postgres", "--regid=postgres", "--init-groups", program] + arguments
            } else {
                process.executableURL = URL(fileURLWithPath: program)
                process.arguments = arguments
            }
            process.currentDirectoryURL = URL(fileURLWithPath: "/tmp")
            process.standardInput = FileHandle.nullDevice
            return process
        }

        func run(_ name: String, _ arguments: [String]) async throws {
            let process = self.process(name, arguments)
            let errors = Pipe()
            process.standardOutput = FileHandle.nullDevice
            process.standardError = errors
            try process.run()
            let said = errors.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else {
                throw CommandFailure("\(name) failed: \(String(decoding: said, as: UTF8.self))")
            }
        }

        func start(_ name: String, _ arguments: [String], log: String) throws -> Process {
            let process = self.process(name, arguments)
            _ = FileManager.default.createFile(atPath: log, contents: nil)
            let handle = FileHandle(forWritingAtPath: log) ?? .nullDevice
            process.standardOutput = handle
            process.standardError = handle
            try process.run()
            return process
        }
    }
}

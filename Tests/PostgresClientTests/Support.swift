import Foundation
import NIOCore
import NIOPosix
import PostgresClient
import Synchronization
import TestSupport

extension TestPostgres {
    private static let servers = Mutex<[Version: TestPostgres]>([:])

    /// The server of this version that the tests of sessions share: all of them at once have more
    /// sessions than Postgres allows by default.
    static func forSessions(_ version: Version) throws -> TestPostgres {
        try self.servers.withLock { servers in
            if let server = servers[version] { return server }
            let server = try TestPostgres(version, settings: ["max_connections = 400"])
            servers[version] = server
            return server
        }
    }

    /// A connector by the unix socket, as the superuser.
    func connector(database: String = "postgres") throws -> DatabaseConnector {
        try DatabaseConnector(
            DatabaseTarget(
                endpoint: .unixSocket(path: self.socketPath), user: "postgres", database: database))
    }

    /// A session on a loop of its own choice.
    func session(
        database: String = "postgres",
        on loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    ) async throws -> PostgresSession {
        try await PostgresSession.connect(
            self.connector(database: database), applicationName: "tests", on: loop)
    }
}

/// The error a body throws, of this type.
func failure<Failure: Error>(
    _ type: Failure.Type,
    _ body: () async throws -> Void
) async -> Failure? {
    do {
        try await body()
        return nil
    } catch {
        return error as? Failure
    }
}

/// What a callback was told.
final class Told: Sendable {
    private let value = Mutex<Int64>(0)
    private let (stream, continuation) = AsyncStream.makeStream(of: Int64.self)

    var last: Int64 { self.value.withLock { $0 } }

    func bytes(_ count: Int64) {
        self.value.withLock { $0 = count }
        self.continuation.yield(count)
    }

    /// Returns once more than this many bytes were told of.
    func wait(beyond count: Int64) async {
        for await bytes in self.stream where bytes > count { return }
    }
}

/// A program that a test runs, without a shell.
final class Tool: Sendable {
    /// How it ended.
    struct Outcome: Sendable {
        var status: Int32
        var wasKilled: Bool
        var output: String
        var errors: String
    }

    private let process: Process
    private let ended: Task<Outcome, Never>

    /// Starts it.
    init(_ path: String, _ arguments: [String], _ environment: [String: String] = [:]) throws {
        let process = Process()
        let (output, errors) = (Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.environment = environment.merging(["LC_ALL": "C"]) { given, _ in given }
        process.currentDirectoryURL = URL(fileURLWithPath: "/")
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        let (exits, exit) = AsyncStream.makeStream(of: Void.self)
        process.terminationHandler = { _ in exit.finish() }
        // A child inherits which signals are blocked, and threads of pools block them all.
        var (none, before) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try process.run()
        self.process = process
        self.ended = Task {
            async let said = Self.read(output)
            async let complaint = Self.read(errors)
            for await _ in exits {}
            return await Outcome(
                status: process.terminationStatus,
                wasKilled: process.terminationReason == .uncaughtSignal, output: said,
                errors: complaint)
        }
    }

    var outcome: Outcome {
        get async { await self.ended.value }
    }

    func send(signal: Int32) {
        kill(self.process.processIdentifier, signal)
    }

    /// On a thread of its own: pools have few, and many programs wait at once.
    private static func read(_ pipe: Pipe) async -> String {
        let handle = pipe.fileHandleForReading
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                let data = (try? handle.readToEnd()) ?? Data()
                continuation.resume(returning: String(decoding: data, as: UTF8.self))
            }
        }
    }
}

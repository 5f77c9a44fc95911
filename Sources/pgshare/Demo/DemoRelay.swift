import Agent
import ArgumentParser
import Foundation
import Logging
import NIOCore
import NIOPosix
import PostgresClient
import PostgresWire
import Relay
import ServiceLifecycle
import SharePolicy
import ShareStore

/// A relay of the demo's own, on free ports, with certificates that it makes.
struct DemoRelay: Sendable {
    /// How the demo's share is called.
    static let shareName = "demo"

    let url: String
    let caFile: String?
    let token: String

    /// Runs a relay for as long as `body` takes.
    static func serving(
        in folder: DemoFolder, _ body: @escaping @Sendable (DemoRelay) async throws -> Void
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
                    guard let port = addresses.https.split(separator: ":").last else { continue }
                    return try await body(
                        DemoRelay(
                            url: "https://localhost:\(port)", caFile: addresses.caFile,
                            token: token))
                }
            }
            try await group.next()
            group.cancelAll()
            try await Self.settle(&group)
        }
    }

    private static func token(in folder: DemoFolder) async throws -> String {
        let store = try SQLiteShareStore(folder: folder.state)
        guard let owner = OwnerID(tokenName: "demo") else {
            throw CommandFailure("no token could be made")
        }
        return try await store.createToken(owner, now: Date()).reveal
    }

    /// Shares a database and says so, until the task is cancelled or the relay ends it.
    func share(_ conninfo: String, _ narrator: DemoNarrator) async throws {
        let plan = try await self.plan(conninfo)
        let printer = SharePrinter(plan: plan, json: narrator.json)
        let database = try await plan.resolveDatabase()
        printer.found(database.probe)
        try await plan.share(database.target, database.probe, printer)
    }

    /// Shares a database for as long as `body` takes, and says nothing; `body` begins once clients
    /// can come, and is given the share's password.
    func sharing(
        _ conninfo: String, _ body: @escaping @Sendable (_ password: String) async throws -> Void
    ) async throws {
        let plan = try await self.plan(conninfo)
        let database = try await plan.resolveDatabase()
        let loops = MultiThreadedEventLoopGroup.singleton
        let (shared, continuation) = AsyncStream.makeStream(of: Void.self)
        let tunnel = try plan.tunnel(database.target, database.probe, loops) { event in
            if case .shared = event { continuation.yield() }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await tunnel.run() }
            group.addTask {
                for await _ in shared { return try await body(plan.password.reveal) }
            }
            try await group.next()
            group.cancelAll()
            try await Self.settle(&group)
        }
    }

    /// Waits for what was cancelled, whose way it is to end with an error.
    private static func settle(_ group: inout ThrowingTaskGroup<Void, any Error>) async throws {
        while let result = await group.nextResult() {
            if case .failure(let error) = result, !(error is CancellationError) { throw error }
        }
    }

    private func plan(_ conninfo: String) async throws -> SharePlan {
        var arguments = [conninfo, "--relay", self.url, "--name", Self.shareName]
        if let caFile = self.caFile { arguments += ["--ca-file", caFile] }
        let command = try ShareCommand.parse(arguments)
        return try await SharePlan(
            command, try await Settings(configFile: nil, environment: self.environment()))
    }

    /// What the demo's commands are told by variables, and nothing of the caller's.
    func environment(sourcePassword: String? = nil) -> [String: String] {
        var variables = [SettingKey.token.variable: self.token]
        variables[SettingKey.sourcePassword.variable] = sourcePassword
        return variables
    }
}

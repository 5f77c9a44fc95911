import Foundation
import Logging
import NIOCore
import NIOEmbedded
import PostgresWire
import SharePolicy
import ShareStore
import SharedSession
import Testing
import TunnelTransport
import TunnelWire

@testable import Relay

/// A relay without its sockets: doors for pages and places for clients, on two event loops whose
/// time the test moves.
final class SessionBench {
    /// The first connection of a page is here, and with it the session.
    let loop = NIOAsyncTestingEventLoop()
    let elsewhere = NIOAsyncTestingEventLoop()
    let metrics = RelayMetrics()
    let directory = ShareDirectory()
    let registry = TunnelRegistry()
    let cancels = CancelDirectory()
    let admission = AdmissionGate()
    let store: SQLiteShareStore
    private let door: RelayTunnelDoor
    private let owner: OwnerID
    private var pages: [TabDouble] = []

    private init(folder: String, _ configuration: TunnelConfiguration) async throws {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        self.store = try SQLiteShareStore(folder: folder)
        self.owner = try #require(OwnerID(tokenName: "tests"))
        _ = try await self.store.createToken(self.owner, now: Date())
        self.door = RelayTunnelDoor(
            configuration: configuration,
            claims: ShareClaims(
                store: self.store, configuration: configuration, limits: Claim.Limits()),
            directory: self.directory, registry: self.registry,
            environment: TunnelEnvironment(
                cancels: self.cancels, metrics: self.metrics, logger: logger))
    }

    /// Runs `body` with a fresh relay.
    static func with(
        _ configure: (inout TunnelConfiguration) -> Void = { _ in },
        _ body: (SessionBench) async throws -> Void
    ) async throws {
        var configuration = TunnelConfiguration()
        configure(&configuration)
        try await withFolder { folder in
            let bench = try await SessionBench(folder: folder, configuration)
            try await body(bench)
            for tunnel in bench.registry.all { tunnel.end(.relayStopping) }
            try await bench.settle()
            // Whoever was here is gone, and nothing of it is left.
            #expect(bench.admission.clients(of: bench.lastShare) == 0)
            #expect(bench.cancels.count == 0)
            #expect(bench.metrics.streamsOpen.value == 0)
            #expect(bench.metrics.sessionClientsWaiting.value == 0)
        }
    }

    private var lastShare =
        ShareID(rawValue: "0000000000000000")
        ?? {
            var random = SystemRandomNumberGenerator()
            return ShareID.make(using: &random)
        }()

    // MARK: Pages

    private static let verifier: String = {
        var random = SystemRandomNumberGenerator()
        return SCRAMVerifier(password: Secret("secret"), using: &random).text
    }()

    /// A connection to the tunnel door.
    func connection(elsewhere: Bool = false) async throws -> NIOAsyncTestingChannel {
        let channel = try await self.channel(on: elsewhere ? self.elsewhere : self.loop)
        let (door, owner) = (self.door, self.owner)
        try await channel.testingEventLoop.executeInContext {
            _ = door.accept(channel: channel, transport: .raw, owner: owner)
        }
        return channel
    }

    /// A page that has its share.
    func page(
        _ change: (inout Hello.ShareRequest) -> Void = { _ in },
        _ prepare: (TabDouble) -> Void = { _ in }
    ) async throws -> TabDouble {
        var request = Hello.ShareRequest(
            verifier: Self.verifier, database: "postgres", user: "postgres", maxConnections: 20,
            sessions: 1)
        change(&request)
        let channel = try await self.connection()
        let page = TabDouble(channel: channel, hello: Hello(agent: "tests", share: request))
        prepare(page)
        self.pages.append(page)
        try await page.greet()
        // The store is asked on another thread: this waits for the answer.
        let answer = try await channel.waitForOutboundWrite(as: ByteBuffer.self)
        try page.hear(answer)
        self.lastShare = ShareID(rawValue: page.id) ?? self.lastShare
        try await self.settle()
        return page
    }

    private func channel(on loop: NIOAsyncTestingEventLoop) async throws -> NIOAsyncTestingChannel {
        let channel = NIOAsyncTestingChannel(loop: loop)
        try await channel.connect(to: SocketAddress(ipAddress: "192.0.2.1", port: 50_000)).get()
        return channel
    }

    // MARK: Clients

    /// Lets a client in as the front door does once its password was right, or says why not.
    func arrive(
        at page: TabDouble, elsewhere: Bool = false, application: String? = nil
    ) async throws -> Result<ClientDouble, Refused> {
        let id = try #require(ShareID(rawValue: page.id))
        guard let entry = self.directory.find(.id(id)), entry.isLive(now: Date()),
            let acceptor = entry.acceptor
        else { return .failure(Refused(reason: .agentOffline)) }
        let arrived = self.admission.arrived(
            at: entry.share, open: self.metrics.clientsOpen)
        guard case .admitted(let lease) = arrived else {
            return .failure(Refused(reason: .tooManyClients))
        }
        var parameters = [StartupRequest.Parameter(name: "user", value: "postgres")]
        if let application {
            parameters.append(.init(name: "application_name", value: application))
        }
        let client = AdmittedClient(
            shareID: id, request: StartupRequest(parameters: parameters),
            remoteAddress: try SocketAddress(ipAddress: "192.0.2.7", port: 1), serverName: nil,
            bufferedLoginReply: PostgresMessage.authenticationOk(), earlyBytes: ByteBuffer(),
            lease: lease, verifier: try #require(entry.verifier))
        let channel = try await self.channel(on: elsewhere ? self.elsewhere : self.loop)
        let socket = SocketDouble()
        try await channel.testingEventLoop.executeInContext {
            try channel.pipeline.syncOperations.addHandler(socket)
            acceptor.accept(client, channel: channel)
        }
        try await self.settle()
        return .success(ClientDouble(channel: channel, socket: socket))
    }

    struct Refused: Error, Hashable {
        let reason: Refusal.Reason
    }

    /// A client that was let in.
    func client(
        at page: TabDouble, elsewhere: Bool = false, application: String? = nil
    ) async throws -> ClientDouble {
        try await self.arrive(at: page, elsewhere: elsewhere, application: application).get()
    }

    /// A client that was greeted.
    func greeted(at page: TabDouble, elsewhere: Bool = false) async throws -> ClientDouble {
        let client = try await self.client(at: page, elsewhere: elsewhere)
        #expect(try await client.heard() == "R K Z(I)")
        return client
    }

    /// Uses a client's cancel key as another connection would.
    func cancel(_ client: ClientDouble) async throws {
        let key = try #require(client.key)
        let action = try #require(self.cancels.action(for: key))
        let promise = self.elsewhere.makePromise(of: Void.self)
        action(promise)
        try await self.settle()
        try await promise.futureResult.get()
    }

    // MARK: Time

    /// Turns in which nothing has happened before nothing more will: the ways between the loops.
    private static let quietTurns = 3

    /// Lets everything happen that can happen now.
    func settle() async throws {
        var quiet = 0
        while quiet < Self.quietTurns {
            await self.loop.run()
            await self.elsewhere.run()
            quiet += 1
            for page in self.pages where try await page.pump() { quiet = 0 }
        }
    }

    /// Lets time pass, and everything happen in it.
    func pass(_ amount: TimeAmount) async throws {
        let step = TimeAmount.milliseconds(500)
        var left = amount
        while left > .zero {
            await self.loop.advanceTime(by: min(step, left))
            await self.elsewhere.advanceTime(by: min(step, left))
            left = left - step
            try await self.settle()
        }
    }
}

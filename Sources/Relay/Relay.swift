import Foundation
public import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
public import ServiceLifecycle
import SharePolicy
import ShareStore
import SharedSession

/// The public server: the front door, the tunnel door, and what they share.
public final class Relay: Service {
    private let configuration: RelayConfiguration
    private let logger: Logger
    private let onListening: @Sendable (RelayAddresses) -> Void
    private let tls = NIOLockedValueBox<TLSContextBox?>(nil)

    /// Creates a relay; ``run()`` starts it.
    ///
    /// - Parameters:
    ///   - configuration: What to serve, and where.
    ///   - logger: For everything that happens.
    ///   - onListening: Called once, when both doors accept.
    public init(
        configuration: RelayConfiguration, logger: Logger,
        onListening: @escaping @Sendable (RelayAddresses) -> Void
    ) {
        self.configuration = configuration
        self.logger = logger
        self.onListening = onListening
    }

    /// Serves until the task is told to shut down gracefully, or is cancelled.
    ///
    /// - Throws: ``RelayError`` if the relay cannot start.
    public func run() async throws {
        let group = MultiThreadedEventLoopGroup(
            numberOfThreads: max(1, self.configuration.eventLoops))
        let result: Result<Void, any Error>
        do {
            let house = try await RelayHouse(self.configuration, group: group, self.logger)
            self.tls.withLockedValue { $0 = house.tls }
            try await house.run(onListening: self.onListening)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await Self.settle(group)
        try result.get()
    }

    /// Steps from the end of a tunnel to the last byte for its clients: the link's event loop, the
    /// client's, and what TLS writes behind it.
    private static let settlingRounds = 4

    /// Lets the goodbyes leave. The event loops stay as long as the process, as NIO's own do: what
    /// Hummingbird lets go of after its server has ended still counts on them.
    private static func settle(_ group: MultiThreadedEventLoopGroup) async {
        for _ in 0..<Self.settlingRounds {
            for loop in group.makeIterator() { try? await loop.submit {}.get() }
        }
    }

    /// Serves the certificate that its files hold now. A running relay looks by itself every
    /// second; who has just replaced it need not wait.
    public func reloadCertificate() {
        self.tls.withLockedValue { $0 }?.reloadIfChanged()
    }
}

/// Everything a running relay is made of, put together once.
private struct RelayHouse: Sendable {
    /// How often shares are looked at for expiry, the store for another process's changes, and
    /// the certificate for a new one.
    private static let maintenanceEvery = Duration.seconds(1)
    /// How often what is long over is forgotten, in rounds of maintenance: an hour.
    private static let forgetEveryRounds = 3_600

    let configuration: RelayConfiguration
    let group: MultiThreadedEventLoopGroup
    let logger: Logger
    let store: SQLiteShareStore
    let tls: TLSContextBox
    let caFile: String?
    let metrics: RelayMetrics
    let directory: ShareDirectory
    let cancels = CancelDirectory()
    let registry = TunnelRegistry()
    let admission: AdmissionGate
    let issuer: TokenIssuer?
    let frontDoor: FrontDoor
    let readiness: Readiness

    init(
        _ configuration: RelayConfiguration, group: MultiThreadedEventLoopGroup, _ logger: Logger
    ) async throws {
        self.configuration = configuration
        self.group = group
        self.logger = logger
        self.readiness = Readiness(doors: configuration.httpHost == nil ? 1 : 2)
        self.metrics = RelayMetrics()
        self.admission = AdmissionGate(
            limits: configuration.admission, displaced: self.metrics.socketsDisplaced)
        self.directory = ShareDirectory(online: self.metrics.sharesOnline)
        if let issuer = configuration.issuer {
            self.issuer = try await TokenIssuer(issuer, logger: logger)
        } else {
            self.issuer = nil
        }
        self.store = try SQLiteShareStore(folder: configuration.stateFolder)
        let files = try Self.certificate(configuration, logger)
        self.caFile = files.ca
        self.tls = try TLSContextBox(
            certificateFile: files.certificate, keyFile: files.key, logger: logger,
            metrics: self.metrics)
        var door = FrontDoorConfiguration(
            mockSecret: try MockSecret.load(folder: configuration.stateFolder))
        door.host = configuration.postgresHost
        door.port = configuration.postgresPort
        door.domain = configuration.domain
        door.proxies = configuration.proxies
        self.frontDoor = FrontDoor(
            group: group, configuration: door, directory: self.directory, cancels: self.cancels,
            admission: self.admission, tls: self.tls, metrics: self.metrics, logger: logger)
        _ = self.directory.load(try await self.store.allShares(), now: Date())
    }

    private static func certificate(
        _ configuration: RelayConfiguration, _ logger: Logger
    ) throws -> (certificate: String, key: String, ca: String?) {
        switch (configuration.certificateFile, configuration.keyFile) {
        case (let certificate?, let key?):
            return (certificate, key, nil)
        case (nil, nil):
            let made = try DevelopmentCertificates.ensure(
                in: "\(configuration.stateFolder)/certs", domain: configuration.domain,
                now: Date())
            return (made.files.certificateFile, made.files.keyFile, made.files.caFile)
        case (_?, nil), (nil, _?):
            throw RelayError("--tls-cert and --tls-key belong together")
        }
    }

    // MARK: Running

    func run(onListening: @escaping @Sendable (RelayAddresses) -> Void) async throws {
        let server = try await self.listenForClients()
        let postgresPort = server.localAddress?.port ?? self.configuration.postgresPort
        let door = self.tunnelDoor(postgresPort: postgresPort)
        let pages = self.pageDoor(door)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for place in self.agentDoors {
                group.addTask {
                    try await self.listenForAgents(door, pages, at: place) { address in
                        let port = address?.port ?? place.port
                        guard let ports = await self.readiness.opened(place, port: port) else {
                            return
                        }
                        onListening(self.addresses(postgresPort: postgresPort, ports))
                    }
                }
            }
            group.addTask { try await self.maintain() }
            group.addTask { await self.waitForShutdown() }
            // Told to stop, or one of them failed: either way all of it ends.
            let first = await group.nextResult()
            await self.shutDown(server, pages)
            group.cancelAll()
            try Self.check(first)
            while let result = await group.nextResult() { try Self.check(result) }
        }
    }

    private func waitForShutdown() async {
        await withGracefulShutdownHandler {
            await withTaskCancellationHandler {
                await self.readiness.waitForShutdown()
            } onCancel: {
                Task { await self.readiness.shutDown() }
            }
        } onGracefulShutdown: {
            Task { await self.readiness.shutDown() }
        }
    }

    /// Throws what a task failed with; to have been cancelled is no failure.
    private static func check(_ result: Result<Void, any Error>?) throws {
        guard case .failure(let error) = result, !(error is CancellationError) else { return }
        throw error
    }

    private func listenForClients() async throws -> any Channel {
        do {
            return try await self.frontDoor.start()
        } catch {
            let address =
                "\(self.configuration.postgresHost):\(self.configuration.postgresPort)"
            throw RelayError("cannot listen for clients on \(address): \(error)")
        }
    }

    /// Where agents and the API come in.
    private var agentDoors: [AgentDoorPlace] {
        let configuration = self.configuration
        var places = [
            AgentDoorPlace(
                host: configuration.httpsHost, port: configuration.httpsPort, usesTLS: true)
        ]
        if let host = configuration.httpHost {
            places.append(
                AgentDoorPlace(host: host, port: configuration.httpPort, usesTLS: false))
        }
        return places
    }

    private func listenForAgents(
        _ tunnels: RelayTunnelDoor, _ pages: DatabaseBuildDoor, at place: AgentDoorPlace,
        onListening: @escaping @Sendable (SocketAddress?) async -> Void
    ) async throws {
        do {
            try await self.httpDoor(tunnels, pages, at: place, onListening: onListening).run()
        } catch let error where !(error is CancellationError) {
            throw RelayError("cannot listen for agents on \(place.host):\(place.port): \(error)")
        }
    }

    private func addresses(postgresPort: Int, _ ports: [AgentDoorPlace: Int]) -> RelayAddresses {
        var addresses = RelayAddresses(
            postgres: "\(self.configuration.postgresHost):\(postgresPort)", https: "",
            caFile: self.caFile)
        for (place, port) in ports {
            if place.usesTLS {
                addresses.https = "\(place.host):\(port)"
            } else {
                addresses.http = "\(place.host):\(port)"
            }
        }
        return addresses
    }

    private func tunnelDoor(postgresPort: Int) -> RelayTunnelDoor {
        var tunnels = TunnelConfiguration()
        tunnels.domain = self.configuration.domain
        tunnels.postgresPort = postgresPort
        tunnels.links = max(1, self.configuration.eventLoops)
        tunnels.grace = self.configuration.grace
        tunnels.browserGrace = self.configuration.browserGrace
        tunnels.session.waitTimeout = self.configuration.sessionWait
        tunnels.session.idleTimeout = self.configuration.sessionIdle
        tunnels.session.noticeAfter = self.configuration.sessionNotice
        tunnels.exclusive = self.configuration.isExclusive
        let environment = TunnelEnvironment(
            cancels: self.cancels, metrics: self.metrics, logger: self.logger)
        return RelayTunnelDoor(
            configuration: tunnels,
            claims: ShareClaims(
                store: self.store, configuration: tunnels,
                limits: self.configuration.shareCounts),
            directory: self.directory, registry: self.registry, environment: environment)
    }

    /// Where database.build's page comes in.
    private func pageDoor(_ tunnels: RelayTunnelDoor) -> DatabaseBuildDoor {
        DatabaseBuildDoor(
            configuration: tunnels.configuration,
            claims: PageClaims(
                store: self.store, configuration: tunnels.configuration,
                limits: self.configuration.shareCounts),
            directory: self.directory, environment: tunnels.environment)
    }

    private func httpDoor(
        _ tunnels: RelayTunnelDoor, _ pages: DatabaseBuildDoor, at place: AgentDoorPlace,
        onListening: @escaping @Sendable (SocketAddress?) async -> Void
    ) -> HTTPDoor {
        let store = self.store
        var door = HTTPDoorConfiguration(host: place.host, port: place.port)
        door.proxies = self.configuration.proxies
        door.limits = self.configuration.httpLimits
        return HTTPDoor(
            configuration: door,
            group: self.group, tls: place.usesTLS ? self.tls : nil,
            gate: TokenGate(isOpen: self.configuration.isOpen, issuer: self.issuer) { hash in
                try await store.owner(of: hash)
            },
            tunnels: tunnels, pages: pages,
            shares: RelayShares(
                store: store, directory: self.directory, admission: self.admission,
                configuration: tunnels.configuration),
            metrics: self.metrics,
            isReady: {
                guard await self.readiness.isOpen else { return false }
                return (try? await store.changeCounter()) != nil
            },
            logger: self.logger, onListening: onListening)
    }

    /// Looks at the clock, the store and the certificate once a second.
    private func maintain() async throws {
        var counter = try await self.store.changeCounter()
        var rounds = 0
        while !Task.isCancelled {
            try await Task.sleep(for: Self.maintenanceEvery)
            self.tell(self.directory.expire(now: Date()))
            _ = self.tls.reloadIfChanged()
            counter = await self.reloadIfChanged(since: counter)
            self.countTraffic()
            rounds += 1
            if rounds % Self.forgetEveryRounds == 0 { await self.forgetStale() }
        }
    }

    /// Another process wrote to the store: `pgshare token revoke`, say.
    private func reloadIfChanged(since counter: Int64) async -> Int64 {
        do {
            let now = try await self.store.changeCounter()
            guard now != counter else { return counter }
            let claims = self.directory.claims
            let shares = try await self.store.allShares()
            self.tell(self.directory.load(shares, readAt: claims, now: Date()))
            return now
        } catch {
            // Being told to stop is no failure of the store.
            guard !Task.isCancelled else { return counter }
            self.logger.log(.error, "the store cannot be read", [.error: "\(error)"])
            return counter
        }
    }

    private func forgetStale() async {
        let served = self.directory.snapshot().filter(\.isOnline).map(\.share.id)
        do {
            _ = try await self.store.deleteStale(served: Set(served), now: Date())
        } catch {
            guard !Task.isCancelled else { return }
            self.logger.log(.error, "the store cannot be written", [.error: "\(error)"])
        }
    }

    private func countTraffic() {
        let tunnels = self.registry.all
        for loop in self.group.makeIterator() {
            loop.execute { for tunnel in tunnels { tunnel.countTraffic(on: loop) } }
        }
    }

    private func tell(_ endings: [ShareDirectory.Ending]) {
        for ending in endings { ending.acceptor.end(ending.reason) }
    }

    /// Stops accepting, tells agents and clients.
    private func shutDown(_ server: any Channel, _ pages: DatabaseBuildDoor) async {
        self.logger.info("the relay stops")
        self.registry.stop()
        self.frontDoor.stop()
        try? await server.close().get()
        for tunnel in self.registry.all { tunnel.end(.relayStopping) }
        pages.stop()
    }
}

/// Where one of the doors for agents and the API stands.
private struct AgentDoorPlace: Hashable, Sendable {
    let host: String
    /// As it was asked for; 0 picks a free one.
    let port: Int
    let usesTLS: Bool
}

/// Whether the doors are open, and whether the relay should stop.
private actor Readiness {
    private let doors: Int
    private var ports: [AgentDoorPlace: Int] = [:]
    private var isStopping = false
    private var waiters: [CheckedContinuation<Void, Never>] = []

    init(doors: Int) { self.doors = doors }

    var isOpen: Bool { !self.isStopping && self.ports.count == self.doors }

    /// One more door is open.
    ///
    /// - Returns: The ports of all of them, once it was the last.
    func opened(_ place: AgentDoorPlace, port: Int) -> [AgentDoorPlace: Int]? {
        self.ports[place] = port
        return self.isOpen ? self.ports : nil
    }

    func waitForShutdown() async {
        guard !self.isStopping else { return }
        await withCheckedContinuation { self.waiters.append($0) }
    }

    func shutDown() {
        self.isStopping = true
        for waiter in self.waiters { waiter.resume() }
        self.waiters = []
    }
}

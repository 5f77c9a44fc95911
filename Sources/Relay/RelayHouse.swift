import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import ServiceLifecycle
import SharePolicy
import ShareStore
import SharedSession

/// Everything a running relay is made of, put together once.
struct RelayHouse: Sendable {
    /// How often the store is looked at for another process's changes: a relay that takes over
    /// waits for this one to notice. It reads one number.
    private static let watchEvery = Duration.milliseconds(250)
    /// How often shares are looked at for expiry, and the certificate for a new one, in rounds of
    /// watching: a second.
    private static let maintenanceEveryRounds = 4
    /// How often what is long over is forgotten: an hour.
    private static let forgetEveryRounds = 4 * 3_600

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
    let control: RelayControl
    let live: LiveSettings
    let roster = ClientRoster()
    let turn: RelayTurn
    /// Agents that served before this relay began are awaited until then.
    let awaitedUntil: NIODeadline

    init(
        _ configuration: RelayConfiguration, group: MultiThreadedEventLoopGroup,
        _ control: RelayControl, _ logger: Logger
    ) async throws {
        let descriptors = DescriptorLimit.raise() ?? .max
        if descriptors < configuration.admission.descriptorsNeeded {
            logger.log(
                .warning, "the limit of open files (ulimit -n) is low for the limits that are set",
                [.count: "\(descriptors)"])
        }
        let configuration = configuration.fitted(toDescriptors: descriptors)
        self.configuration = configuration
        self.group = group
        self.logger = logger
        self.control = control
        self.live = LiveSettings(configuration)
        self.metrics = RelayMetrics()
        self.admission = AdmissionGate(
            limits: configuration.admission, displaced: self.metrics.socketsDisplaced)
        self.directory = ShareDirectory(
            online: self.metrics.sharesOnline, agentWait: configuration.agentWait)
        self.awaitedUntil = NIODeadline.now() + ShareDirectory.awaitedFor
        if let issuer = configuration.issuer {
            self.issuer = try await TokenIssuer(issuer, logger: logger)
        } else {
            self.issuer = nil
        }
        self.store = try SQLiteShareStore(folder: configuration.stateFolder)
        self.turn = try await RelayTurn(configuration, store: self.store, logger: logger)
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
        door.sharesPort = true
        door.proxies = configuration.proxies
        self.frontDoor = FrontDoor(
            group: group, configuration: door, directory: self.directory, cancels: self.cancels,
            admission: self.admission, tls: self.tls, metrics: self.metrics, logger: logger)
        _ = self.directory.load(try await self.store.allShares(), now: Date())
        self.directory.expect(try await self.store.awaitedShares(), until: self.awaitedUntil)
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
        if self.configuration.takesOver,
            let ports = try? await self.store.cancelPorts(before: .max)
        {
            // From the first connection on: cancels of the other relay's clients may come here.
            self.cancels.setPorts(ports)
        }
        let server = try await self.listenForClients()
        let postgresPort = server.localAddress?.port ?? self.configuration.postgresPort
        let door = self.tunnelDoor(postgresPort: postgresPort)
        let pages = self.pageDoor(door)
        let listeners = Listeners([server])
        // A client that drains may want a query cancelled: the next relay leads it here.
        let cancels = try? await self.frontDoor.listenForCancels()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for place in self.agentDoors {
                group.addTask {
                    try await self.listenForAgents(door, pages, at: place) { channel in
                        listeners.add(channel)
                        let port = channel.localAddress?.port ?? place.port
                        guard let ports = await self.control.opened(place, port: port) else {
                            return
                        }
                        do {
                            try await self.turn.begin(
                                listeners.all, cancelPort: cancels?.localAddress?.port,
                                self.cancels)
                            onListening(self.addresses(postgresPort: postgresPort, ports))
                        } catch {
                            await self.control.fail(RelayError("\(error)"))
                        }
                    }
                }
            }
            group.addTask { try await self.watch(server) }
            group.addTask { try await self.maintain() }
            group.addTask { try await self.waitForEnd() }
            // Told to stop, or one of them failed: either way all of it ends.
            let first = await group.nextResult()
            if case .success = first {
                await RelayDrain(house: self, listeners: listeners, pages: pages).run()
            }
            await self.shutDown(listeners, pages)
            try? await cancels?.close().get()
            group.cancelAll()
            try Self.check(first)
            while let result = await group.nextResult() { try Self.check(result) }
        }
    }

    private func waitForEnd() async throws {
        try await withGracefulShutdownHandler {
            try await withTaskCancellationHandler {
                try await self.control.waitForEnd()
            } onCancel: {
                Task { await self.control.end(.now) }
            }
        } onGracefulShutdown: {
            Task { await self.control.end(.drain) }
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
        onListening: @escaping @Sendable (any Channel) async -> Void
    ) async throws {
        do {
            try await self.httpDoor(tunnels, pages, at: place, onListening: onListening).run()
        } catch let error where !(error is CancellationError) {
            throw RelayError("cannot listen for agents on \(place.host):\(place.port): \(error)")
        }
        try await self.checkIsOver("agents on \(place.host):\(place.port)")
    }

    /// Waits until nobody is accepted any more.
    private func watch(_ server: any Channel) async throws {
        try? await server.closeFuture.get()
        let configuration = self.configuration
        try await self.checkIsOver(
            "clients on \(configuration.postgresHost):\(configuration.postgresPort)")
    }

    /// A listening socket is closed. Where nobody asked for that, the system has broken it, and the
    /// relay ends with an error, so that whoever watches it starts it again.
    private func checkIsOver(_ whom: String) async throws {
        guard !Task.isCancelled, !Task.isShuttingDownGracefully, !(await self.control.isOver)
        else { return }
        throw RelayError("listening for \(whom) has ended")
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
        self.live.tune(&tunnels)
        tunnels.exclusive = self.configuration.isExclusive
        let live = self.live
        let environment = TunnelEnvironment(
            cancels: self.cancels, metrics: self.metrics, logger: self.logger,
            roster: self.roster, room: self.directory.room,
            clientLimits: { live.clientLimits }, tune: { live.tune(&$0) },
            agentLeft: self.agentLeft())
        return RelayTunnelDoor(
            configuration: tunnels,
            claims: ShareClaims(
                store: self.store, configuration: tunnels,
                limits: self.configuration.shareCounts),
            directory: self.directory, registry: self.registry, environment: environment)
    }

    /// Tells the store that an agent is not to be awaited.
    private func agentLeft() -> @Sendable (ShareID, UInt64) -> Void {
        let (store, logger) = (self.store, self.logger)
        return { id, generation in
            Task {
                do {
                    try await store.agentLeft(id, generation: generation)
                } catch {
                    logger.log(.error, "the store cannot be written", [.error: "\(error)"])
                }
            }
        }
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
        onListening: @escaping @Sendable (any Channel) async -> Void
    ) -> HTTPDoor {
        let store = self.store
        var configuration = HTTPDoorConfiguration(host: place.host, port: place.port)
        configuration.sharesPort = true
        configuration.proxies = self.configuration.proxies
        configuration.limits = self.configuration.httpLimits
        return HTTPDoor(
            configuration: configuration,
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
                guard await self.control.isOpen else { return false }
                return (try? await store.changeCounter()) != nil
            },
            logger: self.logger, onListening: onListening)
    }

    /// Looks at the store for what other processes wrote, and every second at the clock and the
    /// certificate.
    private func maintain() async throws {
        var counter = try await self.store.changeCounter()
        var rounds = 0
        while !Task.isCancelled {
            try await Task.sleep(for: Self.watchEvery)
            counter = await self.reloadIfChanged(since: counter)
            self.turn.takeLock()
            rounds += 1
            guard rounds % Self.maintenanceEveryRounds == 0 else { continue }
            self.tell(self.directory.expire(now: Date()))
            _ = self.tls.reloadIfChanged()
            self.countTraffic()
            await self.turn.enterIfMissing(self.cancels)
            for tunnel in self.registry.all { tunnel.endEmptyLinks(.relayStopping) }
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
            if NIODeadline.now() < self.awaitedUntil {
                let awaited = try await self.store.awaitedShares()
                self.directory.expect(awaited, until: self.awaitedUntil)
            }
            if try await self.turn.isOver(self.cancels) { await self.control.end(.drain) }
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

    /// Whoever is still here learns that the relay stops.
    private func shutDown(_ listeners: Listeners, _ pages: DatabaseBuildDoor) async {
        self.logger.info("the relay stops")
        self.registry.stop()
        self.frontDoor.stop()
        await listeners.close()
        self.directory.room.end(.relayStopping)
        for tunnel in self.registry.all { tunnel.end(.relayStopping) }
        pages.stop()
        await self.turn.end()
    }
}

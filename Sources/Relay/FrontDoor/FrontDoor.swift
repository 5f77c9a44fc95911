import Logging
import NIOCore
import NIOPosix
import SharePolicy

/// The door for Postgres clients: accepts, and never waits.
///
/// It refuses a client, or authenticates it and hands it to the tunnel of its share.
final class FrontDoor: Sendable {
    private let group: any EventLoopGroup
    private let services: FrontDoorServices

    /// Creates a door that does not listen yet.
    ///
    /// - Parameters:
    ///   - group: The relay's event loops; clients are dealt out to them in turn.
    ///   - configuration: Where to listen, and bounds.
    ///   - directory: Which shares there are.
    ///   - cancels: Which cancel keys there are.
    ///   - admission: Who may take up room; shared with whoever shows the numbers.
    ///   - tls: The certificate to serve.
    ///   - metrics: What is counted.
    ///   - logger: For everything that happens here.
    ///   - threads: Where passwords are checked that come in the clear inside TLS.
    init(
        group: any EventLoopGroup,
        configuration: FrontDoorConfiguration,
        directory: ShareDirectory,
        cancels: CancelDirectory,
        admission: AdmissionGate,
        tls: TLSContextBox,
        metrics: RelayMetrics,
        logger: Logger,
        threads: NIOThreadPool = .singleton
    ) {
        self.group = group
        self.services = FrontDoorServices(
            configuration: configuration,
            directory: directory,
            cancels: cancels,
            admission: admission,
            tls: tls,
            metrics: metrics,
            logger: logger,
            threads: threads
        )
    }

    /// Binds and starts to accept.
    ///
    /// - Returns: The listening channel; its `localAddress` has the port where 0 was asked for.
    func start() async throws -> any Channel {
        let configuration = self.services.configuration
        return try await self.listen(
            for: .clients, host: configuration.host, port: configuration.port,
            isShared: configuration.sharesPort)
    }

    /// Listens where relays of this machine hand cancel requests on. It takes nothing else, and no
    /// proxy stands before it.
    func listenForCancels() async throws -> any Channel {
        try await self.listen(
            for: .cancelRequests, host: "127.0.0.1", port: 0, isShared: false)
    }

    private func listen(
        for purpose: ListeningPurpose, host: String, port: Int, isShared: Bool
    ) async throws -> any Channel {
        let services = self.services
        let configuration = services.configuration
        let (message, proxies): (Logger.Message, TrustedProxies) =
            switch purpose {
            case .clients: ("listening for clients", configuration.proxies)
            case .cancelRequests: ("listening for cancel requests", TrustedProxies())
            }
        let server = try await ServerBootstrap(group: self.group)
            .serverChannelOption(.backlog, value: configuration.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .sharingPort(isShared)
            // A pool that connects at once is taken in with fewer turns of the loop.
            .serverChannelOption(.maxMessagesPerRead, value: 16)
            .childChannelInitializer { channel in
                do {
                    try Self.configure(channel)
                    try services.welcome(channel, for: purpose, behind: proxies)
                    return channel.eventLoop.makeSucceededVoidFuture()
                } catch {
                    return channel.eventLoop.makeFailedFuture(error)
                }
            }
            .bind(host: host, port: port)
            .get()
        services.logger.log(
            .info, message, [.listening: server.localAddress?.hostAndPort ?? "unknown"])
        return server
    }

    /// Refuses with 57P01 who has not logged in yet. Close the listening channel as well.
    func stop() {
        self.services.stop()
    }

    /// Sets a client's socket up. A client whose socket is gone already is found out by the first
    /// read, so errors of single options do not matter.
    private static func configure(_ channel: any Channel) throws {
        try HalfOpenPeers.setOptions(channel)
        // Start-up packets are small, and the read buffer stays with an idle client.
        try channel.syncOptions?.setOption(
            .recvAllocator,
            value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 1_024, maximum: 65_536))
    }
}

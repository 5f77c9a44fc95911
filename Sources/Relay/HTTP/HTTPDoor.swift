import Hummingbird
import HummingbirdCore
package import Logging
package import NIOCore
import ServiceLifecycle
import SharePolicy

/// The relay's HTTPS port: the API, health, metrics, and the door of the tunnels.
///
/// Stopping (graceful shutdown of its task) closes the listening socket and idle connections, then
/// waits for the rest. Tunnels are asked through a `ChannelShouldQuiesceEvent` in their pipeline:
/// whoever took them over ends them within its own bound.
package struct HTTPDoor: Service {
    private let configuration: HTTPDoorConfiguration
    private let group: any EventLoopGroup
    private let tls: TLSContextBox?
    private let gate: TokenGate
    private let tunnels: any TunnelDoor
    private let pages: any PageDoor
    private let routes: HTTPRoutes
    private let metrics: RelayMetrics
    private let logger: Logger
    private let onListening: @Sendable (SocketAddress?) async -> Void

    /// Prepares the door; ``run()`` opens it.
    ///
    /// - Parameters:
    ///   - configuration: Where it stands, and its limits.
    ///   - group: Where connections live.
    ///   - tls: The certificate; nil serves plain HTTP, which is for loopback addresses only.
    ///   - gate: Knows the tokens.
    ///   - tunnels: Takes over what was upgraded.
    ///   - pages: Takes over the WebSockets of database.build's page.
    ///   - shares: Answers the API.
    ///   - metrics: Counted here, and shown at `/metrics`.
    ///   - isReady: Whether all doors are bound and the store answers; asked at `/readyz`.
    ///   - logger: For what goes wrong.
    ///   - onListening: Called once, with the bound address.
    package init(
        configuration: HTTPDoorConfiguration,
        group: any EventLoopGroup,
        tls: TLSContextBox?,
        gate: TokenGate,
        tunnels: any TunnelDoor,
        pages: any PageDoor,
        shares: any SharesControl,
        metrics: RelayMetrics,
        isReady: @escaping @Sendable () async -> Bool,
        logger: Logger,
        onListening: @escaping @Sendable (SocketAddress?) async -> Void
    ) {
        self.configuration = configuration
        self.group = group
        self.tls = tls
        self.gate = gate
        self.tunnels = tunnels
        self.pages = pages
        self.routes = HTTPRoutes(
            gate: gate, shares: shares, metrics: metrics, isReady: isReady, logger: logger)
        self.metrics = metrics
        self.logger = logger
        self.onListening = onListening
    }

    /// Opens the door and serves until the task is told to stop.
    ///
    /// - Throws: When the address cannot be bound.
    package func run() async throws {
        let limits = self.configuration.limits
        let pending = PendingGate(
            PendingSockets(
                maximum: limits.maximumUnadmitted,
                maximumAnAddress: limits.maximumUnadmittedPerAddress),
            displaced: self.metrics.socketsDisplaced)
        // Hummingbird says at info what the relay says itself, and complains of connections that
        // closed, which is none of ours. Failed requests are logged by AnswerMiddleware.
        var quiet = self.logger
        quiet.logLevel = .critical
        let application = Application(
            router: self.routes.router(),
            server: HTTPServerBuilder { responder in
                HTTPDoorChannel(
                    responder: responder, tls: self.tls, limits: limits, gate: self.gate,
                    tunnels: self.tunnels, pages: self.pages, metrics: self.metrics,
                    logger: self.logger, pending: pending, proxies: self.configuration.proxies)
            },
            configuration: ApplicationConfiguration(
                address: .hostname(self.configuration.host, port: self.configuration.port),
                serverName: nil,
                availableConnectionsDelegate: .maximum(limits.maximumConnections, logger: quiet)),
            onServerRunning: { [onListening = self.onListening] channel in
                await onListening(channel.localAddress)
            },
            eventLoopGroupProvider: .shared(self.group),
            logger: quiet)
        try await application.run()
    }
}

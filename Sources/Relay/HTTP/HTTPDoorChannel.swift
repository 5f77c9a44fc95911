import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOSSL

/// One connection to the HTTPS port: TLS, HTTP/1.1, and the upgrade to a tunnel.
///
/// A tunnel's bytes never see Hummingbird: its channel leaves here with TLS alone in its pipeline,
/// on the event loop it was accepted on.
struct HTTPDoorChannel: HTTPChannelHandler {
    /// A connection and what will become of it.
    struct Value: ServerChildChannelValue {
        let channel: any Channel
        let upgraded: EventLoopFuture<Upgraded>
    }

    let responder: Responder
    /// Nil only on a loopback address, where nothing is encrypted.
    let tls: TLSContextBox?
    let limits: HTTPDoorLimits
    let gate: TokenGate
    let tunnels: any TunnelDoor
    let pages: any PageDoor
    let metrics: RelayMetrics
    let unadmitted: UnadmittedConnections

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let upgraded = try self.configure(channel, logger: logger)
            self.count(channel, until: upgraded)
            self.startClock(channel, until: upgraded)
            return Value(channel: channel, upgraded: upgraded)
        }
    }

    func handle(value: Value, logger: Logger) async {
        do {
            switch try await value.upgraded.get() {
            case .tunnel: break
            case .http(let channel): await self.handleHTTP(asyncChannel: channel, logger: logger)
            }
        } catch {
            // It went away, or broke HTTP and was told so, before its first request was whole.
            value.channel.close(promise: nil)
        }
    }

    private func configure(
        _ channel: any Channel, logger: Logger
    ) throws -> EventLoopFuture<Upgraded> {
        let pipeline = channel.pipeline.syncOperations
        try channel.syncOptions?.setOption(.tcpOption(.tcp_nodelay), value: 1)
        try channel.syncOptions?.setOption(.socketOption(.so_keepalive), value: 1)
        if let tls = self.tls {
            try pipeline.addHandler(NIOSSLServerHandler(context: tls.current().https))
        }
        var decoding = NIOHTTPDecoderLimitConfiguration()
        decoding.maxHeaderFieldSize = self.limits.maximumHeaderBytes
        decoding.maxHeaderListSize = self.limits.maximumHeaderBytes
        decoding.maxHeaderFieldCount = self.limits.maximumHeaderCount
        let encoder = HTTPResponseEncoder()
        let decoder = ByteToMessageHandler(
            HTTPRequestDecoder(
                leftOverBytesStrategy: .forwardBytes, informationalResponseStrategy: .drop,
                limitConfiguration: decoding))
        let errors = ParseErrorHandler()
        let promise = channel.eventLoop.makePromise(of: Upgraded.self)
        let upgrade = TunnelUpgradeHandler(
            TunnelUpgradeHandler.Surroundings(
                gate: self.gate, tunnels: self.tunnels, pages: self.pages,
                metrics: self.metrics, decoder: decoder,
                responders: [errors, encoder],
                configureHTTP: { try self.configureHTTP($0, logger: logger) }, promise: promise))
        try pipeline.addHandlers([encoder, decoder, errors, upgrade])
        return promise.futureResult
    }

    private func configureHTTP(_ channel: any Channel, logger: Logger) throws -> Upgraded {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: self.tls != nil))
        try pipeline.addHandler(
            RequestBodyGuard(
                maximumBytes: self.limits.maximumBodyBytes, timeout: self.limits.handshakeTimeout))
        try pipeline.addHandler(
            HTTPConnectionStateHandler(idleTimeout: self.limits.idleTimeout, logger: logger))
        return .http(
            try NIOAsyncChannel(
                wrappingChannelSynchronously: channel,
                configuration: .init(isOutboundHalfClosureEnabled: true)))
    }

    /// Counts the connection; one too many from where it comes from is closed without a word.
    private func count(_ channel: any Channel, until upgraded: EventLoopFuture<Upgraded>) {
        self.metrics.httpConnectionsOpen.increment()
        channel.closeFuture.whenComplete { [metrics = self.metrics] _ in
            metrics.httpConnectionsOpen.decrement()
        }
        let address = channel.remoteAddress
        guard self.unadmitted.entered(address) else {
            channel.close(promise: nil)
            return
        }
        let admitted = channel.eventLoop.makePromise(of: Void.self)
        admitted.futureResult.whenComplete { [unadmitted = self.unadmitted] _ in
            unadmitted.left(address)
        }
        upgraded.whenSuccess { upgraded in
            switch upgraded {
            case .tunnel: admitted.succeed()
            case .http: channel.closeFuture.cascade(to: admitted)
            }
        }
        upgraded.whenFailure { _ in channel.closeFuture.cascade(to: admitted) }
    }

    /// Closes the connection unless its first request is whole in time.
    private func startClock(_ channel: any Channel, until upgraded: EventLoopFuture<Upgraded>) {
        let deadline = channel.eventLoop.scheduleTask(in: self.limits.handshakeTimeout) {
            channel.close(promise: nil)
        }
        upgraded.whenComplete { _ in deadline.cancel() }
    }
}

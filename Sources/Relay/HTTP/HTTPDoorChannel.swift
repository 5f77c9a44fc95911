import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOSSL
import SharePolicy

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
    let logger: Logger
    /// Connections that have not shown a token yet.
    let pending: PendingGate
    let proxies: TrustedProxies

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let promise = channel.eventLoop.makePromise(of: Upgraded.self)
            do {
                try self.receive(channel, promise: promise, logger: logger)
            } catch {
                promise.fail(error)
                throw error
            }
            return Value(channel: channel, upgraded: promise.futureResult)
        }
    }

    func handle(value: Value, logger: Logger) async {
        do {
            let upgraded = try await withTaskCancellationHandler {
                try await value.upgraded.get()
            } onCancel: {
                value.channel.close(promise: nil)
            }
            switch upgraded {
            case .tunnel: break
            case .http(let channel): await self.handleHTTP(asyncChannel: channel, logger: logger)
            }
        } catch {
            // It went away, or broke HTTP and was told so, before its first request was whole.
            value.channel.close(promise: nil)
        }
    }

    /// Sets a connection up that has sent nothing yet.
    private func receive(
        _ channel: any Channel, promise: EventLoopPromise<Upgraded>, logger: Logger
    ) throws {
        try HalfOpenPeers.setOptions(channel)
        let isProxy = self.proxies.contains(channel.remoteAddress?.ipAddress)
        guard let place = self.count(channel, isProxy: isProxy, until: promise.futureResult)
        else {
            promise.fail(ChannelError.ioOnClosedChannel)
            channel.close(promise: nil)
            return
        }
        self.startClock(channel, until: promise.futureResult)
        let pipeline = channel.pipeline.syncOperations
        if isProxy {
            try pipeline.addHandler(self.headerHandler(place, promise))
        }
        guard self.tls != nil else {
            return try self.configure(channel, promise: promise, logger: logger)
        }
        try pipeline.addHandler(
            DoorstepHandler {
                try self.configure($0, promise: promise, logger: logger)
            } left: {
                promise.fail(ChannelError.ioOnClosedChannel)
            })
    }

    /// Reads whom a trusted proxy passes on.
    private func headerHandler(
        _ place: PendingSockets.Ticket, _ promise: EventLoopPromise<Upgraded>
    ) -> ProxyHeaderHandler {
        ProxyHeaderHandler { finding, context in
            switch finding {
            case .client(let client?):
                let peer = Self.peer(client)
                if self.pending.identified(place, as: peer, now: context.eventLoop.now) {
                    return true
                }
            case .client(nil):
                return true
            case .violation(let violation):
                self.logger.log(
                    .info, "a connection without a PROXY header was refused",
                    [
                        .address: context.remoteAddress?.ipAddress ?? "unknown",
                        .error: "\(violation)",
                    ])
            }
            promise.fail(ChannelError.ioOnClosedChannel)
            context.channel.closeAbruptly()
            return false
        }
    }

    /// Whose share of the places a connection takes. A reverse proxy on this machine makes all the
    /// world come from there.
    private static func peer(_ address: SocketAddress?) -> PendingSockets.Peer {
        let text = address?.ipAddress
        let source = SourceAddress(text)
        return text == nil || source.isLoopback ? .proxy(source) : .address(source)
    }

    private func configure(
        _ channel: any Channel, promise: EventLoopPromise<Upgraded>, logger: Logger
    ) throws {
        let pipeline = channel.pipeline.syncOperations
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
        let upgrade = TunnelUpgradeHandler(
            TunnelUpgradeHandler.Surroundings(
                gate: self.gate, tunnels: self.tunnels, pages: self.pages,
                metrics: self.metrics, decoder: decoder,
                responders: [errors, encoder],
                configureHTTP: { try self.configureHTTP($0, logger: logger) }, promise: promise))
        try pipeline.addHandlers([encoder, decoder, errors, upgrade])
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

    /// Counts the connection; nil where it is one too many from where it comes from.
    private func count(
        _ channel: any Channel, isProxy: Bool, until upgraded: EventLoopFuture<Upgraded>
    ) -> PendingSockets.Ticket? {
        self.metrics.httpConnectionsOpen.increment()
        channel.closeFuture.whenComplete { [metrics = self.metrics] _ in
            metrics.httpConnectionsOpen.decrement()
        }
        let address = channel.remoteAddress
        let peer = isProxy ? .proxy(SourceAddress(address?.ipAddress)) : Self.peer(address)
        let place = self.pending.accepted(from: peer, now: channel.eventLoop.now) {
            channel.eventLoop.execute { channel.closeAbruptly() }
        }
        guard let place else { return nil }
        channel.closeFuture.whenComplete { [pending = self.pending] _ in pending.left(place) }
        upgraded.whenSuccess { [pending = self.pending] upgraded in
            switch upgraded {
            case .tunnel: pending.left(place)
            case .http: break
            }
        }
        return place
    }

    /// Closes the connection unless its first request is whole in time.
    private func startClock(_ channel: any Channel, until upgraded: EventLoopFuture<Upgraded>) {
        let deadline = channel.eventLoop.assumeIsolated().scheduleTask(
            in: self.limits.handshakeTimeout
        ) {
            channel.closeAbruptly()
        }
        upgraded.whenComplete { _ in deadline.cancel() }
    }
}

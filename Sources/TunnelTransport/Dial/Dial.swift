import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// One dial: its deadline, its connections one after the other, its end.
///
/// Everything but the initialiser runs on its event loop.
struct Dial: Sendable {
    private struct State {
        var channel: (any Channel)?
        /// Those whose TCP does not stand yet: one for each address of a name.
        var connecting: [any Channel] = []
        var hasOpened = false
        /// Raw was neither refused nor hung up on: nobody answered it.
        var rawWasSilent = false
        var deadline: Scheduled<Void>?
        var isOver = false
    }

    private let dialer: TunnelDialer
    private let plan: DialPlan
    private let loop: any EventLoop
    private let promise: EventLoopPromise<DialedTunnel>
    private let state: NIOLoopBoundBox<State>

    init(
        _ dialer: TunnelDialer, plan: DialPlan, loop: any EventLoop,
        promise: EventLoopPromise<DialedTunnel>
    ) {
        self.dialer = dialer
        self.plan = plan
        self.loop = loop
        self.promise = promise
        self.state = .makeBoxSendingValue(State(), eventLoop: loop)
    }

    func start(_ transport: TunnelTransportKind) {
        self.state.value.deadline = self.loop.scheduleTask(in: self.dialer.timeout) {
            self.finish(.failure(DialError.timedOut))
        }
        self.attempt(transport)
            .flatMapError { error in self.fallBack(from: transport, after: error) }
            .whenComplete(self.finish)
    }

    func abandon() {
        self.finish(.failure(DialError.abandoned))
    }

    private func fallBack(
        from transport: TunnelTransportKind,
        after error: any Error
    ) -> EventLoopFuture<DialedTunnel> {
        switch transport {
        case .raw:
            guard self.dialer.fallsBack, !self.state.value.isOver,
                let dialError = error as? DialError, dialError.mayDependOnTransport,
                !self.wasCutOnceOpened(dialError)
            else {
                return self.loop.makeFailedFuture(error)
            }
            self.closeChannel()
            return self.attempt(.webSocket).map { tunnel in
                // One hang-up may be a relay that was just being restarted.
                if self.state.value.rawWasSilent || !dialError.isCut {
                    self.dialer.rememberFallback()
                }
                return tunnel
            }
        case .webSocket:
            return self.loop.makeFailedFuture(error)
        }
    }

    /// Whoever asked early is told, and may ask again: the relay has let a link in before, and is
    /// more likely being restarted than behind something new.
    private func wasCutOnceOpened(_ error: DialError) -> Bool {
        self.state.value.hasOpened && error.isCut && !self.state.value.rawWasSilent
    }

    private func finish(_ result: Result<DialedTunnel, any Error>) {
        guard !self.state.value.isOver else {
            if case .success(let tunnel) = result {
                tunnel.channel.close(promise: nil)
            }
            return
        }
        self.state.value.isOver = true
        self.state.value.deadline?.cancel()
        defer { self.state.value.connecting = [] }
        switch result {
        case .success(let tunnel):
            self.promise.succeed(tunnel)
        case .failure(let error):
            self.closeChannel()
            for channel in self.state.value.connecting { channel.close(promise: nil) }
            let reason = DialReason.sentence(ofAnswer: error)
            self.promise.fail(error as? DialError ?? .notARelay(reason: reason))
        }
    }

    /// What travelled behind the request must not be heard once this dial is given up.
    private func closeChannel() {
        guard let channel = self.state.value.channel else { return }
        if self.state.value.hasOpened {
            TunnelSocket.abort(channel)
        } else {
            channel.close(promise: nil)
        }
    }

    // MARK: One connection

    private func attempt(_ transport: TunnelTransportKind) -> EventLoopFuture<DialedTunnel> {
        var random = SystemRandomNumberGenerator()
        let request = UpgradeRequest(
            transport, endpoint: self.dialer.endpoint, token: self.dialer.token, using: &random)
        return self.connect()
            .flatMap { channel in self.secure(channel).map { channel } }
            .flatMap { channel in
                self.askForTunnel(request, on: channel).flatMap { answer in
                    self.takeOver(channel, answer: answer, request: request)
                }
            }
    }

    private func connect() -> EventLoopFuture<any Channel> {
        let endpoint = self.dialer.endpoint
        let proxy = self.dialer.proxy.proxy(for: endpoint)
        let bootstrap = ClientBootstrap(group: self.loop)
            .channelOption(.autoRead, value: false)
            .connectTimeout(self.dialer.timeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    self.state.value.connecting.append(channel)
                }
            }
        let connected =
            self.plan.address.map { bootstrap.connect(to: $0) }
            ?? bootstrap.connect(
                host: proxy?.host ?? endpoint.host, port: proxy?.port ?? endpoint.port)
        return connected.flatMapErrorThrowing { error in
            let reason = DialReason.sentence(ofConnect: error)
            throw proxy == nil
                ? DialError.unreachable(reason: reason) : DialError.proxyFailed(reason: reason)
        }
        .flatMap { channel in
            guard !self.state.value.isOver else {
                channel.close(promise: nil)
                return self.loop.makeFailedFuture(DialError.timedOut)
            }
            self.state.value.channel = channel
            self.state.value.connecting = []
            TunnelSocket.tune(channel)
            self.plan.connected?()
            guard let proxy else { return self.loop.makeSucceededFuture(channel) }
            return self.tunnel(channel, through: proxy).map { channel }
        }
    }

    private func tunnel(_ channel: any Channel, through proxy: ProxyEndpoint) -> EventLoopFuture<
        Void
    > {
        self.ask(proxy.connectRequest(to: self.dialer.endpoint), on: channel).flatMap { answer in
            guard answer.head.status.code / 100 == 2 else {
                let reason = "it answered with HTTP status \(answer.head.status.code)"
                return self.loop.makeFailedFuture(DialError.proxyFailed(reason: reason))
            }
            return self.removeHTTP(from: channel).map { _ in }
        }.flatMapErrorThrowing { error in
            if case DialError.notARelay(let reason) = error {
                throw DialError.proxyFailed(reason: reason)
            }
            throw error
        }
    }

    private func secure(_ channel: any Channel) -> EventLoopFuture<Void> {
        guard let tls = self.dialer.tls else { return self.loop.makeSucceededVoidFuture() }
        // A proxy's yes and its end may come at once, and no handler would hear of the end now.
        guard channel.isActive else { return self.loop.makeFailedFuture(DialReason.hungUp) }
        let promise = self.loop.makePromise(of: Void.self)
        do {
            // An address is not sent as SNI; NIOSSL then verifies the address itself.
            let host = self.dialer.endpoint.host
            let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
            let handler = try NIOSSLClientHandler(
                context: tls, serverHostname: isAddress ? nil : host)
            let waiting = TLSWaitHandler(promise: promise)
            try channel.pipeline.syncOperations.addHandlers(handler, waiting)
        } catch {
            promise.fail(DialError.tlsFailed(reason: "\(error)"))
        }
        return promise.futureResult.flatMapThrowing {
            let pipeline = channel.pipeline.syncOperations
            pipeline.removeHandler(try pipeline.handler(type: TLSWaitHandler.self), promise: nil)
        }
    }

    /// Asks, and does not let a raw upgrade that nobody answers use up the time of the fallback.
    private func askForTunnel(
        _ request: UpgradeRequest,
        on channel: any Channel
    ) -> EventLoopFuture<HTTPAnswer> {
        let opening = request.transport == .raw ? self.plan.opening?() : nil
        if opening != nil { self.state.value.hasOpened = true }
        let answered = self.ask(request.head, behind: opening, on: channel)
        switch request.transport {
        case .raw:
            let half = TimeAmount.nanoseconds(self.dialer.timeout.nanoseconds / 2)
            let timer = self.loop.scheduleTask(in: half) {
                self.state.value.rawWasSilent = true
                self.closeChannel()
            }
            answered.whenComplete { _ in timer.cancel() }
        case .webSocket:
            break
        }
        return answered
    }

    private func ask(
        _ request: HTTPRequestHead, behind: ByteBuffer? = nil, on channel: any Channel
    ) -> EventLoopFuture<HTTPAnswer> {
        let promise = self.loop.makePromise(of: HTTPAnswer.self)
        do {
            let decoder = HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes)
            let pipeline = channel.pipeline.syncOperations
            let asking = AskHandler(request: request, behind: behind, promise: promise)
            try pipeline.addHandler(HTTPRequestEncoder())
            try pipeline.addHandler(LateEndHandler(asking: asking))
            try pipeline.addHandler(ByteToMessageHandler(decoder))
            try pipeline.addHandler(EarlyBytesHandler())
            let early = try pipeline.handler(type: EarlyBytesHandler.self)
            try pipeline.addHandler(asking, position: .before(early))
        } catch {
            promise.fail(DialError.notARelay(reason: DialReason.sentence(ofAnswer: error)))
        }
        return promise.futureResult
    }

    private func takeOver(
        _ channel: any Channel,
        answer: HTTPAnswer,
        request: UpgradeRequest
    ) -> EventLoopFuture<DialedTunnel> {
        do {
            try request.check(answer)
        } catch {
            return self.loop.makeFailedFuture(error)
        }
        return self.removeHTTP(from: channel).flatMapThrowing { early in
            let isRaw = request.transport == .raw
            let hasOpened = isRaw && self.state.value.hasOpened
            // What was asked early may be answered, and the connection closed, in one packet.
            guard channel.isActive || hasOpened else {
                throw DialError.notARelay(reason: DialReason.hungUpAtOnce)
            }
            return DialedTunnel(
                channel: channel, transport: request.transport,
                early: isRaw ? early : try self.startWebSocket(on: channel, with: early),
                hasOpened: hasOpened)
        }
    }

    /// What came right behind the answer may be a ping or a close, which is answered at once: so
    /// only here, where neither HTTP's encoder nor its decoder (it watches what is sent) is left.
    ///
    /// - Returns: its payload.
    private func startWebSocket(
        on channel: any Channel, with early: ByteBuffer
    ) throws -> ByteBuffer {
        let pipeline = channel.pipeline.syncOperations
        let (source, payload) = (EarlyBytesHandler(), EarlyBytesHandler())
        try pipeline.addHandlers(source, WebSocketTransportHandler(role: .client), payload)
        if early.readableBytes > 0 {
            try pipeline.context(handler: source).fireChannelRead(NIOAny(early))
        }
        pipeline.removeHandler(source, promise: nil)
        pipeline.removeHandler(payload, promise: nil)
        if let error = payload.error { throw error }
        return payload.bytes
    }

    /// Takes the handlers of ``ask(_:on:)`` away again; what came behind the answer is returned.
    private func removeHTTP(from channel: any Channel) -> EventLoopFuture<ByteBuffer> {
        let pipeline = channel.pipeline.syncOperations
        do {
            let encoder = try pipeline.handler(type: HTTPRequestEncoder.self)
            pipeline.removeHandler(encoder, promise: nil)
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPResponseDecoder>.self)
            // The decoder hands its left-over bytes on when it goes, which is not at once.
            return pipeline.removeHandler(decoder).flatMapThrowing {
                let pipeline = channel.pipeline.syncOperations
                let early = try pipeline.handler(type: EarlyBytesHandler.self)
                let asking = try pipeline.handler(type: AskHandler.self)
                let end = try pipeline.handler(type: LateEndHandler.self)
                pipeline.removeHandler(asking, promise: nil)
                pipeline.removeHandler(early, promise: nil)
                pipeline.removeHandler(end, promise: nil)
                if let error = early.error {
                    throw error
                }
                return early.bytes
            }
        } catch {
            return self.loop.makeFailedFuture(error)
        }
    }
}

import Logging
import NIOCore
import PostgresWire
import SharePolicy
import TunnelTransport
import TunnelWire

/// One admitted client: opens its stream, lets the greeting through with a cancel key of ours,
/// then gets out of the way.
///
/// Lives on the client's event loop, until the splice has taken over and the client is gone.
final class ClientStream {
    /// From admission to the backend's first ReadyForQuery. The agent gives its own sentence
    /// earlier; this is for an agent that says nothing. A tunnel that is cut and resumed within
    /// its grace (30 s) should not cost a client that just arrived its connection.
    private static let greetingTimeout = TimeAmount.seconds(45)

    private let lease: ClientLease
    private let version: ProtocolVersion
    private let channel: any Channel
    private let environment: TunnelEnvironment
    private var greeting: GreetingMachine
    private var greetingBytes = ByteBuffer()
    private var loginReply: ByteBuffer?
    private var splice: SpliceHandler?
    private var key: CancelKey?
    private var deadline: Scheduled<Void>?
    private var isAccepted = false
    private var isGreeted = false
    private var number: Int?
    private let rest: RestWatch

    init(client: AdmittedClient, channel: any Channel, environment: TunnelEnvironment) {
        self.lease = client.lease
        self.version = client.version
        self.channel = channel
        self.environment = environment
        self.loginReply = client.bufferedLoginReply
        self.greeting = GreetingMachine(replacement: nil)
        self.rest = RestWatch(limits: environment.clientLimits(), on: channel.eventLoop)
    }

    /// Opens the stream on the link of that seat, here or on another event loop.
    func start(_ client: AdmittedClient, on seat: RelayTunnel.Seat) {
        self.environment.metrics.streamsOpen.increment()
        let open = Self.openPayload(client)
        let splice =
            if seat.loop === self.channel.eventLoop {
                self.startHere(seat, open)
            } else {
                self.startCrossing(seat, open)
            }
        // What a client sent behind its password belongs to its session.
        splice.inject(client.earlyBytes)
        guard self.splice != nil else { return }
        self.number = self.environment.roster.enter(self, on: self.channel.eventLoop)
    }

    private func startHere(
        _ seat: RelayTunnel.Seat, _ open: (Int) -> Open
    ) -> SpliceHandler {
        let link = seat.link.value
        let splice = self.prepare(sink: link)
        let target = StreamTarget(link: seat.link, linkLoop: seat.loop)
        self.mintKey(for: target)
        if let handle = link.open(open, port: splice) {
            target.handle = handle
            splice.handle = handle
        } else {
            self.refuse(.agentOffline)
        }
        return splice
    }

    private func startCrossing(
        _ seat: RelayTunnel.Seat, _ open: @escaping @Sendable (Int) -> Open
    ) -> SpliceHandler {
        let (sink, port) = StreamCrossing.make(
            link: seat.link, linkLoop: seat.loop, from: self.channel.eventLoop)
        let splice = self.prepare(sink: sink)
        port.bind(splice)
        splice.handle = StreamCrossing.handle
        let target = StreamTarget(link: seat.link, linkLoop: seat.loop)
        self.mintKey(for: target)
        seat.loop.execute {
            guard let handle = seat.link.value.open(open, port: port) else {
                return port.deliverReset(Self.reset(.agentOffline))
            }
            port.handle = handle
            target.handle = handle
        }
        return splice
    }

    private static func openPayload(_ client: AdmittedClient) -> @Sendable (Int) -> Open {
        let address = client.remoteAddress.map { address in
            "\(address.ipAddress ?? "unix"):\(address.port ?? 0)"
        }
        var parameters: [[String]] = []
        for parameter in client.request.parameters {
            parameters.append([parameter.name, parameter.value])
        }
        return { [parameters] window in
            Open(window: window, client: address, parameters: parameters)
        }
    }

    private func prepare(sink: any StreamSink) -> SpliceHandler {
        let splice = SpliceHandler(side: .client, sink: sink)
        self.splice = splice
        splice.deliveryStage = { bytes in self.greet(bytes) }
        splice.onEvent = { event in self.happened(event) }
        do {
            try self.channel.pipeline.syncOperations.addHandler(splice)
        } catch {
            // The client left between its password and now.
            self.channel.close(promise: nil)
        }
        let isolated = self.channel.eventLoop.assumeIsolated()
        self.deadline = isolated.scheduleTask(in: Self.greetingTimeout) {
            self.refuse(self.isAccepted ? .databaseUnreachable : .agentOffline)
        }
        return splice
    }

    private func mintKey(for target: StreamTarget) {
        let key = self.environment.cancels.mint(version: self.version) { promise in
            target.cancel(promise)
        }
        self.key = key
        self.greeting = GreetingMachine(replacement: key)
    }

    // MARK: Greeting

    private func greet(_ bytes: ByteBuffer) -> SpliceHandler.StageResult {
        self.greetingBytes.writeImmutableBuffer(bytes)
        var out = ByteBuffer()
        do {
            while true {
                switch try self.greeting.receive(&self.greetingBytes) {
                case .readMore:
                    return .pass(self.takeLoginReply(before: out))
                case .forward(let messages):
                    out.writeImmutableBuffer(messages)
                case .finished(let messages, _):
                    out.writeImmutableBuffer(messages)
                    let all = self.takeLoginReply(before: out, after: self.greetingBytes)
                    self.greeted()
                    return .last(all)
                case .failed(_, let raw):
                    out.writeImmutableBuffer(raw)
                    self.splice?.writeLast(self.takeLoginReply(before: out))
                    self.channel.close(promise: nil)
                    return .ended
                }
            }
        } catch {
            self.refuse(.internalFailure)
            return .ended
        }
    }

    /// The end of the login goes out with what follows it: one write a flight.
    private func takeLoginReply(before out: ByteBuffer, after rest: ByteBuffer? = nil) -> ByteBuffer
    {
        var all = out
        if out.readableBytes > 0, let reply = self.loginReply {
            self.loginReply = nil
            all = reply
            all.writeImmutableBuffer(out)
        }
        if let rest { all.writeImmutableBuffer(rest) }
        return all
    }

    private func greeted() {
        self.isGreeted = true
        self.greetingBytes = ByteBuffer()
        self.deadline?.cancel()
        self.deadline = nil
        guard let splice else { return }
        self.rest.watch(splice) { reason in self.leave(reason) }
    }

    // MARK: The end

    /// Ends the client at its next rest. One whose database has not greeted it yet has logged in
    /// all the same: it may ask what it came for. On its event loop.
    func endAtRest(_ reason: Refusal.Reason) {
        guard self.splice != nil else { return }
        self.rest.end(reason)
    }

    private func leave(_ reason: Refusal.Reason) {
        self.environment.metrics.refusals.add(reason)
        var bytes = self.takeLoginReply()
        reason.postgresError.write(into: &bytes)
        self.splice?.leave(saying: bytes)
    }

    private func happened(_ event: SpliceHandler.Event) {
        switch event {
        case .accepted:
            self.isAccepted = true
        case .reset(let reset) where reset.code == .tunnelLost && !self.isAccepted:
            // It had no connection that could be lost.
            self.tellClient(Self.reset(.agentOffline))
        case .reset(let reset):
            self.tellClient(reset)
        case .closed:
            self.over()
        }
    }

    /// The stream is gone: the client learns why, where it can be told without harm.
    private func tellClient(_ reset: StreamReset) {
        guard let splice, reset.code != .closed, splice.isBetweenMessages else { return }
        var error = self.takeLoginReply()
        PostgresError(
            severity: .fatal, sqlState: SQLState(rawValue: reset.sqlState),
            message: reset.text.isEmpty ? "the connection to the database was lost" : reset.text
        ).write(into: &error)
        splice.writeLast(error)
    }

    private func takeLoginReply() -> ByteBuffer {
        defer { self.loginReply = nil }
        return self.loginReply ?? ByteBuffer()
    }

    /// Says no to a client whose stream is not up yet.
    private func refuse(_ reason: Refusal.Reason) {
        guard let splice else { return }
        self.environment.metrics.refusals.add(reason)
        let reset = Self.reset(reason)
        if let handle = splice.handle { splice.abandon(handle, reset) }
        splice.deliverReset(reset)
    }

    private static func reset(_ reason: Refusal.Reason) -> StreamReset {
        StreamReset(.refused, sqlState: reason.sqlState.rawValue, text: reason.message)
    }

    private func over() {
        self.deadline?.cancel()
        self.deadline = nil
        self.rest.stop()
        if let number { self.environment.roster.leave(number) }
        if let key { self.environment.cancels.remove(key) }
        self.lease.release()
        self.environment.metrics.streamsOpen.decrement()
        self.splice?.deliveryStage = nil
        self.splice = nil
    }

    /// Says no to a client that gets no stream at all.
    static func refuse(_ reason: Refusal.Reason, _ client: AdmittedClient, channel: any Channel) {
        var bytes = client.bufferedLoginReply
        PostgresError(
            severity: .fatal, sqlState: reason.sqlState, message: reason.message
        ).write(into: &bytes)
        client.lease.release()
        channel.writeAndFlush(bytes, promise: nil)
        channel.close(promise: nil)
    }
}

/// Where a cancel goes: a stream of a link, known only on the link's event loop.
final class StreamTarget: Sendable {
    private let link: NIOLoopBound<Link>
    private let linkLoop: any EventLoop
    private let box: NIOLoopBoundBox<StreamHandle?>

    init(link: NIOLoopBound<Link>, linkLoop: any EventLoop) {
        self.link = link
        self.linkLoop = linkLoop
        self.box = NIOLoopBoundBox.makeBoxSendingValue(nil, eventLoop: linkLoop)
    }

    /// On the link's event loop.
    var handle: StreamHandle? {
        get { self.box.value }
        set { self.box.value = newValue }
    }

    /// Asks the agent to cancel what runs on the stream. Any thread.
    ///
    /// The promise succeeds once Postgres has taken the request. If it was completed by then (the
    /// asking client went away), the request is withdrawn: a late cancel must not hit the next
    /// query.
    func cancel(_ promise: EventLoopPromise<Void>) {
        self.linkLoop.execute {
            guard let handle = self.handle,
                let offsets = self.link.value.machine.offsets(of: handle)
            else { return promise.succeed() }
            let port = CancelPort(promise: promise)
            let request = self.link.value.open(
                { window in
                    Open(window: window, cancel: handle.id, after: offsets.accepted)
                }, isCancel: true, port: port)
            guard let request else { return promise.succeed() }
            let link = self.link
            promise.futureResult.hop(to: self.linkLoop).whenComplete { _ in
                link.value.reset(request, StreamReset(.closed))
            }
        }
    }
}

/// The near end of a cancel: waits for the agent's answer.
private final class CancelPort: StreamPort {
    private let promise: EventLoopPromise<Void>

    init(promise: EventLoopPromise<Void>) { self.promise = promise }

    func accepted(_ payload: ByteBuffer) { self.promise.succeed() }
    func deliverReset(_ reset: StreamReset) { self.promise.succeed() }
    func deliverEnd() { self.promise.succeed() }
    func deliver(_ bytes: ByteBuffer) {}
    func flush() {}
    func resumeSource() {}
}

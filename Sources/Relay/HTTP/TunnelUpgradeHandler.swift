import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import SharePolicy

/// What became of a connection to the HTTPS port.
enum Upgraded: Sendable {
    /// It is a tunnel's link now and belongs to the ``TunnelDoor``.
    case tunnel
    /// It speaks HTTP.
    case http(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>)
}

/// Decides by the first request of a connection whether it becomes a tunnel, and then goes away.
///
///              TunnelRequest          token is good                accepted
///     waiting ───────────────▶ asking ──────────────▶ handingOver ──────────▶ finished
///        │                       │ token is bad            │ failed              ▲
///        │ any other request     └── 401, close ──────────▶┴── close ────────────┤
///        └── HTTP handlers are added ────────────────────────────────────────────┘
///
/// Not NIO's typed upgrade handler: that one drops a request which asked for an upgrade and did not
/// get it, so nobody would hear of a bad token. While a token is looked up nothing more is read, so
/// a stranger cannot fill the memory.
final class TunnelUpgradeHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Phase {
        case waiting
        case asking
        case handingOver
        case finished
    }

    /// What is needed around the handler.
    struct Surroundings {
        let gate: TokenGate
        let tunnels: any TunnelDoor
        let pages: any PageDoor
        let metrics: RelayMetrics
        /// Handlers that understand HTTP, in the order in which they must go.
        let decoder: any RemovableChannelHandler
        let responders: [any RemovableChannelHandler]
        /// Adds the handlers of plain HTTP behind this one.
        let configureHTTP: (any Channel) throws -> Upgraded
        let promise: EventLoopPromise<Upgraded>
    }

    private let around: Surroundings
    private var phase = Phase.waiting
    /// What came in while the phase was not settled: bytes behind the request.
    private var held: [NIOAny] = []
    private var isInputClosed = false
    private var isReadHeld = false

    init(_ around: Surroundings) {
        self.around = around
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.phase {
        case .waiting:
            self.first(Self.unwrapInboundIn(data), context: context)
        case .asking:
            // The end of the request, which has no body: the decoder stops there by itself.
            break
        case .handingOver:
            self.held.append(data)
        case .finished:
            context.fireChannelRead(data)
        }
    }

    func read(context: ChannelHandlerContext) {
        switch self.phase {
        case .waiting, .finished: context.read()
        case .asking, .handingOver: self.isReadHeld = true
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent {
            switch self.phase {
            case .waiting:
                context.close(promise: nil)
            case .asking, .handingOver:
                self.isInputClosed = true
                return
            case .finished:
                break
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.phase = .finished
        self.around.promise.fail(ChannelError.ioOnClosedChannel)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.around.promise.fail(ChannelError.ioOnClosedChannel)
    }

    private func first(_ part: HTTPServerRequestPart, context: ChannelHandlerContext) {
        guard case .head(let head) = part, let request = TunnelRequest(head) else {
            self.becomeHTTP(part, context: context)
            return
        }
        self.phase = .asking
        let owner = context.eventLoop.makePromise(of: OwnerID.self)
        owner.completeWithTask { [gate = self.around.gate] in
            try await gate.tunnelOwner(of: request.credentials)
        }
        owner.futureResult.assumeIsolated().whenComplete { result in
            guard case .asking = self.phase else { return }
            switch result {
            case .success(let owner): self.handOver(request, owner: owner, context: context)
            case .failure(let error): self.refuse(error, context: context)
            }
        }
    }

    private func becomeHTTP(_ part: HTTPServerRequestPart, context: ChannelHandlerContext) {
        self.phase = .finished
        do {
            let upgraded = try self.around.configureHTTP(context.channel)
            self.around.promise.succeed(upgraded)
            context.fireChannelRead(Self.wrapInboundOut(Self.withoutUpgrade(part)))
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        } catch {
            self.around.promise.fail(error)
            context.close(promise: nil)
        }
    }

    /// The decoder reads no further behind a request that asked for an upgrade, whoever it is meant
    /// for. So such a request is answered and is the last one.
    private static func withoutUpgrade(_ part: HTTPServerRequestPart) -> HTTPServerRequestPart {
        guard case .head(var head) = part, head.headers.contains(name: "upgrade") else {
            return part
        }
        head.headers.replaceOrAdd(name: "Connection", value: "close")
        return .head(head)
    }

    private func handOver(
        _ request: TunnelRequest, owner: OwnerID, context: ChannelHandlerContext
    ) {
        self.phase = .handingOver
        let pipeline = context.pipeline.syncOperations
        let channel = context.channel
        // The decoder goes first and gives back what it holds: the bytes behind the request.
        pipeline.removeHandler(self.around.decoder).assumeIsolated()
            .flatMap { () -> EventLoopFuture<Void> in
                let head = HTTPResponseHead(
                    version: .http1_1, status: .switchingProtocols,
                    headers: request.responseHeaders)
                context.writeAndFlush(Self.wrapOutboundOut(.head(head)), promise: nil)
                let gone = self.around.responders.map { pipeline.removeHandler($0) }
                return .andAllSucceed(gone, on: context.eventLoop)
            }
            .flatMap { () -> EventLoopFuture<Void> in
                self.around.metrics.httpResponses.add(.upgraded)
                switch request.destination {
                case .tunnel(let transport):
                    return self.around.tunnels.accept(
                        channel: channel, transport: transport, owner: owner)
                case .page(let share):
                    return self.around.pages.accept(
                        channel: channel, share: share, owner: owner)
                }
            }
            .whenComplete { result in
                guard case .handingOver = self.phase else { return }
                switch result {
                case .success: self.leave(context: context)
                case .failure: context.close(promise: nil)
                }
            }
    }

    /// Gives what was held to the tunnel's handlers, in order, and goes.
    private func leave(context: ChannelHandlerContext) {
        self.phase = .finished
        self.around.promise.succeed(.tunnel)
        for data in self.held { context.fireChannelRead(data) }
        if !self.held.isEmpty { context.fireChannelReadComplete() }
        self.held = []
        if self.isInputClosed { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        if self.isReadHeld { context.read() }
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    private func refuse(_ error: any Error, context: ChannelHandlerContext) {
        self.phase = .finished
        let answer = error as? APIError ?? APIError(.internalFailure)
        self.around.metrics.httpResponses.add(StatusLabel(code: answer.status.code))
        if answer.code == .unauthorized { self.around.metrics.tunnelRefusals.add(.unauthorized) }
        for part in answer.closingParts {
            context.write(Self.wrapOutboundOut(part), promise: nil)
        }
        context.flush()
        context.close(promise: nil)
    }
}

import NIOCore
import SharePolicy
import TunnelTransport

/// The WebSocket of a page: passes frames to its ``DatabaseBuildLink``, asks for signs of life.
///
/// Nothing is read before the page's share is claimed.
final class PageHandler: ChannelInboundHandler, ChannelOutboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// After so long a silence the page is asked whether it lives. A browser answers by itself,
    /// also for a tab that is frozen.
    static let pingAfter = TimeAmount.seconds(10)
    /// After so long a silence it is taken for dead.
    static let deadAfter = TimeAmount.seconds(25)

    private let webSocket: WebSocketTransportHandler
    private let metrics: RelayMetrics
    private var context: ChannelHandlerContext?
    private var link: LinkSide?
    private var mayRead = false
    private var isReadOwed = false
    private var isGone = false
    /// Why it has nothing more to do with the share; nil where it may come back.
    private var end: Refusal.Reason?
    private var lastHeard = NIODeadline.distantPast
    private var timer: RepeatedTask?

    /// The link, where it lives, and how it knows this page.
    private struct LinkSide {
        let link: NIOLoopBound<DatabaseBuildLink>
        let loop: any EventLoop
        let page: PageConnection
        let isHere: Bool
    }

    init(webSocket: WebSocketTransportHandler, metrics: RelayMetrics) {
        self.webSocket = webSocket
        self.metrics = metrics
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.lastHeard = context.eventLoop.now
        let loopBound = NIOLoopBound(self, eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleRepeatedTask(
            initialDelay: .seconds(5), delay: .seconds(5)
        ) { _ in loopBound.value.look() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.gone()
        self.context = nil
    }

    /// The share is claimed: the link is served from here on.
    ///
    /// - Returns: Whether the page is still there.
    func serve(_ link: NIOLoopBound<DatabaseBuildLink>, on loop: any EventLoop) -> Bool {
        guard let context, !self.isGone else { return false }
        let page = PageConnection(
            channel: context.channel, handler: NIOLoopBound(self, eventLoop: context.eventLoop))
        let side = LinkSide(
            link: link, loop: loop, page: page, isHere: loop === context.eventLoop)
        self.link = side
        self.tell { $0.attach(page) }
        return true
    }

    /// Says goodbye with a code and a reason that the page can read.
    func close(_ code: WebSocketClose.Code, _ reason: String) {
        self.webSocket.closeWith(code: code, reason: reason)
        self.gone()
    }

    func pause() { self.mayRead = false }

    func resume() {
        guard !self.mayRead else { return }
        self.mayRead = true
        // While it was not read nobody could hear it.
        if let context { self.lastHeard = context.eventLoop.now }
        guard self.isReadOwed else { return }
        self.isReadOwed = false
        self.context?.read()
    }

    // MARK: The channel

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Self.unwrapInboundIn(data)
        self.lastHeard = context.eventLoop.now
        self.metrics.bytesToClient.add(bytes.readableBytes)
        guard let page = self.link?.page else { return }
        self.tell { $0.received(bytes, from: page) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard let page = self.link?.page else { return }
        self.tell { $0.readEnded(from: page) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        self.lastHeard = context.eventLoop.now
        switch event {
        case is WebSocketMessageEnd:
            guard let page = self.link?.page else { return }
            self.tell { $0.frameEnded(from: page) }
        case let closed as WebSocketClosedByPeer:
            // 1001 is a page that is loaded anew or left; it may come back. Anything else was
            // said by somebody who meant it.
            let mayReturn = closed.close?.code == WebSocketClose.Code.goingAway.rawValue
            self.end = mayReturn ? nil : .shareEnded
            self.gone()
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard let page = self.link?.page else { return }
        let isWritable = context.channel.isWritable
        self.tell { $0.writable(isWritable, of: page) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.gone()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is WebSocketViolation else { return context.close(promise: nil) }
        // It has been told; it is not to come back as if nothing had been.
        self.end = .tunnelLost
        self.gone()
    }

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        self.metrics.bytesToDatabase.add(Self.unwrapOutboundIn(data).readableBytes)
        context.write(data, promise: promise)
    }

    func read(context: ChannelHandlerContext) {
        guard self.mayRead || self.isGone else {
            self.isReadOwed = true
            return
        }
        context.read()
    }

    private func look() {
        guard let context, self.mayRead, !self.isGone else { return }
        let silence = context.eventLoop.now - self.lastHeard
        if silence >= Self.deadAfter {
            context.close(promise: nil)
        } else if silence >= Self.pingAfter {
            self.webSocket.ping()
        }
    }

    private func gone() {
        guard !self.isGone else { return }
        self.isGone = true
        self.timer?.cancel()
        self.timer = nil
        if let page = self.link?.page {
            let end = self.end
            self.tell { $0.lost(page, end: end) }
        }
        self.link = nil
        if self.isReadOwed { self.context?.read() }
    }

    /// Tells the link, at once where it lives here.
    private func tell(_ what: @escaping @Sendable (DatabaseBuildLink) -> Void) {
        guard let side = self.link else { return }
        if side.isHere {
            what(side.link.value)
        } else {
            side.loop.execute { what(side.link.value) }
        }
    }
}

/// A page's WebSocket, as its link sees it. Any thread.
final class PageConnection: Sendable {
    private let channel: any Channel
    private let handler: NIOLoopBound<PageHandler>

    init(channel: any Channel, handler: NIOLoopBound<PageHandler>) {
        self.channel = channel
        self.handler = handler
    }

    func write(_ frame: ByteBuffer) { self.channel.write(frame, promise: nil) }
    func flush() { self.channel.flush() }

    func pause() { self.onLoop { $0.pause() } }
    func resume() { self.onLoop { $0.resume() } }

    func close(_ code: WebSocketClose.Code, _ reason: String) {
        self.onLoop { $0.close(code, reason) }
    }

    private func onLoop(_ what: @escaping @Sendable (PageHandler) -> Void) {
        let loop = self.channel.eventLoop
        if loop.inEventLoop {
            what(self.handler.value)
        } else {
            loop.execute { what(self.handler.value) }
        }
    }
}

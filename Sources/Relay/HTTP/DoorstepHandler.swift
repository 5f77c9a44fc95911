import NIOCore

/// Keeps a connection cheap until its TLS handshake has begun in earnest: before its ClientHello is
/// there, none of TLS and HTTP exists for it.
///
/// Who connects and is silent, or sends a byte a second, costs a socket and 16 KiB at most.
final class DoorstepHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let enter: (any Channel) throws -> Void
    private let left: () -> Void
    private var unread = ByteBuffer()
    private var hasEntered = false

    /// - Parameters:
    ///   - enter: Adds the handlers of TLS and of what is behind it.
    ///   - left: Told that the connection is gone before that.
    init(
        enter: @escaping (any Channel) throws -> Void, left: @escaping () -> Void
    ) {
        self.enter = enter
        self.left = left
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.hasEntered else { return context.fireChannelRead(data) }
        self.unread.append(Self.unwrapInboundIn(data))
        // Of what it cannot read it says so, and TLS judges it.
        guard ClientHello.peek(self.unread) != .incomplete else { return self.unread.compact() }
        self.hasEntered = true
        do {
            try self.enter(context.channel)
        } catch {
            self.left()
            context.close(promise: nil)
            return
        }
        context.fireChannelRead(Self.wrapInboundOut(self.unread))
        self.unread = ByteBuffer()
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if !self.hasEntered, case .some(.inputClosed) = event as? ChannelEvent {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !self.hasEntered { self.left() }
        context.fireChannelInactive()
    }

    /// A connection that never became active is told of by nothing else.
    func handlerRemoved(context: ChannelHandlerContext) {
        if !self.hasEntered { self.left() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard !self.hasEntered else { return context.fireErrorCaught(error) }
        context.close(promise: nil)
    }
}

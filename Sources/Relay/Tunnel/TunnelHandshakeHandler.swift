import NIOCore
import SharePolicy
import TunnelTransport
import TunnelWire

/// Reads the first frame of a tunnel connection, and makes it a link.
///
/// The agent then waits for the answer: bytes behind the first frame are a violation.
final class TunnelHandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let door: RelayTunnelDoor
    private let owner: OwnerID
    private let transport: TunnelTransportKind
    private var machine = RelayHandshake()
    private var unread = ByteBuffer()
    private var isDecided = false
    private var deadline: Scheduled<Void>?

    init(door: RelayTunnelDoor, owner: OwnerID, transport: TunnelTransportKind) {
        self.door = door
        self.owner = owner
        self.transport = transport
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let timeout = self.door.configuration.handshakeTimeout
        self.deadline = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) {
            context.close(promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.deadline?.cancel() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isDecided else {
            return self.refuse(LinkError(.unexpected(.data)), context: context)
        }
        self.unread.writeImmutableBuffer(Self.unwrapInboundIn(data))
        do {
            let action = try self.machine.receive(&self.unread)
            if action != .readMore, self.unread.readableBytes > 0 {
                return self.refuse(LinkError(.unexpected(.data)), context: context)
            }
            switch action {
            case .readMore:
                // Skipped frames leave nothing behind.
                self.unread.discardReadBytes()
            case .hello(let hello):
                self.isDecided = true
                self.door.hello(hello, self.connection(context))
            case .resume(let resume):
                self.isDecided = true
                self.door.resume(resume, self.connection(context))
            }
        } catch {
            self.refuse(LinkError(error), context: context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func connection(_ context: ChannelHandlerContext) -> TunnelConnection {
        TunnelConnection(
            channel: context.channel, owner: self.owner, transport: self.transport,
            handler: NIOLoopBound(self, eventLoop: context.eventLoop))
    }

    private func refuse(_ error: LinkError, context: ChannelHandlerContext) {
        self.isDecided = true
        context.writeAndFlush(Self.wrapOutboundOut(error.frame), promise: nil)
        context.close(promise: nil)
    }
}

/// A connection that has said its first frame and waits for the answer.
struct TunnelConnection: Sendable {
    let channel: any Channel
    let owner: OwnerID
    let transport: TunnelTransportKind
    fileprivate let handler: NIOLoopBound<TunnelHandshakeHandler>

    fileprivate init(
        channel: any Channel, owner: OwnerID, transport: TunnelTransportKind,
        handler: NIOLoopBound<TunnelHandshakeHandler>
    ) {
        self.channel = channel
        self.owner = owner
        self.transport = transport
        self.handler = handler
    }

    /// Answers and puts the link's handler in place. On the channel's event loop.
    ///
    /// - Returns: whether the channel is still there.
    func answer(_ frame: ByteBuffer, handler: some ChannelHandler) -> Bool {
        let operations = self.channel.pipeline.syncOperations
        self.channel.writeAndFlush(frame, promise: nil)
        guard self.channel.isActive, (try? operations.addHandler(handler)) != nil else {
            return false
        }
        operations.removeHandler(self.handler.value, promise: nil)
        return true
    }

    /// Says no and closes. Any thread.
    func refuse(_ refusal: TunnelRefusal.Reason) {
        self.refuse(
            LinkError(
                code: refusal.code, message: refusal.message, retry: refusal.isRetryable))
    }

    /// Says no and closes. Any thread.
    func refuse(_ error: LinkError) {
        self.channel.writeAndFlush(error.frame, promise: nil)
        self.channel.close(promise: nil)
    }
}

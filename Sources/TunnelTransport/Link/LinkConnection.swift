package import NIOCore
package import TunnelWire

/// The connection under a link, as the link sees it, on the link's event loop.
package protocol LinkConnection: AnyObject {
    /// Whether the socket takes more: at most 128 KiB wait in it.
    var isWritable: Bool { get }
    /// Queues a chunk.
    func write(_ chunk: Chunk)
    /// Lets what was queued go.
    func flush()
    /// The link has no more use for it: stop delivering, close.
    func detach()
    /// Flush, then close.
    func closeAfterFlush()
}

/// The last handler of a tunnel's channel, once the handshake is over.
///
/// Its channel is on the link's event loop; see ``CrossingLinkHandler`` for one that is not.
package final class LinkHandler: ChannelInboundHandler, LinkConnection {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private let link: Link
    private let transport: TunnelTransportKind
    private var context: ChannelHandlerContext?
    private var isDetached = false

    package init(link: Link, transport: TunnelTransportKind) {
        self.link = link
        self.transport = transport
    }

    package func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    package func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isDetached else { return }
        self.link.receive(Self.unwrapInboundIn(data), on: self)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        self.link.readComplete(on: self)
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.link.writabilityChanged(on: self)
    }

    package func channelInactive(context: ChannelHandlerContext) {
        self.link.connectionLost(self, reason: .closed)
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A reset, an unclean TLS shutdown, a WebSocket violation: the connection is over.
        self.link.connectionLost(self, reason: .closed)
        context.close(promise: nil)
    }

    package var isWritable: Bool { self.context?.channel.isWritable ?? false }

    package func write(_ chunk: Chunk) {
        guard let context else { return }
        switch (self.transport, chunk.payload) {
        case (_, nil):
            context.write(Self.wrapOutboundOut(chunk.head), promise: nil)
        case (.raw, let payload?):
            context.write(Self.wrapOutboundOut(chunk.head), promise: nil)
            context.write(Self.wrapOutboundOut(payload), promise: nil)
        case (.webSocket, let payload?):
            // A message holds whole frames, so here the payload is copied behind its header.
            var message = chunk.head
            message.writeImmutableBuffer(payload)
            context.write(Self.wrapOutboundOut(message), promise: nil)
        }
    }

    package func flush() { self.context?.flush() }

    package func detach() {
        self.isDetached = true
        self.context?.close(promise: nil)
    }

    package func closeAfterFlush() {
        self.isDetached = true
        self.context?.flush()
        self.context?.close(promise: nil)
    }
}

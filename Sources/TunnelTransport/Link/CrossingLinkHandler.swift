package import NIOCore
package import TunnelWire

/// The last handler of a tunnel's channel that was accepted on another event loop than its
/// link's. Every event crosses over: slower than ``LinkHandler``, but right.
package final class CrossingLinkHandler: ChannelInboundHandler {
    package typealias InboundIn = ByteBuffer

    private let connection: CrossingLinkConnection

    package init(connection: CrossingLinkConnection) {
        self.connection = connection
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.connection.cross(.read(Self.unwrapInboundIn(data)))
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        self.connection.cross(.readComplete)
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.connection.cross(.writabilityChanged)
    }

    package func channelInactive(context: ChannelHandlerContext) {
        self.connection.cross(.lost)
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.connection.cross(.lost)
        context.close(promise: nil)
    }
}

/// A connection that lives on another event loop than its link.
package final class CrossingLinkConnection: LinkConnection, Sendable {
    enum Crossing: Sendable {
        case read(ByteBuffer)
        case readComplete
        case writabilityChanged
        case lost
        case written(Int)
    }

    /// What belongs to the link's event loop.
    private struct State {
        var pending: [Chunk] = []
        /// Bytes on their way to the channel's event loop.
        var crossingBytes = 0
        var isDetached = false
    }

    /// Bytes that may be on their way between the event loops.
    private static let maximumCrossingBytes = 128 * 1024

    private let channel: any Channel
    private let transport: TunnelTransportKind
    private let linkLoop: any EventLoop
    private let link: NIOLoopBound<Link>
    private let state: NIOLoopBoundBox<State>

    /// On the link's event loop.
    package init(link: Link, channel: any Channel, transport: TunnelTransportKind) {
        self.linkLoop = link.eventLoop
        self.link = NIOLoopBound(link, eventLoop: link.eventLoop)
        self.state = NIOLoopBoundBox(State(), eventLoop: link.eventLoop)
        self.channel = channel
        self.transport = transport
    }

    /// From the channel's event loop to the link's.
    func cross(_ event: Crossing) {
        self.linkLoop.execute { self.arrive(event) }
    }

    private func arrive(_ event: Crossing) {
        guard !self.state.value.isDetached else { return }
        switch event {
        case .read(let bytes): self.link.value.receive(bytes, on: self)
        case .readComplete: self.link.value.readComplete(on: self)
        case .writabilityChanged: self.link.value.writabilityChanged(on: self)
        case .lost: self.link.value.connectionLost(self, reason: .closed)
        case .written(let bytes):
            self.state.value.crossingBytes -= bytes
            self.link.value.writabilityChanged(on: self)
        }
    }

    package var isWritable: Bool {
        self.channel.isWritable && self.state.value.crossingBytes < Self.maximumCrossingBytes
    }

    package func write(_ chunk: Chunk) {
        self.state.value.pending.append(chunk)
        self.state.value.crossingBytes += chunk.readableBytes
    }

    package func flush() {
        let chunks = self.state.value.pending
        self.state.value.pending = []
        guard !chunks.isEmpty else { return }
        self.channel.eventLoop.execute {
            var bytes = 0
            for chunk in chunks {
                bytes += chunk.readableBytes
                self.writeOnChannel(chunk)
            }
            self.channel.flush()
            self.cross(.written(bytes))
        }
    }

    private func writeOnChannel(_ chunk: Chunk) {
        switch (self.transport, chunk.payload) {
        case (_, nil):
            self.channel.write(chunk.head, promise: nil)
        case (.raw, let payload?):
            self.channel.write(chunk.head, promise: nil)
            self.channel.write(payload, promise: nil)
        case (.webSocket, let payload?):
            var message = chunk.head
            message.writeImmutableBuffer(payload)
            self.channel.write(message, promise: nil)
        }
    }

    package func detach() {
        self.state.value.isDetached = true
        self.channel.close(promise: nil)
    }

    package func closeAfterFlush() {
        self.flush()
        self.detach()
    }

    /// The channel closed before its handler stood. On the channel's event loop.
    package func gone() { self.cross(.lost) }
}

import NIOCore

/// Takes the header off a connection that a trusted proxy passes on, and goes away.
///
/// It has no clock of its own: whoever stands behind it bounds the time from accept on.
final class ProxyHeaderHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// What it says of the connection. On the channel's event loop.
    enum Finding {
        /// The client's address; nil where the header names none.
        case client(SocketAddress?)
        /// The bytes are no header.
        case violation(ProxyHeader.Violation)
    }

    private let found: (Finding, ChannelHandlerContext) -> Bool
    private var unread = ByteBuffer()
    private var isOver = false

    /// - Parameter found: Told what was found, once. Returns whether the connection goes on; if
    ///   not, what still arrives is dropped.
    init(_ found: @escaping (Finding, ChannelHandlerContext) -> Bool) {
        self.found = found
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isOver else { return }
        self.unread.append(Self.unwrapInboundIn(data))
        do {
            switch try ProxyHeader.read(from: &self.unread) {
            case .readMore:
                self.unread.compact()
            case .header(let header):
                self.isOver = true
                guard self.found(.client(header.client), context) else { return }
                let rest = self.unread
                if rest.readableBytes > 0 { context.fireChannelRead(Self.wrapInboundOut(rest)) }
                context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
            }
        } catch {
            self.isOver = true
            _ = self.found(.violation(error), context)
        }
    }
}

import NIOCore

/// A handler of a ``Visit``'s channel: what becomes of the visit is told to it.
protocol VisitHandler: ChannelInboundHandler, RemovableChannelHandler {
    /// The connection.
    var visit: Visit { get }

    /// The visit's deadline has passed.
    func deadlinePassed(context: ChannelHandlerContext)
}

extension VisitHandler {
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        self.told(event, context)
    }

    /// What every such handler does on an event.
    func told(_ event: Any, _ context: ChannelHandlerContext) {
        switch event {
        case is DeadlinePassed: self.deadlinePassed(context: context)
        case is Displaced: self.visit.displaced(context: context)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.visit.closed()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.visit.failed(error, context: context)
    }
}

import NIOCore
import PostgresWire
import SharePolicy

/// Serves a CancelRequest: no answer, and the connection closes when the database has taken it.
///
/// libpq waits for that close before its caller goes on, so holding it is what keeps a late cancel
/// from hitting the next query.
final class CancelHandler: VisitHandler {
    typealias InboundIn = ByteBuffer

    let visit: Visit
    private let key: CancelKey
    private var promise: EventLoopPromise<Void>?

    init(_ visit: Visit, _ key: CancelKey) {
        self.visit = visit
        self.key = key
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let services = self.visit.services
        let elsewhere = { services.cancels.elsewhere(for: self.key, on: context.eventLoop) }
        guard let action = services.cancels.action(for: self.key) ?? elsewhere() else {
            services.metrics.cancels.add(.unknown)
            self.visit.close(context: context)
            return
        }
        services.metrics.cancels.add(.routed)
        self.visit.setDeadline(services.configuration.cancelTimeout, context.channel)
        let promise = context.eventLoop.makePromise(of: Void.self)
        self.promise = promise
        promise.futureResult.assumeIsolated().whenComplete { _ in
            self.promise = nil
            self.visit.close(context: context)
        }
        action(promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Nothing is owed to bytes behind a CancelRequest.
    }

    func deadlinePassed(context: ChannelHandlerContext) {
        self.promise?.fail(CancelAbandoned.timedOut)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.visit.closed()
        self.promise?.fail(CancelAbandoned.clientLeft)
        context.fireChannelInactive()
    }
}

/// Why nobody waits for a cancel any more. The promise of its action fails with it.
enum CancelAbandoned: Error, Hashable {
    /// The client that asked has closed its connection.
    case clientLeft
    /// ``FrontDoorConfiguration/cancelTimeout`` has passed.
    case timedOut
}

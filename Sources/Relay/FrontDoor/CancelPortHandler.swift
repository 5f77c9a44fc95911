import NIOCore
import PostgresWire
import SharePolicy

/// Takes a CancelRequest that a relay of this machine hands on, and nothing else.
///
/// Whoever says anything else is no relay: nobody is answered there, nor logs in.
final class CancelPortHandler: VisitHandler {
    typealias InboundIn = ByteBuffer

    let visit: Visit
    private var machine = StartupMachine()
    private var unread = ByteBuffer()

    init(_ visit: Visit) {
        self.visit = visit
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.visit.isOver else { return }
        self.unread.append(Self.unwrapInboundIn(data))
        do {
            guard StartupMachine.mayCancel(self.unread) else {
                return self.refuse("something else than a CancelRequest", context)
            }
            switch try self.machine.receive(&self.unread) {
            case .readMore:
                self.unread.compact()
            case .cancel(let key):
                let operations = context.pipeline.syncOperations
                try operations.addHandler(CancelHandler(self.visit, key), position: .after(self))
                operations.removeHandler(context: context, promise: nil)
            case .declineEncryption, .startTLS, .startDirectTLS, .route:
                self.refuse("something else than a CancelRequest", context)
            }
        } catch {
            self.refuse("\(error)", context)
        }
    }

    func deadlinePassed(context: ChannelHandlerContext) {
        self.visit.deadlinePassed(context: context, canBeTold: false)
    }

    private func refuse(_ detail: String, _ context: ChannelHandlerContext) {
        let refusal = Refusal(.protocolViolation, detail: "at the port for cancels: \(detail)")
        self.visit.refuseInSilence(refusal, context: context)
    }
}

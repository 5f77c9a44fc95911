import NIOCore
import NIOSSL
import NIOTLS
import PostgresWire
import SharePolicy

/// Runs a ``StartupMachine`` on a channel, puts TLS in front of it, and hands the request on.
///
/// It stays in the pipeline until the client has named a database or a query to cancel.
final class StartupHandler: VisitHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Where bytes go that arrive now.
    private enum Phase {
        /// To the machine.
        case talking
        /// To TLS, once its first message is whole. `isDirect`: no SSLRequest came before it.
        case awaitingHello(isDirect: Bool)
        /// To TLS, which is in front of this handler: none arrive here.
        case handshaking(isDirect: Bool, offersProtocols: Bool)
    }

    private static let declined = ByteBuffer(bytes: [UInt8(ascii: "N")])
    private static let accepted = ByteBuffer(bytes: [UInt8(ascii: "S")])
    /// Source: `PG_ALPN_PROTOCOL` in PostgreSQL's `pqcomm.h`.
    private static let protocolName = "postgresql"

    let visit: Visit
    private var machine = StartupMachine()
    private var phase = Phase.talking
    private var unread = ByteBuffer()

    init(_ visit: Visit) {
        self.visit = visit
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.visit.isOver else { return }
        self.unread.append(Self.unwrapInboundIn(data))
        self.proceed(context)
        self.unread.compact()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted(let negotiated) = event {
            self.tlsEstablished(negotiated, context)
        } else {
            self.told(event, context)
        }
    }

    func deadlinePassed(context: ChannelHandlerContext) {
        var canBeTold = true
        if case .handshaking = self.phase { canBeTold = false }
        if case .awaitingHello = self.phase { canBeTold = false }
        self.visit.deadlinePassed(context: context, canBeTold: canBeTold)
    }

    /// Does what can be done with the bytes at hand.
    private func proceed(_ context: ChannelHandlerContext) {
        do {
            while !self.visit.isOver {
                switch self.phase {
                case .talking:
                    let action = try self.machine.receive(&self.unread)
                    guard try self.perform(action, context) else { return }
                case .awaitingHello(let isDirect):
                    try self.startTLS(isDirect: isDirect, context)
                    return
                case .handshaking:
                    return
                }
            }
        } catch let violation as StartupViolation {
            self.visit.refuse(Refusal(violation), context: context)
        } catch {
            self.visit.refuse(Refusal(.internalFailure, detail: "\(error)"), context: context)
        }
    }

    /// Returns whether there may be more to do straight away.
    private func perform(
        _ action: StartupMachine.OnReceive,
        _ context: ChannelHandlerContext
    ) throws -> Bool {
        switch action {
        case .readMore:
            return false
        case .declineEncryption:
            context.writeAndFlush(Self.wrapOutboundOut(Self.declined), promise: nil)
            return true
        case .startTLS:
            context.writeAndFlush(Self.wrapOutboundOut(Self.accepted), promise: nil)
            self.phase = .awaitingHello(isDirect: false)
            return false
        case .startDirectTLS:
            self.phase = .awaitingHello(isDirect: true)
            return true
        case .route(let request):
            let login = LoginHandler(self.visit, request, early: self.takeUnread())
            try self.handOver(to: login, context)
            return false
        case .cancel(let key):
            try self.handOver(to: CancelHandler(self.visit, key), context)
            return false
        }
    }

    private func startTLS(isDirect: Bool, _ context: ChannelHandlerContext) throws {
        var offersProtocols = false
        switch ClientHello.peek(self.unread) {
        case .incomplete:
            return
        case .found(let hello):
            self.visit.serverName = hello.serverName
            offersProtocols = hello.offersProtocols
        case .unreadable:
            break
        }
        let served = self.visit.services.tls.current()
        self.visit.channelBinding = served.endPointHash
        self.phase = .handshaking(isDirect: isDirect, offersProtocols: offersProtocols)
        let operations = context.pipeline.syncOperations
        try operations.addHandler(
            NIOSSLServerHandler(context: served.frontDoor), position: .before(self))
        operations.fireChannelRead(NIOAny(self.takeUnread()))
    }

    private func tlsEstablished(_ negotiated: String?, _ context: ChannelHandlerContext) {
        guard case .handshaking(let isDirect, let offersProtocols) = self.phase else { return }
        self.visit.isEncrypted = true
        self.machine.tlsEstablished()
        self.phase = .talking
        // NIOSSL lets a handshake pass where no protocol matches. Postgres does not: it refuses
        // direct TLS without its name, and any offer that lacks it (ALPACA attack).
        guard negotiated == Self.protocolName || (!isDirect && !offersProtocols) else {
            let refusal = Refusal(.protocolViolation, detail: "ALPN without postgresql")
            self.visit.refuse(refusal, context: context)
            return
        }
    }

    private func handOver(
        to handler: any ChannelHandler,
        _ context: ChannelHandlerContext
    ) throws {
        let operations = context.pipeline.syncOperations
        try operations.addHandler(handler, position: .after(self))
        operations.removeHandler(context: context, promise: nil)
    }

    private func takeUnread() -> ByteBuffer {
        let bytes = self.unread
        self.unread = ByteBuffer()
        return bytes
    }
}

extension ByteBuffer {
    /// Puts `bytes` behind what is here, without a copy where nothing is.
    mutating func append(_ bytes: ByteBuffer) {
        if self.readableBytes == 0 {
            self = bytes
        } else {
            self.writeImmutableBuffer(bytes)
        }
    }

    /// Copies what is left into storage of its own size, or lets all of it go.
    ///
    /// A slice would keep the socket's or NIOSSL's read buffer alive and make them copy it (32 KiB)
    /// at the next read.
    mutating func compact() {
        guard self.readableBytes > 0 else {
            self = ByteBuffer()
            return
        }
        self = ByteBuffer(bytes: self.readableBytesView)
    }
}

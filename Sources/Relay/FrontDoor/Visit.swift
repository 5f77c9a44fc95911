import Logging
import NIOCore
import NIOSSL
import PostgresWire
import SharePolicy

/// One connection from accept until it is admitted or closed: its place at the gate, its deadline,
/// and its one way to be refused.
///
/// Belongs to its channel's event loop. Handed from handler to handler and dropped at admission.
final class Visit {
    let services: FrontDoorServices
    let address: SocketAddress?
    /// The address without its port, for policy.
    let source: SourceAddress
    let acceptedAt: NIODeadline
    /// The host name of the ClientHello.
    var serverName: String?
    /// The certificate that this connection is served, as SCRAM binds to it.
    var channelBinding: [UInt8]?
    /// Whether what is written goes out encrypted.
    var isEncrypted = false
    /// Whether the connection was refused or is over: what still arrives is dropped.
    private(set) var isOver = false

    private var isCounted = true
    private var deadline: Scheduled<Void>?

    init(_ services: FrontDoorServices, address: SocketAddress?, now: NIODeadline) {
        self.services = services
        self.address = address
        self.source = SourceAddress(address?.ipAddress)
        self.acceptedAt = now
    }

    /// The address as it goes into logs.
    var addressText: String {
        self.address?.ipAddress ?? "unknown"
    }

    /// Starts the one deadline from accept to authenticated. When it passes, the handlers of the
    /// channel see ``DeadlinePassed``.
    func arrived(_ channel: any Channel) {
        self.setDeadline(TimeAmount(self.services.admission.limits.handshakeTimeout), channel)
    }

    /// Puts another deadline in the place of the last.
    func setDeadline(_ timeout: TimeAmount, _ channel: any Channel) {
        self.deadline?.cancel()
        self.deadline = channel.eventLoop.assumeIsolated().scheduleTask(in: timeout) {
            channel.pipeline.fireUserInboundEventTriggered(DeadlinePassed())
        }
    }

    /// The client is in: it is no stranger any more and has no deadline.
    func admitted(to shareID: ShareID, now: NIODeadline) {
        self.cancelDeadline()
        self.isOver = true
        self.isCounted = false
        let services = self.services
        services.admission.authenticated(from: self.source)
        services.metrics.clientsAdmitted.add()
        let taken = now - self.acceptedAt
        services.metrics.handshakeSeconds.record(.nanoseconds(taken.nanoseconds))
        services.logger.log(
            .info, "a client was admitted",
            [.share: shareID.rawValue, .address: self.addressText])
    }

    /// The channel is closed. Called by whichever handler is there.
    func closed() {
        self.cancelDeadline()
        self.isOver = true
        guard self.isCounted else { return }
        self.isCounted = false
        self.services.admission.closed(from: self.source)
        self.services.metrics.clientsOpen.decrement()
    }

    /// Tells the client why not, and closes once it could read that.
    ///
    /// - Parameters:
    ///   - refusal: What it may know, and what only the log may.
    ///   - reply: What must go out in front of the error, in the same write.
    ///   - share: The share asked for, where it is known.
    ///   - context: The handler that refuses.
    func refuse(
        _ refusal: Refusal,
        behind reply: ByteBuffer = ByteBuffer(),
        share: ShareKey? = nil,
        context: ChannelHandlerContext
    ) {
        guard !self.isOver else { return }
        self.isOver = true
        self.log(refusal, share)
        var bytes = reply
        refusal.reason.postgresError.write(into: &bytes)
        context.writeAndFlush(NIOAny(bytes), promise: nil)
        if self.isEncrypted {
            // Sends close_notify and waits for the client's, for as long as the TLS context says.
            self.cancelDeadline()
            context.close(promise: nil)
        } else {
            // Closing with bytes unread would reset the connection and take the sentence with it.
            context.close(mode: .output, promise: nil)
            self.setDeadline(self.services.configuration.closeTimeout, context.channel)
        }
    }

    /// Closes without a word: nobody could read it, or the protocol has none.
    func close(context: ChannelHandlerContext) {
        self.isOver = true
        self.cancelDeadline()
        context.close(promise: nil)
    }

    /// The deadline has passed.
    func deadlinePassed(context: ChannelHandlerContext, canBeTold: Bool) {
        let refusal = Refusal(.handshakeTimeout, detail: "not logged in within the deadline")
        if self.isOver {
            context.close(promise: nil)
        } else if canBeTold {
            self.refuse(refusal, context: context)
        } else {
            self.log(refusal, nil)
            self.close(context: context)
        }
    }

    /// An error came up the pipeline: TLS failed, or the socket did.
    func failed(_ error: any Error, context: ChannelHandlerContext) {
        // A client that goes without close_notify is no news: messages carry their lengths.
        if case NIOSSLError.uncleanShutdown = error { return }
        self.services.logger.log(
            .debug, "a connection failed before it was admitted",
            [.address: self.addressText, .error: "\(error)"])
        self.close(context: context)
    }

    private func log(_ refusal: Refusal, _ share: ShareKey?) {
        let services = self.services
        services.metrics.refusals.add(refusal.reason)
        services.logger.log(.info, "a client was refused", self.facts(refusal, share))
    }

    private func facts(_ refusal: Refusal, _ share: ShareKey?) -> [LogKey: String] {
        var facts: [LogKey: String] = [
            .reason: refusal.reason.rawValue, .address: self.addressText,
            .sqlstate: refusal.reason.sqlState.rawValue, .error: refusal.detail,
        ]
        facts[.share] = share?.text
        return facts
    }

    private func cancelDeadline() {
        self.deadline?.cancel()
        self.deadline = nil
    }
}

/// A user event: the connection's deadline has passed.
struct DeadlinePassed {}

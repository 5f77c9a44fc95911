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
    /// Where the client is: the socket's peer, or whom a trusted proxy has named.
    private(set) var address: SocketAddress?
    /// The address without its port, for policy.
    private(set) var source: SourceAddress
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
    private var ticket: PendingSockets.Ticket?
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

    /// Takes a place among the sockets that have not logged in, and starts the one deadline from
    /// accept to authenticated. When that passes, the handlers of the channel see
    /// ``DeadlinePassed``; when another gets the place, ``Displaced``.
    ///
    /// - Parameters:
    ///   - channel: The connection.
    ///   - isProxy: Whether it comes from a trusted proxy, which will name the client.
    /// - Returns: Whether there was a place.
    func arrived(_ channel: any Channel, isProxy: Bool) -> Bool {
        let peer: PendingSockets.Peer = isProxy ? .proxy(self.source) : .address(self.source)
        let pending = self.services.admission.pending
        self.ticket = pending.accepted(from: peer, now: self.acceptedAt) {
            channel.eventLoop.execute {
                channel.pipeline.fireUserInboundEventTriggered(Displaced())
            }
        }
        guard self.ticket != nil else { return false }
        self.setDeadline(TimeAmount(self.services.admission.limits.handshakeTimeout), channel)
        return true
    }

    /// A trusted proxy has said who the client is; nil where it is the proxy itself.
    ///
    /// - Returns: Whether there is a place for that client.
    private func identified(as client: SocketAddress?, now: NIODeadline) -> Bool {
        guard let client, let ticket = self.ticket else { return true }
        self.address = client
        self.source = SourceAddress(client.ipAddress)
        let pending = self.services.admission.pending
        return pending.identified(ticket, as: .address(self.source), now: now)
    }

    /// What a trusted proxy said in front of the client's first byte.
    ///
    /// - Returns: Whether the connection goes on.
    func found(_ finding: ProxyHeaderHandler.Finding, context: ChannelHandlerContext) -> Bool {
        switch finding {
        case .client(let client):
            guard self.identified(as: client, now: context.eventLoop.now) else {
                self.turnedAway()
                self.close(context: context)
                return false
            }
            return true
        case .violation(let violation):
            let detail = "a PROXY header was expected: \(violation)"
            self.refuse(Refusal(.protocolViolation, detail: detail), context: context)
            return false
        }
    }

    /// Another socket got the place of this one.
    func displaced(context: ChannelHandlerContext) {
        guard !self.isOver || self.isCounted else { return }
        if !self.isOver { self.turnedAway() }
        self.isOver = true
        self.cancelDeadline()
        context.channel.closeAbruptly()
    }

    /// In silence: an answer to each would be work that strangers can ask for.
    func turnedAway() {
        let reason = Refusal.Reason.tooManyHandshakes
        self.services.metrics.refusals.add(reason)
        self.services.logger.log(
            .debug, "a socket was turned away",
            [.reason: reason.rawValue, .address: self.addressText])
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
        self.leave()
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
        self.leave()
        self.services.metrics.clientsOpen.decrement()
    }

    private func leave() {
        if let ticket = self.ticket { self.services.admission.pending.left(ticket) }
        self.ticket = nil
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
            self.refuseInSilence(refusal, context: context)
        }
    }

    /// Closes at once and says why in the log only.
    func refuseInSilence(_ refusal: Refusal, context: ChannelHandlerContext) {
        guard !self.isOver else { return }
        self.log(refusal, nil)
        self.close(context: context)
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
            .sqlstate: refusal.reason.sqlState.rawValue,
        ]
        if !refusal.detail.isEmpty { facts[.error] = refusal.detail }
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

/// A user event: another connection has the place of this one.
struct Displaced {}

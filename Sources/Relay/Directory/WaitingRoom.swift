import NIOConcurrencyHelpers
import NIOCore
import SharePolicy

/// Where clients wait that have logged in while their share's agent is on its way: the relay has
/// just begun, or the tunnel broke.
///
/// Each waits for ``patience`` at most, and is refused with `agent_offline` then. It has its place
/// among the share's clients meanwhile, so there are never more of them than a share admits.
final class WaitingRoom: Sendable {
    /// How long a client waits.
    let patience: TimeAmount

    private struct Guest: Sendable {
        let loop: any EventLoop
        let handler: NIOLoopBound<HeldClientHandler>
    }

    private struct State {
        var guests: [ShareID: [Int: Guest]] = [:]
        var last = 0
        /// Why nobody waits any more; nil while the room is open.
        var ending: Refusal.Reason?
        var check: Check = { _ in nil }
    }

    /// Says why a client that has waited is not served; nil where it is.
    typealias Check = @Sendable (AdmittedClient) -> Refusal.Reason?

    private let state = NIOLockedValueBox(State())

    init(patience: TimeAmount = .seconds(10)) { self.patience = patience }

    /// Who waited is asked about again when there is a tunnel.
    func setCheck(_ check: @escaping Check) { self.state.withLockedValue { $0.check = check } }

    /// Clients that wait now.
    var count: Int { self.state.withLockedValue { $0.guests.values.reduce(0) { $0 + $1.count } } }

    /// Keeps a client until its share has a tunnel. On the client's event loop, as
    /// ``ClientAcceptor/accept(_:channel:)``.
    ///
    /// - Parameters:
    ///   - client: Who waits.
    ///   - channel: Its connection.
    ///   - tunnel: Asked once more, when ``serve(_:by:)`` would be heard.
    func hold(
        _ client: AdmittedClient, channel: any Channel, tunnel: () -> (any ClientAcceptor)?
    ) {
        let loop = channel.eventLoop
        let (number, ending, check) = self.state.withLockedValue { state in
            state.last += 1
            return (state.last, state.ending, state.check)
        }
        // Who waits again waits no longer for it.
        var client = client
        let until = client.waitsUntil ?? loop.now + self.patience
        client.waitsUntil = until
        if let ending { return ClientStream.refuse(ending, client, channel: channel) }
        let id = client.shareID
        let handler = HeldClientHandler(client, until: until, check: check) {
            self.state.withLockedValue { state in
                state.guests[id]?[number] = nil
                if state.guests[id]?.isEmpty == true { state.guests[id] = nil }
            }
        }
        guard (try? channel.pipeline.syncOperations.addHandler(handler)) != nil else {
            client.lease.release()
            return channel.close(promise: nil)
        }
        let guest = Guest(loop: loop, handler: NIOLoopBound(handler, eventLoop: loop))
        self.state.withLockedValue { $0.guests[id, default: [:]][number] = guest }
        // It may have come up in between.
        if let tunnel = tunnel(), tunnel.canAccept { return handler.serve(by: tunnel) }
        if let ending = self.state.withLockedValue({ $0.ending }) { handler.refuse(ending) }
    }

    /// A share has a tunnel: its clients go there. Any thread.
    func serve(_ id: ShareID, by tunnel: any ClientAcceptor) {
        let guests = self.state.withLockedValue { $0.guests.removeValue(forKey: id) }
        for guest in (guests ?? [:]).values {
            guest.loop.execute { guest.handler.value.serve(by: tunnel) }
        }
    }

    /// Nobody waits any more. Any thread.
    func end(_ reason: Refusal.Reason) {
        let guests = self.state.withLockedValue { state in
            state.ending = reason
            defer { state.guests = [:] }
            return state.guests.values.flatMap(\.values)
        }
        for guest in guests { guest.loop.execute { guest.handler.value.refuse(reason) } }
    }
}

/// Stands for a tunnel that is expected.
final class AwaitedTunnel: ClientAcceptor {
    private let directory: ShareDirectory

    init(directory: ShareDirectory) { self.directory = directory }

    func accept(_ client: AdmittedClient, channel: any Channel) {
        let id = client.shareID
        self.directory.room.hold(client, channel: channel) {
            self.directory.find(.id(id))?.acceptor
        }
    }

    func end(_ reason: Refusal.Reason) {}
}

/// The last handler of a client that waits for a tunnel: keeps what it sends, up to a bound.
final class HeldClientHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Bytes that a client may send ahead: as many as behind its password.
    private static let maximumBytes = 64 * 1_024

    private var client: AdmittedClient?
    private let until: NIODeadline
    private let check: WaitingRoom.Check
    private let onEnd: () -> Void
    private var context: ChannelHandlerContext?
    private var timer: Scheduled<Void>?
    private var isReadWanted = false

    init(
        _ client: AdmittedClient, until: NIODeadline, check: @escaping WaitingRoom.Check,
        onEnd: @escaping () -> Void
    ) {
        self.client = client
        self.until = until
        self.check = check
        self.onEnd = onEnd
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let isolated = context.eventLoop.assumeIsolated()
        self.timer = isolated.scheduleTask(deadline: self.until) { self.refuse(.agentOffline) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        self.timer?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.client?.sent(Self.unwrapInboundIn(data))
    }

    func read(context: ChannelHandlerContext) {
        if let client, client.earlyBytes.readableBytes >= Self.maximumBytes {
            self.isReadWanted = true
        } else {
            context.read()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.take()?.client.lease.release()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    /// A tunnel takes the client.
    func serve(by tunnel: any ClientAcceptor) {
        guard let (client, context) = self.take() else { return }
        let channel = context.channel
        if let objection = self.check(client) {
            return ClientStream.refuse(objection, client, channel: channel)
        }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        tunnel.accept(client, channel: channel)
        if self.isReadWanted { channel.read() }
    }

    /// The client is told that there is none.
    func refuse(_ reason: Refusal.Reason) {
        guard let (client, context) = self.take() else { return }
        ClientStream.refuse(reason, client, channel: context.channel)
    }

    private func take() -> (client: AdmittedClient, context: ChannelHandlerContext)? {
        guard let client, let context else { return nil }
        self.client = nil
        self.timer?.cancel()
        self.onEnd()
        return (client, context)
    }
}

import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import PostgresWire
import SharePolicy
import SharedSession
import TunnelTransport
import TunnelWire

/// The relay's end of one tunnel: the links of one agent, for one share.
///
/// A client is served by the link of its own event loop if there is one that is not busy with
/// bulk data; by another if not. A browser has one link, and one session that a ``SessionHost``
/// shares between all clients.
final class RelayTunnel: ClientAcceptor {
    /// One link and where it lives. Only `link` is bound to its event loop.
    struct Seat: Sendable {
        let session: String
        let loop: any EventLoop
        let link: NIOLoopBound<Link>
        let load: LinkLoad
        let transport: TunnelTransportKind
        var isConnected: Bool
        var isDraining: Bool
        /// What the newest connection was answered with.
        var secret: TunnelSecret
        /// Those before it: good until the agent is heard on the newest connection.
        var earlierSecrets: [TunnelSecret] = []
        /// How much of the link's traffic is in the metrics. On its event loop.
        let counted: NIOLoopBoundBox<Traffic>

        /// Earlier secrets that are kept; the one that was used last is never dropped.
        private static let maximumEarlierSecrets = 8

        /// A RESUME carried one secret and is answered with the next. It may be one that its agent
        /// has given up and TCP delivered late, so the agent may hold any that it was given since
        /// it was heard last.
        mutating func handOut(_ next: TunnelSecret, for carried: String) {
            self.earlierSecrets.append(self.secret)
            self.earlierSecrets.removeAll { $0.matches(carried) }
            self.earlierSecrets.append(TunnelSecret(carried))
            let surplus = self.earlierSecrets.count - Self.maximumEarlierSecrets
            if surplus > 0 { self.earlierSecrets.removeFirst(surplus) }
            self.secret = next
        }

        /// The agent was heard on the newest connection, so it has that one's answer.
        mutating func heard() { self.earlierSecrets = [] }

        /// Whether the agent may hold that secret.
        func admits(_ secret: String) -> Bool {
            // Every one is compared: the time tells nothing.
            self.earlierSecrets.reduce(self.secret.matches(secret)) {
                $1.matches(secret) || $0
            }
        }
    }

    /// Bytes of DATA that a link has moved.
    struct Traffic: Sendable {
        var toDatabase: UInt64 = 0
        var toClient: UInt64 = 0
    }

    private struct State {
        var seats: [Seat] = []
        /// Serves the clients of a browser.
        var host: SessionHost?
        /// No link is taken in any more.
        var isOver = false
        /// The last link has ended, and that was said.
        var isEmpty = false
        var farewell = Farewell.lost
    }

    /// How the agent went, as far as that is known.
    enum Farewell: Sendable {
        /// It was away for longer than the grace: it may be gone for good.
        case lost
        /// The tunnel broke, and an agent then dials anew.
        case broken
        /// It said goodbye.
        case goodbye
    }

    let id = TunnelSecret.random()
    let joinSecret = TunnelSecret()
    let shareID: ShareID
    let owner: OwnerID
    let generation: UInt64
    /// Whether it has one session, a browser's.
    let isBrowser: Bool
    private let expiresAt: Date?
    private let environment: TunnelEnvironment
    private let state = NIOLockedValueBox(State())

    init(share: Share, environment: TunnelEnvironment) {
        self.shareID = share.id
        self.owner = share.owner
        self.generation = share.generation
        self.isBrowser = share.kind == .browser
        self.expiresAt = share.expiresAt
        self.environment = environment
    }

    // MARK: Seats

    /// Takes a link in, unless its event loop has one or the tunnel is over.
    func add(_ seat: Seat) -> Bool {
        self.state.withLockedValue { state in
            let isTaken =
                self.isBrowser
                ? !state.seats.isEmpty : state.seats.contains { $0.loop === seat.loop }
            guard !state.isOver, !isTaken else { return false }
            state.seats.append(seat)
            return true
        }
    }

    /// Forgets a link that has ended.
    ///
    /// - Returns: whether it was the last: the tunnel is then over.
    func remove(session: String) -> Bool {
        self.state.withLockedValue { state in
            state.seats.removeAll { $0.session == session }
            guard state.seats.isEmpty, !state.isEmpty else { return false }
            state.isOver = true
            state.isEmpty = true
            return true
        }
    }

    /// Changes what is known of a link.
    func update(session: String, _ change: (inout Seat) -> Void) {
        self.state.withLockedValue { state in
            guard let index = state.seats.firstIndex(where: { $0.session == session }) else {
                return
            }
            change(&state.seats[index])
        }
    }

    /// The link of that session, if the agent may hold that secret.
    func seat(session: String, secret: String) -> Seat? {
        let seat = self.state.withLockedValue { state in
            state.seats.first { $0.session == session }
        }
        guard let seat, seat.admits(secret) else { return nil }
        return seat
    }

    /// Links that are connected now.
    var connectedLinks: Int {
        self.state.withLockedValue { state in state.seats.count { $0.isConnected } }
    }

    var sessions: [String] { self.state.withLockedValue { $0.seats.map(\.session) } }

    /// Adds to the metrics what the links of that event loop moved since the last time. On it.
    func countTraffic(on loop: any EventLoop) {
        let seats = self.state.withLockedValue { $0.seats.filter { $0.loop === loop } }
        for seat in seats {
            let link = seat.link.value
            let before = seat.counted.value
            let now = Traffic(toDatabase: link.sentBytes, toClient: link.receivedBytes)
            seat.counted.value = now
            let metrics = self.environment.metrics
            metrics.bytesToDatabase.add(Int(now.toDatabase - before.toDatabase))
            metrics.bytesToClient.add(Int(now.toClient - before.toClient))
        }
    }

    /// How a link ended: what the agent said, or was told. The clearest word counts.
    func ended(with error: LinkError?) {
        self.state.withLockedValue { state in
            if error?.code == LinkError.agentStopped {
                state.farewell = .goodbye
            } else if error?.retry == true, case .lost = state.farewell {
                state.farewell = .broken
            }
        }
    }

    var farewell: Farewell { self.state.withLockedValue { $0.farewell } }

    /// Whether no link takes new streams: the agent has moved on, or is about to.
    var isDraining: Bool {
        self.state.withLockedValue { state in
            !state.seats.isEmpty && state.seats.allSatisfy(\.isDraining)
        }
    }

    private func seat(for loop: any EventLoop) -> Seat? {
        let seats = self.state.withLockedValue { $0.seats.filter { !$0.isDraining } }
        let connected = seats.filter(\.isConnected)
        // While every link is cut, a new client waits for the resume like the others do.
        let usable = connected.isEmpty ? seats : connected
        let own = usable.first { $0.loop === loop }
        if let own, !own.load.isBulk { return own }
        return usable.first { !$0.load.isBulk } ?? own ?? usable.first
    }

    // MARK: A browser

    /// Opens the one session of a browser. On the event loop of its link, which just stands.
    func openSession(on link: Link, limits: SessionLimits) {
        let engine = EngineStream(link: link, expiresAt: self.expiresAt)
        let host = SessionHost(
            engine: engine, shareID: self.shareID, limits: limits, on: link.eventLoop,
            environment: self.environment)
        self.state.withLockedValue { $0.host = host }
        engine.open()
    }

    /// The link of a browser is cut, or goes on. On its event loop.
    func linkIsAway(_ isAway: Bool) {
        self.state.withLockedValue { $0.host }?.engineAway(isAway)
    }

    // MARK: ClientAcceptor

    var canAccept: Bool {
        self.state.withLockedValue { state in
            self.isBrowser ? state.host != nil : state.seats.contains { !$0.isDraining }
        }
    }

    func accept(_ client: AdmittedClient, channel: any Channel) {
        let host = self.state.withLockedValue { $0.host }
        if let host { return host.accept(client, channel: channel) }
        guard !self.isBrowser, let seat = self.seat(for: channel.eventLoop) else {
            // Its first link is about to stand, or it drains: another tunnel follows.
            return self.environment.room.hold(client, channel: channel) { self }
        }
        let stream = ClientStream(client: client, channel: channel, environment: self.environment)
        stream.start(client, on: seat)
    }

    /// Ends the share's streams and links: nothing of it may go on.
    func end(_ reason: Refusal.Reason) {
        let refusal = TunnelRefusal.Reason(ending: reason, expiresAt: self.expiresAt, now: Date())
        let reset = StreamReset(
            .ended, sqlState: reason.sqlState.rawValue, text: reason.message)
        self.endLinks(telling: refusal, reset: reset)
    }

    /// Ends every link, telling the agent why and the clients what `reset` says.
    func endLinks(telling reason: TunnelRefusal.Reason, reset: StreamReset) {
        let seats = self.state.withLockedValue { state in
            state.isOver = true
            return state.seats
        }
        let error = LinkError(
            code: reason.code, message: reason.message, retry: reason.isRetryable)
        for seat in seats {
            seat.loop.execute { seat.link.value.end(error, reset: reset) }
        }
    }

    /// Ends a browser's clients as soon as they are at rest.
    func endAtRest(_ reason: Refusal.Reason) {
        self.state.withLockedValue { $0.host }?.endAtRest(reason)
    }

    /// Ends the links that drain and have no stream left. A browser's has always one: it ends with
    /// its last client.
    func endEmptyLinks(_ reason: Refusal.Reason) {
        let (seats, host) = self.state.withLockedValue { ($0.seats, $0.host) }
        let refusal = TunnelRefusal.Reason(ending: reason, expiresAt: self.expiresAt, now: Date())
        let error = LinkError(
            code: refusal.code, message: refusal.message, retry: refusal.isRetryable)
        for seat in seats where seat.isDraining {
            seat.loop.execute {
                let link = seat.link.value
                guard link.machine.streamCount == 0 || host?.isEmpty == true else { return }
                link.end(error, reset: .tunnelLost)
            }
        }
    }

    /// Tells the agent to move on: this relay takes no new streams.
    func goAway() {
        let seats = self.state.withLockedValue { state in
            for index in state.seats.indices { state.seats[index].isDraining = true }
            return state.seats
        }
        for seat in seats {
            seat.loop.execute { seat.link.value.goAway(reason: "drain") }
        }
    }
}

extension TunnelRefusal.Reason {
    /// What whoever shares is told when its clients are told `reason`.
    init(ending reason: Refusal.Reason, expiresAt: Date?, now: Date) {
        if reason == .relayStopping {
            self = .relayStopping
        } else if reason == .shareEnded {
            self = expiresAt.map { $0 <= now } == true ? .shareExpired : .shareRevoked
        } else if reason == .tunnelLost {
            // A page of database.build shares it now.
            self = .takenOver
        } else {
            self = .internalFailure
        }
    }
}

/// What every tunnel of the relay shares.
struct TunnelEnvironment: Sendable {
    let cancels: CancelDirectory
    let metrics: RelayMetrics
    let logger: Logger
    /// Who has a backend now.
    var roster = ClientRoster()
    /// Where clients wait for a tunnel.
    var room = WaitingRoom()
    /// How long clients may stay; those that come from now on.
    var clientLimits: @Sendable () -> ClientLimits = { ClientLimits() }
    /// Puts in what may change while the relay runs.
    var tune: @Sendable (inout TunnelConfiguration) -> Void = { _ in }
    /// Told of a share, and of the generation of its tunnel, when its agent has said goodbye.
    var agentLeft: @Sendable (ShareID, UInt64) -> Void = { _, _ in }

    /// Counts and logs that a tunnel of an owner is turned away.
    ///
    /// - Returns: What to tell it.
    func refused(_ error: any Error, by owner: OwnerID) -> TunnelRefusal.Reason {
        let refusal =
            (error as? TunnelRefusal) ?? TunnelRefusal(.internalFailure, detail: "\(error)")
        self.metrics.tunnelRefusals.add(refusal.reason)
        var facts: [LogKey: String] = [
            .reason: refusal.reason.code, .owner: owner.rawValue,
        ]
        if !refusal.detail.isEmpty { facts[.error] = refusal.detail }
        self.logger.log(.info, "tunnel refused", facts)
        return refusal.reason
    }
}

import Foundation
import NIOCore
import TunnelTransport
import TunnelWire

/// Keeps one link of an agent connected: watches its connection, dials when that is lost or
/// suspect, says RESUME. Runs a ``LinkWatch`` and a ``RedialMachine``; lives on the link's loop.
///
/// A suspect connection stays until another is about to say RESUME: any answer on it ends the race.
final class LinkKeeper {
    /// A dial that has not won yet.
    private struct Racer {
        let attempt: DialAttempt
        /// What it became, while the relay's answer is awaited.
        var channel: (any Channel)?
        var hasAsked = false
    }

    /// A connection that is suspect for longer is told of, though it may yet go on.
    private static let tellAfter = TimeAmount.seconds(3)
    /// How often a grace that is over looks whether the relay has answered the last RESUME.
    private static let lastWordPoll = TimeAmount.milliseconds(50)

    private let link: Link
    private let dialer: TunnelDialer
    /// What the agent was told to begin with.
    private let transport: TunnelTransportKind
    private let welcome: HelloOK
    private let signals: AsyncStream<AgentLink.Signal>.Continuation
    private var secret: String
    /// The relay, or the proxy before it, as it was reached last.
    private var address: SocketAddress?

    private var watch: LinkWatch?
    private var redial = RedialMachine(now: .now())
    private var racers: [Int: Racer] = [:]
    private var random = SystemRandomNumberGenerator()
    private var suspectSince: NIODeadline?
    private var isToldLost = false
    private var isOver = false
    /// RESUMEs in a row that nobody answered: something on the way may swallow them.
    private var lapses = 0

    private var watchTimer: RepeatedTask?
    private var turnTimer: Scheduled<Void>?
    private var graceTimer: Scheduled<Void>?

    init(
        link: Link, dialer: TunnelDialer, transport: TunnelTransportKind, welcome: HelloOK,
        signals: AsyncStream<AgentLink.Signal>.Continuation
    ) {
        self.link = link
        self.dialer = dialer
        self.transport = transport
        self.welcome = welcome
        self.secret = welcome.resumeSecret
        self.signals = signals
    }

    private var loop: any EventLoop { self.link.eventLoop }

    // MARK: What happens to the link

    /// The link stands on that connection.
    func attached(to channel: any Channel) {
        self.address = channel.remoteAddress
        self.suspectSince = nil
        self.watch = LinkWatch(
            heard: self.link.heard, route: RouteProbe.route(of: channel), now: .now())
        self.watchTimer?.cancel()
        let isolated = NIOLoopBound(self, eventLoop: self.loop)
        self.watchTimer = self.loop.scheduleRepeatedTask(
            initialDelay: LinkWatch.every, delay: LinkWatch.every
        ) { _ in isolated.value.look() }
    }

    func disconnected(_ reason: LinkLoss) {
        guard !self.isOver else { return }
        let now = NIODeadline.now()
        self.watchTimer?.cancel()
        self.watchTimer = nil
        self.tellLost(isClosed: reason == .closed, now: now)
        self.watch = nil
        self.suspectSince = nil
        self.graceTimer?.cancel()
        self.scheduleGrace(in: .seconds(Int64(self.welcome.graceSeconds)))
        switch reason {
        case .replaced: break  // One of the racers is about to say RESUME.
        case .closed, .silent: self.dial(now: now)
        }
    }

    func ended() {
        self.isOver = true
        self.watchTimer?.cancel()
        self.graceTimer?.cancel()
        self.giveUpDialling()
    }

    private func look() {
        guard self.link.isConnected, var watch = self.watch, let address else { return }
        let now = NIODeadline.now()
        let sight = LinkWatch.Sight(
            heard: self.link.heard, answered: self.link.machine.answered,
            isAwaiting: self.link.machine.isAwaiting,
            hasStreams: self.link.machine.streamCount > 0,
            roundTrip: self.link.machine.roundTrip, route: RouteProbe.route(to: address),
            wallClock: Int64(Date().timeIntervalSince1970 * 1_000_000_000))
        let verdict = watch.look(sight, now: now)
        self.watch = watch
        switch verdict {
        case .nothing:
            guard let since = self.suspectSince, now - since >= Self.tellAfter else { return }
            self.tellLost(isClosed: false, now: now)
        case .ask:
            self.link.ask()
        case .suspect:
            self.suspectSince = self.suspectSince ?? now
            self.link.ask()
            switch self.succession {
            case .keeps: break
            case .onceLetIn: self.dial(after: self.spread(), now: now)
            case .now: self.dial(now: now)
            }
        case .trust:
            self.suspectSince = nil
            self.giveUpDialling()
            self.tellResumed()
        }
    }

    /// Whether another connection may take the place of the old one.
    private var succession: LinkSuccession {
        LinkSuccession(
            isConnected: self.link.isConnected, isSuspect: self.watch?.isSuspect ?? false,
            hasMoved: self.watch?.hasMoved ?? false, isDraining: self.link.machine.isDraining)
    }

    // MARK: Telling

    private func tellLost(isClosed: Bool, now: NIODeadline) {
        guard !self.isToldLost else { return }
        self.isToldLost = true
        let since = self.watch?.silentSince(isClosed: isClosed, heard: self.link.heard, now: now)
        self.signals.yield(.lost(silence: now - (since ?? now)))
    }

    private func tellResumed() {
        guard self.isToldLost else { return }
        self.isToldLost = false
        self.signals.yield(.resumed)
    }

    // MARK: Dialling

    private func dial(after wait: TimeAmount = .zero, now: NIODeadline) {
        self.redial.begin(roundTrip: self.link.machine.roundTrip, after: wait, now: now)
        self.turn()
    }

    private func spread() -> TimeAmount {
        let most = RedialMachine.spread.nanoseconds
        return .nanoseconds(Int64.random(in: 0...most, using: &self.random))
    }

    private func giveUpDialling() {
        self.perform(self.redial.stop())
        self.turnTimer?.cancel()
        self.turnTimer = nil
        self.lapses = 0
    }

    private func turn() {
        guard !self.isOver else { return }
        guard self.succession != .keeps else { return self.giveUpDialling() }
        self.perform(self.redial.turn(now: .now(), using: &self.random))
        self.scheduleTurn()
    }

    private func scheduleTurn() {
        self.turnTimer?.cancel()
        guard let next = self.redial.nextTurn(now: .now()) else { return }
        self.turnTimer = self.loop.assumeIsolated().scheduleTask(deadline: next) { self.turn() }
    }

    private func perform(_ actions: [RedialMachine.Action]) {
        for action in actions {
            switch action {
            case .dial(let id, let byName): self.begin(id, byName: byName)
            case .abandon(let id):
                guard let racer = self.racers.removeValue(forKey: id) else { continue }
                if racer.hasAsked { self.lapses += 1 }
                racer.attempt.abandon()
                guard let channel = racer.channel else { continue }
                // The relay must not hear it later: the next one's RESUME may be before it.
                if racer.hasAsked {
                    TunnelSocket.abort(channel)
                } else {
                    channel.close(promise: nil)
                }
            }
        }
    }

    private func begin(_ id: Int, byName: Bool) {
        let isolated = NIOLoopBound(self, eventLoop: self.loop)
        var plan = DialPlan()
        // A RESUME that nobody answers may have been swallowed for being early, or for not being
        // a WebSocket; more likely the network went away once more.
        let isDoubtful = self.lapses % 3
        plan.transport = isDoubtful == 2 ? .webSocket : self.transport
        plan.address = byName ? nil : self.address
        plan.connected = { isolated.value.connected(id) }
        if self.welcome.earlyResume == true, isDoubtful == 0 {
            plan.opening = { isolated.value.open(id) }
        }
        let attempt = self.dialer.attempt(plan, on: self.loop)
        self.racers[id] = Racer(attempt: attempt)
        attempt.tunnel.assumeIsolated().whenComplete { self.dialed(id, $0) }
    }

    private func connected(_ id: Int) {
        guard self.racers[id] != nil else { return }
        self.perform(self.redial.connected(id, now: .now()))
        self.scheduleTurn()
    }

    /// What travels behind the request; nil if the relay must let this connection in first.
    private func open(_ id: Int) -> ByteBuffer? {
        guard self.isWanted(id), self.succession == .now else { return nil }
        return self.makeResume(id).frame
    }

    /// Whether that attempt may go on: what came since the last look may have cleared the old
    /// connection.
    private func isWanted(_ id: Int) -> Bool {
        self.look()
        if self.succession == .keeps { self.giveUpDialling() }
        return !self.isOver && self.racers[id] != nil
    }

    /// RESUME leaves: from here on nothing of the old connection may be taken.
    private func makeResume(_ id: Int) -> Resume {
        self.perform(self.redial.asked(id, now: .now()))
        self.racers[id]?.hasAsked = true
        self.scheduleTurn()
        let received = self.link.replaceConnection()
        return Resume(session: self.welcome.session, secret: self.secret, received: received)
    }

    private func dialed(_ id: Int, _ result: Result<DialedTunnel, any Error>) {
        switch result {
        case .failure(let error): self.failed(id, error)
        case .success(let dialed):
            let isWanted =
                dialed.hasOpened ? !self.isOver && self.racers[id] != nil : self.isWanted(id)
            guard isWanted else { return dialed.channel.close(promise: nil) }
            self.racers[id]?.channel = dialed.channel
            let answer = AgentHandshakeHandler.start(
                AgentHandshake(resume: self.makeResume(id)), on: dialed,
                makeHandler: { _ in
                    self.link.isOver || self.racers[id] == nil
                        ? nil : LinkHandler(link: self.link, transport: dialed.transport)
                },
                attach: { answer, handler in
                    try self.won(id, answer, handler, on: dialed.channel)
                })
            answer.assumeIsolated().whenFailure { self.failed(id, $0) }
        }
    }

    private func won(
        _ id: Int, _ answer: AgentHandshakeHandler.Answer, _ handler: LinkHandler,
        on channel: any Channel
    ) throws {
        guard case .resumed(let ok) = answer else { throw LinkViolation.unexpected(.helloOK) }
        self.secret = ok.resumeSecret
        self.racers[id] = nil
        self.giveUpDialling()
        self.graceTimer?.cancel()
        self.graceTimer = nil
        try self.link.resume(on: handler, peerReceived: ok.received)
        self.attached(to: channel)
        self.tellResumed()
    }

    private func failed(_ id: Int, _ error: any Error) {
        guard let racer = self.racers.removeValue(forKey: id) else { return }
        if let refusal = error as? LinkError, refusal.code == LinkError.resumeExpired {
            // The relay is there, and knows nothing of the link: HELLO can be said at once.
            let reason = "the relay does not know the connection any more"
            return self.expire(
                LinkError(code: LinkError.resumeExpired, message: reason, retry: true))
        }
        let failure = Self.failure(error)
        switch failure {
        case .turnedAway: self.lapses = 0
        case .cut, .unreachable: if racer.hasAsked { self.lapses += 1 }
        }
        self.redial.failed(id, failure, now: .now(), using: &self.random)
        self.scheduleTurn()
    }

    private static func failure(_ error: any Error) -> RedialMachine.Failure {
        switch error {
        case let error as DialError:
            error.isUnreachable ? .unreachable : error.isCut ? .cut : .turnedAway
        case let error as LinkError:
            AgentHandshakeHandler.isSilence(error) ? .cut : .turnedAway
        case is LinkViolation: .turnedAway
        default: .cut
        }
    }

    // MARK: Grace

    private func scheduleGrace(in time: TimeAmount) {
        self.graceTimer = self.loop.assumeIsolated().scheduleTask(in: time) { self.graceIsOver() }
    }

    /// A RESUME that the relay may have taken already is not walked away from: it would keep the
    /// clients waiting for a link that nobody holds.
    private func graceIsOver() {
        guard self.redial.isAsking(now: .now()) else { return self.expire(nil) }
        self.scheduleGrace(in: Self.lastWordPoll)
    }

    /// - Parameter refusal: What the relay answered; nil if it did not.
    private func expire(_ refusal: LinkError?) {
        guard !self.isOver else { return }
        self.signals.yield(.expired)
        // RESUME was said, or the grace is over: there is no connection that this could go to.
        self.link.end(refusal, reset: .tunnelLost)
    }
}

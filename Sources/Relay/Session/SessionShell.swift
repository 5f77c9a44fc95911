import Logging
import NIOCore
import PostgresWire
import SharePolicy
import SharedSession

/// Runs a ``SharedSession`` on its event loop: feeds it, performs what it says, keeps its timer.
final class SessionShell {
    /// From the tunnel's first frame to an engine that answers.
    private static let openTimeout = TimeAmount.seconds(45)

    /// One client, and what was decided for it but not handed over yet.
    struct Seat {
        let peer: SessionPeer
        var orders: [SessionOrder] = []
        var isDirty = false
        let arrivedAt: NIODeadline
        /// When bytes of it or for it were seen last.
        var activeAt: NIODeadline
    }

    private let engine: any EngineLink
    private let shareID: ShareID
    private let limits: SessionLimits
    let loop: any EventLoop
    let environment: TunnelEnvironment

    /// Nil until the engine has answered.
    var machine: SharedSession?
    var seats: [SessionClientID: Seat] = [:]
    var early = EarlyClients()
    private var dirty: [SessionClientID] = []
    private var clock = SessionClock()
    private var timer: (at: NIODeadline, task: Scheduled<Void>)?
    private var openTimer: Scheduled<Void>?
    private var isSettling = false
    private var waiting = 0
    private var page = PageEvents()
    private var end: EngineEnd?
    /// Why every client is ended at its next rest; nil while none is.
    var ending: Refusal.Reason?
    var restTimer: Scheduled<Void>?

    init(
        engine: any EngineLink, shareID: ShareID, limits: SessionLimits, loop: any EventLoop,
        environment: TunnelEnvironment
    ) {
        self.engine = engine
        self.shareID = shareID
        self.limits = limits
        self.loop = loop
        self.environment = environment
    }

    /// The engine must answer from here on.
    func start() {
        guard self.machine == nil, self.end == nil else { return }
        self.openTimer = self.loop.assumeIsolated().scheduleTask(in: Self.openTimeout) {
            guard self.machine == nil, self.end == nil else { return }
            // A tunnel that is away may come back; then it has its time.
            guard !self.clock.isStopped else { return self.start() }
            self.end(.databaseUnreachable)
        }
    }

    // MARK: Clients

    func arrived(
        _ id: SessionClientID, _ arrival: SessionArrival, _ bytes: ByteBuffer, _ peer: SessionPeer
    ) {
        let now = self.loop.now
        self.seats[id] = Seat(peer: peer, arrivedAt: now, activeAt: now)
        if let end { return self.refuse(id, end) }
        if let ending { return self.refuse(id, EngineEnd(ending)) }
        self.lookAtRestLater()
        self.page.connected(id, arrival)
        if self.machine == nil || self.clock.isStopped {
            let deadline = self.loop.now + self.limits.waitTimeout
            self.early.append(id, arrival, bytes, until: deadline)
        } else {
            self.greet(id, arrival, bytes)
        }
        self.settle()
    }

    private func greet(_ id: SessionClientID, _ arrival: SessionArrival, _ bytes: ByteBuffer) {
        // The page hears of a client before it hears from it.
        self.tellPage()
        self.machine?.arrived(id, arrival, now: self.now)
        guard bytes.readableBytes > 0 else { return }
        self.machine?.received(bytes, from: id, now: self.now)
    }

    func refuse(_ id: SessionClientID, _ end: EngineEnd) {
        self.order(.write(end.error.encoded(), credit: 0), id)
        self.order(.close, id)
        self.flushClients()
    }

    func received(_ bytes: ByteBuffer, from id: SessionClientID) {
        self.seats[id]?.activeAt = self.loop.now
        guard !self.early.receive(bytes, from: id) else { return self.tellNow(.pause, id) }
        self.machine?.received(bytes, from: id, now: self.now)
        self.settle()
    }

    func left(_ id: SessionClientID) {
        guard self.seats.removeValue(forKey: id) != nil else { return }
        self.early.remove(id)
        self.page.disconnected(id)
        self.machine?.left(id, now: self.now)
        self.settle()
    }

    func stalled(_ id: SessionClientID, _ isStalled: Bool) {
        self.machine?.stalled(id, isStalled, now: self.now)
        self.settle()
    }

    func cancel(_ id: SessionClientID) {
        self.machine?.cancel(id, now: self.now)
        self.settle()
    }

    func credit(_ bytes: Int) { self.engine.credit(bytes) }

    /// The share is over, or the relay.
    func end(_ reason: Refusal.Reason) {
        self.engineGone(EngineEnd(reason))
        self.engine.close(reason)
    }

    var isOver: Bool { self.end != nil }

    // MARK: Performing

    var now: NIODeadline { self.clock.now(self.loop.now) }

    /// Performs what the machine decided, until it has decided nothing more.
    ///
    /// - Parameter flushing: Whether clients get it now; the rest of a read of the engine may
    ///   follow at once.
    func settle(flushing: Bool = true) {
        // What happens while something is performed is performed behind it.
        guard !self.isSettling else { return }
        self.isSettling = true
        defer { self.isSettling = false }
        var action = self.machine?.nextAction()
        repeat {
            while let next = action {
                self.perform(next)
                action = self.machine?.nextAction()
                if action == nil, self.endThoseAtRest() { action = self.machine?.nextAction() }
            }
            self.tellPage()
            self.engine.flush()
            if flushing { self.flushClients() }
            // Sockets may have filled up, or closed, at that.
            action = self.machine?.nextAction()
        } while action != nil
        self.setTimer()
        self.countWaiting()
    }

    private func perform(_ action: SharedSession.Action) {
        switch action {
        case .send(let id, let bytes, let credit):
            if self.seats[id] == nil {
                self.engine.credit(credit)
            } else {
                self.seats[id]?.activeAt = self.loop.now
                self.order(.write(bytes, credit: credit), id)
            }
        case .credit(let bytes): self.engine.credit(bytes)
        case .pause(let id): self.order(.pause, id)
        case .resume(let id): self.order(.resume, id)
        case .close(let id): self.order(.close, id)
        case .hold: self.engine.hold()
        case .release: self.engine.release()
        case .data(let bytes): self.engine.data(bytes)
        case .run:
            self.environment.metrics.engineCalls.add()
            self.engine.run()
        case .drop: self.engine.drop()
        case .restart: self.engine.restart()
        case .log(let event): self.report(event)
        }
    }

    /// Hands an order to a client of this event loop; gathers it for one of another.
    private func order(_ order: SessionOrder, _ id: SessionClientID) {
        guard let seat = self.seats[id] else { return }
        if seat.peer.isHere {
            seat.peer.handler.value.perform(order)
        } else {
            self.seats[id]?.orders.append(order)
        }
        guard !seat.isDirty else { return }
        self.seats[id]?.isDirty = true
        self.dirty.append(id)
    }

    private func tellNow(_ order: SessionOrder, _ id: SessionClientID) {
        self.order(order, id)
        self.flushClients()
    }

    private func flushClients() {
        while !self.dirty.isEmpty {
            var dirty: [SessionClientID] = []
            swap(&dirty, &self.dirty)
            for id in dirty { self.flush(id) }
            // Keeps the room it has, where nothing was added meanwhile.
            dirty.removeAll(keepingCapacity: true)
            if self.dirty.isEmpty { swap(&dirty, &self.dirty) }
        }
    }

    private func flush(_ id: SessionClientID) {
        guard let seat = self.seats[id] else { return }
        self.seats[id]?.isDirty = false
        let peer = seat.peer
        guard !peer.isHere else { return peer.handler.value.perform(.flush) }
        self.seats[id]?.orders = []
        let orders = seat.orders
        peer.loop.execute {
            let handler = peer.handler.value
            for order in orders { handler.perform(order) }
            handler.perform(.flush)
        }
    }

    // MARK: Timers

    /// One timer, left where it is when the deadline moves on: most are never reached.
    private func setTimer() {
        guard let at = self.nextDeadline else { return }
        if let timer, timer.at <= at { return }
        self.timer?.task.cancel()
        let task = self.loop.assumeIsolated().scheduleTask(deadline: at) {
            self.timer = nil
            self.tick()
        }
        self.timer = (at, task)
    }

    private var nextDeadline: NIODeadline? {
        let ofMachine = self.clock.isStopped ? nil : self.machine?.nextDeadline
        let deadlines = [ofMachine.map { self.clock.real($0) }, self.early.nextDeadline]
        return deadlines.compactMap { $0 }.min()
    }

    private func tick() {
        for id in self.early.takeLate(now: self.loop.now) {
            self.environment.metrics.refusals.add(.agentOffline)
            self.refuse(id, EngineEnd(.agentOffline))
        }
        if !self.clock.isStopped, let due = self.machine?.nextDeadline, due <= self.now {
            self.machine?.tick(now: self.now)
            return self.settle()
        }
        self.setTimer()
    }

    private func stopTimers() {
        self.timer?.task.cancel()
        self.timer = nil
        self.openTimer?.cancel()
        self.openTimer = nil
        self.restTimer?.cancel()
        self.restTimer = nil
    }

    // MARK: Telling

    private func tellPage() {
        while let event = self.page.next() { self.engine.event(event) }
    }

    private func countWaiting() {
        let waiting = (self.machine?.waitingCount ?? 0) + self.early.count
        guard waiting != self.waiting else { return }
        self.environment.metrics.sessionClientsWaiting.increment(by: waiting - self.waiting)
        self.waiting = waiting
    }

    private func report(_ event: SessionEvent) {
        let metrics = self.environment.metrics
        switch event {
        case .served(_, let waited): metrics.sessionWaitSeconds.record(waited.duration)
        case .waitTimedOut(let id, let holder):
            metrics.sessionTimeouts.add(.wait)
            self.log("a client waited too long for its turn", id, holder: holder)
        case .holderTimedOut(let id):
            metrics.sessionTimeouts.add(.idle)
            self.log("a client kept others waiting for too long", id)
        case .rolledBack(let id):
            self.log("the transaction of a client that left was rolled back", id)
        case .ended(let id, let state):
            self.log("a client was ended", id, state: state)
        case .faulted(let id):
            metrics.engineFaults.add()
            self.log("a call to the engine failed", id, level: .warning)
        case .restarted:
            metrics.engineRestarts.add()
            self.log("the engine's session is new", nil)
        }
    }

    private func log(
        _ message: Logger.Message, _ id: SessionClientID?, holder: SessionClientID? = nil,
        state: SQLState? = nil, level: Logger.Level = .info
    ) {
        self.environment.logger.log(
            level, message,
            {
                var facts: [LogKey: String] = [.share: self.shareID.rawValue]
                facts[.client] = id.map { "\($0.rawValue)" }
                facts[.holder] = holder.map { "\($0.rawValue)" }
                facts[.sqlstate] = state?.rawValue
                return facts
            }())
    }
}

// MARK: - The engine's side

extension SessionShell: EngineLinkDelegate {
    func engineOpened(_ capabilities: EngineCapabilities) {
        guard self.machine == nil, self.end == nil else { return }
        self.openTimer?.cancel()
        self.openTimer = nil
        self.machine = SharedSession(limits: self.limits, capabilities: capabilities)
        self.greetEarly()
        self.settle()
    }

    private func greetEarly() {
        guard self.machine != nil, !self.clock.isStopped else { return }
        for client in self.early.takeAll() {
            if client.isPaused { self.order(.resume, client.id) }
            self.greet(client.id, client.arrival, client.bytes)
        }
    }

    func engineHeld() {
        self.machine?.held(now: self.now)
        self.settle(flushing: false)
    }

    func engineReplied(_ bytes: ByteBuffer) {
        self.machine?.replied(bytes, now: self.now)
        self.settle(flushing: false)
    }

    func engineDone() {
        self.machine?.done(now: self.now)
        self.settle(flushing: false)
    }

    func engineFaulted(_ message: String, restarted: Bool) {
        self.machine?.faulted(message, restarted: restarted, now: self.now)
        self.settle(flushing: false)
    }

    func engineSessionLost(_ message: String) {
        self.machine?.sessionLost(message, now: self.now)
        self.settle()
    }

    func engineRestarted() {
        self.machine?.restarted(now: self.now)
        self.settle(flushing: false)
    }

    func engineNotified(_ message: ByteBuffer) {
        self.machine?.notified(message, now: self.now)
        self.settle(flushing: false)
    }

    func engineFlushed() { self.settle() }

    func engineMayGoOn(_ mayGoOn: Bool) {
        self.page.mayGoOn = mayGoOn
        self.machine?.engineStalled(!mayGoOn, now: self.now)
        self.settle()
    }

    func engineAway(_ isAway: Bool) {
        if isAway {
            self.clock.stop(self.loop.now)
            self.timer?.task.cancel()
            self.timer = nil
            self.setTimer()
        } else {
            self.clock.go(self.loop.now)
            self.greetEarly()
            self.settle()
        }
    }

    func engineGone(_ end: EngineEnd) {
        guard self.end == nil else { return }
        self.end = end
        self.stopTimers()
        for client in self.early.takeAll() { self.refuse(client.id, end) }
        self.machine?.engineGone(
            SQLState(rawValue: end.sqlState), end.message, now: self.now)
        self.settle()
        self.stopTimers()
    }
}

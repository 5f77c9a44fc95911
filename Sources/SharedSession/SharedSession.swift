package import NIOCore
import PostgresWire

/// Many Postgres clients on one backend session, each as if it were alone.
///
///     arrived ─▶ waiting ─▶ holder ─▶ idle ─▶ left
///                   ▲                   │
///                   └──── next exchange ┘
///
/// A *lease* is a whole exchange, from its first message to the ReadyForQuery that answers its Sync
/// or Query, and longer while a transaction is open. Leases are given in the order they were asked
/// for. Between two clients, *hidden* calls learn what the first one changed in the session and put
/// back what the second one had.
///
/// Each verb changes facts; then ``settle(now:)`` looks at the facts alone to find the next step.
///
/// Pure: no channel, no clock, no logger. After each verb run ``nextAction()`` until it is nil, and
/// call ``tick(now:)`` at ``nextDeadline``.
package struct SharedSession: Sendable {
    let limits: SessionLimits
    let capabilities: EngineCapabilities

    var clients: [SessionClientID: SessionClientState] = [:]
    var queue = LeaseQueue()
    /// Whose exchange it is.
    var holder: SessionClientID?
    /// Whose settings are in the engine's session; nil where they are nobody's.
    var settled: SessionClientID?
    /// Who keeps the session for what cannot be taken out of it.
    var pinned: SessionClientID?
    /// Until when the session stays taken though nobody waits.
    var lingerUntil: NIODeadline?
    var engine = EngineState()
    var call: EngineCall?
    var output = ReplyOutput()
    var actions = ActionList()

    package init(limits: SessionLimits, capabilities: EngineCapabilities) {
        self.limits = limits
        self.capabilities = capabilities
    }

    /// Clients that are here.
    package var clientCount: Int { self.clients.count }

    /// Clients that wait for their turn.
    package var waitingCount: Int { self.queue.count }

    /// What to do next, or nil until the next verb.
    package mutating func nextAction() -> Action? { self.actions.next() }

    // MARK: Clients

    /// A client was admitted and has been sent AuthenticationOk; nothing more.
    package mutating func arrived(
        _ id: SessionClientID,
        _ arrival: SessionArrival,
        now: NIODeadline
    ) {
        guard self.clients[id] == nil else { return }
        self.clients[id] = SessionClientState(
            id: id, arrival: arrival, generation: self.engine.generation)
        if let ending = self.engine.ending {
            self.end(id, ending)
        } else if arrival.request.isReplication {
            self.end(id, .replication)
        } else {
            self.enqueue(id, now: now)
        }
        self.settle(now: now)
    }

    /// Bytes of a client, cut anywhere.
    package mutating func received(
        _ bytes: ByteBuffer,
        from id: SessionClientID,
        now: NIODeadline
    ) {
        guard self.clients[id] != nil else { return }
        self.noteProgress(id, bytes.readableBytes, now: now)
        self.clients[id]?.inbox.receive(bytes)
        self.lookAtInbox(of: id, now: now)
        self.settle(now: now)
        self.updatePause(id)
    }

    /// A client's socket is gone; also after ``Action/close(_:)``.
    package mutating func left(_ id: SessionClientID, now: NIODeadline) {
        guard self.clients[id] != nil else { return }
        self.forget(id)
        self.settle(now: now)
    }

    /// A client's socket takes nothing, or takes again.
    package mutating func stalled(
        _ id: SessionClientID,
        _ isStalled: Bool,
        now: NIODeadline
    ) {
        self.clients[id]?.isStalled = isStalled
        if self.holder == id {
            self.restartSilence(id, now: now)
        } else if !isStalled {
            self.sendNotifications(id)
        }
        self.settle(now: now)
        self.updatePause(id)
    }

    // MARK: Engine

    /// The engine is ours; the answer to ``Action/hold``.
    package mutating func held(now: NIODeadline) {
        if self.engine.presence == .ours { self.engine.heldSince = now }
        self.settle(now: now)
    }

    /// The engine's session is new: settings, statements, LISTENs are gone.
    package mutating func restarted(now: NIODeadline) {
        guard self.engine.presence != .gone else { return }
        self.engineIsNew()
        self.settle(now: now)
    }

    /// The way to the engine takes no ``Action/data(_:)`` for a while, or takes it again: whoever
    /// sends it something large is not read meanwhile.
    package mutating func engineStalled(_ isStalled: Bool, now: NIODeadline) {
        self.engine.isStalled = isStalled
        if let holder = self.holder { self.restartSilence(holder, now: now) }
        self.settle(now: now)
    }

    // MARK: Parts that the others use

    mutating func enqueue(_ id: SessionClientID, now: NIODeadline) {
        guard !self.queue.contains(id), self.holder != id else { return }
        self.queue.append(id)
        self.clients[id]?.waitingSince = now
        self.clients[id]?.isNoticed = false
    }

    mutating func send(_ id: SessionClientID, _ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        self.actions.append(.send(id, bytes, credit: 0))
    }

    /// A client is read as long as what it sends has a place to go.
    mutating func updatePause(_ id: SessionClientID) {
        guard let client = self.clients[id] else { return }
        // Who takes no answers gets no more of them.
        var mustPause = client.inbox.readableBytes >= self.limits.queuedBytes || client.isStalled
        if self.holder == id, client.owedReady == nil {
            if self.call == nil {
                mustPause = false
            } else if let call = self.call, call.owner == .client(id), !call.isRunning {
                mustPause = self.engine.isStalled && call.sentBytes > 0
            }
        }
        guard mustPause != client.isPaused else { return }
        self.clients[id]?.isPaused = mustPause
        self.actions.append(mustPause ? .pause(id) : .resume(id))
    }
}

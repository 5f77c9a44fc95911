package import NIOCore

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
/// Pure: no channel, no clock, no logger. After each verb run ``nextAction()`` until it is nil, and
/// call ``tick(now:)`` at ``nextDeadline``.
package struct SharedSession: Sendable {
    let limits: SessionLimits
    let capabilities: EngineCapabilities

    var clients: [SessionClientID: SessionClientState] = [:]
    var actions = ActionList()

    package init(limits: SessionLimits, capabilities: EngineCapabilities) {
        self.limits = limits
        self.capabilities = capabilities
    }

    /// Clients that are here.
    package var clientCount: Int { self.clients.count }

    /// Clients that wait for their turn.
    package var waitingCount: Int { 0 }

    /// When ``tick(now:)`` is due, or nil.
    package var nextDeadline: NIODeadline? { nil }

    /// What to do next, or nil until the next verb.
    package mutating func nextAction() -> Action? { self.actions.next() }

    // MARK: Clients

    /// A client was admitted and has been sent AuthenticationOk; nothing more.
    package mutating func arrived(
        _ id: SessionClientID,
        _ arrival: SessionArrival,
        now: NIODeadline
    ) {
        self.clients[id] = SessionClientState(arrival: arrival)
    }

    /// Bytes of a client, cut anywhere.
    package mutating func received(
        _ bytes: ByteBuffer,
        from id: SessionClientID,
        now: NIODeadline
    ) {}

    /// A client's socket is gone; also after ``Action/close(_:)``.
    package mutating func left(_ id: SessionClientID, now: NIODeadline) {
        self.clients[id] = nil
    }

    /// Somebody brought this client's cancel key.
    package mutating func cancel(_ id: SessionClientID, now: NIODeadline) {}

    /// A client's socket takes nothing, or takes again.
    package mutating func stalled(
        _ id: SessionClientID,
        _ isStalled: Bool,
        now: NIODeadline
    ) {}

    // MARK: Engine

    /// The engine is ours; the answer to ``Action/hold``.
    package mutating func held(now: NIODeadline) {}

    /// Part of a call's reply.
    package mutating func replied(_ bytes: ByteBuffer, now: NIODeadline) {}

    /// A call is over.
    package mutating func done(now: NIODeadline) {}

    /// A call failed outside of SQL and is over; `restarted` where the engine is new already.
    package mutating func faulted(_ message: String, restarted: Bool, now: NIODeadline) {}

    /// The engine's session is new: settings, statements, LISTENs are gone.
    package mutating func restarted(now: NIODeadline) {}

    /// One whole NotificationResponse that came up outside of any call.
    package mutating func notified(_ message: ByteBuffer, now: NIODeadline) {}

    /// The way to the engine takes no ``Action/data(_:)`` for a while, or takes it again: whoever
    /// sends it something large is not read meanwhile.
    package mutating func engineStalled(_ isStalled: Bool, now: NIODeadline) {}

    /// The way to the engine is gone for a while and will come back as it was.
    package mutating func engineLost() {}

    /// The engine is gone for good; every client is ended.
    package mutating func engineGone(_ reason: String, now: NIODeadline) {}

    /// Time has passed.
    package mutating func tick(now: NIODeadline) {}
}

/// Actions that were not taken yet.
struct ActionList: Sendable {
    private var waiting: [SharedSession.Action] = []
    private var first = 0

    mutating func append(_ action: SharedSession.Action) { self.waiting.append(action) }

    mutating func next() -> SharedSession.Action? {
        guard self.first < self.waiting.count else { return nil }
        defer {
            self.first += 1
            if self.first == self.waiting.count {
                self.waiting.removeAll(keepingCapacity: true)
                self.first = 0
            }
        }
        return self.waiting[self.first]
    }
}

/// A client, as far as it is known.
struct SessionClientState: Sendable {
    var arrival: SessionArrival
}

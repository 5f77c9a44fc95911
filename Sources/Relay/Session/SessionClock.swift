import NIOCore
import PostgresWire
import SharedSession

/// The time as a session sees it: it stands still while the tunnel is away, so that nobody's time
/// runs out over something that clients can do nothing about.
struct SessionClock: Sendable {
    /// How long the tunnel was away so far.
    private var absence = TimeAmount.zero
    private var stoppedAt: NIODeadline?

    init() {}

    var isStopped: Bool { self.stoppedAt != nil }

    /// The session's time at the real one.
    func now(_ real: NIODeadline) -> NIODeadline { (self.stoppedAt ?? real) - self.absence }

    /// The real time at the session's, if the tunnel does not go away before.
    func real(_ session: NIODeadline) -> NIODeadline { session + self.absence }

    mutating func stop(_ real: NIODeadline) {
        if self.stoppedAt == nil { self.stoppedAt = real }
    }

    mutating func go(_ real: NIODeadline) {
        guard let stoppedAt else { return }
        self.absence = self.absence + (real - stoppedAt)
        self.stoppedAt = nil
    }
}

/// What the page has not been told of its clients yet. While the way to it is full, who came and
/// left again is not told of at all, so this never grows beyond the clients that are here and
/// those it was told of.
struct PageEvents: Sendable {
    /// Whether the way takes more.
    var mayGoOn = true
    private var waiting: [PageEvent] = []

    init() {}

    mutating func connected(_ id: SessionClientID, _ arrival: SessionArrival) {
        let application = arrival.request.parameters.last { $0.name == "application_name" }
        self.waiting.append(
            .connected(id.rawValue, address: arrival.address, application: application?.value))
    }

    mutating func disconnected(_ id: SessionClientID) {
        let untold = self.waiting.firstIndex { event in
            if case .connected(id.rawValue, _, _) = event { true } else { false }
        }
        if let untold {
            self.waiting.remove(at: untold)
        } else {
            self.waiting.append(.disconnected(id.rawValue))
        }
    }

    /// The next one to tell, or nil.
    mutating func next() -> PageEvent? {
        guard self.mayGoOn, !self.waiting.isEmpty else { return nil }
        return self.waiting.removeFirst()
    }
}

extension TimeAmount {
    /// The same span, as the standard library has it.
    var duration: Duration { .nanoseconds(self.nanoseconds) }
}

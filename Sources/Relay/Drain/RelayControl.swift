import Logging

/// What a relay was told, and how far it is: the one place that its parts ask.
actor RelayControl {
    /// How a relay ends.
    enum End: Hashable, Sendable {
        /// Clients are waited for.
        case drain
        /// Nobody is waited for.
        case now
    }

    private let doors: Int
    private var ports: [AgentDoorPlace: Int] = [:]
    private var end: End?
    private var signals = 0
    private var failure: RelayError?
    private var waiters: [CheckedContinuation<Void, Never>] = []

    /// - Parameter doors: Doors for agents and the API.
    init(doors: Int) { self.doors = doors }

    /// Whether it serves: all doors are open, and it was not told to end.
    var isOpen: Bool { self.end == nil && self.ports.count == self.doors }

    /// Whether nobody is waited for any more.
    var mustStop: Bool { self.end == .now }

    /// One more door is open.
    ///
    /// - Returns: The ports of all of them, once it was the last.
    func opened(_ place: AgentDoorPlace, port: Int) -> [AgentDoorPlace: Int]? {
        self.ports[place] = port
        return self.isOpen ? self.ports : nil
    }

    /// Whether it was told to end.
    var isOver: Bool { self.end != nil }

    /// Waits until it is told to end.
    ///
    /// - Throws: Why it cannot go on, where that is the reason.
    func waitForEnd() async throws {
        if self.end == nil { await withCheckedContinuation { self.waiters.append($0) } }
        if let failure { throw failure }
    }

    /// It cannot go on: all of it ends at once.
    func fail(_ error: RelayError) {
        if self.end == nil { self.failure = error }
        self.end(.now)
    }

    /// Ends it. Who is told to drain may be told to stop after all, not the other way round.
    func end(_ end: End) {
        if self.end != .now { self.end = end }
        for waiter in self.waiters { waiter.resume() }
        self.waiters = []
    }

    /// The second signal counts for more than the first: drains, then stops. A relay that drains
    /// because another one took over goes on draining at the first.
    ///
    /// - Returns: what it does now.
    func signalled() -> End {
        self.signals += 1
        self.end(self.signals == 1 ? .drain : .now)
        return self.end ?? .now
    }
}

/// Where one of the doors for agents and the API stands.
struct AgentDoorPlace: Hashable, Sendable {
    let host: String
    /// As it was asked for; 0 picks a free one.
    let port: Int
    let usesTLS: Bool
}

package import NIOCore

/// Which dials to make to bring a link back, and which to give up.
///
/// A packet that is lost in an outage is sent again after a second, then two, then four. So no
/// attempt is waited for: a new one begins every ``interval`` (later ``patientInterval``) until one
/// has connected, and when the network is back, one of them is at most that old.
///
///                 TCP connected          RESUME leaves           RESUME_OK
///     connecting ──────────────▶ greeting ────────────▶ asking ────────────▶ (done)
///         │ others connecting        │ all others         │
///         ▼ are given up             ▼ are given up       ▼ overdue: dialled beside
///
/// Pure: the shell does what it is told, calls ``turn(now:using:)`` at ``nextTurn(now:)``, and
/// says what became of each attempt.
package struct RedialMachine: Sendable {
    package enum Action: Hashable, Sendable {
        /// Begin an attempt. If `byName`, look the relay's name up: it may have moved.
        case dial(Int, byName: Bool)
        /// Close what there is of it.
        case abandon(Int)
    }

    /// Why an attempt is over.
    package enum Failure: Hashable, Sendable {
        /// No route, or no answer: nobody was bothered, so nothing is to be gone easy on.
        case unreachable
        /// Refused, or hung up on, by whatever stands there: it is probably being restarted.
        case cut
        /// The relay said no: ERROR, an HTTP status, a certificate that does not fit.
        case turnedAway
    }

    fileprivate enum Phase: Sendable {
        case connecting
        case greeting(since: NIODeadline)
        case asking(since: NIODeadline)
    }

    fileprivate struct Attempt: Sendable {
        let id: Int
        let begun: NIODeadline
        var phase = Phase.connecting
        /// Once it is connected: how long nothing is dialled beside it.
        var wait = TimeAmount.zero
    }

    /// From one attempt to the next, a quarter more or less. What a person takes for "at once" is
    /// 100 ms, and TLS needs some of it.
    static let interval = TimeAmount.milliseconds(50)
    /// How long that pace is kept: a handover, a lift, a lid. Then ``patientInterval``.
    static let briskFor = TimeAmount.seconds(5)
    /// The pace of a longer outage. Every dial takes a place in a NAT's table for some 2 minutes:
    /// an agent takes 350 in the default grace. Half of this would be 600, for some 25 ms.
    static let patientInterval = TimeAmount.milliseconds(100)
    /// A connection that is only slow, with its route as it was, is dialled beside after a random
    /// wait up to this: what slows one slows all, and all at once would not help the relay.
    package static let spread = TimeAmount.milliseconds(300)
    /// Attempts at once: as many as begin within a second at first, and a few that got further. One
    /// that has not connected after a second, or four round trips, is given up: TCP would only now
    /// try again, and the others ask the same.
    static let maximumAttempts = 24
    /// Connections that TLS or the relay's answer is awaited on. None makes room for a younger one:
    /// a relay that is busy with everybody's return would never get to answer anybody.
    static let maximumConnected = 3
    /// Nothing is dialled beside the first connection for 1 s (or four round trips), beside the
    /// next for 2 s, then 4 s, up to ``answerPatience``: so a network that came and went costs
    /// little, and a relay that needs its time to answer gets all of it in the end.
    static let maximumWaitsBeside = 4
    /// TLS and the answer, on a relay that is busy with everybody's return.
    static let answerPatience = TimeAmount.seconds(10)
    /// How often the name is looked up. A resolver without a network may hang for ten seconds,
    /// with a thread.
    static let byNameEvery = TimeAmount.seconds(5)
    /// After a refusal or a hang-up: gentle with what is being restarted, yet at once for a person.
    static let cutWaits = (first: TimeAmount.milliseconds(100), last: TimeAmount.seconds(1))
    /// The last ceiling of the back-off from a relay that said no.
    static let turnedAwayLast = TimeAmount.seconds(5)

    package private(set) var isDialling = false
    private var attempts: [Attempt] = []
    private var lastID = 0
    private var roundTrip: TimeAmount?
    private var notBefore: NIODeadline
    private var briskUntil: NIODeadline
    private var byNameFrom: NIODeadline
    private var lastFailure: NIODeadline?
    private var cutWait = Self.cutWaits.first
    /// How often a connection was overdue so that another one was made beside it.
    private var waitsBeside = 0
    private var backoff = Backoff()

    package init(now: NIODeadline) {
        self.notBefore = now
        self.briskUntil = now
        self.byNameFrom = now
    }

    /// An attempt has said RESUME and the answer is not overdue.
    package func isAsking(now: NIODeadline) -> Bool {
        self.attempts.contains { attempt in
            if case .asking(let since) = attempt.phase { return now - since < attempt.wait }
            return false
        }
    }

    private var patience: TimeAmount { LinkWatch.patience(self.roundTrip) }

    // MARK: Verbs

    /// The link is cut, or suspect, or the way to the relay is another: dial from now on.
    ///
    /// - Parameters:
    ///   - roundTrip: As measured last.
    ///   - wait: Before the first dial, if none is under way.
    ///   - now: The time.
    package mutating func begin(
        roundTrip: TimeAmount?, after wait: TimeAmount = .zero, now: NIODeadline
    ) {
        self.roundTrip = roundTrip ?? self.roundTrip
        self.notBefore = self.isDialling ? now : now + wait
        self.briskUntil = now + Self.briskFor
        guard !self.isDialling else { return }
        self.isDialling = true
        self.byNameFrom = now + Self.byNameEvery
        self.forgetFailures()
    }

    /// The link goes on, or is over, or was never cut.
    package mutating func stop() -> [Action] {
        self.isDialling = false
        defer { self.attempts = [] }
        return self.attempts.map { .abandon($0.id) }
    }

    package mutating func turn(
        now: NIODeadline, using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        let patience = self.patience
        var actions = self.abandon { attempt in now >= attempt.overdueAt(patience) }
        guard self.isDialling, now >= self.notBefore, self.progressEnds(now: now) == nil,
            self.hasRoom
        else { return actions }
        self.lastID += 1
        self.attempts.append(Attempt(id: self.lastID, begun: now))
        let byName = now >= self.byNameFrom
        if byName { self.byNameFrom = now + Self.byNameEvery }
        actions.append(.dial(self.lastID, byName: byName))
        let interval = now < self.briskUntil ? Self.interval : Self.patientInterval
        let quarter = interval.nanoseconds / 4
        let jitter = Int64.random(in: -quarter...quarter, using: &generator)
        self.notBefore = now + interval + .nanoseconds(jitter)
        return actions
    }

    /// When to call ``turn(now:using:)`` next; nil if nothing is to be waited for.
    package func nextTurn(now: NIODeadline) -> NIODeadline? {
        let overdue = self.attempts.map { $0.overdueAt(self.patience) }.min()
        guard self.isDialling else { return overdue }
        guard self.hasRoom else { return overdue }
        let next = max(self.notBefore, self.progressEnds(now: now) ?? now)
        return overdue.map { min($0, next) } ?? next
    }

    /// TCP stands.
    package mutating func connected(_ id: Int, now: NIODeadline) -> [Action] {
        guard let index = self.attempts.firstIndex(where: { $0.id == id }),
            case .connecting = self.attempts[index].phase
        else { return [] }
        let isBeside = self.connectedCount > 0
        if isBeside { self.waitsBeside = min(self.waitsBeside + 1, Self.maximumWaitsBeside) }
        let wait = min(self.patience * (Int64(1) << self.waitsBeside), Self.answerPatience)
        self.attempts[index].phase = .greeting(since: now)
        self.attempts[index].wait = wait
        return self.abandon { $0.isConnecting }
    }

    /// RESUME is about to leave on it: from now on it is the only one.
    package mutating func asked(_ id: Int, now: NIODeadline) -> [Action] {
        let actions = self.abandon { $0.id != id }
        for index in self.attempts.indices { self.attempts[index].phase = .asking(since: now) }
        return actions
    }

    package mutating func failed(
        _ id: Int, _ failure: Failure, now: NIODeadline,
        using generator: inout some RandomNumberGenerator
    ) {
        guard let index = self.attempts.firstIndex(where: { $0.id == id }) else { return }
        let attempt = self.attempts.remove(at: index)
        // Several attempts that meet the same refusal are one refusal.
        let isNew = self.lastFailure.map { attempt.begun >= $0 } ?? true
        let wait: TimeAmount
        switch failure {
        case .unreachable:
            return
        case .cut where isNew:
            let whole = self.cutWait.nanoseconds
            wait = .nanoseconds(Int64.random(in: whole / 2...whole, using: &generator))
            self.cutWait = min(self.cutWait * 2, Self.cutWaits.last)
        case .turnedAway where isNew:
            // Whoever says no is there.
            self.cutWait = Self.cutWaits.first
            wait = min(self.backoff.next(using: &generator), Self.turnedAwayLast)
        case .cut, .turnedAway:
            return
        }
        self.lastFailure = now
        self.notBefore = max(self.notBefore, now + wait)
    }

    // MARK: Rules

    private mutating func forgetFailures() {
        self.lastFailure = nil
        self.cutWait = Self.cutWaits.first
        self.waitsBeside = 0
        self.backoff.reset()
    }

    private var connectedCount: Int { self.attempts.count { !$0.isConnecting } }

    private var hasRoom: Bool {
        self.attempts.count < Self.maximumAttempts && self.connectedCount < Self.maximumConnected
    }

    /// Until when a connection gets further without help; nil if none does.
    private func progressEnds(now: NIODeadline) -> NIODeadline? {
        self.attempts.compactMap { attempt in
            switch attempt.phase {
            case .connecting: nil
            case .greeting(let since), .asking(let since): since + attempt.wait
            }
        }
        .filter { $0 > now }.max()
    }

    private mutating func abandon(_ isUnwanted: (Attempt) -> Bool) -> [Action] {
        let unwanted = self.attempts.filter(isUnwanted)
        self.attempts.removeAll { attempt in unwanted.contains { $0.id == attempt.id } }
        return unwanted.map { .abandon($0.id) }
    }
}

extension RedialMachine.Attempt {
    fileprivate var isConnecting: Bool {
        if case .connecting = self.phase { return true }
        return false
    }

    fileprivate func overdueAt(_ patience: TimeAmount) -> NIODeadline {
        switch self.phase {
        case .connecting: self.begun + patience
        case .greeting(let since), .asking(let since): since + RedialMachine.answerPatience
        }
    }
}

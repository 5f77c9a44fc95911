package import NIOCore

/// Whether a connection that still stands is likely to be dead: beside the keepalive of the
/// protocol, which is in no hurry.
///
///              moved, or waited for too long
///     trusted ──────────────────────────────▶ suspect
///        ▲                                        │
///        └──────────── an answer came ────────────┘
///
/// Bytes that come keep a connection from becoming suspect: on a slow one an answer may stand
/// behind much data. Once it is suspect only an answer clears it: what is heard says nothing of
/// the other direction, where TCP may be waiting to send the question again.
///
/// A suspicion costs a dial beside the connection and nothing else, so it may be wrong. Pure: the
/// shell looks every ``every`` and says what it sees. One watch for each connection.
package struct LinkWatch: Sendable {
    /// How the system would reach the relay now.
    package enum Route: Hashable, Sendable {
        /// It cannot say.
        case unknown
        /// There is no way.
        case none
        /// From this address of the machine.
        case from(String)
    }

    /// What there is to see.
    package struct Sight: Sendable {
        /// How often bytes came so far.
        package var heard: UInt64
        /// Changes with every answer: a PONG, an ACK of more bytes.
        package var answered: UInt64
        /// Whether a PING or counted bytes wait for an answer.
        package var isAwaiting: Bool
        /// Whether clients wait behind the link.
        package var hasStreams: Bool
        package var roundTrip: TimeAmount?
        package var route: Route
        /// Nanoseconds of a clock that goes on while the machine sleeps.
        package var wallClock: Int64

        package init(
            heard: UInt64, answered: UInt64, isAwaiting: Bool, hasStreams: Bool,
            roundTrip: TimeAmount?, route: Route, wallClock: Int64
        ) {
            self.heard = heard
            self.answered = answered
            self.isAwaiting = isAwaiting
            self.hasStreams = hasStreams
            self.roundTrip = roundTrip
            self.route = route
            self.wallClock = wallClock
        }
    }

    /// What to do about it.
    package enum OnLook: Hashable, Sendable {
        case nothing
        /// Send a PING, if none is on its way.
        case ask
        /// Send a PING and dial beside.
        case suspect
        /// Dial no more.
        case trust
    }

    /// How often the shell looks: one look is four system calls.
    package static let every = TimeAmount.milliseconds(250)
    /// An answer that takes longer is overdue, however short the round trip: a relay may be busy.
    static let leastPatience = TimeAmount.seconds(1)
    /// It doubles with every suspicion that was wrong, up to this: a path that now and then stalls
    /// for seconds is not helped by a dial each time.
    static let mostLeastPatience = TimeAmount.seconds(8)
    /// After a time without a wrong suspicion it is as before.
    static let forgetsAfter = TimeAmount.seconds(60)
    /// The same in round trips: TCP sends a lost packet again within two or three.
    static let patienceRoundTrips: Int64 = 4
    /// Silence after which the relay is asked while clients are there. What the relay sends them
    /// into a dead connection is seen by nobody here, so only a question finds out.
    static let askAfter = TimeAmount.seconds(2)
    /// A wall clock that is ahead by more says that the machine slept.
    static let sleepNanoseconds: Int64 = 2_000_000_000

    package private(set) var isSuspect = false
    /// The way to the relay became another one, and nothing was answered since.
    package private(set) var hasMoved = false
    private var leastPatience = Self.leastPatience
    /// When a suspicion turned out to be wrong last.
    private var lastWrong: NIODeadline?
    private var answered: UInt64?
    private var heard: UInt64
    /// When bytes came last, as far as looks can tell.
    package private(set) var heardAt: NIODeadline
    private var waitingSince: NIODeadline?
    private var route: Route
    private var hasNoRoute = false
    private var lastLook: (at: NIODeadline, wallClock: Int64)?

    /// - Parameters:
    ///   - heard: How often bytes came before this connection.
    ///   - route: What the connection uses; ``Route/unknown`` if that cannot be compared.
    ///   - now: The time.
    package init(heard: UInt64, route: Route, now: NIODeadline) {
        self.heard = heard
        self.heardAt = now
        self.route = route
    }

    /// How long an answer may take.
    package static func patience(_ roundTrip: TimeAmount?) -> TimeAmount {
        Self.patience(roundTrip, atLeast: Self.leastPatience)
    }

    private static func patience(
        _ roundTrip: TimeAmount?, atLeast least: TimeAmount
    ) -> TimeAmount {
        roundTrip.map { max(least, $0 * Self.patienceRoundTrips) } ?? least
    }

    package mutating func look(_ sight: Sight, now: NIODeadline) -> OnLook {
        let movesNow = self.takeRoute(sight.route)
        let hasSlept = self.takeClocks(sight.wallClock, now: now)
        let hasHeard = sight.heard != self.heard
        if hasHeard {
            self.heard = sight.heard
            self.heardAt = now
        }
        let hasAnswer = self.answered.map { $0 != sight.answered } ?? false
        self.answered = sight.answered
        if hasHeard || !sight.isAwaiting { self.waitingSince = nil }
        if sight.isAwaiting, self.waitingSince == nil { self.waitingSince = now }
        if movesNow {
            // What was heard since the last look may have come the old way.
            self.isSuspect = true
            self.hasMoved = true
            return .suspect
        }
        if self.isSuspect {
            guard hasAnswer else { return .nothing }
            if !self.hasMoved { self.wasWrong(now: now) }
            self.isSuspect = false
            self.hasMoved = false
            return .trust
        }
        if let last = self.lastWrong, now - last >= Self.forgetsAfter {
            self.lastWrong = nil
            self.leastPatience = Self.leastPatience
        }
        let patience = Self.patience(sight.roundTrip, atLeast: self.leastPatience)
        if let since = self.waitingSince, now - since >= patience {
            self.isSuspect = true
            return .suspect
        }
        let isQuiet = sight.hasStreams && now - self.heardAt >= Self.askAfter
        return !sight.isAwaiting && (isQuiet || hasSlept) ? .ask : .nothing
    }

    /// Since when nothing came on a connection that is lost now.
    ///
    /// - Parameters:
    ///   - isClosed: Whether its socket was closed. That is a sign of life, unless the connection
    ///     was suspect.
    ///   - heard: How often bytes came, by now.
    ///   - now: The time.
    /// - Returns: At most `now`.
    package func silentSince(
        isClosed: Bool, heard: UInt64, now: NIODeadline
    ) -> NIODeadline {
        heard != self.heard || isClosed && !self.isSuspect ? now : self.heardAt
    }

    private mutating func wasWrong(now: NIODeadline) {
        self.leastPatience = min(self.leastPatience * 2, Self.mostLeastPatience)
        self.lastWrong = now
    }

    /// - Returns: whether the way is another one, or is gone, or is there again. A dial without a
    ///   way fails at once, so that the first one with it is never late.
    private mutating func takeRoute(_ route: Route) -> Bool {
        guard self.route != .unknown else { return false }
        switch route {
        case .unknown:
            return false
        case .none:
            defer { self.hasNoRoute = true }
            return !self.hasNoRoute
        case .from:
            defer {
                self.route = route
                self.hasNoRoute = false
            }
            return self.hasNoRoute || self.route != route
        }
    }

    /// - Returns: whether the machine slept since the last look.
    private mutating func takeClocks(_ wallClock: Int64, now: NIODeadline) -> Bool {
        defer { self.lastLook = (now, wallClock) }
        guard let last = self.lastLook else { return false }
        // Wrapping: a clock may be set to anything.
        let ahead = wallClock &- last.wallClock &- (now - last.at).nanoseconds
        return ahead > Self.sleepNanoseconds
    }
}

/// When another connection may take the place of the one that a link has.
package enum LinkSuccession: Hashable, Sendable {
    /// Never: it is not even dialled for.
    case keeps
    /// Once the relay has let the other one in: a dial that is refused costs a link nothing that
    /// may only be slow.
    case onceLetIn
    /// At once: RESUME may leave behind the request.
    case now

    /// Whether the old connection may be given up.
    ///
    /// - Parameters:
    ///   - isConnected: Whether there is an old connection at all.
    ///   - isSuspect: Its answers are overdue, or its route has moved.
    ///   - hasMoved: The route is another one, so it is almost certainly dead.
    ///   - isDraining: The relay said GOAWAY. A dial may reach its successor, which knows nothing
    ///     of the link: such a connection is left to the keepalive.
    package init(isConnected: Bool, isSuspect: Bool, hasMoved: Bool, isDraining: Bool) {
        if !isConnected {
            self = .now
        } else if isDraining || !(isSuspect || hasMoved) {
            self = .keeps
        } else {
            self = hasMoved ? .now : .onceLetIn
        }
    }
}

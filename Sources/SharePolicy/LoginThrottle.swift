import NIOCore

/// Failed logins a (share, source), with a lock-out that grows with them and decays by itself.
///
/// Four failures are free: typing errors. The fifth asks for a wait of 2 s, each further one for
/// twice as long, up to a minute. One failure is forgotten a minute, also while waiting, so that
/// ten minutes heal the worst and a guesser is held to about one password a minute.
///
/// Somebody behind the owner's own address (one NAT, one proxy that hides its clients) would lock
/// the owner out with himself. So an address that has logged in to the share within a day keeps an
/// allowance beside the lock: ``allowance`` tries, one more every ``allowanceEvery``. It costs
/// nobody safety: six guesses a minute, and only where the right password is in use.
///
/// What is counted is what is asked about, whether a share has that name or not.
struct LoginThrottle: Sendable {
    /// The failure that asks for the first wait.
    static let lockingFailure = 5

    /// The first wait; it doubles with each further failure.
    static let firstWait = TimeAmount.seconds(2)

    /// The longest wait.
    static let longestWait = TimeAmount.minutes(1)

    /// One failure is forgotten in this time.
    static let decay = TimeAmount.minutes(1)

    /// The most failures counted, so that ten minutes forget them all.
    static let maximumFailures = 10

    /// Tries that an address which has logged in lately has beside the lock.
    static let allowance = 6

    /// One of them comes back in this time.
    static let allowanceEvery = TimeAmount.seconds(10)

    /// How long a login is remembered for that.
    static let knownFor = TimeAmount.hours(24)

    /// A share's failures of all addresses that are worth an alarm; each further time as many.
    ///
    /// One guesser is held to one a minute, which is forgotten as fast: so many in so short a time
    /// are many addresses.
    static let alarmingFailures = 100

    private struct Key: Hashable {
        var share: String
        var source: SourceAddress
    }

    private struct Failures {
        var count: Int
        var last: NIODeadline

        /// The failures that are still remembered at `now`.
        func remembered(now: NIODeadline) -> Int {
            let forgotten = max(0, (now - self.last).nanoseconds) / LoginThrottle.decay.nanoseconds
            return max(0, self.count - Int(forgotten))
        }
    }

    private struct Known {
        var until: NIODeadline
        var tries: Int
        var asOf: NIODeadline

        /// The tries that are left at `now`.
        func left(now: NIODeadline) -> Int {
            guard now < self.until else { return 0 }
            let back =
                max(0, (now - self.asOf).nanoseconds)
                / LoginThrottle.allowanceEvery.nanoseconds
            return min(LoginThrottle.allowance, self.tries + Int(back))
        }
    }

    private var table: BoundedTable<Key, Failures>
    private var known: BoundedTable<Key, Known>
    private var byShare: BoundedTable<String, Failures>

    init(maximumEntries: Int) {
        self.table = BoundedTable(maximumEntries: maximumEntries)
        self.known = BoundedTable(maximumEntries: maximumEntries)
        self.byShare = BoundedTable(maximumEntries: maximumEntries)
    }

    /// Pairs that are remembered.
    var count: Int { self.table.count }

    func mayTry(share: String, source: SourceAddress, now: NIODeadline) -> Bool {
        let key = Key(share: share, source: source)
        return self.isOpen(key, now: now) || (self.known[key]?.left(now: now) ?? 0) > 0
    }

    /// A password was held against the share's. The lock is asked again, because many may have
    /// been let in to try before the first had failed.
    mutating func tried(
        isRight: Bool, share: String, source: SourceAddress, now: NIODeadline
    ) -> Admission.OnTry {
        let key = Key(share: share, source: source)
        guard self.mayTry(share: share, source: source, now: now) else { return .locked }
        if isRight {
            self.table.remove(key)
            self.known.set(
                key, Known(until: now + Self.knownFor, tries: Self.allowance, asOf: now))
            return .right
        }
        if self.isOpen(key, now: now) {
            self.table.set(key, self.counted(self.table[key], most: Self.maximumFailures, now))
        } else if var known = self.known[key] {
            known.tries = known.left(now: now) - 1
            known.asOf = now
            self.known.set(key, known)
        }
        let all = self.counted(self.byShare[share], most: .max, now)
        self.byShare.set(share, all)
        return .wrong(isAlarming: all.count % Self.alarmingFailures == 0)
    }

    private func isOpen(_ key: Key, now: NIODeadline) -> Bool {
        guard let failures = self.table[key] else { return true }
        return now >= failures.last + Self.wait(after: failures.remembered(now: now))
    }

    private func counted(_ before: Failures?, most: Int, _ now: NIODeadline) -> Failures {
        Failures(count: min((before?.remembered(now: now) ?? 0) + 1, most), last: now)
    }

    /// The wait after so many failures: zero before ``lockingFailure``.
    static func wait(after failures: Int) -> TimeAmount {
        guard failures >= Self.lockingFailure else { return .zero }
        let doublings = min(failures - Self.lockingFailure, 20)
        return min(.nanoseconds(Self.firstWait.nanoseconds << Int64(doublings)), Self.longestWait)
    }
}

/// A dictionary of bounded size: where there is no room, what was set longest ago goes.
struct BoundedTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let maximumEntries: Int
    private var values: [Key: Value] = [:]
    private var ages = Line<Key>()

    init(maximumEntries: Int) {
        self.maximumEntries = max(1, maximumEntries)
    }

    var count: Int { self.values.count }

    subscript(key: Key) -> Value? { self.values[key] }

    /// Sets a value and makes it the newest.
    mutating func set(_ key: Key, _ value: Value) {
        self.remove(key)
        if self.values.count == self.maximumEntries, let oldest = self.ages.first {
            self.remove(oldest)
        }
        self.values[key] = value
        self.ages.append(key)
    }

    mutating func remove(_ key: Key) {
        guard self.values.removeValue(forKey: key) != nil else { return }
        self.ages.remove(key)
    }
}

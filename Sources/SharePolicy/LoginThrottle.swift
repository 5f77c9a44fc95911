import NIOCore

/// Failed logins a (share, source), with a lock-out that grows with them and decays by itself.
///
/// Four failures are free: typing errors. The fifth asks for a wait of 2 s, each further one for
/// twice as long, up to 5 minutes. One failure is forgotten a minute, also while waiting, so that
/// half an hour heals the worst and a guesser is held to about one password a minute.
struct LoginThrottle: Sendable {
    /// The failure that asks for the first wait.
    static let lockingFailure = 5

    /// The first wait; it doubles with each further failure.
    static let firstWait = TimeAmount.seconds(2)

    /// The longest wait.
    static let longestWait = TimeAmount.minutes(5)

    /// One failure is forgotten in this time.
    static let decay = TimeAmount.minutes(1)

    /// The most failures counted, so that half an hour forgets them all.
    static let maximumFailures = 30

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

    private var table: BoundedTable<Key, Failures>

    init(maximumEntries: Int) {
        self.table = BoundedTable(maximumEntries: maximumEntries)
    }

    /// Pairs that are remembered.
    var count: Int { self.table.count }

    func mayTry(share: String, source: SourceAddress, now: NIODeadline) -> Bool {
        guard let failures = self.table[Key(share: share, source: source)] else { return true }
        return now >= failures.last + Self.wait(after: failures.remembered(now: now))
    }

    mutating func failed(share: String, source: SourceAddress, now: NIODeadline) {
        let key = Key(share: share, source: source)
        let before = self.table[key]?.remembered(now: now) ?? 0
        self.table.set(key, Failures(count: min(before + 1, Self.maximumFailures), last: now))
    }

    mutating func succeeded(share: String, source: SourceAddress) {
        self.table.remove(Key(share: share, source: source))
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

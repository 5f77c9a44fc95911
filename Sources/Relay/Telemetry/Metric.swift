import Synchronization

/// A closed list of label values: what a stranger sends must never become a label.
public protocol MetricLabel: CaseIterable, Hashable, Sendable, RawRepresentable<String> {
    /// The label's name, as in `name{reason="…"}`.
    static var labelName: String { get }
}

/// A count that only grows. Any thread may add to it; it takes no lock.
public final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    init() {}

    /// Adds `amount`, which is at least zero.
    public func add(_ amount: Int = 1) {
        self.count.wrappingAdd(amount, ordering: .relaxed)
    }

    /// What was counted since the process started.
    public var value: Int {
        self.count.load(ordering: .relaxed)
    }
}

/// A number that goes up and down. Any thread may move it; it takes no lock.
public final class Gauge: Sendable {
    private let level = Atomic<Int>(0)

    init() {}

    /// Moves the gauge up.
    public func increment(by amount: Int = 1) {
        self.level.wrappingAdd(amount, ordering: .relaxed)
    }

    /// Moves the gauge down.
    public func decrement(by amount: Int = 1) {
        self.level.wrappingSubtract(amount, ordering: .relaxed)
    }

    /// Puts the gauge at `value`.
    public func set(_ value: Int) {
        self.level.store(value, ordering: .relaxed)
    }

    /// Where the gauge stands.
    public var value: Int {
        self.level.load(ordering: .relaxed)
    }
}

/// One counter for each value of a closed label.
public final class LabeledCounter<Label: MetricLabel>: Sendable {
    private let counters: [Label: Counter]

    init() {
        let pairs = Label.allCases.map { ($0, Counter()) }
        self.counters = Dictionary(pairs, uniquingKeysWith: { first, _ in first })
    }

    /// Adds `amount` to the counter of `label`.
    public func add(_ label: Label, _ amount: Int = 1) {
        self.counters[label]?.add(amount)
    }

    /// What was counted under `label`.
    public func value(_ label: Label) -> Int {
        self.counters[label]?.value ?? 0
    }
}

/// One gauge for each value of a closed label.
public final class LabeledGauge<Label: MetricLabel>: Sendable {
    private let gauges: [Label: Gauge]

    init() {
        let pairs = Label.allCases.map { ($0, Gauge()) }
        self.gauges = Dictionary(pairs, uniquingKeysWith: { first, _ in first })
    }

    /// Moves the gauge of `label` up.
    public func increment(_ label: Label) {
        self.gauges[label]?.increment()
    }

    /// Moves the gauge of `label` down.
    public func decrement(_ label: Label) {
        self.gauges[label]?.decrement()
    }

    /// Where the gauge of `label` stands.
    public func value(_ label: Label) -> Int {
        self.gauges[label]?.value ?? 0
    }
}

/// How long something took, counted into fixed buckets. It takes no lock.
public final class DurationHistogram: Sendable {
    /// Upper bounds of the buckets, in microseconds, and as Prometheus writes them, in seconds.
    ///
    /// From a loopback handshake (about 2 ms) to the 10 s of `--handshake-timeout`.
    static let bounds: [(microseconds: Int, text: String)] = [
        (1_000, "0.001"), (2_500, "0.0025"), (5_000, "0.005"), (10_000, "0.01"),
        (25_000, "0.025"), (50_000, "0.05"), (100_000, "0.1"), (250_000, "0.25"),
        (500_000, "0.5"), (1_000_000, "1"), (2_500_000, "2.5"), (5_000_000, "5"),
        (10_000_000, "10"),
    ]

    /// One counter a bound, and one for what is above them all.
    private let buckets: [Counter]
    private let sumMicroseconds = Counter()

    init() {
        self.buckets = (0...Self.bounds.count).map { _ in Counter() }
    }

    /// Counts one duration; a negative one counts as zero.
    public func record(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let microseconds = max(0, Int(seconds) * 1_000_000 + Int(attoseconds / 1_000_000_000_000))
        let index = Self.bounds.firstIndex { microseconds <= $0.microseconds }
        self.buckets[index ?? Self.bounds.count].add()
        self.sumMicroseconds.add(microseconds)
    }

    /// How many durations were counted.
    public var count: Int {
        self.buckets.reduce(0) { $0 + $1.value }
    }

    /// Cumulative counts with the upper bound of each, and the sum in seconds.
    var snapshot: (cumulative: [(bound: String, count: Int)], sumSeconds: Double) {
        var total = 0
        var cumulative: [(bound: String, count: Int)] = []
        for (index, bucket) in self.buckets.enumerated() {
            total += bucket.value
            let bound = index < Self.bounds.count ? Self.bounds[index].text : "+Inf"
            cumulative.append((bound, total))
        }
        return (cumulative, Double(self.sumMicroseconds.value) / 1_000_000)
    }
}

public import NIOCore

/// How far a run is, at one moment.
public struct ProgressSnapshot: Sendable, Hashable {
    /// The part of the run; nil before the first.
    public var phase: DeployPhase?
    /// What the phase does just now, nil if it did not say.
    public var step: String?
    /// Done of all, 0...1; nil until there is a plan. Never less than it was.
    public var fraction: Double?
    /// The tables that are copied now, the one that began first first.
    public var tables: [TableProgress]
    /// Tables that are whole.
    public var finishedTables: Int
    /// Tables in all.
    public var allTables: Int
    /// Rows of whole tables, as far as they were counted.
    public var rows: Int64
    /// Bytes of COPY data so far.
    public var bytes: Int64
    /// Bytes a second over the last ``ProgressMeter/window``; nil where nothing is copied.
    public var bytesPerSecond: Double?
    /// Seconds until the end; nil where nobody can tell.
    public var secondsLeft: Double?
    /// Seconds since the first event.
    public var seconds: Double
}

/// Adds up the events of a run into how far it is and how long it still takes.
///
/// Pure: events and the time in, a snapshot out. The plan's bytes are the sizes on the source's
/// disk, a guess of what COPY sends: tables that are whole correct the guess for the others, a
/// table that is larger than expected draws near its end without reaching it, and what was shown
/// is never taken back.
public struct ProgressMeter: Sendable {
    /// How far back rates look: long enough to outlast one slow row, short enough to notice a cut.
    public static let window = TimeAmount.seconds(10)

    private var weights = PhaseWeights()
    private var phase: DeployPhase?
    private var step: PhaseStep?
    private var tables = TableTally()
    private var samples: [Sample] = []
    private var shown = 0.0
    private var isFinished = false
    private var startedAt: NIODeadline?
    private var lastAt = NIODeadline.uptimeNanoseconds(0)

    private struct Sample {
        var at: NIODeadline
        var bytes: Int64
        /// Of ``PhaseWeights``' units, also where less is shown.
        var done: Double
    }

    /// The time between two samples, and before the first rate.
    private static let sampleInterval = TimeAmount.milliseconds(250)
    private static let shortestWindow = TimeAmount.seconds(1)

    /// Creates a meter that has seen nothing.
    public init() {}

    /// One event happened.
    public mutating func apply(_ event: DeployEvent, now: NIODeadline) {
        let now = self.advance(to: now)
        switch event {
        case .planned(let plan):
            self.weights.plan(plan)
            self.tables.plan(plan)
        case .phase(let phase): self.enter(phase, now: now)
        case .step(let step):
            if step.phase == self.phase { self.step = step }
        case .tableStarted(let table): self.tables.started(table)
        case .tableProgress(let table): self.tables.moved(table)
        case .tableFinished(let table): self.tables.finished(table)
        case .finished: self.isFinished = true
        case .started, .finding, .notice, .verified, .committed, .rolledBack, .failed: break
        }
        self.sample(now)
    }

    /// How far the run is now.
    public mutating func snapshot(now: NIODeadline) -> ProgressSnapshot {
        let now = self.advance(to: now)
        self.sample(now)
        let done = self.done()
        let fraction =
            self.weights.isPlanned ? self.show(done / self.weights.total(self.tables)) : nil
        return ProgressSnapshot(
            phase: self.phase,
            step: self.step?.text,
            fraction: self.isFinished ? 1 : fraction,
            tables: self.tables.current,
            finishedTables: self.tables.finishedCount,
            allTables: self.tables.count,
            rows: self.tables.rows,
            bytes: self.tables.bytes,
            bytesPerSecond: self.bytesPerSecond(now),
            secondsLeft: self.isFinished ? 0 : self.secondsLeft(now),
            seconds: self.startedAt.map { Self.seconds(now - $0) } ?? 0
        )
    }

    /// A clock that goes back stands still here.
    private mutating func advance(to now: NIODeadline) -> NIODeadline {
        self.lastAt = max(self.lastAt, now)
        if self.startedAt == nil { self.startedAt = self.lastAt }
        return self.lastAt
    }

    /// Phases have speeds of their own: what was measured in one says nothing of the next.
    private mutating func enter(_ phase: DeployPhase, now: NIODeadline) {
        if self.phase != phase { self.samples = [] }
        self.phase = phase
        self.step = nil
        self.weights.enter(phase)
    }

    /// Units that are done: all of the phases before, and the part of this one.
    private func done() -> Double {
        guard let phase else { return 0 }
        return self.weights.done(self.tables)
            + self.weights.weight(of: phase, self.tables) * self.fraction(of: phase)
    }

    private func fraction(of phase: DeployPhase) -> Double {
        if phase == .data { return self.tables.fraction }
        guard let step, let total = step.total, let done = step.done, total > 0 else { return 0 }
        return min(1, max(0, Double(done) / Double(total)))
    }

    /// Only the end of the run is all of it.
    private static let mostBeforeTheEnd = 0.999

    private mutating func show(_ fraction: Double) -> Double {
        self.shown = max(self.shown, min(fraction, Self.mostBeforeTheEnd))
        return self.shown
    }

    private mutating func sample(_ now: NIODeadline) {
        if let last = self.samples.last, now - last.at < Self.sampleInterval { return }
        // One sample from before the window stays, so that the window is always full.
        while self.samples.count > 1, now - self.samples[1].at >= Self.window {
            self.samples.removeFirst()
        }
        self.samples.append(Sample(at: now, bytes: self.tables.bytes, done: self.done()))
    }

    private func bytesPerSecond(_ now: NIODeadline) -> Double? {
        guard self.phase == .data, let first = self.samples.first,
            now - first.at >= Self.shortestWindow
        else { return nil }
        return max(0, Double(self.tables.bytes - first.bytes)) / Self.seconds(now - first.at)
    }

    private func secondsLeft(_ now: NIODeadline) -> Double? {
        guard self.weights.isPlanned, let first = self.samples.first,
            now - first.at >= Self.shortestWindow
        else { return nil }
        let speed = (self.done() - first.done) / Self.seconds(now - first.at)
        guard speed > 0 else { return nil }
        return max(0, self.weights.total(self.tables) - self.done()) / speed
    }

    private static func seconds(_ amount: TimeAmount) -> Double { Double(amount.nanoseconds) / 1e9 }
}

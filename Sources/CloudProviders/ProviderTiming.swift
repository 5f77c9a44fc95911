public import Foundation

/// Time and chance, as the shells see them: tests hand in their own.
public struct ProviderClock: Sendable {
    /// The time of day, for Retry-After dates and signatures.
    public var now: @Sendable () -> Date
    /// Seconds that only go forward, for deadlines.
    public var seconds: @Sendable () -> Double
    /// Waits; throws when the task is cancelled.
    public var sleep: @Sendable (_ seconds: Double) async throws -> Void
    /// A number in 0..<1, so that many clients do not retry in step.
    public var jitter: @Sendable () -> Double

    /// Creates a clock.
    public init(
        now: @escaping @Sendable () -> Date,
        seconds: @escaping @Sendable () -> Double,
        sleep: @escaping @Sendable (_ seconds: Double) async throws -> Void,
        jitter: @escaping @Sendable () -> Double
    ) {
        self.now = now
        self.seconds = seconds
        self.sleep = sleep
        self.jitter = jitter
    }

    /// The machine's own.
    public static let system: ProviderClock = {
        let clock = ContinuousClock()
        let start = clock.now
        return ProviderClock(
            now: { Date() },
            seconds: { (clock.now - start) / .seconds(1) },
            sleep: { try await clock.sleep(for: .seconds($0)) },
            jitter: { Double.random(in: 0..<1) })
    }()
}

/// How long a provider is waited for.
public struct ProviderLimits: Sendable, Hashable {
    /// Seconds until a request must be answered. Creating a project takes them some seconds.
    public var answerSeconds = 60.0
    /// Bytes of the longest answer that is read: a list of some thousand projects.
    public var maximumAnswerBytes = 4 << 20
    /// Attempts of one request, the first included.
    public var maximumAttempts = 6
    /// Seconds before the second attempt; doubled every time, up to ``maximumBackOffSeconds``.
    public var firstBackOffSeconds = 1.0
    /// Seconds between two attempts where the provider names none.
    public var maximumBackOffSeconds = 20.0
    /// Seconds of a Retry-After that are obeyed; a longer one is a failure that says so.
    public var maximumRetryAfterSeconds = 120.0
    /// Seconds between two looks at a project that is coming up.
    public var pollSeconds = 5.0
    /// Seconds until a project must be ready. Supabase and Neon need one or two minutes, RDS ten.
    public var readySeconds = 900.0

    /// Creates the default limits.
    public init() {}
}

package import NIOCore

/// How long to wait before the next dial: full jitter, doubling.
///
/// Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (full jitter).
package struct Backoff: Sendable {
    /// The first ceiling.
    package static let first = TimeAmount.seconds(1)
    /// The last ceiling.
    package static let last = TimeAmount.seconds(30)

    private var ceiling = Backoff.first

    package init() {}

    /// The wait before the next try, between zero and the ceiling, which then doubles.
    package mutating func next(
        using generator: inout some RandomNumberGenerator
    ) -> TimeAmount {
        let wait = Int64.random(in: 0...self.ceiling.nanoseconds, using: &generator)
        self.ceiling = .nanoseconds(min(self.ceiling.nanoseconds * 2, Self.last.nanoseconds))
        return .nanoseconds(wait)
    }

    /// A dial succeeded.
    package mutating func reset() { self.ceiling = Self.first }
}

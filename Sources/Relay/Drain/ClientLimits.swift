import NIOCore

/// How long clients may stay. Both hold for the whole relay, and end a client only at rest: never
/// within a query, a COPY or a transaction.
struct ClientLimits: Sendable, Hashable {
    /// How long a client may say and get nothing; nil for ever.
    var idle: TimeAmount?
    /// How long it may be connected; it is ended at the first rest after that. Nil for ever.
    var lifetime: TimeAmount?

    /// How long a client that has just logged in may take to ask its first question while the
    /// relay drains: who is ended between its login and its query did not come in vain.
    static let firstQuestion = TimeAmount.seconds(2)

    private static let soonest = TimeAmount.seconds(1)
    private static let latest = TimeAmount.seconds(15)

    /// How often clients are looked at: a quarter of the shorter time, from 1 s to 15 s. So one is
    /// ended that much late at most.
    var look: TimeAmount? {
        [self.idle, self.lifetime].compactMap { $0 }.min().map { shortest in
            min(max(.nanoseconds(shortest.nanoseconds / 4), Self.soonest), Self.latest)
        }
    }
}

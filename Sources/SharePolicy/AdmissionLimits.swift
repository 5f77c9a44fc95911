/// How much room strangers and clients get at the relay.
///
/// Settings of `pgshare relay`:
/// - `max-pending` (int, default 4096, 1...1000000)
/// - `max-pending-an-address` (int, default 64, 1...`max-pending`)
/// - `handshake-timeout` (duration, default 10 s, 1 s...60 s)
/// - `max-clients` (int, default 10000, 1...1000000)
/// - `max-clients-an-owner` (int, default a quarter of `max-clients`, 1...1000000)
/// - `max-failure-entries` (int, default 16384, 1...1000000)
public struct AdmissionLimits: Hashable, Sendable {
    /// Sockets that have not logged in, of all addresses; where they are all taken, a newcomer gets
    /// the place of another's (``PendingSockets``).
    ///
    /// One in a TLS handshake holds some 60 KiB; 4096 of them are a quarter of a GiB, the most
    /// that strangers may hold together. With a deadline of 10 s it still lets 400 clients a
    /// second log in that take all of it.
    public var maximumPending = 4_096

    /// Sockets that have not logged in, of one IPv4 address or IPv6 /64.
    ///
    /// 64 is a pool that opens all its connections at once, or an office behind one address.
    public var maximumPendingAnAddress = 64

    /// Time from TCP accept to authenticated.
    ///
    /// PostgreSQL grants 60 s (`authentication_timeout`) because a person may be typing the
    /// password. Clients of a share have it when they connect, so 10 s is generous.
    public var handshakeTimeout = Duration.seconds(10)

    /// Clients that have logged in, of all shares. At 20 KiB each, 10,000 are 200 MiB.
    public var maximumClients = 10_000

    /// Clients that have logged in, of all shares of one owner; nil for a quarter of all.
    ///
    /// One owner's shares must not take every place. A quarter is 2,500 of the default: more than
    /// any Postgres serves.
    public var maximumClientsAnOwner: Int?

    /// ``maximumClientsAnOwner``, with its default.
    public var clientsAnOwner: Int {
        self.maximumClientsAnOwner ?? max(1, self.maximumClients / 4)
    }

    /// Pairs of share and address whose failed logins are remembered; the oldest goes first.
    ///
    /// At some 150 bytes each, 16,384 are 2.5 MiB. Who would push an own entry out must fail as
    /// many logins elsewhere, which costs more than the lock-out it shortens.
    public var maximumFailureEntries = 16_384

    /// Creates the default limits.
    public init() {}

    /// Checks every field once, at the door; past it, code relies on the ranges.
    ///
    /// - Throws: ``ConfigurationError`` naming the key, the value and the range.
    /// - Returns: The same limits.
    public func validated() throws(ConfigurationError) -> AdmissionLimits {
        let counts = 1...1_000_000
        try Check.range("admission.maximumPending", self.maximumPending, in: counts)
        try Check.range(
            "admission.maximumPendingAnAddress",
            self.maximumPendingAnAddress,
            in: 1...self.maximumPending
        )
        let timeouts = Duration.milliseconds(1)...Duration.seconds(60)
        try Check.range("admission.handshakeTimeout", self.handshakeTimeout, in: timeouts)
        try Check.range("admission.maximumClients", self.maximumClients, in: counts)
        try Check.range("admission.maximumClientsAnOwner", self.clientsAnOwner, in: counts)
        try Check.range("admission.maximumFailureEntries", self.maximumFailureEntries, in: counts)
        return self
    }
}

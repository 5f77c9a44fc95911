public import NIOCore

/// Who may take up room at the relay: sockets that have not logged in, failed logins, clients.
///
/// Pure: no socket, no clock, no lock. The front door keeps one behind its lock, calls a verb a
/// connection event, and runs the answer after the lock.
///
///     accepted ──▶ authenticated ──▶ clientArrived ──▶ clientLeft
///        └───────▶ closed
public struct Admission: Sendable {
    /// What a new socket gets.
    public enum OnAccept: Hashable, Sendable {
        /// Serve it, and call ``Admission/authenticated(from:)`` or ``Admission/closed(from:)``
        /// for it exactly once.
        case proceed
        /// Turn it away; it was not counted.
        case refuse(Refusal.Reason)
    }

    /// What a client that has logged in gets.
    public enum OnArrive: Hashable, Sendable {
        /// Serve it, and call ``Admission/clientLeft(share:)`` for it exactly once.
        case proceed
        /// Turn it away; it was not counted.
        case refuse(Refusal.Reason)
    }

    /// The limits this admission was made with.
    public let limits: AdmissionLimits

    /// Sockets that have not logged in.
    public private(set) var pendingSockets = 0

    /// Clients that have logged in, of all shares.
    public private(set) var clients = 0

    private var pendingBySource: [SourceAddress: Int] = [:]
    private var clientsByShare: [ShareID: Int] = [:]
    private var throttle: LoginThrottle

    /// Creates an admission that has let nobody in.
    ///
    /// - Parameter limits: Validated limits.
    public init(limits: AdmissionLimits = AdmissionLimits()) {
        self.limits = limits
        self.throttle = LoginThrottle(maximumEntries: limits.maximumFailureEntries)
    }

    // MARK: Sockets before authentication

    /// A socket was accepted.
    public mutating func accepted(from source: SourceAddress) -> OnAccept {
        let already = self.pendingBySource[source, default: 0]
        guard self.pendingSockets < self.limits.maximumPending,
            already < self.limits.maximumPendingAnAddress
        else { return .refuse(.tooManyHandshakes) }
        self.pendingSockets += 1
        self.pendingBySource[source] = already + 1
        return .proceed
    }

    /// A socket has logged in and no longer counts as a stranger's.
    public mutating func authenticated(from source: SourceAddress) {
        self.release(source)
    }

    /// A socket was closed, by whomever, before it had logged in.
    public mutating func closed(from source: SourceAddress) {
        self.release(source)
    }

    /// Sockets of one source that have not logged in.
    public func pendingSockets(from source: SourceAddress) -> Int {
        self.pendingBySource[source, default: 0]
    }

    /// A source without a count is left alone: a close that is reported twice must not lend anyone
    /// a place.
    private mutating func release(_ source: SourceAddress) {
        guard let already = self.pendingBySource[source] else { return }
        self.pendingBySource[source] = already > 1 ? already - 1 : nil
        self.pendingSockets -= 1
    }

    // MARK: Failed logins

    /// Whether a client of this source may try a password of this share now.
    ///
    /// - Parameters:
    ///   - share: The share's id where it exists, else the text that was typed, so that a share
    ///     and a name nobody has are locked alike.
    ///   - source: Where the client comes from. Others are not affected.
    ///   - now: The time.
    /// - Returns: Whether the wait after its last failure is over.
    public func mayTry(share: String, source: SourceAddress, now: NIODeadline) -> Bool {
        self.throttle.mayTry(share: share, source: source, now: now)
    }

    /// A password was wrong, or the share does not exist or has ended.
    public mutating func loginFailed(share: String, source: SourceAddress, now: NIODeadline) {
        self.throttle.failed(share: share, source: source, now: now)
    }

    /// A password was right: the source's failures with this share are forgotten.
    public mutating func loginSucceeded(share: String, source: SourceAddress) {
        self.throttle.succeeded(share: share, source: source)
    }

    /// Pairs of share and source whose failures are remembered.
    public var failureEntries: Int { self.throttle.count }

    // MARK: Clients

    /// A client has logged in to a share that allows `limit` of them.
    public mutating func clientArrived(share: ShareID, limit: Int) -> OnArrive {
        let already = self.clientsByShare[share, default: 0]
        guard already < limit else { return .refuse(.tooManyClients) }
        guard self.clients < self.limits.maximumClients else { return .refuse(.relayFull) }
        self.clientsByShare[share] = already + 1
        self.clients += 1
        return .proceed
    }

    /// A client that had arrived is gone.
    public mutating func clientLeft(share: ShareID) {
        guard let already = self.clientsByShare[share] else { return }
        self.clientsByShare[share] = already > 1 ? already - 1 : nil
        self.clients -= 1
    }

    /// Clients of one share.
    public func clients(of share: ShareID) -> Int {
        self.clientsByShare[share, default: 0]
    }
}

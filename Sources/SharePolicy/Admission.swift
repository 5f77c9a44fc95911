public import NIOCore

/// Who may take up room at the relay: failed logins and clients. Sockets that have shown nothing
/// yet are ``PendingSockets``.
///
/// Pure: no socket, no clock, no lock. The front door keeps one behind its lock, calls a verb a
/// connection event, and runs the answer after the lock.
public struct Admission: Sendable {
    /// What a client that has logged in gets.
    public enum OnArrive: Hashable, Sendable {
        /// Serve it, and call ``Admission/clientLeft(share:of:)`` for it exactly once.
        case proceed
        /// Turn it away; it was not counted.
        case refuse(Refusal.Reason)
    }

    /// What becomes of a password that was tried.
    public enum OnTry: Hashable, Sendable {
        /// It is right: the source's failures with this share are forgotten.
        case right
        /// It is wrong. `isAlarming`: so many were wrong, for this share, that somebody guesses
        /// from many addresses.
        case wrong(isAlarming: Bool)
        /// Too many others of the source have failed meanwhile: nothing is said about this one.
        case locked
    }

    /// The limits this admission was made with.
    public let limits: AdmissionLimits

    /// Clients that have logged in, of all shares.
    public private(set) var clients = 0

    private var clientsByShare: [ShareID: Int] = [:]
    private var clientsByOwner: [OwnerID: Int] = [:]
    private var throttle: LoginThrottle

    /// Creates an admission that has let nobody in.
    ///
    /// - Parameter limits: Validated limits.
    public init(limits: AdmissionLimits = AdmissionLimits()) {
        self.limits = limits
        self.throttle = LoginThrottle(maximumEntries: limits.maximumFailureEntries)
    }

    // MARK: Failed logins

    /// Whether a client of this source may try a password of this share now.
    ///
    /// - Parameters:
    ///   - share: The share's id where it exists, else the text that was typed, so that a share
    ///     and a name nobody has are locked alike.
    ///   - source: Where the client comes from. Others are not affected.
    ///   - now: The time.
    /// - Returns: Whether the wait after its last failure is over, or a login of it a day ago at
    ///   most leaves it a try.
    public func mayTry(share: String, source: SourceAddress, now: NIODeadline) -> Bool {
        self.throttle.mayTry(share: share, source: source, now: now)
    }

    /// A password was held against the share's, or against that of no share.
    ///
    /// - Returns: What to do, whether it was right or not.
    public mutating func tried(
        isRight: Bool, share: String, source: SourceAddress, now: NIODeadline
    ) -> OnTry {
        self.throttle.tried(isRight: isRight, share: share, source: source, now: now)
    }

    /// Pairs of share and source whose failures are remembered.
    public var failureEntries: Int { self.throttle.count }

    // MARK: Clients

    /// A client has logged in to a share of `owner` that allows `limit` of them.
    public mutating func clientArrived(
        share: ShareID, of owner: OwnerID, limit: Int
    ) -> OnArrive {
        let already = self.clientsByShare[share, default: 0]
        guard already < limit else { return .refuse(.tooManyClients) }
        let owners = self.clientsByOwner[owner, default: 0]
        guard owners < self.limits.clientsAnOwner else { return .refuse(.ownerFull) }
        guard self.clients < self.limits.maximumClients else { return .refuse(.relayFull) }
        self.clientsByShare[share] = already + 1
        self.clientsByOwner[owner] = owners + 1
        self.clients += 1
        return .proceed
    }

    /// A client that had arrived is gone.
    public mutating func clientLeft(share: ShareID, of owner: OwnerID) {
        guard let already = self.clientsByShare[share], let owners = self.clientsByOwner[owner]
        else { return }
        self.clientsByShare[share] = already > 1 ? already - 1 : nil
        self.clientsByOwner[owner] = owners > 1 ? owners - 1 : nil
        self.clients -= 1
    }

    /// Clients of one share.
    public func clients(of share: ShareID) -> Int {
        self.clientsByShare[share, default: 0]
    }
}

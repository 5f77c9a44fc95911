import NIOConcurrencyHelpers
import NIOCore
import SharePolicy

/// The relay's ``Admission``, behind its lock. It decides nothing of its own.
final class AdmissionGate: Sendable {
    /// What a client that has logged in gets.
    enum OnArrive: Sendable {
        /// A place, until the lease is released.
        case admitted(ClientLease)
        /// None.
        case refused(Refusal.Reason)
    }

    /// What it was made with: the one home of the bounds on strangers.
    let limits: AdmissionLimits
    private let admission: NIOLockedValueBox<Admission>

    /// Creates a gate that has let nobody in.
    ///
    /// - Parameter limits: Validated limits.
    init(limits: AdmissionLimits = AdmissionLimits()) {
        self.limits = limits
        self.admission = NIOLockedValueBox(Admission(limits: limits))
    }

    /// Clients of one share now.
    func clients(of share: ShareID) -> Int {
        self.admission.withLockedValue { $0.clients(of: share) }
    }

    /// Sockets that have not logged in.
    var pendingSockets: Int {
        self.admission.withLockedValue { $0.pendingSockets }
    }

    func accepted(from source: SourceAddress) -> Admission.OnAccept {
        self.admission.withLockedValue { $0.accepted(from: source) }
    }

    func authenticated(from source: SourceAddress) {
        self.admission.withLockedValue { $0.authenticated(from: source) }
    }

    func closed(from source: SourceAddress) {
        self.admission.withLockedValue { $0.closed(from: source) }
    }

    func mayTry(share: String, source: SourceAddress, now: NIODeadline) -> Bool {
        self.admission.withLockedValue { $0.mayTry(share: share, source: source, now: now) }
    }

    func loginFailed(share: String, source: SourceAddress, now: NIODeadline) {
        self.admission.withLockedValue { $0.loginFailed(share: share, source: source, now: now) }
    }

    func loginSucceeded(share: String, source: SourceAddress) {
        self.admission.withLockedValue { $0.loginSucceeded(share: share, source: source) }
    }

    /// A client has logged in to a share that allows `limit` of them.
    ///
    /// - Parameters:
    ///   - share: Its share.
    ///   - limit: The share's own limit.
    ///   - open: Counts the client until its lease is released.
    /// - Returns: Its place, or why there is none.
    func arrived(at share: ShareID, limit: Int, open: Gauge) -> OnArrive {
        switch self.admission.withLockedValue({ $0.clientArrived(share: share, limit: limit) }) {
        case .proceed: .admitted(ClientLease(self, shareID: share, open: open))
        case .refuse(let reason): .refused(reason)
        }
    }

    /// A client that had arrived is gone. Called by its lease, once.
    func left(_ share: ShareID) {
        self.admission.withLockedValue { $0.clientLeft(share: share) }
    }
}

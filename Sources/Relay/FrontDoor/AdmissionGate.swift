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
    /// Sockets that have not logged in.
    let pending: PendingGate
    private let admission: NIOLockedValueBox<Admission>

    /// Creates a gate that has let nobody in.
    ///
    /// - Parameters:
    ///   - limits: Validated limits.
    ///   - displaced: Counts the sockets that made room for others.
    init(limits: AdmissionLimits = AdmissionLimits(), displaced: Counter = Counter()) {
        self.limits = limits
        self.pending = PendingGate(
            PendingSockets(
                maximum: limits.maximumPending,
                maximumAnAddress: limits.maximumPendingAnAddress),
            displaced: displaced)
        self.admission = NIOLockedValueBox(Admission(limits: limits))
    }

    /// Clients of one share now.
    func clients(of share: ShareID) -> Int {
        self.admission.withLockedValue { $0.clients(of: share) }
    }

    /// Sockets that have not logged in.
    var pendingSockets: Int { self.pending.count }

    func mayTry(share: String, source: SourceAddress, now: NIODeadline) -> Bool {
        self.admission.withLockedValue { $0.mayTry(share: share, source: source, now: now) }
    }

    func tried(
        isRight: Bool, share: String, source: SourceAddress, now: NIODeadline
    ) -> Admission.OnTry {
        self.admission.withLockedValue {
            $0.tried(isRight: isRight, share: share, source: source, now: now)
        }
    }

    /// A client has logged in to a share.
    ///
    /// - Parameters:
    ///   - share: Its share.
    ///   - open: Counts the client until its lease is released.
    /// - Returns: Its place, or why there is none.
    func arrived(at share: Share, open: Gauge) -> OnArrive {
        let answer = self.admission.withLockedValue {
            $0.clientArrived(
                share: share.id, of: share.owner, limit: share.limits.maximumClients)
        }
        return switch answer {
        case .proceed: .admitted(ClientLease(self, share: share, open: open))
        case .refuse(let reason): .refused(reason)
        }
    }

    /// A client that had arrived is gone. Called by its lease, once.
    func left(_ share: ShareID, of owner: OwnerID) {
        self.admission.withLockedValue { $0.clientLeft(share: share, of: owner) }
    }
}

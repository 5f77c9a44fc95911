import SharePolicy
import Synchronization

/// One client's place among those that its share may have at once.
final class ClientLease: Sendable {
    private let admission: AdmissionGate
    private let shareID: ShareID
    private let owner: OwnerID
    private let open: Gauge
    private let isReleased = Atomic(false)

    /// Called by the gate for a client that has arrived.
    init(_ admission: AdmissionGate, share: Share, open: Gauge) {
        self.admission = admission
        self.shareID = share.id
        self.owner = share.owner
        self.open = open
    }

    deinit {
        self.release()
    }

    /// Frees the place. The first call counts; any thread. A lease that is dropped frees it too.
    func release() {
        guard !self.isReleased.exchange(true, ordering: .acquiringAndReleasing) else { return }
        self.open.decrement()
        self.admission.left(self.shareID, of: self.owner)
    }
}

import SharePolicy
import Synchronization

/// One client's place among those that its share may have at once.
final class ClientLease: Sendable {
    private let admission: AdmissionGate
    private let shareID: ShareID
    private let open: Gauge
    private let isReleased = Atomic(false)

    /// Called by the gate for a client that has arrived.
    init(_ admission: AdmissionGate, shareID: ShareID, open: Gauge) {
        self.admission = admission
        self.shareID = shareID
        self.open = open
    }

    deinit {
        self.release()
    }

    /// Frees the place. The first call counts; any thread. A lease that is dropped frees it too.
    func release() {
        guard !self.isReleased.exchange(true, ordering: .acquiringAndReleasing) else { return }
        self.open.decrement()
        self.admission.left(self.shareID)
    }
}

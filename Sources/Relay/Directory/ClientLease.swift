import Synchronization

/// One client's place among those that its share may have at once.
final class ClientLease: Sendable {
    private let places: ClientPlaces
    private let isReleased = Atomic(false)

    fileprivate init(_ places: ClientPlaces) {
        self.places = places
    }

    deinit {
        self.release()
    }

    /// Frees the place. The first call counts; any thread. A lease that is dropped frees it too.
    func release() {
        guard !self.isReleased.exchange(true, ordering: .acquiringAndReleasing) else { return }
        self.places.free()
    }
}

/// How many clients one share has now. It outlives tunnels and changes of the share.
final class ClientPlaces: Sendable {
    private let taken = Atomic(0)

    /// Clients that hold a lease now.
    var count: Int { self.taken.load(ordering: .relaxed) }

    /// Takes a place if fewer than `limit` are taken, or answers nil.
    func lease(limit: Int) -> ClientLease? {
        var count = self.taken.load(ordering: .relaxed)
        while count < limit {
            let result = self.taken.compareExchange(
                expected: count, desired: count + 1, ordering: .acquiringAndReleasing)
            if result.exchanged { return ClientLease(self) }
            count = result.original
        }
        return nil
    }

    fileprivate func free() {
        self.taken.wrappingSubtract(1, ordering: .acquiringAndReleasing)
    }
}

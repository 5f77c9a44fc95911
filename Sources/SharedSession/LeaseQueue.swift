import NIOCore

/// Clients that wait for their turn, first come first served.
struct LeaseQueue: Sendable {
    private var waiting: [SessionClientID] = []

    var first: SessionClientID? { self.waiting.first }
    var count: Int { self.waiting.count }
    var isEmpty: Bool { self.waiting.isEmpty }
    var all: [SessionClientID] { self.waiting }

    func contains(_ id: SessionClientID) -> Bool { self.waiting.contains(id) }

    mutating func append(_ id: SessionClientID) { self.waiting.append(id) }

    /// Somebody who had the lease already and could not use it.
    mutating func prepend(_ id: SessionClientID) { self.waiting.insert(id, at: 0) }

    /// Whether it was there.
    @discardableResult
    mutating func remove(_ id: SessionClientID) -> Bool {
        guard let index = self.waiting.firstIndex(of: id) else { return false }
        self.waiting.remove(at: index)
        return true
    }

    mutating func removeAll() { self.waiting.removeAll() }
}

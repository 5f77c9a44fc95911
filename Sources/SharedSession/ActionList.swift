/// Actions that were not taken yet.
struct ActionList: Sendable {
    private var waiting: [SharedSession.Action] = []
    private var first = 0

    mutating func append(_ action: SharedSession.Action) { self.waiting.append(action) }

    mutating func next() -> SharedSession.Action? {
        guard self.first < self.waiting.count else { return nil }
        defer {
            self.first += 1
            if self.first == self.waiting.count {
                self.waiting.removeAll(keepingCapacity: true)
                self.first = 0
            }
        }
        return self.waiting[self.first]
    }
}

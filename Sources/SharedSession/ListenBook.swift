/// The channels one client listens to, transactional as in Postgres.
///
/// Source: `async.c`: LISTEN and UNLISTEN take effect when their transaction commits, and a
/// subtransaction that is rolled back takes its own with it.
struct ListenBook: Sendable, Hashable {
    private enum Change: Sendable, Hashable {
        case listen(String)
        case unlisten(String)
        case unlistenAll
    }

    private struct Level: Sendable, Hashable {
        var savepoint: String?
        /// How often that name was given in a row, as drivers do before each statement.
        var depth = 1
        var changes: [Change] = []
    }

    /// Channels that are listened to for good.
    private(set) var channels: Set<String> = []
    private var levels = [Level()]

    var isEmpty: Bool { self.channels.isEmpty }
    /// How much it remembers: channels, savepoints, and LISTENs of the transaction.
    var size: Int {
        self.levels.reduce(self.channels.count + self.levels.count) { $0 + $1.changes.count }
    }

    /// A statement was completed, with this tag.
    mutating func completed(_ effect: StatementEffect, tag: String) {
        switch effect {
        case .listen(let channel): self.note(.listen(channel))
        case .unlisten(let channel): self.note(.unlisten(channel))
        case .unlistenAll: self.note(.unlistenAll)
        case .commit: self.ended(committed: tag == "COMMIT")
        case .rollback: self.ended(committed: false)
        case .savepoint(let name): self.savepoint(name)
        case .rollbackTo(let name): self.rollBack(to: name)
        case .release(let name): self.release(name)
        case .none, .begin, .prepare, .deallocate, .deallocateAll, .discardAll, .resetAll,
            .tagged, .notify, .copyIn:
            break
        }
    }

    /// The transaction is over.
    mutating func ended(committed: Bool) {
        if committed {
            for change in self.levels.flatMap(\.changes) { self.apply(change) }
        }
        self.levels = [Level()]
    }

    mutating func removeAll() { self = ListenBook() }

    private mutating func note(_ change: Change) {
        self.levels[self.levels.count - 1].changes.append(change)
    }

    private mutating func savepoint(_ name: String) {
        let last = self.levels.count - 1
        if self.levels[last].savepoint == name, self.levels[last].changes.isEmpty {
            self.levels[last].depth += 1
        } else {
            self.levels.append(Level(savepoint: name))
        }
    }

    private mutating func rollBack(to name: String) {
        guard let index = self.levels.lastIndex(where: { $0.savepoint == name }) else { return }
        let depth = self.levels[index].depth
        self.levels.removeSubrange(index...)
        self.levels.append(Level(savepoint: name, depth: depth))
    }

    private mutating func release(_ name: String) {
        guard let index = self.levels.lastIndex(where: { $0.savepoint == name }) else { return }
        let changes = self.levels[index...].flatMap(\.changes)
        let depth = self.levels[index].depth
        self.levels.removeSubrange(index...)
        if depth > 1 { self.levels.append(Level(savepoint: name, depth: depth - 1)) }
        self.levels[self.levels.count - 1].changes += changes
    }

    private mutating func apply(_ change: Change) {
        switch change {
        case .listen(let channel): self.channels.insert(channel)
        case .unlisten(let channel): self.channels.remove(channel)
        case .unlistenAll: self.channels.removeAll()
        }
    }
}

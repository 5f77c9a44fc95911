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
        var changes: [Change] = []
    }

    /// Channels that are listened to for good.
    private(set) var channels: Set<String> = []
    private var levels = [Level()]

    var isEmpty: Bool { self.channels.isEmpty }

    /// A statement was completed, with this tag.
    mutating func completed(_ effect: StatementEffect, tag: String) {
        switch effect {
        case .listen(let channel): self.note(.listen(channel))
        case .unlisten(let channel): self.note(.unlisten(channel))
        case .unlistenAll: self.note(.unlistenAll)
        case .commit: self.ended(committed: tag == "COMMIT")
        case .rollback: self.ended(committed: false)
        case .savepoint(let name): self.levels.append(Level(savepoint: name))
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

    private mutating func rollBack(to name: String) {
        guard let index = self.levels.lastIndex(where: { $0.savepoint == name }) else { return }
        self.levels.removeSubrange(index...)
        self.levels.append(Level(savepoint: name))
    }

    private mutating func release(_ name: String) {
        guard let index = self.levels.lastIndex(where: { $0.savepoint == name }) else { return }
        let changes = self.levels[index...].flatMap(\.changes)
        self.levels.removeSubrange(index...)
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

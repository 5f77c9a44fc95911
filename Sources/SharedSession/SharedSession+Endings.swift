package import NIOCore
package import PostgresWire

/// Clients that go, are sent away, or give up.
extension SharedSession {
    /// Ends a client with an error, where it stands between two messages.
    mutating func end(_ id: SessionClientID, _ ending: ClientEnding) {
        guard self.clients[id] != nil else { return }
        if case .client(id) = self.call?.owner, self.call?.matcher.isWithinMessage == true {
            // An error in the middle of a row would be read as part of it.
        } else {
            self.send(id, ending.error.encoded())
        }
        self.actions.append(.log(.ended(id, ending.error.sqlState)))
        self.forget(id, closing: true)
    }

    mutating func end(all ending: ClientEnding) {
        for id in self.clients.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            self.end(id, ending)
        }
    }

    /// A client is gone; what it leaves in the engine is cleaned up next.
    mutating func forget(_ id: SessionClientID, closing: Bool = false) {
        // Of whoever the session is not with any more nothing is left in it.
        let isDirty = self.settled == id && self.mustLook(at: id)
        guard var client = self.clients.removeValue(forKey: id) else { return }
        if closing { self.actions.append(.close(id)) }
        self.queue.remove(id)
        if client.generation == self.engine.generation {
            self.engine.condemned += client.statements.removeAll()
        }
        if self.engine.applying?.client == id {
            self.engine.applying = nil
            self.engine.settings = nil
        }
        let isHolder = self.holder == id
        let isPinned = self.pinned == id
        if isHolder {
            self.holder = nil
            if case .client(id) = self.call?.owner { self.dropGathered() }
        }
        if isPinned { self.pinned = nil }
        if self.settled == id { self.settled = nil }
        guard isHolder || isPinned || isDirty else { return }
        var cleanup = self.engine.cleanup ?? .init(client: id)
        cleanup.needsSync =
            cleanup.needsSync || isHolder && (client.hasOpenExchange || self.call != nil)
        cleanup.needsReset = cleanup.needsReset || isPinned || isDirty
        self.engine.cleanup = cleanup
        if isDirty { self.engine.settings = nil }
    }

    /// A pipeline without its Sync is undone as in Postgres: a Sync alone would commit it.
    private mutating func abortPipeline() -> Bool {
        var call = EngineCall(.hidden(.sync), generation: self.engine.generation)
        call.matcher.expect(.bind, isHidden: true)
        call.matcher.expect(.sync, isHidden: true)
        self.call = call
        self.gather(SessionMessage.parse("", text: Self.refused))
        self.gather(SessionMessage.sync)
        self.runGathered()
        return false
    }

    mutating func stepCleanup(now: NIODeadline) -> Bool {
        guard let cleanup = self.engine.cleanup else { return true }
        if cleanup.needsSync {
            return self.abortPipeline()
        }
        if self.engine.status != .idle {
            self.actions.append(.log(.rolledBack(cleanup.client)))
            return self.start(.rollback, "ROLLBACK")
        }
        if cleanup.needsReset {
            // What the page has set goes, too, and must come back.
            if self.engine.pageHadIt, !cleanup.wasNotUnderstood {
                return self.lookAtPage(now: now)
            }
            return self.start(.reset, Self.resetQuery)
        }
        self.engine.cleanup = nil
        return true
    }

    // MARK: Waiting clients

    /// What a client sends while it has no lease: does it ask for one?
    mutating func lookAtInbox(of id: SessionClientID, now: NIODeadline) {
        while self.holder != id, let client = self.clients[id], client.isGreeted {
            guard !self.queue.contains(id) else { return }
            guard case .message(let type, let total, let here) = client.inbox.front else {
                if case .malformed(let what) = client.inbox.front { self.end(id, .violation(what)) }
                return
            }
            guard Self.isKnown(type) else {
                _ = self.refuse(id, type)
                return
            }
            guard total <= Self.smallMessageBytes || !Self.isSmall(type) else {
                _ = self.refuse(id, "invalid message length")
                return
            }
            switch type {
            case .terminate: return self.forget(id, closing: true)
            case .sync where here == total:
                _ = self.clients[id]?.inbox.take(total)
                self.clients[id]?.isSkipping = false
                self.send(id, PostgresMessage.readyForQuery())
            case .flush where here == total, .copyData, .copyDone, .copyFail:
                self.clients[id]?.inbox.skipMessage()
            default:
                if client.isSkipping, type != .sync {
                    self.clients[id]?.inbox.skipMessage()
                    continue
                }
                guard client.isReady(queuedBytes: self.limits.queuedBytes) else { return }
                return self.enqueue(id, now: now)
            }
        }
    }

    /// Answers the exchange in front of a waiting client's inbox with an error.
    mutating func giveUp(_ id: SessionClientID, _ error: PostgresError, now: NIODeadline) {
        guard let client = self.clients[id], self.queue.remove(id) else { return }
        self.clients[id]?.waitingSince = nil
        guard client.isGreeted else {
            var error = error
            error.severity = .fatal
            return self.end(id, .init(error))
        }
        self.send(id, error.encoded())
        if case .message(let type, _, _) = client.inbox.front,
            type == .query || type == .functionCall
        {
            self.clients[id]?.inbox.skipMessage()
            self.send(id, PostgresMessage.readyForQuery())
        } else {
            self.clients[id]?.isSkipping = true
        }
        self.lookAtInbox(of: id, now: now)
    }

    // MARK: Cancel

    /// Somebody brought this client's cancel key.
    package mutating func cancel(_ id: SessionClientID, now: NIODeadline) {
        guard let client = self.clients[id] else { return }
        if self.queue.contains(id) {
            if client.isGreeted { self.giveUp(id, Self.cancelled, now: now) }
        } else if self.holder == id, client.copy?.isReceiving == true {
            self.cancelCopy(id)
        } else if case .client(id) = self.call?.owner, self.call?.isRunning == true,
            self.call?.matcher.isWithinMessage == false
        {
            self.send(id, SessionMessage.notice(Self.uninterruptible))
        }
        self.settle(now: now)
    }

    static let cancelled = PostgresError(
        severity: .error, sqlState: .queryCanceled,
        message: "canceling statement due to user request")
    private static let uninterruptible = PostgresError(
        severity: .notice, sqlState: SQLState(rawValue: "00000"),
        message: "the engine in the browser cannot interrupt a running query; it goes on",
        hint: "What waits for its turn can be cancelled.")

    // MARK: The engine

    /// The engine is gone for good: every client is ended, and who comes later, too.
    ///
    /// - Parameters:
    ///   - sqlState: 57P01 where it ended on purpose, 08006 where it was lost.
    ///   - message: One sentence for clients.
    ///   - now: The time.
    package mutating func engineGone(
        _ sqlState: SQLState, _ message: String, now: NIODeadline
    ) {
        guard self.engine.presence != .gone else { return }
        let ending = ClientEnding.gone(sqlState, message)
        self.engine.presence = .gone
        self.engine.ending = ending
        self.end(all: ending)
        self.call = nil
        self.engine.cleanup = nil
        self.engine.applying = nil
    }

    /// The engine is away, and its session is lost: whoever had something under way in it is ended,
    /// and whoever may have set something that nobody has seen yet. Everybody else waits for
    /// ``restarted(now:)``.
    package mutating func sessionLost(_ message: String, now: NIODeadline) {
        guard self.engine.presence != .gone else { return }
        let unseen = self.settled.flatMap { self.mustLook(at: $0) ? $0 : nil }
        let whose = self.whoseIsLost
        if let whose { self.end(whose, .faulted(message)) }
        if let unseen, unseen != whose { self.end(unseen, .faulted(message)) }
        self.call = nil
        self.engine.cleanup = nil
        self.engine.applying = nil
        self.engine.presence = .restarting
        self.settle(now: now)
    }

    /// Whose call is under way; or who holds the session, since a transaction goes with its engine.
    private var whoseIsLost: SessionClientID? {
        guard case .client(let id) = self.call?.owner else { return self.holder }
        return id
    }

    /// A call failed outside of SQL and is over; `restarted` where the engine is new already.
    package mutating func faulted(_ message: String, restarted: Bool, now: NIODeadline) {
        guard self.engine.presence != .gone else { return }
        let whose = self.whoseIsLost
        self.actions.append(.log(.faulted(whose)))
        // HOLD failed: it is asked for again.
        if !self.isHeld, self.engine.presence == .ours { self.engine.presence = .withPage }
        if let whose { self.end(whose, .faulted(message)) }
        self.call = nil
        self.engine.cleanup = nil
        self.engine.applying = nil
        self.engine.faultsInARow += 1
        guard self.engine.faultsInARow <= Self.maximumFaults else {
            return self.engineGone(
                .connectionFailure, "the engine in the browser does not work any more", now: now)
        }
        if restarted {
            self.engineIsNew()
        } else if self.capabilities.restarts {
            self.engine.presence = .restarting
            self.actions.append(.restart)
        } else {
            self.engine.cleanup = .init(
                client: whose ?? SessionClientID(rawValue: 0), needsSync: true, needsReset: true)
            self.engine.settings = nil
        }
        self.settle(now: now)
    }

    /// Whether the page's own queries are known to be kept out, as far as that is possible.
    private var isHeld: Bool { self.engine.heldSince != nil || !self.capabilities.holds }

    /// Faults in a row before the engine is given up.
    private static let maximumFaults = 3

    /// What becomes of the holder when the session is new: an exchange that was answered before is
    /// over as usual, one that did not begin waits for its settings, any other has lost something.
    private mutating func restartedUnder(_ id: SessionClientID) {
        guard let client = self.clients[id] else { return }
        let isAnswered = self.call?.owner == .client(id) && self.call?.ready != nil
        let isLast = client.copy?.isAtItsEnd ?? true
        if self.engine.status == .idle, client.owedReady != nil || isAnswered, isLast { return }
        if self.engine.status == .idle, !client.hasOpenExchange, client.copy == nil {
            self.holder = nil
            self.clients[id]?.preface = nil
            self.clients[id]?.silentSince = nil
            return self.queue.prepend(id)
        }
        self.end(id, .faulted("it was restarted within a transaction"))
    }

    mutating func engineIsNew() {
        if let holder = self.holder { self.restartedUnder(holder) }
        if let pinned = self.pinned {
            self.end(pinned, .faulted("its temporary tables, cursors or locks are lost"))
        }
        if self.engine.presence == .restarting {
            self.engine.presence = self.isHeld ? .ours : .withPage
        }
        self.engine.generation += 1
        self.engine.mayHaveUnknownSettings = false
        self.engine.status = .idle
        self.settingsAreUnknown()
        // A call that is under way may yet leave something in the new session.
        if self.call == nil { self.engine.cleanup = nil }
        self.engine.applying = nil
        self.engine.condemned = []
        self.engine.needsListens = true
        self.engine.needsPageLook = true
        self.engine.pageHadIt = false
        self.engine.lastInfo = self.engine.info ?? self.engine.lastInfo
        self.engine.info = nil
        self.pinned = nil
        self.actions.append(.log(.restarted))
    }
}

import NIOCore
import PostgresWire

/// What is done when no call is under way, found from the facts alone.
extension SharedSession {
    mutating func settle(now: NIODeadline) {
        while self.step(now: now) {}
        if let holder = self.holder { self.updatePause(holder) }
        for id in self.clients.keys where self.clients[id]?.isPaused == true {
            self.updatePause(id)
        }
    }

    /// One step; whether there may be another one.
    private mutating func step(now: NIODeadline) -> Bool {
        if let call = self.call {
            if let holder = self.holder, call.owner == .client(holder), !call.isRunning {
                self.pump(holder, now: now)
                return self.call == nil
            }
            return false
        }
        switch self.engine.presence {
        case .gone, .restarting: return false
        case .withPage:
            // The last client to go leaves nothing of its own with the page.
            let mustClose = self.clients.isEmpty && !self.engine.condemned.isEmpty
            guard !self.queue.isEmpty || self.engine.cleanup != nil || mustClose else {
                return false
            }
            self.takeEngine()
        case .ours: break
        }
        if self.engine.cleanup != nil, self.holder == nil { return self.stepCleanup(now: now) }
        if let holder = self.holder { return self.stepHolder(holder, now: now) }
        if self.engine.applying != nil { return self.stepApplying() }
        return self.stepBetween(now: now)
    }

    private mutating func takeEngine() {
        self.engine.presence = .ours
        self.engine.heldSince = nil
        self.engine.needsPageLook = true
        self.engine.pageHadIt = true
        if self.capabilities.holds { self.actions.append(.hold) }
    }

    private mutating func stepHolder(_ id: SessionClientID, now: NIODeadline) -> Bool {
        guard let client = self.clients[id] else {
            self.holder = nil
            return true
        }
        if self.engine.applying != nil { return self.stepApplying() }
        if let status = client.owedReady { return self.stepAfterwards(id, status, now: now) }
        if client.copy != nil, self.stepCopy(id, now: now) { return true }
        let before = client.inbox.readableBytes
        self.pump(id, now: now)
        return self.call == nil && self.clients[id]?.inbox.readableBytes != before
    }

    /// Nobody has the lease.
    private mutating func stepBetween(now: NIODeadline) -> Bool {
        let isUnknown = self.engine.info == nil || self.engine.needsPageLook
        let isPages = self.engine.needsPageLook || self.engine.settings == self.engine.pageSettings
        if isUnknown, isPages, self.queue.isEmpty {
            return self.engine.condemned.isEmpty ? self.release() : self.closeCondemned()
        }
        if isUnknown { return self.lookAtPage(now: now) }
        if self.engine.needsListens { return self.listenAgain() }
        if self.engine.condemned.count >= Self.maximumCondemned { return self.closeCondemned() }
        if self.queue.isEmpty || self.mustYield(now: now) { return self.windDown(now: now) }
        guard let candidate = self.candidate else { return self.unpin(now: now) }
        return self.prepare(candidate, now: now)
    }

    /// The engine itself, and what the page has set in it.
    mutating func lookAtPage(now: NIODeadline) -> Bool {
        guard self.engine.info != nil else {
            return self.start(.engineLook, SessionInspection.engineQuery)
        }
        return self.look(.pageLook, now: now)
    }

    /// Statements without a client that the engine keeps for a while.
    private static let maximumCondemned = 500

    private func mustYield(now: NIODeadline) -> Bool {
        guard self.capabilities.holds, let since = self.engine.heldSince else { return false }
        return now >= since + self.limits.holdAtMost
    }

    private var candidate: SessionClientID? {
        guard let pinned = self.pinned else { return self.queue.first }
        return self.queue.contains(pinned) ? pinned : nil
    }

    /// Whether what keeps the session with its client is still there.
    private mutating func unpin(now: NIODeadline) -> Bool {
        guard let pinned = self.pinned, self.clients[pinned]?.dirty.isEmpty == false else {
            return false
        }
        return self.look(.look(pinned), now: now)
    }

    /// Whether a client may have left something in the session since the last look.
    func mustLook(at id: SessionClientID) -> Bool {
        guard let dirty = self.clients[id]?.dirty else { return false }
        if !dirty.isDisjoint(with: .session) { return true }
        guard dirty.contains(.mayRunStoredCode) else { return false }
        return self.engine.storedCode?.mayTouchSession ?? true
    }

    /// Brings the session to where a client left it, and gives it the lease.
    private mutating func prepare(_ id: SessionClientID, now: NIODeadline) -> Bool {
        guard let client = self.clients[id] else {
            self.queue.remove(id)
            return true
        }
        if let settled = self.settled, settled != id, self.mustLook(at: settled) {
            return self.look(.look(settled), now: now)
        }
        if let settled = self.settled, settled != id { self.clients[settled]?.dirty = [] }
        guard let current = self.engine.settings else { return self.look(.look(nil), now: now) }
        if self.settled != id {
            if !self.engine.mayHaveUnknownSettings,
                let preface = self.preface(for: id, from: current)
            {
                self.clients[id]?.preface = preface
                self.grant(id, now: now)
                return true
            }
            // What it set at its start is set again where nobody has seen what became of it.
            let needsStartup = client.needsStartup || !client.knowsStartup
            self.clients[id]?.needsStartup = needsStartup
            let target = needsStartup ? SessionSettings() : client.settings
            self.engine.applying = .init(
                statements: self.changes(to: target)[...], target: target, client: id)
            self.settle(on: id)
            return true
        }
        if client.needsStartup { return self.applyStartup(id) }
        if !client.knowsStartup { return self.look(.look(id), now: now) }
        if !client.wasReportAsked, !self.engine.reportsItself { return self.askForReport(id) }
        if client.generation != self.engine.generation { return self.prepareAgain(id) }
        self.grant(id, now: now)
        return true
    }

    private mutating func grant(_ id: SessionClientID, now: NIODeadline) {
        self.queue.remove(id)
        self.lingerUntil = nil
        if let since = self.clients[id]?.waitingSince, now > since {
            self.actions.append(.log(.served(id, waited: now - since)))
        }
        self.clients[id]?.waitingSince = nil
        self.restartSilence(id, now: now)
        guard self.clients[id]?.isGreeted == true else {
            self.greet(id)
            self.leaseEnded(id, now: now)
            return
        }
        // What the engine reports now is another client's where its settings are.
        if self.clients[id]?.preface == nil { self.tellParameters(id) }
        self.holder = id
    }

    /// A client's exchange is over, and no transaction is open.
    mutating func leaseEnded(_ id: SessionClientID, now: NIODeadline) {
        if self.holder == id { self.holder = nil }
        self.clients[id]?.silentSince = nil
        self.lingerUntil = now + self.limits.lingerFor
        self.lookAtInbox(of: id, now: now)
    }

    /// Gives the engine back to the page once nobody has come for a while.
    private mutating func windDown(now: NIODeadline) -> Bool {
        let isLeaving = self.mustYield(now: now) || self.lingerUntil.map { now >= $0 } ?? true
        if self.engine.needsPoke, self.clients.values.contains(where: { !$0.listens.isEmpty }) {
            self.engine.needsPoke = false
            return self.start(.poke, SessionMessage.sync, expecting: .sync)
        }
        guard isLeaving else { return false }
        if !self.engine.condemned.isEmpty { return self.closeCondemned() }
        if let settled = self.settled, self.mustLook(at: settled) {
            return self.look(.look(settled), now: now)
        }
        guard let current = self.engine.settings else { return self.look(.look(nil), now: now) }
        if current != self.engine.pageSettings || self.engine.mayHaveUnknownSettings {
            let target = self.engine.pageSettings
            self.settled = nil
            self.engine.applying = .init(
                statements: self.changes(to: target)[...], target: target, client: nil)
            return true
        }
        return self.release()
    }

    private mutating func release() -> Bool {
        self.settled = nil
        self.lingerUntil = nil
        self.engine.presence = .withPage
        self.engine.heldSince = nil
        if self.capabilities.holds { self.actions.append(.release) }
        return !self.queue.isEmpty
    }
}

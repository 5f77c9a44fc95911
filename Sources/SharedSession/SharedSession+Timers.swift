package import NIOCore
import PostgresWire

/// What time alone does.
extension SharedSession {
    /// When ``tick(now:)`` is due, or nil.
    package var nextDeadline: NIODeadline? {
        var deadlines: [NIODeadline] = self.queue.all.compactMap { self.deadline(ofWaiting: $0) }
        if let silent = self.silenceEnds { deadlines.append(silent) }
        let isIdle = self.call == nil && self.holder == nil && self.queue.isEmpty
        if isIdle, self.engine.presence == .ours {
            if let linger = self.lingerUntil { deadlines.append(linger) }
        }
        return deadlines.min()
    }

    /// Time has passed.
    package mutating func tick(now: NIODeadline) {
        guard self.engine.presence != .gone else { return }
        if let ends = self.silenceEnds, now >= ends, let holder = self.holder {
            self.actions.append(.log(.holderTimedOut(holder)))
            self.end(holder, self.silence(of: holder))
        }
        for id in self.queue.all { self.tick(waiting: id, now: now) }
        self.settle(now: now)
    }

    private func deadline(ofWaiting id: SessionClientID) -> NIODeadline? {
        guard let client = self.clients[id], let since = client.waitingSince else { return nil }
        let wait = self.limits.waitTimeout
        if !client.isGreeted {
            return since + (self.engine.info == nil ? wait : min(self.limits.greetWithin, wait))
        }
        return since + (client.isNoticed ? wait : min(self.limits.noticeAfter, wait))
    }

    private mutating func tick(waiting id: SessionClientID, now: NIODeadline) {
        guard let client = self.clients[id], let since = client.waitingSince else { return }
        if now >= since + self.limits.waitTimeout {
            self.actions.append(.log(.waitTimedOut(id, holder: self.holder ?? self.pinned)))
            self.giveUp(id, self.waitError, now: now)
        } else if !client.isGreeted {
            if now >= since + self.limits.greetWithin {
                self.greetEarly(id)
                self.lookAtInbox(of: id, now: now)
            }
        } else if !client.isNoticed, now >= since + self.limits.noticeAfter {
            self.clients[id]?.isNoticed = true
            self.send(id, SessionMessage.notice(self.waitNotice))
        }
    }

    /// When the holder's silence ends its connection; nil where nobody waits or it is served.
    private var silenceEnds: NIODeadline? {
        guard let holder = self.holder, let client = self.clients[holder], client.owedReady == nil,
            let since = client.silentSince,
            let waiting = self.queue.first.flatMap({ self.clients[$0]?.waitingSince })
        else { return nil }
        if let call = self.call {
            guard call.isRunning ? client.isStalled : !self.engine.isStalled else { return nil }
        }
        return max(since, waiting) + self.limits.idleTimeout
    }

    private func silence(of id: SessionClientID) -> ClientEnding {
        guard let client = self.clients[id] else { return .idle }
        if client.isStalled { return .slowToRead }
        let isSending = self.call != nil || client.copy != nil || !client.inbox.isEmpty
        return isSending ? .slowToSend : .idle
    }

    mutating func restartSilence(_ id: SessionClientID, now: NIODeadline) {
        self.clients[id]?.silentSince = now
        self.clients[id]?.bytesSince = 0
    }

    /// A client that sends a byte now and then keeps nobody waiting for longer than a silent one.
    mutating func noteProgress(_ id: SessionClientID, _ bytes: Int, now: NIODeadline) {
        guard self.holder == id else { return }
        self.clients[id]?.bytesSince += bytes
        guard let since = self.clients[id]?.bytesSince, since >= self.limits.progressBytes else {
            return
        }
        self.restartSilence(id, now: now)
    }

    private var holderLabel: String {
        guard let id = self.holder ?? self.pinned, let client = self.clients[id] else {
            return "the page that shares this database"
        }
        return client.label
    }

    private var waitError: PostgresError {
        PostgresError(
            severity: .error, sqlState: SQLState(rawValue: "55P03"),
            message: "waited too long for the session of this sandbox, "
                + "which \(self.holderLabel) has",
            hint: "Commit or roll back there, drop its temporary tables and locks, or close it.")
    }

    private var waitNotice: PostgresError {
        PostgresError(
            severity: .notice, sqlState: SQLState(rawValue: "00000"),
            message: "waiting for \(self.holderLabel), which has the one session of this sandbox",
            hint: "Its transaction must end first.")
    }
}

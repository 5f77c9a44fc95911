import NIOCore
import SharePolicy
import SharedSession

/// Clients of a shared session that are ended at rest: the relay drains, or they were here for as
/// long as it lets them.
extension SessionShell {
    /// Ends every client as soon as it is at rest, and who still comes at once.
    func endAtRest(_ reason: Refusal.Reason) {
        guard self.ending == nil else { return }
        self.ending = reason
        for client in self.early.takeAll() { self.refuse(client.id, EngineEnd(reason)) }
        _ = self.endThoseAtRest()
        self.settle()
    }

    /// - Returns: whether there were any.
    func endThoseAtRest() -> Bool {
        guard let ending else { return false }
        return self.end(ending) { _ in true }
    }

    private func end(_ reason: Refusal.Reason, if isDue: (Seat) -> Bool) -> Bool {
        var isAny = false
        for (id, seat) in self.seats where isDue(seat) && self.machine?.isAtRest(id) == true {
            isAny = true
            self.environment.metrics.refusals.add(reason)
            self.machine?.end(id, reason.sqlState, reason.message, now: self.now)
        }
        return isAny
    }

    // MARK: Idle and lifetime

    /// Looks at the clients' times again and again, for as long as there are clients and limits.
    func lookAtRestLater() {
        guard self.restTimer == nil, let wait = self.environment.clientLimits().look else { return }
        self.restTimer = self.loop.assumeIsolated().scheduleTask(in: wait) {
            self.restTimer = nil
            self.lookAtRest()
        }
    }

    private func lookAtRest() {
        guard !self.seats.isEmpty, !self.isOver else { return }
        let limits = self.environment.clientLimits()
        let now = self.loop.now
        var isAny = false
        if let lifetime = limits.lifetime {
            isAny = self.end(.clientLifetime) { now - $0.arrivedAt >= lifetime }
        }
        if let idle = limits.idle {
            isAny = self.end(.clientIdle) { now - $0.activeAt >= idle } || isAny
        }
        if isAny { self.settle() }
        self.lookAtRestLater()
    }
}

import NIOCore
import SharePolicy
import TunnelTransport

/// Ends one client at rest: when it is told to, when it was idle for too long, or when it has been
/// here for long enough.
///
/// Lives on the client's event loop.
final class RestWatch {
    private let limits: ClientLimits
    private let loop: any EventLoop
    private let since: NIODeadline
    private weak var splice: SpliceHandler?
    private var leave: ((Refusal.Reason) -> Void)?
    /// Why it is ended at its next rest.
    private var ending: Refusal.Reason?
    /// Since when it can ask.
    private var greetedAt: NIODeadline
    private var idleSince: NIODeadline
    private var look: Scheduled<Void>?
    private var lifetime: Scheduled<Void>?
    private var question: Scheduled<Void>?

    init(limits: ClientLimits, on loop: any EventLoop) {
        self.limits = limits
        self.loop = loop
        self.since = loop.now
        self.greetedAt = self.since
        self.idleSince = self.since
    }

    /// Its greeting is over: from here on it may be at rest.
    func watch(_ splice: SpliceHandler, leave: @escaping (Refusal.Reason) -> Void) {
        self.splice = splice
        self.leave = leave
        self.greetedAt = self.loop.now
        if let ending { return self.end(ending) }
        self.lookLater()
        guard let lifetime = self.limits.lifetime else { return }
        let isolated = self.loop.assumeIsolated()
        self.lifetime = isolated.scheduleTask(deadline: self.since + lifetime) {
            self.end(.clientLifetime)
        }
    }

    /// Ends the client at its next rest. The first reason stands.
    func end(_ reason: Refusal.Reason) {
        self.ending = self.ending ?? reason
        guard let splice else { return }
        splice.settle()
        splice.onRest = { self.rested() }
        if splice.isAtRest { self.rested() }
    }

    /// It is at rest, and is to be ended; not before it could ask what it came for.
    private func rested() {
        guard let splice else { return }
        let due = self.greetedAt + ClientLimits.firstQuestion
        guard !splice.hasAsked, self.loop.now < due else { return self.endNow() }
        guard self.question == nil else { return }
        self.question = self.loop.assumeIsolated().scheduleTask(deadline: due) {
            splice.settle()
            if splice.isAtRest { self.endNow() }
        }
    }

    /// Nothing is ended any more.
    func stop() {
        for timer in [self.look, self.lifetime, self.question] { timer?.cancel() }
        (self.look, self.lifetime, self.question) = (nil, nil, nil)
        self.leave = nil
        self.splice?.onRest = nil
        self.splice = nil
    }

    private func endNow() {
        guard let leave, let ending else { return }
        self.stop()
        leave(ending)
    }

    private func lookLater() {
        guard let wait = self.limits.look else { return }
        self.look = self.loop.assumeIsolated().scheduleTask(in: wait) { self.lookNow() }
    }

    private func lookNow() {
        guard let splice, let idle = self.limits.idle else { return }
        let now = self.loop.now
        splice.settle()
        if splice.takeActivity() || !splice.isAtRest { self.idleSince = now }
        guard now - self.idleSince >= idle else { return self.lookLater() }
        self.ending = self.ending ?? .clientIdle
        self.endNow()
    }
}

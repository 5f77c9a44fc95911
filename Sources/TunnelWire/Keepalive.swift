import NIOCore

/// Whether the peer is there, and how far away. Any byte is a sign of life.
struct Keepalive: Sendable {
    /// A round trip older than this is measured again when a window wants to grow.
    static let roundTripAge = TimeAmount.seconds(30)

    private let limits: LinkLimits
    private var hasHeard = false
    private var lastHeard: NIODeadline
    private var lastAsked: NIODeadline
    private(set) var roundTrip: TimeAmount?
    /// A question is on its way, or its answer.
    private(set) var isAsking = false
    /// Questions that were answered so far.
    private(set) var answers: UInt64 = 0

    init(limits: LinkLimits, now: NIODeadline) {
        self.limits = limits
        self.lastHeard = now
        self.lastAsked = now
    }

    /// Bytes came. The time is looked at by the next tick: this is on the hot path.
    mutating func heard() { self.hasHeard = true }

    mutating func connected(now: NIODeadline) {
        self.hasHeard = false
        self.lastHeard = now
    }

    /// Asks: the question carries the time, so that the answer measures the round trip.
    mutating func ask(into frames: inout ByteBuffer, now: NIODeadline) {
        self.lastAsked = now
        self.isAsking = true
        frames.writeFrame(.ping, number: now.uptimeNanoseconds)
    }

    mutating func askAgainIfOld(into frames: inout ByteBuffer, now: NIODeadline) {
        if now - self.lastAsked > Self.roundTripAge { self.ask(into: &frames, now: now) }
    }

    mutating func answered(_ number: UInt64, now: NIODeadline) {
        let asked = NIODeadline.uptimeNanoseconds(number)
        // Only our own questions count: a peer that makes up answers measures nothing.
        guard asked == self.lastAsked, asked <= now else { return }
        self.roundTrip = now - asked
        self.isAsking = false
        self.answers += 1
    }

    /// - Returns: whether the peer counts as alive.
    mutating func tick(into frames: inout ByteBuffer, now: NIODeadline) -> Bool {
        if self.hasHeard {
            self.hasHeard = false
            self.lastHeard = now
        }
        let silence = now - self.lastHeard
        if silence >= self.limits.deadAfter { return false }
        if silence >= self.limits.pingAfter, now - self.lastAsked >= self.limits.pingAfter {
            self.ask(into: &frames, now: now)
        }
        return true
    }
}

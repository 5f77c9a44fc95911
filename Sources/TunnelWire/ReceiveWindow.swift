package import NIOCore

/// The credit that this side granted on one stream: absolute offsets, so that a repeated update
/// changes nothing.
///
/// Source: `PROTOCOL.md`, "Flow control".
package struct ReceiveWindow: Sendable, Hashable {
    /// Bytes that may be in flight or waiting here.
    package private(set) var capacity: Int
    /// Bytes taken from the link so far.
    package private(set) var received: UInt64 = 0
    /// Bytes that the far socket has taken so far.
    package private(set) var consumed: UInt64 = 0
    /// The offset up to which the peer may send.
    package private(set) var limit: UInt64
    /// When the last update went out.
    private var updated: NIODeadline

    package init(capacity: Int, now: NIODeadline) {
        self.capacity = capacity
        self.limit = UInt64(capacity)
        self.updated = now
    }

    /// Takes `bytes` from the link.
    ///
    /// - Returns: false if the peer sent more than its credit; nothing is counted then.
    package mutating func receive(_ bytes: Int) -> Bool {
        guard self.received + UInt64(bytes) <= self.limit else { return false }
        self.received += UInt64(bytes)
        return true
    }

    /// The far socket took `bytes`.
    ///
    /// The window doubles, by at most `room` bytes and up to `maximum`, when half of it went
    /// within two round trips: then the window, not the network, was what held the stream back.
    ///
    /// - Returns: the bytes it grew by if an update is due, nil otherwise.
    package mutating func consume(
        _ bytes: Int, now: NIODeadline, roundTrip: TimeAmount?, maximum: Int, room: Int
    ) -> Int? {
        self.consumed = min(self.consumed + UInt64(bytes), self.received)
        guard self.limit - self.consumed <= UInt64(self.capacity / 2) else { return nil }
        var growth = 0
        if let roundTrip, now - self.updated < roundTrip * 2 {
            growth = max(0, min(self.capacity, maximum - self.capacity, room))
            self.capacity += growth
        }
        self.limit = self.consumed + UInt64(self.capacity)
        self.updated = now
        return growth
    }
}

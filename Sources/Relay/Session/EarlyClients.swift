import NIOCore
import SharedSession

/// Clients that came while the engine had not answered yet, or was away. They wait for it as long
/// as they would for their turn, and in real time: a client that has just come can go elsewhere.
struct EarlyClients {
    /// One of them, and what it has sent.
    struct Early {
        let id: SessionClientID
        let arrival: SessionArrival
        var bytes: ByteBuffer
        let deadline: NIODeadline
        /// Bytes came, and it is not read until it is served.
        var isPaused = false
    }

    private var waiting: [Early] = []

    var count: Int { self.waiting.count }

    /// When the first of them has waited long enough.
    var nextDeadline: NIODeadline? { self.waiting.first?.deadline }

    /// They all wait for the same time, so the list is in the order of deadlines.
    mutating func append(
        _ id: SessionClientID, _ arrival: SessionArrival, _ bytes: ByteBuffer,
        until deadline: NIODeadline
    ) {
        self.waiting.append(Early(id: id, arrival: arrival, bytes: bytes, deadline: deadline))
    }

    /// Keeps what a client sent.
    ///
    /// - Returns: whether it is one of these: read no more of it.
    mutating func receive(_ bytes: ByteBuffer, from id: SessionClientID) -> Bool {
        guard let at = self.waiting.firstIndex(where: { $0.id == id }) else { return false }
        self.waiting[at].bytes.writeImmutableBuffer(bytes)
        self.waiting[at].isPaused = true
        return true
    }

    mutating func remove(_ id: SessionClientID) {
        self.waiting.removeAll { $0.id == id }
    }

    /// Those who have waited long enough; they are forgotten.
    mutating func takeLate(now: NIODeadline) -> [SessionClientID] {
        let late = self.waiting.prefix { $0.deadline <= now }.map(\.id)
        self.waiting.removeFirst(late.count)
        return late
    }

    /// All of them; they are forgotten.
    mutating func takeAll() -> [Early] {
        defer { self.waiting = [] }
        return self.waiting
    }
}

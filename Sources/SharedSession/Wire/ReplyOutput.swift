import NIOCore

/// What one piece of the engine's reply becomes: bytes for one client, and credit for the rest.
struct ReplyOutput: Sendable {
    /// Slices from this size on are sent as they are; smaller ones are gathered.
    static let largeBytes = 4 * 1024

    private var pending = ByteBuffer()
    private var credit = 0

    mutating func received(_ count: Int) { self.credit += count }

    /// Bytes for the client, perhaps gathered.
    mutating func write(
        _ bytes: ByteBuffer, to id: SessionClientID, into actions: inout ActionList
    ) {
        guard bytes.readableBytes >= Self.largeBytes else {
            self.pending.writeImmutableBuffer(bytes)
            return
        }
        self.flush(to: id, into: &actions)
        self.send(bytes, to: id, into: &actions)
    }

    mutating func flush(to id: SessionClientID, into actions: inout ActionList) {
        guard self.pending.readableBytes > 0 else { return }
        self.send(self.pending, to: id, into: &actions)
        self.pending = ByteBuffer()
    }

    /// What was received and not sent goes back.
    mutating func settle(into actions: inout ActionList) {
        self.pending.clear()
        guard self.credit > 0 else { return }
        actions.append(.credit(self.credit))
        self.credit = 0
    }

    private mutating func send(
        _ bytes: ByteBuffer, to id: SessionClientID, into actions: inout ActionList
    ) {
        let share = min(self.credit, bytes.readableBytes)
        self.credit -= share
        actions.append(.send(id, bytes, credit: share))
    }
}

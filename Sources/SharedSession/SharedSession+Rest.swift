package import NIOCore
package import PostgresWire

/// Clients that are ended where nothing is cut: the relay drains, or they have stayed for too long.
extension SharedSession {
    /// Whether the client is between two exchanges, outside of a transaction, and nothing of it is
    /// under way or waits for its turn.
    package func isAtRest(_ id: SessionClientID) -> Bool {
        guard let client = self.clients[id] else { return false }
        let isServed =
            self.holder == id || self.queue.contains(id) || self.call?.owner == .client(id)
        return client.isGreeted && !isServed && client.inbox.isEmpty && !client.isSkipping
            && !client.hasOpenExchange && client.copy == nil && client.owedReady == nil
    }

    /// Ends a client with a FATAL of that code and sentence.
    package mutating func end(
        _ id: SessionClientID, _ sqlState: SQLState, _ message: String, now: NIODeadline
    ) {
        self.end(id, .gone(sqlState, message))
        self.settle(now: now)
    }
}

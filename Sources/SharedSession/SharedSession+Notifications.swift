package import NIOCore
import PostgresWire

/// Notifications: who sent them, who gets them, and when.
extension SharedSession {
    /// Notifications that wait for a client's transaction to end.
    static let maximumNotificationBytes = 1024 * 1024

    /// One whole NotificationResponse that came up outside of any call.
    package mutating func notified(_ message: ByteBuffer, now: NIODeadline) {
        self.deliver([(message, 0)])
        self.settle(now: now)
    }

    /// One came up in a call. Before anything was completed in it, the exchange before sent it.
    mutating func note(_ whole: ByteBuffer, _ client: SessionClientID?) {
        let isOwn = (self.call?.completed ?? 0) > 0
        let own = client.flatMap { self.clients[$0]?.arrival.cancelKey.processID }
        let sender = isOwn ? own ?? self.engine.lastSender : self.engine.lastSender
        guard (self.call?.notifications.count ?? 0) < Self.maximumInACall else { return }
        self.call?.notifications.append((whole, sender))
    }

    private static let maximumInACall = 100_000

    mutating func deliver(_ notifications: [(message: ByteBuffer, sender: Int32)]) {
        for (message, sender) in notifications {
            var body = message.messageBody
            body.moveReaderIndex(forwardBy: min(4, body.readableBytes))
            guard let channel = body.readText()?.text else { continue }
            var copy = message
            copy.setInteger(sender, at: copy.readerIndex + MessageHeader.encodedBytes)
            for id in self.clients.keys.sorted(by: { $0.rawValue < $1.rawValue })
            where self.clients[id]?.listens.channels.contains(channel) == true {
                self.deliver(copy, to: id)
            }
        }
    }

    private mutating func deliver(_ message: ByteBuffer, to id: SessionClientID) {
        guard let client = self.clients[id] else { return }
        let isBusy = self.holder == id || client.isStalled
        guard isBusy else { return self.send(id, message) }
        let bytes = client.notifications.readableBytes + message.readableBytes
        guard bytes <= Self.maximumNotificationBytes else {
            return self.end(id, .tooManyNotifications)
        }
        self.clients[id]?.notifications.writeImmutableBuffer(message)
    }

    mutating func sendNotifications(_ id: SessionClientID) {
        guard let waiting = self.clients[id]?.notifications, waiting.readableBytes > 0 else {
            return
        }
        self.clients[id]?.notifications = ByteBuffer()
        self.send(id, waiting)
    }
}

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
        self.call?.sawNotifications = true
        self.call?.notifications.append((whole, sender))
        self.call?.notificationBytes += whole.readableBytes
        guard let call = self.call, call.notificationBytes > Self.gatheredBytes else { return }
        self.call?.notifications = []
        self.call?.notificationBytes = 0
        self.deliver(call.notifications)
    }

    /// Bytes of notifications that wait for the end of a call; more go out before it.
    private static let gatheredBytes = 64 * 1024

    mutating func deliver(_ notifications: [(message: ByteBuffer, sender: Int32)]) {
        guard !notifications.isEmpty else { return }
        var listeners: [String: [SessionClientID]] = [:]
        for (id, client) in self.clients {
            for channel in client.listens.channels { listeners[channel, default: []].append(id) }
        }
        for (message, sender) in notifications {
            var body = message.messageBody
            body.moveReaderIndex(forwardBy: min(4, body.readableBytes))
            guard let channel = body.readText()?.text, let ids = listeners[channel] else {
                continue
            }
            var copy = message
            copy.setInteger(sender, at: copy.readerIndex + MessageHeader.encodedBytes)
            for id in ids.sorted(by: { $0.rawValue < $1.rawValue }) {
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

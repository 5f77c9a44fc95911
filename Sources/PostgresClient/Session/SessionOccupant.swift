import NIOCore
import PostgresWire
import Synchronization

/// Who has the session, from its first message to the ReadyForQuery that ends it. One at a time.
///
/// Everything is called on the session's event loop. An occupant that is done calls
/// ``SessionHandler/leave(_:)``, once; nothing is called after that.
protocol SessionOccupant: AnyObject {
    /// The task that waits for it.
    var ticket: SessionTicket { get }
    /// Messages that must come whole; the others come as runs.
    var inspected: MessageTypes { get }
    /// Whether the server's next bytes are wanted now.
    var wantsRead: Bool { get }

    /// It is its turn.
    func begin(_ line: SessionHandler)
    /// A message of ``inspected``.
    func message(_ type: MessageType, _ whole: ByteBuffer)
    /// Bytes of other messages; of the last one `cutBytes` are still to come, and `messages` began
    /// in here.
    func run(_ bytes: ByteBuffer, cutBytes: Int, messages: Int64)
    /// All that was there has been delivered.
    func readComplete()
    /// The connection takes bytes again.
    func becameWritable()
    /// The task that waits was cancelled.
    func cancel()
    /// The connection is gone, or this occupant never had its turn. Nothing follows.
    func lost(_ error: SessionError)
}

extension SessionOccupant {
    var inspected: MessageTypes { .all }
    var wantsRead: Bool { true }
    func run(_ bytes: ByteBuffer, cutBytes: Int, messages: Int64) {}
    func readComplete() {}
    func becameWritable() {}
}

/// Names an occupant from any thread, and remembers that its task was cancelled: the news may come
/// before the occupant does.
final class SessionTicket: Sendable {
    private let cancelled = Atomic(false)

    var isCancelled: Bool { self.cancelled.load(ordering: .acquiring) }

    func markCancelled() {
        self.cancelled.store(true, ordering: .releasing)
    }
}

/// What any thread may ask about a session.
final class SessionFacts: Sendable {
    private struct Values {
        var parameters: [String: String] = [:]
        var status = TransactionStatus.idle
        var key: CancelKey?
        var isOver = false
    }

    private let values = Mutex(Values())

    var parameters: [String: String] { self.values.withLock { $0.parameters } }
    var status: TransactionStatus { self.values.withLock { $0.status } }
    var key: CancelKey? { self.values.withLock { $0.key } }
    var isOver: Bool { self.values.withLock { $0.isOver } }

    func set(_ name: String, _ value: String) {
        self.values.withLock { $0.parameters[name] = value }
    }

    func set(status: TransactionStatus) {
        self.values.withLock { $0.status = status }
    }

    func set(key: CancelKey) {
        self.values.withLock { $0.key = key }
    }

    func setOver() {
        self.values.withLock { $0.isOver = true }
    }
}

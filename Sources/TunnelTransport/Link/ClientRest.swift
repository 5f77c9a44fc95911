package import NIOCore

/// Whether a client of Postgres is *at rest*: between two queries, outside of a transaction, and
/// nothing of it under way. Only there may the relay end it without cutting anything in the middle.
///
///     at rest ── Query, Sync or FunctionCall ──▶ asked ── ReadyForQuery ──▶ at rest (`I`)
///                                                              └──────────▶ in a transaction
///
/// Of the client, the headers of messages are followed: whether it is inside of one, and how many
/// await a ReadyForQuery. Of the database, the last eight bytes say whether that has come; only
/// while a client asks for more before it was answered are those headers followed, too. What cannot
/// be told for certain counts as under way.
///
/// Pure. Source: PostgreSQL documentation, "Message Flow" and "Message Formats".
package struct ClientRest: Sendable {
    /// The last eight bytes that were delivered, the newest lowest.
    private var tail: UInt64 = 0
    private var hasDelivered = false
    private var asked = MessageHeads()
    private var answering: MessageHeads?
    /// Whether the last ReadyForQuery said that there is no transaction; and what has come unasked
    /// behind it: notifications, notices.
    private var isIdle = false
    private var unasked = MessageHeads()
    /// Messages that await a ReadyForQuery, since the client was last known to have none; and how
    /// many ReadyForQuery came since then.
    private var requests = 0
    private var answers = 0
    /// Whether the client has asked for anything yet.
    package private(set) var hasAsked = false

    package init() {}

    /// The client sent these to the database.
    package mutating func sent(_ bytes: ByteBuffer) {
        let count = self.asked.read(bytes, counting: Self.isRequest)
        guard count > 0 else { return }
        self.hasAsked = true
        self.requests += count
        if self.requests > 1, self.answering == nil, self.isBehindReady {
            self.answering = MessageHeads()
        }
    }

    /// The first bytes of the database that nobody looked at: they end with a ReadyForQuery that
    /// nobody asked for.
    package mutating func greeted(_ bytes: ByteBuffer) {
        self.remember(bytes)
        self.answered()
    }

    /// The database sent these to the client.
    package mutating func delivered(_ bytes: ByteBuffer) {
        self.remember(bytes)
        guard self.requests > 0 else {
            _ = self.unasked.read(bytes) { _ in false }
            return
        }
        if let count = self.answering?.read(bytes, counting: { $0 == Self.ready }) {
            self.answers += count
        } else if self.isBehindReady {
            self.answers += 1
            if self.requests > self.answers { self.answering = MessageHeads() }
        }
        guard self.answers >= self.requests else { return }
        self.answered()
    }

    private mutating func answered() {
        self.isIdle = self.isBehindReady && self.tail & 0xFF == UInt64(UInt8(ascii: "I"))
        self.unasked = MessageHeads()
        // Asked ahead of the greeting: that is answered behind it.
        guard self.answers >= self.requests else { return }
        self.requests = 0
        self.answers = 0
        self.answering = nil
    }

    /// Whether a message of the relay's own may follow: nothing was delivered yet, or last a whole
    /// ReadyForQuery, or something whole that nobody asked for. In the middle of a row it would be
    /// taken for data.
    package var isBetweenMessages: Bool {
        !self.hasDelivered || self.isBehindReady
            || (self.isIdle && self.requests == 0 && !self.unasked.isInside)
    }

    /// Whether the client may be ended.
    package var isAtRest: Bool {
        self.isIdle && self.requests == 0 && !self.unasked.isInside && !self.asked.isInside
    }

    /// `Z`, length 5, one status byte.
    private var isBehindReady: Bool { (self.tail >> 8) & 0xFF_FFFF_FFFF == 0x5A_0000_0005 }

    private static let ready = UInt8(ascii: "Z")

    /// Query, Sync and FunctionCall.
    private static func isRequest(_ type: UInt8) -> Bool {
        type == UInt8(ascii: "Q") || type == UInt8(ascii: "S") || type == UInt8(ascii: "F")
    }

    private mutating func remember(_ bytes: ByteBuffer) {
        self.hasDelivered = true
        let end = bytes.writerIndex
        if bytes.readableBytes >= 8, let last: UInt64 = bytes.getInteger(at: end - 8) {
            self.tail = last
        } else {
            for byte in bytes.readableBytesView { self.tail = self.tail << 8 | UInt64(byte) }
        }
    }
}

/// Follows the heads of messages through bytes that are cut anywhere.
private struct MessageHeads: Sendable {
    /// Bytes of a message's body that have not come yet.
    private var left: UInt32 = 0
    /// The head so far: a type and four bytes of length.
    private var head: UInt64 = 0
    private var headBytes = 0

    /// Whether a message has begun and not ended.
    var isInside: Bool { self.left > 0 || self.headBytes > 0 }

    /// Reads on.
    ///
    /// - Returns: how many messages began whose type is one of those.
    mutating func read(_ bytes: ByteBuffer, counting isCounted: (UInt8) -> Bool) -> Int {
        var at = bytes.readerIndex
        let end = bytes.writerIndex
        var count = 0
        while at < end {
            if self.left > 0 {
                let skipped = min(end - at, Int(self.left))
                self.left -= UInt32(skipped)
                at += skipped
            } else if self.headBytes == 0, end - at >= 5,
                let type: UInt8 = bytes.getInteger(at: at),
                let length: UInt32 = bytes.getInteger(at: at + 1)
            {
                at += 5
                if isCounted(type) { count += 1 }
                self.left = length > 4 ? length - 4 : 0
            } else if let byte: UInt8 = bytes.getInteger(at: at) {
                at += 1
                self.head = self.head << 8 | UInt64(byte)
                self.headBytes += 1
                if self.headBytes == 5 {
                    self.headBytes = 0
                    if isCounted(UInt8(truncatingIfNeeded: self.head >> 32)) { count += 1 }
                    let length = UInt32(truncatingIfNeeded: self.head)
                    self.left = length > 4 ? length - 4 : 0
                }
            }
        }
        return count
    }
}

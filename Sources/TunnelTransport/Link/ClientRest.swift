package import NIOCore

/// Whether a client of Postgres is *at rest*: between two queries, outside of a transaction, and
/// nothing of it under way. Only there may the relay end it without cutting anything in the middle.
///
///     at rest ── Query, Sync or FunctionCall ──▶ asked ── ReadyForQuery ──▶ at rest (`I`)
///                                                              └──────────▶ in a transaction
///
/// The headers of both directions are followed, never the bodies. Requests are counted up, each
/// ReadyForQuery counts down. One thing breaks that sum: while Postgres reads a COPY, it takes the
/// Syncs that it finds before the COPY's end and does not answer them. Where an error ends such a
/// COPY, nobody can tell whether it had read them: they are awaited until the next exchange is
/// answered. What cannot be told counts as under way.
///
/// Pure. Source: PostgreSQL documentation, "Message Flow", "COPY Operations", "Message Formats".
package struct ClientRest: Sendable {
    private var asked = MessageHeads()
    private var answered = MessageHeads()
    private var isGreeted = false
    private var hasDelivered = false
    /// The status byte of a ReadyForQuery comes next.
    private var awaitsStatus = false
    /// Of the last ReadyForQuery; 0 before the first.
    private var status: UInt8 = 0
    /// The last message was a ReadyForQuery, but for those that come unasked.
    private var isReady = false
    /// Requests that await a ReadyForQuery; never fewer than do.
    private var pending = 0
    /// Messages of the extended protocol have no Sync yet.
    private var isUnsynced = false
    /// What the last Execute or Query may become, if Postgres answers it with a CopyInResponse.
    private var last = Exchange()
    private var copy = Copying()
    /// Whether the client has asked for anything yet.
    package private(set) var hasAsked = false

    package init() {}

    /// The client sent these to the database.
    package mutating func sent(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { bytes in
            var at = 0
            while let type = self.asked.next(bytes, &at) { self.ask(type) }
        }
    }

    /// The first bytes of the database that nobody looked at: whole messages, with the
    /// ReadyForQuery that nobody asked for, and whatever came behind it.
    package mutating func greeted(_ bytes: ByteBuffer) {
        self.pending += 1
        self.delivered(bytes)
    }

    /// The database sent these to the client.
    package mutating func delivered(_ bytes: ByteBuffer) {
        self.hasDelivered = true
        bytes.withUnsafeReadableBytes { bytes in
            guard let first = bytes.first else { return }
            if self.awaitsStatus { self.ready(first) }
            var at = 0
            while let type = self.answered.next(bytes, &at) {
                if type == Kind.ready, self.answered.isInBody {
                    if at < bytes.count { self.ready(bytes[at]) } else { self.awaitsStatus = true }
                } else {
                    self.answer(type)
                }
            }
        }
    }

    /// Whether a message of the relay's own may follow: nothing was delivered yet, or last a whole
    /// ReadyForQuery. In the middle of a row it would be taken for data.
    package var isBetweenMessages: Bool {
        !self.hasDelivered || (self.isReady && !self.answered.isInside)
    }

    /// Whether the client may be ended.
    package var isAtRest: Bool {
        self.status == UInt8(ascii: "I") && self.pending == 0 && !self.isUnsynced
            && !self.asked.isInside && !self.answered.isInside
    }

    // MARK: The client

    private mutating func ask(_ type: UInt8) {
        switch type {
        case Kind.query, Kind.functionCall: self.request(isSync: false, isQuery: type == Kind.query)
        case Kind.sync: self.request(isSync: true, isQuery: false)
        case Kind.execute:
            self.expectContent()
            self.last = Exchange(older: self.pending)
            self.isUnsynced = true
        case Kind.parse, Kind.bind, Kind.describe, Kind.close:
            self.expectContent()
            self.isUnsynced = true
        case Kind.flush: self.isUnsynced = true
        case Kind.copyDone, Kind.copyFail:
            self.last.isCopied = true
            self.copy.isOpen = false
        default: break
        }
    }

    private mutating func request(isSync: Bool, isQuery: Bool) {
        self.hasAsked = true
        if isSync, self.copy.isOpen {
            self.copy.untold += 1
            return
        }
        if !isSync { self.expectContent() }
        if isQuery { self.last = Exchange(older: self.pending) }
        if isSync, !self.last.isCopied { self.last.syncs += 1 }
        self.pending += 1
        if let later = self.last.later { self.last.later = later + 1 }
        if let later = self.copy.later { self.copy.later = later + 1 }
        if isSync || isQuery { self.isUnsynced = false }
    }

    /// The client sent what Postgres answers with more than a ReadyForQuery.
    private mutating func expectContent() {
        self.last.later = self.last.later ?? 0
        if self.copy.isUnderWay || self.copy.isDoubtful { self.copy.later = self.copy.later ?? 0 }
    }

    // MARK: The database

    private mutating func ready(_ status: UInt8) {
        self.awaitsStatus = false
        self.status = status
        self.isReady = true
        if !self.isGreeted {
            // The one of the greeting is not older than any question.
            self.isGreeted = true
        } else if self.last.older > 0 {
            self.last.older -= 1
        }
        if self.pending > 0 { self.pending -= 1 }
        if self.pending == 0 { self.copy.isDoubtful = false }
    }

    private mutating func answer(_ type: UInt8) {
        switch type {
        case Kind.notification, Kind.notice, Kind.parameter: return
        default: self.isReady = false
        }
        if self.copy.isDoubtful { self.settleDoubt() }
        switch type {
        case Kind.copyIn: self.beginCopy()
        case Kind.complete: self.copy.end()
        case Kind.error where self.copy.isUnderWay:
            self.pending += self.copy.untold
            self.copy.isDoubtful = self.copy.untold > 0
            self.copy.end()
        default: break
        }
    }

    private mutating func beginCopy() {
        // Answers a COPY behind which the client went on without waiting: the Syncs are not told
        // apart.
        guard self.last.older == 0 else { return }
        let untold = min(self.last.syncs, self.pending)
        self.copy = Copying(
            isUnderWay: true, isOpen: !self.last.isCopied, untold: untold, later: self.last.later)
        self.pending -= untold
        self.last.syncs = 0
        if self.pending == 0 { self.isUnsynced = true }
    }

    /// An answer to what was sent behind the COPY: everything before it was answered, too.
    private mutating func settleDoubt() {
        guard let later = self.copy.later else { return }
        self.copy.isDoubtful = false
        let gone = max(0, self.pending - later)
        self.pending -= gone
        self.last.older = max(0, self.last.older - gone)
    }
}

/// What was sent since the last Execute or Query.
private struct Exchange: Sendable {
    /// Requests before it that were not answered.
    var older = 0
    /// Syncs up to the first CopyDone or CopyFail.
    var syncs = 0
    /// Whether there was a CopyDone or CopyFail.
    var isCopied = false
    /// Requests since the first message that has an answer of its own; nil before that.
    var later: Int?
}

/// A COPY that Postgres reads, or an error ended.
private struct Copying: Sendable {
    var isUnderWay = false
    /// Whether the client has not ended it.
    var isOpen = false
    /// Syncs that Postgres takes without an answer.
    var untold = 0
    /// As ``Exchange/later``.
    var later: Int?
    /// An error ended it: perhaps the Syncs are answered.
    var isDoubtful = false

    mutating func end() {
        self.isUnderWay = false
        self.isOpen = false
        self.untold = 0
    }
}

/// The types of messages that matter.
private enum Kind {
    static let query = UInt8(ascii: "Q")
    static let functionCall = UInt8(ascii: "F")
    static let sync = UInt8(ascii: "S")
    static let parse = UInt8(ascii: "P")
    static let bind = UInt8(ascii: "B")
    static let describe = UInt8(ascii: "D")
    static let execute = UInt8(ascii: "E")
    static let close = UInt8(ascii: "C")
    static let flush = UInt8(ascii: "H")
    static let copyDone = UInt8(ascii: "c")
    static let copyFail = UInt8(ascii: "f")

    static let ready = UInt8(ascii: "Z")
    static let copyIn = UInt8(ascii: "G")
    static let complete = UInt8(ascii: "C")
    static let error = UInt8(ascii: "E")
    static let notification = UInt8(ascii: "A")
    static let notice = UInt8(ascii: "N")
    static let parameter = UInt8(ascii: "S")
}

/// Follows the heads of messages through bytes that are cut anywhere.
private struct MessageHeads: Sendable {
    /// Bytes of a message's body that have not come yet.
    private var left = 0
    /// The head so far: a type and four bytes of length.
    private var head: UInt64 = 0
    private var headBytes = 0

    /// Whether a message has begun and not ended.
    var isInside: Bool { self.left > 0 || self.headBytes > 0 }
    /// Whether the body of the last message is not whole.
    var isInBody: Bool { self.left > 0 }

    /// Reads on to the end of the next head.
    ///
    /// - Returns: the message's type; nil where the bytes are over.
    mutating func next(_ bytes: UnsafeRawBufferPointer, _ at: inout Int) -> UInt8? {
        let skipped = min(bytes.count - at, self.left)
        self.left -= skipped
        at += skipped
        if self.headBytes == 0, bytes.count - at >= 5 {
            let length = bytes.loadUnaligned(fromByteOffset: at + 1, as: UInt32.self)
            let type = bytes[at]
            at += 5
            self.left = max(0, Int(UInt32(bigEndian: length)) - 4)
            return type
        }
        while at < bytes.count {
            self.head = self.head << 8 | UInt64(bytes[at])
            self.headBytes += 1
            at += 1
            guard self.headBytes == 5 else { continue }
            self.headBytes = 0
            self.left = max(0, Int(UInt32(truncatingIfNeeded: self.head)) - 4)
            return UInt8(truncatingIfNeeded: self.head >> 32)
        }
        return nil
    }
}

package import NIOCore

/// Whether a client of Postgres is *at rest*: between two queries, outside of a transaction, and
/// nothing of it under way. Only there may the relay end it without cutting anything in the middle.
///
///     at rest ── Query, Sync or FunctionCall ──▶ asked ── ReadyForQuery ──▶ at rest (`I`)
///                                                              └──────────▶ in a transaction
///
/// The headers of both directions are followed, never the bodies: what was sent and not answered
/// waits in line, and an answer tells how far Postgres has read. Requests and ReadyForQuery are not
/// always one to one:
///
/// - Behind an error of the extended protocol Postgres drops all up to the Sync, Queries, too.
/// - While it reads a COPY it takes Syncs without an answer. (Anything but data, Flush and Sync
///   ends the connection there.) Where an error ends the COPY, nobody can tell whether it had read
///   them: they are awaited until an answer comes that cannot be theirs.
///
/// What cannot be told counts as under way: the line may hold more than Postgres has to answer, in
/// front, never less.
///
/// Pure. Source: PostgreSQL documentation, "Message Flow", "COPY Operations", "Message Formats";
/// `tcop/postgres.c` (`ignore_till_sync`) and `commands/copyfromparse.c` of PostgreSQL 15.
package struct ClientRest: Sendable {
    private var asked = MessageHeads()
    private var answered = MessageHeads()
    /// The ReadyForQuery of the greeting is to come.
    private var awaitsGreeting = false
    private var hasDelivered = false
    /// The status byte of a ReadyForQuery comes next.
    private var awaitsStatus = false
    /// Of the last ReadyForQuery; 0 before the first.
    private var status: UInt8 = 0
    /// The last message was a ReadyForQuery, but for those that come unasked.
    private var isReady = false
    private var line = AwaitedLine()
    /// Postgres drops what comes up to a Sync; nothing is in line then.
    private var isSkipping = false
    /// The COPY that Postgres reads.
    private var copy: CopyIn?
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
        self.awaitsGreeting = true
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
        self.isReady && self.status == UInt8(ascii: "I") && self.line.isEmpty
            && !self.asked.isInside && !self.answered.isInside
    }

    // MARK: The client

    private mutating func ask(_ type: UInt8) {
        switch type {
        case Kind.copyData: break
        case Kind.query, Kind.functionCall:
            self.hasAsked = true
            self.expect(.simple)
        case Kind.sync:
            self.hasAsked = true
            self.askSync()
        case Kind.execute, Kind.parse, Kind.bind, Kind.describe, Kind.close: self.expect(.extended)
        case Kind.copyDone, Kind.copyFail:
            if self.copy?.isOpen == true {
                self.copy?.isOpen = false
            } else if !self.line.isEmpty {
                self.line.append(.copyEnd)
            }
        default: break
        }
    }

    private mutating func expect(_ kind: Awaited) {
        guard !self.isSkipping else { return }
        self.copy?.isOpen = false
        self.line.append(kind)
    }

    private mutating func askSync() {
        if self.copy?.isOpen == true {
            self.copy?.taken += 1
            return
        }
        self.isSkipping = false
        self.line.appendSync()
    }

    // MARK: The database

    private mutating func ready(_ status: UInt8) {
        self.awaitsStatus = false
        self.status = status
        self.isReady = true
        if self.awaitsGreeting {
            self.awaitsGreeting = false
        } else {
            self.copy = nil
            self.isSkipping = false
            self.line.answerRequest()
        }
    }

    private mutating func answer(_ type: UInt8) {
        switch type {
        case Kind.notification, Kind.notice, Kind.parameter: return
        default: self.isReady = false
        }
        switch type {
        case Kind.row, Kind.copyData: return
        case Kind.error: self.fail()
        case Kind.complete where self.copy != nil: self.copy = nil
        default:
            guard !self.awaitsGreeting, self.copy == nil else { return }
            self.answerContent(type)
        }
    }

    /// An answer that is neither an error nor a ReadyForQuery.
    private mutating func answerContent(_ type: UInt8) {
        switch type {
        case Kind.parsed, Kind.bound, Kind.closed, Kind.noData, Kind.suspended:
            self.line.drop { $0 != .extended && $0 != .batch }
            self.line.answerExtended()
        case Kind.parameters: self.line.drop { $0 != .extended && $0 != .batch }
        case Kind.complete, Kind.empty, Kind.description:
            self.line.drop { $0.isBare }
            self.line.answerExtended()
        case Kind.copyIn:
            self.line.drop { $0.isBare }
            self.copy = self.line.beginCopy()
        default: self.line.drop { $0.isBare }
        }
    }

    private mutating func fail() {
        if let copy {
            self.copy = nil
            if copy.taken > 0 {
                self.line.putBack(copy)
            } else if copy.isExtended {
                self.isSkipping = self.line.skipToSync()
            }
            return
        }
        self.line.drop { $0 == .doubted || $0 == .copyEnd }
        if self.line.first == .extended { self.isSkipping = self.line.skipToSync() }
    }
}

/// What Postgres has not answered.
private enum Awaited: Sendable {
    /// Query or FunctionCall.
    case simple
    /// A message of the extended protocol that no Sync follows.
    case extended
    /// Such messages, and the Sync behind them.
    case batch
    /// A Sync alone.
    case sync
    /// One of a COPY that failed, or next to it: nothing is left that it could fail to commit.
    case doubted
    /// CopyDone or CopyFail: no answer, but it ends a COPY.
    case copyEnd

    /// Whether a ReadyForQuery is all the answer, but for an error.
    var isBare: Bool { self == .sync || self == .doubted || self == .copyEnd }
}

/// A COPY that Postgres reads.
private struct CopyIn: Sendable {
    /// An Execute began it; else a Query, which stays in line.
    var isExtended: Bool
    /// Whether the client has not ended it: a Sync is taken.
    var isOpen = true
    /// Syncs that Postgres takes without an answer.
    var taken = 0
}

/// What awaits an answer, in order, equal neighbours as one.
private struct AwaitedLine: Sendable {
    private struct Run: Sendable {
        var kind: Awaited
        var count = 1
    }

    /// Runs that are remembered. A client that has more under way is lost count of: it is never at
    /// rest again.
    private static let limit = 256

    private var runs: [Run] = []
    private var isLost = false

    var isEmpty: Bool { self.runs.isEmpty && !self.isLost }
    var first: Awaited? { self.runs.first?.kind }

    mutating func append(_ kind: Awaited) {
        let last = self.runs.count - 1
        if last >= 0, self.runs[last].kind == kind {
            self.runs[last].count += 1
        } else if last < Self.limit, !self.isLost {
            self.runs.append(Run(kind: kind))
        } else {
            self.isLost = true
            self.runs = []
        }
    }

    mutating func appendSync() {
        switch self.runs.last(where: { $0.kind != .copyEnd })?.kind {
        case .extended where self.runs.last?.kind == .extended:
            self.runs.removeLast()
            self.append(.batch)
        case .doubted: self.append(.doubted)
        case .simple, .extended, .batch, .sync, .copyEnd, nil: self.append(.sync)
        }
    }

    private mutating func takeOne(at index: Int = 0) {
        self.runs[index].count -= 1
        if self.runs[index].count == 0 { self.runs.remove(at: index) }
    }

    /// Takes away from the front what cannot have the answer that came.
    mutating func drop(where isOver: (Awaited) -> Bool) {
        while let first, isOver(first) { self.runs.removeFirst() }
    }

    /// One message of the extended protocol was answered. Those of a batch are not counted.
    mutating func answerExtended() {
        if self.first == .extended { self.takeOne() }
    }

    /// A ReadyForQuery came.
    mutating func answerRequest() {
        self.drop { $0 == .extended || $0 == .copyEnd }
        guard !self.runs.isEmpty else { return }
        self.takeOne()
        self.drop { $0 == .copyEnd }
    }

    /// Takes away what Postgres ignores behind an error.
    ///
    /// - Returns: whether it goes on ignoring, as no Sync was sent.
    mutating func skipToSync() -> Bool {
        self.drop { $0 == .extended || $0 == .simple || $0 == .copyEnd }
        return self.runs.isEmpty
    }

    /// The first in line is a COPY that Postgres begins to read.
    mutating func beginCopy() -> CopyIn? {
        guard let run = self.runs.first else { return nil }
        var copy = CopyIn(isExtended: run.kind != .simple)
        var next = 0
        switch run.kind {
        case .simple:
            copy.isOpen = run.count == 1
            next = 1
        case .extended:
            copy.isOpen = run.count == 1
            self.runs.removeFirst()
        case .batch:
            copy.taken = 1
            self.takeOne()
        case .sync, .doubted, .copyEnd: return nil
        }
        while copy.isOpen, next < self.runs.count {
            if self.runs[next].kind == .sync {
                copy.taken += self.runs.remove(at: next).count
            } else {
                copy.isOpen = false
                if self.runs[next].kind == .copyEnd { self.takeOne(at: next) }
            }
        }
        return copy
    }

    /// The Syncs of a COPY that failed: perhaps they are answered.
    mutating func putBack(_ copy: CopyIn) {
        let isBehindQuery = !copy.isExtended && !self.runs.isEmpty
        if isBehindQuery { self.takeOne() }
        for index in self.runs.indices {
            guard self.runs[index].kind.isBare else { break }
            if self.runs[index].kind == .sync { self.runs[index].kind = .doubted }
        }
        self.runs.insert(Run(kind: .doubted, count: copy.taken), at: 0)
        if isBehindQuery { self.runs.insert(Run(kind: .simple), at: 0) }
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
    static let copyData = UInt8(ascii: "d")
    static let copyDone = UInt8(ascii: "c")
    static let copyFail = UInt8(ascii: "f")

    static let ready = UInt8(ascii: "Z")
    static let copyIn = UInt8(ascii: "G")
    static let complete = UInt8(ascii: "C")
    static let error = UInt8(ascii: "E")
    static let row = UInt8(ascii: "D")
    static let parsed = UInt8(ascii: "1")
    static let bound = UInt8(ascii: "2")
    static let closed = UInt8(ascii: "3")
    static let parameters = UInt8(ascii: "t")
    static let description = UInt8(ascii: "T")
    static let noData = UInt8(ascii: "n")
    static let suspended = UInt8(ascii: "s")
    static let empty = UInt8(ascii: "I")
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

import NIOCore
import PostgresWire

/// What was sent in a call and awaits its answer.
struct ReplySlot: Sendable {
    enum Kind: Sendable, Hashable {
        case parse(String, StatementTable.Entry)
        case bind
        /// Close of a statement of the client's, or of a portal (nil).
        case close(String?)
        case describeStatement
        case describePortal
        case execute(StatementEffect)
        /// Query, one effect a statement; FunctionCall has none. Ends with ReadyForQuery.
        case query([StatementEffect])
        case sync
    }

    var kind: Kind
    /// Whether we sent it ourselves, and nobody shall see its answer.
    var isHidden = false

    /// Whether a ReadyForQuery answers it.
    var endsReady: Bool {
        switch self.kind {
        case .query, .sync: true
        case .parse, .bind, .close, .describeStatement, .describePortal, .execute: false
        }
    }
}

/// Reads a call's reply and says which of the messages sent each of its messages answers.
///
/// Rows and copied data go by in runs. An error ends all up to the next Sync or Query, and an
/// engine that says ReadyForQuery more often than it was asked is not heard.
struct ReplyMatcher: Sendable {
    enum Step: Sendable {
        case readMore
        /// Rows or copied data, cut anywhere.
        case data(ByteBuffer, isHidden: Bool)
        /// A message that changes nothing here.
        case other(ByteBuffer, isHidden: Bool)
        /// A slot was answered for good: ParseComplete, CloseComplete, CommandComplete,
        /// EmptyQueryResponse, PortalSuspended. A Query has one of these for each statement.
        case completed(ReplySlot.Kind, StatementEffect, MessageType, ByteBuffer, isHidden: Bool)
        /// An error; `isLast` where it answers the last message of the call.
        case failed(ByteBuffer, isLast: Bool)
        case notice(ByteBuffer)
        case notification(ByteBuffer)
        case parameter(ByteBuffer)
        case copyIn(ByteBuffer)
        /// ReadyForQuery that was asked for.
        case ready(TransactionStatus, isHidden: Bool)
        /// ReadyForQuery that nobody asked for.
        case surplus
    }

    /// The longest message of an engine that is looked at whole: an error that quotes a statement
    /// of the longest kind.
    static let maximumBytes = 32 * 1024 * 1024
    private static let data: MessageTypes = [.dataRow, .copyData]

    private(set) var slots: [ReplySlot] = []
    private var firstSlot = 0
    private var walker = MessageWalker()
    private var completedStatements = 0
    /// Whether an error came up that no ReadyForQuery has followed yet.
    private(set) var hasFailed = false

    private var slot: ReplySlot? {
        self.firstSlot < self.slots.count ? self.slots[self.firstSlot] : nil
    }

    /// Whether what was given out last is in the middle of a message.
    var isWithinMessage: Bool { self.walker.cutBytes > 0 }
    /// Answers that are still to come.
    var isComplete: Bool { self.slot == nil }

    mutating func expect(_ kind: ReplySlot.Kind, isHidden: Bool = false) {
        self.slots.append(ReplySlot(kind: kind, isHidden: isHidden))
    }

    mutating func receive(_ bytes: ByteBuffer) { self.walker.receive(bytes) }

    /// What comes next; with `wholeRows` rows are looked at one by one. Throws where the reply is
    /// no stream of messages.
    mutating func next(wholeRows: Bool) throws(MessageViolation) -> Step {
        let types = wholeRows ? MessageTypes.all : Self.data.inverted()
        switch try self.walker.next(inspecting: types, maximumBytes: Self.maximumBytes) {
        case .readMore: return .readMore
        case .run(let bytes): return .data(bytes, isHidden: self.slot?.isHidden ?? true)
        case .message(let type, let whole): return self.match(type, whole)
        }
    }

    /// The call is over: answers that never came are given up, and the ReadyForQuery that is still
    /// owed is made by the caller. Returns whether one is owed, and whether it is hidden.
    mutating func callEnded() -> (owed: Bool, isHidden: Bool) {
        while let slot = self.slot {
            self.firstSlot += 1
            if slot.endsReady { return (true, slot.isHidden) }
        }
        return (false, true)
    }

    private mutating func match(_ type: MessageType, _ whole: ByteBuffer) -> Step {
        switch type {
        case .errorResponse: return self.fail(whole)
        case .noticeResponse: return .notice(whole)
        case .notificationResponse: return .notification(whole)
        case .parameterStatus: return .parameter(whole)
        case .copyInResponse, .copyBothResponse: return .copyIn(whole)
        case .readyForQuery: return self.ready(whole)
        default: return self.answer(type, whole)
        }
    }

    private mutating func answer(_ type: MessageType, _ whole: ByteBuffer) -> Step {
        guard let slot = self.slot, Self.isAnswer(type, to: slot.kind) else {
            return .other(whole, isHidden: self.slot?.isHidden ?? true)
        }
        var effect = StatementEffect.none
        switch slot.kind {
        case .query(let effects):
            if self.completedStatements < effects.count {
                effect = effects[self.completedStatements]
            }
            self.completedStatements += 1
        case .execute(let itsEffect):
            effect = itsEffect
            self.firstSlot += 1
        case .parse, .bind, .close, .describeStatement, .describePortal, .sync:
            self.firstSlot += 1
        }
        return .completed(slot.kind, effect, type, whole, isHidden: slot.isHidden)
    }

    private mutating func fail(_ whole: ByteBuffer) -> Step {
        self.hasFailed = true
        let isLast = self.firstSlot == self.slots.count - 1
        while let slot = self.slot, !slot.endsReady { self.firstSlot += 1 }
        return .failed(whole, isLast: isLast)
    }

    private mutating func ready(_ whole: ByteBuffer) -> Step {
        guard let slot = self.slot, slot.endsReady else { return .surplus }
        self.firstSlot += 1
        self.completedStatements = 0
        self.hasFailed = false
        let byte = whole.getInteger(at: whole.readerIndex + 5, as: UInt8.self)
        let status = byte.flatMap(TransactionStatus.init(rawValue:)) ?? .idle
        return .ready(status, isHidden: slot.isHidden)
    }

    private static func isAnswer(_ type: MessageType, to kind: ReplySlot.Kind) -> Bool {
        switch kind {
        case .parse: type == .parseComplete
        case .bind: type == .bindComplete
        case .close: type == .closeComplete
        case .describeStatement, .describePortal: type == .rowDescription || type == .noData
        case .execute, .query:
            type == .commandComplete || type == .emptyQueryResponse || type == .portalSuspended
        case .sync: false
        }
    }
}

import NIOCore
import PostgresWire

/// The holder's messages on their way into a call.
extension SharedSession {
    /// Bytes gathered before they are handed on.
    static let pieceBytes = 64 * 1024
    /// Bytes of a pipeline that are run without waiting for its Sync, so that no client fills the
    /// page's memory.
    static let pipelineBytes = 1024 * 1024
    /// Messages of a pipeline that are run so.
    static let pipelineMessages = 10_000
    /// The most of messages that are short by nature.
    ///
    /// Source: `PQ_SMALL_MESSAGE_LIMIT` in PostgreSQL's `libpq.h`.
    static let smallMessageBytes = 10_000

    /// Takes what the holder has sent, until a call runs or more must come.
    mutating func pump(_ id: SessionClientID, now: NIODeadline) {
        while self.holder == id, self.mayGather(id) {
            if let bytes = self.clients[id]?.inbox.takePassing() {
                self.gather(bytes)
                self.passed(id)
                continue
            }
            guard let front = self.clients[id]?.inbox.front else { return }
            switch front {
            case .nothing: return
            case .malformed(let what): return self.end(id, .violation(what))
            case .message(let type, let total, let here):
                guard self.take(type, total, isWhole: here == total, id, now) else { return }
            }
        }
    }

    private func mayGather(_ id: SessionClientID) -> Bool {
        guard let client = self.clients[id], client.owedReady == nil else { return false }
        if let copy = client.copy { return copy.isReceiving && self.call?.isRunning == false }
        return self.call.map { $0.owner == .client(id) && !$0.isRunning } ?? true
    }

    private mutating func passed(_ id: SessionClientID) {
        guard self.clients[id]?.inbox.passingBytes == 0 else { return }
        if self.call?.runsWhenPassed == true { self.runGathered() } else { self.runIfLarge(id) }
    }

    /// One message; whether the next one may be taken.
    private mutating func take(
        _ type: MessageType, _ total: Int, isWhole: Bool, _ id: SessionClientID, _ now: NIODeadline
    ) -> Bool {
        if self.clients[id]?.copy != nil {
            return self.takeWhileCopying(type, total, isWhole: isWhole, id)
        }
        if self.clients[id]?.isSkipping == true, type != .sync, type != .terminate {
            guard Self.isKnown(type) else { return self.refuse(id, type) }
            self.clients[id]?.inbox.skipMessage()
            return true
        }
        switch type {
        case .query, .parse:
            guard total <= self.limits.statementBytes else { return self.tooLong(type, id) }
            guard isWhole, self.runsFirst(before: type) else { return false }
            guard let whole = self.clients[id]?.inbox.take(total) else { return false }
            return type == .query ? self.query(whole, id, now) : self.parse(whole, id)
        case .bind: return self.bind(total, id)
        case .functionCall: return self.functionCall(total, id)
        case .execute, .describe, .close, .sync, .flush:
            guard total <= Self.smallMessageBytes else {
                return self.refuse(id, "invalid message length")
            }
            guard isWhole else { return false }
            return self.takeSmall(type, total, id)
        case .copyData, .copyDone, .copyFail:
            // What a client sends before it has heard that its COPY failed.
            self.clients[id]?.inbox.skipMessage()
            return true
        case .terminate:
            self.forget(id, closing: true)
            return false
        default: return self.refuse(id, type)
        }
    }

    /// A Query ends what was sent before it without a Sync.
    private mutating func runsFirst(before type: MessageType) -> Bool {
        guard type == .query, self.call != nil else { return true }
        self.runWithoutSync()
        return false
    }

    static func isKnown(_ type: MessageType) -> Bool {
        switch type {
        case .query, .parse, .bind, .functionCall, .execute, .describe, .close, .sync, .flush,
            .copyData, .copyDone, .copyFail, .terminate:
            true
        default: false
        }
    }

    /// Whether Postgres takes no more of it than ``smallMessageBytes``.
    static func isSmall(_ type: MessageType) -> Bool {
        switch type {
        case .execute, .describe, .close, .sync, .flush, .copyDone, .copyFail, .terminate: true
        default: false
        }
    }

    mutating func refuse(_ id: SessionClientID, _ type: MessageType) -> Bool {
        self.refuse(id, "invalid frontend message type \(type.rawValue)")
    }

    mutating func refuse(_ id: SessionClientID, _ what: String) -> Bool {
        self.end(id, .violation(what))
        return false
    }

    // MARK: Simple

    private mutating func query(
        _ whole: ByteBuffer, _ id: SessionClientID, _ now: NIODeadline
    ) -> Bool {
        var body = whole.messageBody
        guard let text = body.readText(), body.readableBytes == 0 else {
            return self.refuse(id, "invalid message format")
        }
        self.clients[id]?.statements.dropUnnamed()
        guard let plan = self.plan(text, id) else { return false }
        guard !plan.hasTooMany else { return self.refuse(.query, id, .tooManyInAText) }
        self.begin(id, plan.flags)
        if plan.changesSettings { self.clients[id]?.changesSettings = true }
        guard self.clients[id]?.statements.isOverfull(self.limits.statements) == false else {
            self.end(id, .tooManyStatements)
            return false
        }
        if plan.copiesIn {
            guard self.capabilities.copiesIn else { return self.refuse(.query, id, .noCopyIn) }
            self.clients[id]?.copy = CopyIn(plan, isIdle: self.engine.status == .idle)
            return true
        }
        self.runQuery(plan, id)
        return false
    }

    /// One simple Query of the client's. The CopyFail behind it is ignored, unless a COPY FROM
    /// STDIN was not recognised: such an engine would otherwise wait for what cannot come.
    mutating func runQuery(
        _ plan: StatementPlan, _ id: SessionClientID, isProbe: Bool = false
    ) {
        var call = self.newCall(id)
        call.isProbe = isProbe
        call.plan = plan
        call.matcher.expect(.query(plan.effects))
        self.call = call
        self.gather(SessionMessage.query(plan.text))
        self.gather(PostgresMessage.copyFail("COPY from stdin is not expected here"))
        self.runGathered()
    }

    private mutating func functionCall(_ total: Int, _ id: SessionClientID) -> Bool {
        guard self.call == nil else {
            self.runWithoutSync()
            return false
        }
        self.begin(id, .all)
        var call = self.newCall(id)
        call.matcher.expect(.query([]))
        call.runsWhenPassed = true
        self.call = call
        self.clients[id]?.inbox.pass(total)
        return true
    }

    mutating func plan(
        _ text: ByteBuffer, _ id: SessionClientID, isPrepared: Bool = false
    ) -> StatementPlan? {
        let plan = self.clients[id]?.plan(
            text, isIdle: self.engine.status == .idle, isPrepared: isPrepared)
        self.engine.noteCustomSettings(plan?.customSettings ?? [])
        return plan
    }

    /// Something of an exchange goes to the engine.
    mutating func begin(_ id: SessionClientID, _ flags: SQLStatement.Flags) {
        self.clients[id]?.hasOpenExchange = true
        self.clients[id]?.dirty.formUnion(flags)
        // What keeps the session with it may be gone by whatever it does.
        if self.pinned == id { self.clients[id]?.dirty.insert(.mayHoldCursor) }
        if flags.contains(.mayChangeSchema) { self.engine.storedCode = nil }
    }
}

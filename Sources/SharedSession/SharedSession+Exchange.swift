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

    private mutating func plan(
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

    // MARK: Extended

    private mutating func expect(_ kind: ReplySlot.Kind, _ id: SessionClientID) {
        self.openCall(id)
        self.call?.matcher.expect(kind)
    }

    mutating func openCall(_ id: SessionClientID) {
        if self.call == nil { self.call = self.newCall(id) }
    }

    private mutating func parse(_ whole: ByteBuffer, _ id: SessionClientID) -> Bool {
        var body = whole.messageBody
        guard let name = body.readText() else { return self.refuse(id, "invalid message format") }
        let rest = body
        guard let text = body.readText() else { return self.refuse(id, "invalid message format") }
        guard self.clients[id]?.statements.isFull(self.limits.statements) == false else {
            self.end(id, .tooManyStatements)
            return false
        }
        guard let plan = self.plan(text, id, isPrepared: true) else { return false }
        let effect = (plan.statements.first?.effect ?? .none).compacted
        guard self.mayKeep(effect, id) else {
            return self.refuse(.parse, id, .tooLong(self.limits.copyStatementBytes))
        }
        let key = StatementTable.key(name)
        self.openCall(id)
        if key.isEmpty, let unnamed = self.clients[id]?.statements.unnamedInEngine {
            self.gather(SessionMessage.close(unnamed))
            self.call?.matcher.expect(.close(nil), isHidden: true)
        }
        var sent = plan.text
        sent.writeInteger(UInt8(0))
        sent.writeImmutableBuffer(body)
        guard let number = self.clients[id]?.statements.numberToPrepare(key),
            let engineName = self.clients[id]?.statements.engineName(number)
        else { return false }
        let entry = StatementTable.Entry(
            number: number, kept: self.kept(plan.isRewritten ? sent : rest), flags: plan.flags,
            effect: effect, changesSettings: plan.changesSettings)
        self.gather(SessionMessage.parse(engineName, rest: sent))
        self.expect(.parse(key, entry), id)
        if plan.isRewritten { self.call?.plan = plan }
        self.clients[id]?.statements.announce(key, entry)
        self.begin(id, [])
        self.runIfLarge(id)
        return true
    }

    /// The front of a Bind is changed; its values are passed on as they come.
    private mutating func bind(_ total: Int, _ id: SessionClientID) -> Bool {
        let frontBytes = min(total, Self.smallMessageBytes)
        guard var front = self.clients[id]?.inbox.peek(frontBytes) else { return false }
        let there = front.readableBytes
        front.moveReaderIndex(forwardBy: MessageHeader.encodedBytes)
        guard let portal = front.readText(), let name = front.readText() else {
            return there == frontBytes ? self.refuse(id, "invalid message format") : false
        }
        guard let entry = self.clients[id]?.statements.resolve(StatementTable.key(name)),
            let engineName = self.clients[id]?.statements.engineName(entry.number)
        else { return false }
        if entry.effect == .discardAll, self.engine.status != .idle {
            return self.refuseDiscard(total, there, id)
        }
        self.begin(id, entry.flags)
        if entry.changesSettings { self.clients[id]?.changesSettings = true }
        guard self.note(entry.effect, StatementTable.key(portal), id) else { return false }
        let taken = there - front.readableBytes
        self.clients[id]?.inbox.pass(total - taken)
        self.skipFront(taken, id)
        var message = ByteBuffer()
        message.writeInteger(MessageType.bind.rawValue)
        message.writeInteger(UInt32(total - 1 - name.readableBytes + engineName.utf8.count))
        message.writeImmutableBuffer(portal)
        message.writeInteger(UInt8(0))
        message.writeText(engineName)
        self.expect(.bind, id)
        self.gather(message)
        self.runIfLarge(id)
        return true
    }

    /// Our DISCARD ALL would not fail in a transaction, as Postgres's does.
    private mutating func refuseDiscard(
        _ total: Int, _ there: Int, _ id: SessionClientID
    ) -> Bool {
        guard total <= Self.smallMessageBytes else {
            return self.refuse(id, "invalid message length")
        }
        guard there == total else { return false }
        guard self.call == nil else {
            self.runWithoutSync()
            return false
        }
        _ = self.clients[id]?.inbox.take(total)
        return self.refuse(.bind, id, .discardInTransaction)
    }

    private mutating func skipFront(_ count: Int, _ id: SessionClientID) {
        _ = self.clients[id]?.inbox.take(count)
    }

    /// Whether the client is still there.
    private mutating func note(
        _ effect: StatementEffect, _ portal: String, _ id: SessionClientID
    ) -> Bool {
        self.clients[id]?.portals[portal] = effect == .none ? nil : effect
        if effect == .deallocateAll { self.clients[id]?.statements.hideAll() }
        if case .deallocate(let name) = effect { self.clients[id]?.statements.retire(name) }
        guard effect != .none, let portals = self.clients[id]?.portals else { return true }
        let bytes = portals.values.reduce(0) { $0 + ($1.copyText?.readableBytes ?? 0) }
        if portals.count > self.limits.portals || bytes > self.limits.copyStatementBytes {
            self.end(id, .tooManyPortals)
        }
        return self.clients[id] != nil
    }

    /// Whether a COPY's text may be kept beside those of the client's other ones.
    private func mayKeep(_ effect: StatementEffect, _ id: SessionClientID) -> Bool {
        guard let bytes = effect.copyText?.readableBytes else { return true }
        let there = self.clients[id]?.statements.copyBytes ?? 0
        return there + bytes <= self.limits.copyStatementBytes
    }

    /// A copy, because what came holds on to all that came with it.
    private func kept(_ bytes: ByteBuffer) -> StatementTable.Kept? {
        guard bytes.readableBytes <= self.limits.keptStatementBytes else { return nil }
        return .parse(ByteBuffer(bytes: bytes.readableBytesView))
    }

    private mutating func takeSmall(
        _ type: MessageType, _ total: Int, _ id: SessionClientID
    ) -> Bool {
        if type == .execute, let text = self.copyPortal(total, id) {
            return self.executeCopy(text, total, id)
        }
        guard let whole = self.clients[id]?.inbox.take(total) else { return false }
        switch type {
        case .sync:
            self.begin(id, [])
            self.expect(.sync, id)
            self.gather(whole)
            self.runGathered()
            return false
        case .flush:
            if self.call != nil { self.runWithoutSync() }
            return self.call == nil
        case .execute: return self.execute(whole, id)
        default: return self.describeOrClose(type, whole, id)
        }
    }

    /// The COPY that an Execute, still in front, is about to begin.
    private func copyPortal(_ total: Int, _ id: SessionClientID) -> ByteBuffer? {
        guard var body = self.clients[id]?.inbox.peek(total).messageBody,
            let portal = body.readText()
        else { return nil }
        return self.clients[id]?.portals[StatementTable.key(portal)]?.copyText
    }

    private mutating func executeCopy(
        _ text: ByteBuffer, _ total: Int, _ id: SessionClientID
    ) -> Bool {
        guard self.call == nil else {
            self.runWithoutSync()
            return false
        }
        _ = self.clients[id]?.inbox.take(total)
        self.begin(id, [])
        guard self.capabilities.copiesIn else { return self.refuse(.execute, id, .noCopyIn) }
        // The probe of a COPY would undo what the pipeline did before it.
        guard self.clients[id]?.hasExecuted != true || self.engine.status != .idle else {
            return self.refuse(.execute, id, .copyBehindOthers)
        }
        self.clients[id]?.copy = CopyIn(extended: text)
        return true
    }

    private mutating func execute(_ whole: ByteBuffer, _ id: SessionClientID) -> Bool {
        var body = whole.messageBody
        guard let portal = body.readText() else {
            return self.refuse(id, "invalid message format")
        }
        self.begin(id, [])
        self.clients[id]?.hasExecuted = true
        self.expect(.execute(self.clients[id]?.portals[StatementTable.key(portal)] ?? .none), id)
        self.gather(whole)
        self.runIfLarge(id)
        return true
    }

    private mutating func describeOrClose(
        _ type: MessageType, _ whole: ByteBuffer, _ id: SessionClientID
    ) -> Bool {
        var body = whole.messageBody
        guard let kind = body.readInteger(as: UInt8.self), let name = body.readText() else {
            return self.refuse(id, "invalid message format")
        }
        self.begin(id, [])
        guard kind == UInt8(ascii: "S") else {
            if type == .close { self.clients[id]?.portals[StatementTable.key(name)] = nil }
            self.expect(type == .close ? .close(nil) : .describePortal, id)
            self.gather(whole)
            self.runIfLarge(id)
            return true
        }
        let key = StatementTable.key(name)
        guard let entry = self.clients[id]?.statements.resolve(key),
            let engineName = self.clients[id]?.statements.engineName(entry.number)
        else { return false }
        if type == .close {
            self.clients[id]?.statements.retire(key)
            self.expect(.close(key), id)
            self.gather(SessionMessage.close(engineName))
        } else {
            self.expect(.describeStatement, id)
            self.gather(SessionMessage.describe(engineName))
        }
        self.runIfLarge(id)
        return true
    }
}

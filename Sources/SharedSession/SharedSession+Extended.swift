import NIOCore
import PostgresWire

/// The extended protocol's messages of the holder.
extension SharedSession {
    private mutating func expect(_ kind: ReplySlot.Kind, _ id: SessionClientID) {
        self.openCall(id)
        self.call?.matcher.expect(kind)
    }

    mutating func openCall(_ id: SessionClientID) {
        if self.call == nil { self.call = self.newCall(id) }
    }

    mutating func parse(_ whole: ByteBuffer, _ id: SessionClientID) -> Bool {
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
    mutating func bind(_ total: Int, _ id: SessionClientID) -> Bool {
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
        _ = self.clients[id]?.inbox.take(taken)
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

    mutating func takeSmall(
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

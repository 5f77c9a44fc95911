package import NIOCore
import PostgresWire

/// The engine's replies on their way to who they are for.
extension SharedSession {
    /// Part of a call's reply.
    package mutating func replied(_ bytes: ByteBuffer, now: NIODeadline) {
        self.output.received(bytes.readableBytes)
        if let owner = self.call?.owner, self.call?.isRunning == true {
            self.call?.matcher.receive(bytes)
            do {
                while try self.takeReply(owner) {}
            } catch {
                self.output.settle(into: &self.actions)
                return self.faulted("\(error)", restarted: false, now: now)
            }
            if case .client(let id) = owner, self.clients[id] != nil {
                self.output.flush(to: id, into: &self.actions)
            }
        }
        self.output.settle(into: &self.actions)
        self.settle(now: now)
    }

    /// A call is over.
    package mutating func done(now: NIODeadline) {
        guard var call = self.call, call.isRunning else { return }
        guard !call.matcher.isWithinMessage else {
            return self.faulted("a reply ended in a message", restarted: false, now: now)
        }
        self.call = nil
        self.engine.faultsInARow = 0
        if call.matcher.callEnded().owed, call.ready == nil { call.ready = self.engine.status }
        if let ready = call.ready { self.engine.status = ready }
        switch call.owner {
        case .hidden(let purpose): self.hiddenEnded(purpose, call)
        case .client(let id):
            if self.clients[id] != nil {
                self.clientCallEnded(id, call, now: now)
            } else if call.ready != nil {
                self.engine.cleanup?.needsSync = false
            }
        }
        self.deliver(call.notifications)
        if case .client(let id) = call.owner { self.payReady(id, now: now) }
        self.settle(now: now)
    }

    private mutating func takeReply(_ owner: EngineCall.Owner) throws(MessageViolation) -> Bool {
        var client: SessionClientID?
        if case .client(let id) = owner { client = id }
        guard let step = try self.call?.matcher.next(wholeRows: client == nil) else { return false }
        switch step {
        case .readMore: return false
        case .data(let bytes, let isHidden), .other(let bytes, let isHidden):
            if isHidden { self.readRow(bytes) } else { self.forward(bytes, client) }
        case .completed(let kind, let effect, let type, let whole, let isHidden):
            guard client == nil || !isHidden else { return true }
            let seen = self.completed(kind, effect, type, whole, client)
            if !isHidden { self.forward(seen, client) }
        case .failed(let whole, _) where self.call?.preface == .underWay:
            self.prefaceFailed(whole, client)
        case .failed(let whole, let isLast): self.failed(whole, isLast: isLast, client)
        case .notice(let whole):
            guard self.call?.preface != .underWay, !Self.isEngineNoise(whole) else { return true }
            self.forward(whole, client)
        case .notification(let whole): self.note(whole, client)
        case .parameter(let whole): self.note(parameter: whole)
        case .copyIn(let whole):
            guard self.call?.isProbe == true, let client, self.call?.sawCopyIn == false else {
                return true
            }
            self.call?.sawCopyIn = true
            self.write(whole, client)
        case .ready(let status, _):
            self.engine.status = status
            guard self.call?.preface != .underWay else {
                self.call?.preface = .over
                return true
            }
            self.call?.ready = status
        case .surplus: break
        }
        return true
    }

    private mutating func forward(_ bytes: ByteBuffer, _ client: SessionClientID?) {
        guard let client, self.call?.isProbe == false else { return }
        self.write(bytes, client)
    }

    private mutating func write(_ bytes: ByteBuffer, _ client: SessionClientID) {
        guard self.clients[client] != nil else { return }
        self.output.write(bytes, to: client, into: &self.actions)
    }

    private mutating func failed(
        _ whole: ByteBuffer, isLast: Bool, _ client: SessionClientID?
    ) {
        self.call?.error = whole
        guard let client else { return }
        if self.call?.isProbe == true, self.call?.sawCopyIn == true { return }
        self.clients[client]?.hasFailed = true
        if let substitute = self.call?.substitute, isLast {
            self.write(substitute.encoded(), client)
        } else {
            let table = self.clients[client]?.statements
            let error = ErrorTranslation(table: table, plan: self.call?.plan).translate(whole)
            self.write(error, client)
        }
    }

    /// What a message of the engine's own means, and how the client sees it.
    private mutating func completed(
        _ kind: ReplySlot.Kind, _ effect: StatementEffect, _ type: MessageType,
        _ whole: ByteBuffer, _ client: SessionClientID?
    ) -> ByteBuffer {
        guard let client else {
            if case .parse(let name, _) = kind { self.call?.prepared.insert(name) }
            if case .prepare(let name, _) = effect { self.call?.prepared.insert(name) }
            return whole
        }
        self.call?.completed += 1
        switch kind {
        case .parse(let name, let entry):
            self.clients[client]?.statements.confirm(
                name, entry, keeping: self.limits.keptStatementBytes)
        case .close(let name?): self.clients[client]?.statements.forget(name)
        case .bind, .close(nil), .describeStatement, .describePortal, .execute, .query, .sync: break
        }
        guard effect != .none, type == .commandComplete else { return whole }
        self.took(effect, tag: whole.messageText, client)
        return effect.tag.map { PostgresMessage.commandComplete($0) } ?? whole
    }

    /// A statement that matters here was run.
    private mutating func took(_ effect: StatementEffect, tag: String, _ id: SessionClientID) {
        self.clients[id]?.listens.completed(effect, tag: tag)
        if let listens = self.clients[id]?.listens, listens.size > self.limits.channels {
            return self.end(id, .tooManyChannels)
        }
        switch effect {
        case .prepare(let name, let entry):
            self.clients[id]?.statements.confirm(
                name, entry, keeping: self.limits.keptStatementBytes)
        case .deallocate(let name): self.clients[id]?.statements.forget(name)
        case .deallocateAll:
            self.engine.condemned += self.clients[id]?.statements.removeNamed() ?? []
        case .discardAll:
            self.engine.condemned += self.clients[id]?.statements.removeNamed() ?? []
            self.clients[id]?.listens.removeAll()
            self.clients[id]?.afterwards.insert(.discardAll)
        case .resetAll:
            if self.clients[id]?.startup.values.isEmpty == false {
                self.clients[id]?.afterwards.insert(.restoreStartup)
            }
        case .none, .begin, .commit, .rollback, .savepoint, .rollbackTo, .release, .listen,
            .unlisten, .unlistenAll, .notify, .copyIn, .tagged:
            break
        }
    }

    /// A client is told before its ReadyForQuery, as Postgres does since 14: what is set and put
    /// right again in the same exchange has not changed.
    private mutating func note(parameter whole: ByteBuffer) {
        guard let parameter = ParameterStatus(whole) else { return }
        let isKnown = self.engine.reported[parameter.name] != nil
        guard isKnown || self.engine.reported.count < Self.maximumParameters else { return }
        guard whole.readableBytes <= Self.parameterBytes else { return }
        self.engine.reported[parameter.name] = parameter.value
        self.engine.reportsItself = true
    }

    /// Rows of hidden calls are read whole; there are few.
    private mutating func readRow(_ whole: ByteBuffer) {
        guard case .hidden = self.call?.owner, MessageHeader(in: whole)?.type == .dataRow else {
            return
        }
        var body = whole.messageBody
        let columns = Int(body.readInteger(as: UInt16.self) ?? 0)
        var row: [String?] = []
        for _ in 0..<columns {
            guard let length = body.readInteger(as: Int32.self) else { return }
            row.append(length < 0 ? nil : body.readSlice(length: Int(length))?.text)
        }
        guard (self.call?.rows.count ?? 0) < Self.maximumHiddenRows,
            (self.call?.rowBytes ?? 0) + whole.readableBytes <= Self.hiddenRowBytes
        else { return }
        self.call?.rowBytes += whole.readableBytes
        self.call?.rows.append(row)
    }

    /// More rows than settings there can be. An answer that is longer is not understood.
    private static let maximumHiddenRows = 10_000
    /// Bytes of those rows: 16 MiB, of which the values of custom settings may be most.
    private static let hiddenRowBytes = 16 * 1024 * 1024
    /// Parameters that an engine may report. Postgres 18 has sixteen, extensions may have some.
    private static let maximumParameters = 64
    /// Bytes of one report: 16 KiB. Of a longer one nothing is told.
    private static let parameterBytes = 16 * 1024

    /// PGlite's own warnings of aborted transactions: `# 1743: aborting transaction 2`.
    private static func isEngineNoise(_ whole: ByteBuffer) -> Bool {
        let message = PostgresError.parse(body: whole.messageBody).message
        guard message.hasPrefix("# ") else { return false }
        let behind = message.dropFirst(2).drop { ("0"..."9").contains($0) }
        return behind.hasPrefix(":") && behind.count < message.count - 2
    }

    // MARK: The end of an exchange

    private mutating func clientCallEnded(
        _ id: SessionClientID, _ call: EngineCall, now: NIODeadline
    ) {
        self.restartSilence(id, now: now)
        self.engine.needsPoke = !call.sawNotifications
        self.engine.lastSender = self.clients[id]?.arrival.cancelKey.processID ?? 0
        if self.clients[id]?.copy != nil { return self.copyCallEnded(id, call) }
        guard call.ready != nil else {
            if call.matcher.hasFailed { self.clients[id]?.isSkipping = true }
            return
        }
        self.exchangeEnded(id)
    }

    mutating func exchangeEnded(_ id: SessionClientID) {
        let status = self.engine.status
        let hasFailed = self.clients[id]?.hasFailed ?? false
        self.clients[id]?.statements.exchangeEnded()
        self.clients[id]?.isSkipping = false
        self.clients[id]?.hasFailed = false
        self.clients[id]?.hasOpenExchange = false
        self.clients[id]?.hasExecuted = false
        self.clients[id]?.copy = nil
        self.clients[id]?.owedReady = status
        self.noteChangedSettings(id)
        guard status == .idle else { return }
        self.clients[id]?.listens.ended(committed: !hasFailed)
        self.clients[id]?.portals.removeAll()
    }

    /// The ReadyForQuery goes out at once where nothing is to be done before it.
    private mutating func payReady(_ id: SessionClientID, now: NIODeadline) {
        guard let status = self.clients[id]?.owedReady else { return }
        guard let afterwards = self.clients[id]?.afterwards else { return }
        if status == .idle, !afterwards.isEmpty { return }
        if status == .open, afterwards.contains(.report) { return }
        self.sendReady(id, status, now: now)
    }

    mutating func sendReady(
        _ id: SessionClientID, _ status: TransactionStatus, now: NIODeadline
    ) {
        self.clients[id]?.owedReady = nil
        if status == .idle { self.sendNotifications(id) }
        self.tellParameters(id)
        self.send(id, PostgresMessage.readyForQuery(status.scalar))
        if status == .idle { self.leaseEnded(id, now: now) }
    }

    /// What comes behind an exchange and before its ReadyForQuery; whether to go on.
    mutating func stepAfterwards(
        _ id: SessionClientID, _ status: TransactionStatus, now: NIODeadline
    ) -> Bool {
        guard let client = self.clients[id] else { return true }
        guard status == .idle else {
            let mayAsk = status == .open && client.afterwards.contains(.report)
            return mayAsk ? self.reportAfterwards(id) : self.ready(id, status, now: now)
        }
        if client.afterwards.contains(.discardAll) {
            self.clients[id]?.afterwards.remove(.discardAll)
            if !client.startup.values.isEmpty {
                self.clients[id]?.afterwards.insert(.restoreStartup)
            }
            return self.start(.discard(id), Self.resetQuery)
        }
        guard client.afterwards.contains(.restoreStartup) else {
            let mustAsk = client.afterwards.contains(.report)
            return mustAsk ? self.reportAfterwards(id) : self.ready(id, status, now: now)
        }
        guard let current = self.engine.settings, client.dirty.isEmpty else {
            return self.look(.look(id), now: now)
        }
        self.clients[id]?.afterwards.remove(.restoreStartup)
        let values = client.startup.values.merging(current.values) { $1 }
        let target = SessionSettings(values: values)
        self.clients[id]?.settings = target
        self.engine.applying = .init(
            statements: SessionInspection.applyStatement(from: current, to: target)[...],
            target: target, client: id)
        return true
    }

    private mutating func reportAfterwards(_ id: SessionClientID) -> Bool {
        self.clients[id]?.afterwards.remove(.report)
        return self.askForReport(id)
    }

    private mutating func ready(
        _ id: SessionClientID, _ status: TransactionStatus, now: NIODeadline
    ) -> Bool {
        self.sendReady(id, status, now: now)
        return true
    }

    /// All that one client can leave in a session, but statements and LISTENs.
    static let resetQuery = """
        SELECT pg_catalog.pg_advisory_unlock_all(); CLOSE ALL; \
        SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; DISCARD TEMP
        """
}

import NIOCore
import PostgresWire

/// Calls that no client asked for.
extension SharedSession {
    /// Starts a call with one simple Query. Always true: it may be over at once in a test.
    mutating func start(_ purpose: HiddenPurpose, _ sql: String) -> Bool {
        self.start(purpose, PostgresMessage.query(sql), expecting: .query([]))
    }

    mutating func start(
        _ purpose: HiddenPurpose, _ message: ByteBuffer, expecting kind: ReplySlot.Kind
    ) -> Bool {
        var call = EngineCall(.hidden(purpose), generation: self.engine.generation)
        call.matcher.expect(kind, isHidden: true)
        self.call = call
        self.gather(message)
        self.runGathered()
        return false
    }

    mutating func look(_ purpose: HiddenPurpose, now: NIODeadline) -> Bool {
        let isStale = self.engine.storedCodeSeen.map { now >= $0 + Self.storedCodeAge } ?? true
        let sql = SessionInspection.query(
            customCandidates: self.engine.customSettings,
            storedCode: self.engine.storedCode == nil || (purpose == .pageLook && isStale))
        if isStale { self.engine.storedCodeSeen = now }
        return self.start(purpose, sql)
    }

    /// How long it is believed that the page has not changed code stored in the database.
    private static let storedCodeAge = TimeAmount.seconds(5)

    mutating func stepApplying() -> Bool {
        guard let sql = self.engine.applying?.statements.popFirst() else {
            self.engine.settings = self.engine.applying?.target
            self.engine.applying = nil
            return true
        }
        return self.start(.apply, sql)
    }

    /// The startup settings of a client, on top of none.
    mutating func applyStartup(_ id: SessionClientID) -> Bool {
        guard let client = self.clients[id] else { return true }
        let startup = SessionInspection.startupSettings(client.arrival.request)
        // Of several settings of one name the last one counts.
        var values: [String: String] = [:]
        for parameter in startup { values[parameter.name] = parameter.value }
        let target = SessionSettings(values: values)
        self.clients[id]?.needsStartup = false
        self.clients[id]?.knowsStartup = values.isEmpty
        self.engine.applying = .init(
            statements: SessionInspection.applyStatement(
                from: SessionSettings(), to: target)[...],
            target: target, client: id)
        return true
    }

    mutating func closeCondemned() -> Bool {
        var call = EngineCall(.hidden(.closings), generation: self.engine.generation)
        var bytes = ByteBuffer()
        for name in self.engine.condemned.prefix(Self.closingsACall) {
            bytes.writeImmutableBuffer(SessionMessage.close(name))
            call.matcher.expect(.close(nil), isHidden: true)
        }
        self.engine.condemned.removeFirst(min(Self.closingsACall, self.engine.condemned.count))
        bytes.writeImmutableBuffer(SessionMessage.sync)
        call.matcher.expect(.sync, isHidden: true)
        self.call = call
        self.gather(bytes)
        self.runGathered()
        return false
    }

    private static let closingsACall = 1_000

    /// LISTENs of all clients, in an engine that is new.
    mutating func listenAgain() -> Bool {
        self.engine.needsListens = false
        let channels = self.clients.values.reduce(into: Set<String>()) {
            $0.formUnion($1.listens.channels)
        }
        guard !channels.isEmpty else { return true }
        let texts = channels.sorted().map { "LISTEN " + SQLRewrite.identifier($0) }
        return self.start(.listens, texts.joined(separator: "; "))
    }

    /// A client's statements, in an engine that is new. One that fails is not there any more.
    mutating func prepareAgain(_ id: SessionClientID) -> Bool {
        self.clients[id]?.statements.engineRestarted()
        self.clients[id]?.generation = self.engine.generation
        guard let table = self.clients[id]?.statements, !table.kept.isEmpty else { return true }
        var call = EngineCall(.hidden(.reprepare(id)), generation: self.engine.generation)
        var bytes = ByteBuffer()
        for (name, entry) in table.kept {
            switch entry.kept {
            case .parse(let rest):
                bytes.writeImmutableBuffer(
                    SessionMessage.parse(table.engineName(entry.number), rest: rest))
                call.matcher.expect(.parse(name, entry), isHidden: true)
            case .prepare(let text):
                bytes.writeImmutableBuffer(SessionMessage.parse("", text: text.text))
                bytes.writeImmutableBuffer(SessionMessage.bindUnnamed)
                bytes.writeImmutableBuffer(SessionMessage.executeUnnamed)
                call.matcher.expect(.execute(.prepare(name, entry)), isHidden: true)
            case nil: continue
            }
            bytes.writeImmutableBuffer(SessionMessage.sync)
            call.matcher.expect(.sync, isHidden: true)
        }
        self.call = call
        self.gather(bytes)
        self.runGathered()
        return false
    }

    // MARK: Their ends

    mutating func hiddenEnded(_ purpose: HiddenPurpose, _ call: EngineCall) {
        switch purpose {
        case .engineLook: self.sawEngine(call)
        case .pageLook, .look: self.sawSession(purpose, call)
        case .apply: self.applied(call)
        case .report: self.reported(call)
        case .sync: self.engine.cleanup?.needsSync = false
        case .rollback: break
        case .reset:
            self.engine.mayHaveUnknownSettings = false
            self.engine.cleanup = nil
            self.settingsAreUnknown()
        case .closings, .listens, .poke: break
        case .reprepare(let id):
            for (name, _) in self.clients[id]?.statements.kept ?? []
            where !call.prepared.contains(name) {
                self.clients[id]?.statements.forget(name)
            }
        case .copy(let id): self.copyAsideEnded(id, call)
        case .discard(let id):
            self.engine.settings = nil
            self.clients[id]?.settings = SessionSettings()
            self.clients[id]?.dirty = []
        }
    }

    /// Whose settings are in the session must be looked up: nobody's, or a change did not happen.
    mutating func settingsAreUnknown() {
        self.engine.settings = nil
        self.settled = nil
    }

    private mutating func notUnderstood() {
        self.end(all: .notUnderstood)
        self.engine.cleanup?.wasNotUnderstood = true
        self.engine.needsPageLook = true
    }

    private mutating func sawEngine(_ call: EngineCall) {
        guard let info = SessionInspection.readEngine(call.rows) else {
            return self.notUnderstood()
        }
        self.engine.info = info
        for parameter in info.reported { self.engine.reported[parameter.name] = parameter.value }
    }

    /// Whether a client may have set custom settings whose names are in no text.
    private func mayHaveNamedSettings(_ id: SessionClientID) -> Bool {
        guard let dirty = self.clients[id]?.dirty else { return false }
        if dirty.contains(.mayNameSettings) { return true }
        if self.engine.customSettings.count >= EngineState.maximumCustomSettings {
            return !dirty.isEmpty
        }
        let runsCode = self.engine.storedCode?.mayTouchSession ?? true
        return runsCode && dirty.contains(.mayRunStoredCode)
    }

    /// What brings the engine from what is set now to what is wanted. What nobody can find goes
    /// with all the rest.
    mutating func changes(to target: SessionSettings) -> [String] {
        let current = self.engine.settings ?? SessionSettings()
        guard self.engine.mayHaveUnknownSettings else {
            return SessionInspection.applyStatement(from: current, to: target)
        }
        self.engine.mayHaveUnknownSettings = false
        return ["RESET ALL"]
            + SessionInspection.applyStatement(from: current.identityAlone, to: target)
    }

    private mutating func sawSession(_ purpose: HiddenPurpose, _ call: EngineCall) {
        guard let info = self.engine.info ?? self.engine.lastInfo,
            let seen = SessionInspection.read(call.rows, engine: info)
        else { return self.notUnderstood() }
        if let storedCode = seen.storedCode {
            self.engine.storedCode = storedCode
            self.engine.noteCustomSettings(storedCode.customSettings.sorted())
        }
        // What was seen may be of a session that is gone since.
        let isOfNow = call.generation == self.engine.generation
        if isOfNow { self.engine.settings = seen.settings }
        guard case .look(let id) = purpose, let id else {
            if purpose == .pageLook, isOfNow {
                self.settled = nil
                self.engine.needsPageLook = false
                self.engine.pageHadIt = false
                if self.engine.pageSettings != seen.settings {
                    self.engine.lastInfo = info
                    self.engine.info = nil
                }
                self.engine.pageSettings = seen.settings
            }
            return
        }
        // What a client leaves that went away meanwhile is cleaned up, and pins nothing.
        guard self.clients[id] != nil else { return }
        self.clients[id]?.settings = seen.settings
        if isOfNow, self.mayHaveNamedSettings(id) { self.engine.mayHaveUnknownSettings = true }
        self.clients[id]?.dirty = []
        if self.clients[id]?.knowsStartup == false {
            self.clients[id]?.knowsStartup = true
            self.clients[id]?.startup = seen.settings
        }
        guard isOfNow else { return }
        let isPinned = seen.hasTempObjects || seen.hasAdvisoryLocks || seen.hasHoldCursors
        if isPinned { self.pinned = id } else if self.pinned == id { self.pinned = nil }
    }

    /// One statement of a change of settings was answered.
    private mutating func applied(_ call: EngineCall) {
        guard let error = call.error else { return }
        let client = self.engine.applying?.client
        self.engine.applying = nil
        self.engine.settings = nil
        self.engine.mayHaveUnknownSettings = true
        self.settled = nil
        if let client {
            var error = PostgresError.parse(body: error.messageBody)
            error.severity = .fatal
            self.end(client, .init(error))
        } else {
            // The page's settings cannot be had any more; what there is now is the page's.
            self.engine.needsPageLook = true
        }
    }
}

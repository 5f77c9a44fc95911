import NIOCore
import PostgresWire

@testable import SharedSession

/// Three clients, an engine and the clock, in any order. The first byte says how hostile the engine
/// is and what it can do.
func fuzzSession(_ bytes: ByteBuffer) throws(Broken) {
    var bytes = bytes
    var world = SessionWorld(bytes.choice())
    while bytes.readableBytes > 0 {
        world.step(&bytes)
        try world.drain()
    }
    try world.finish()
}

/// What is around a shared session, and what came of it.
private struct SessionWorld {
    private static let texts = [
        "select 1", "begin", "commit", "rollback", "set a.b = 'c'", "reset all", "listen c",
        "notify c", "prepare p as select 1", "execute p", "deallocate p", "discard all",
        "copy t from stdin", "copy t to stdout", "create temp table t (a int)", "savepoint s",
    ]

    private var session: SharedSession
    private var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private let isHonest: Bool
    private var here: Set<SessionClientID> = []
    private var closed: Set<SessionClientID> = []
    private var sent: [SessionClientID: ByteBuffer] = [:]
    private var gathered = ByteBuffer()
    private var calls: [ByteBuffer] = []
    private var isHoldAsked = false
    private var isRestartAsked = false
    private var isGone = false
    private var owedCredit = 0
    private var status: Unicode.Scalar = "I"
    private var arrivals: UInt32 = 0

    init(_ choice: UInt8) {
        self.isHonest = choice & 1 == 0
        var capabilities = EngineCapabilities()
        capabilities.copiesIn = choice & 2 == 0
        capabilities.restarts = choice & 4 == 0
        capabilities.batches = choice & 8 == 0
        capabilities.holds = choice & 16 == 0
        var limits = SessionLimits()
        limits.queuedBytes = 2_048
        limits.statementBytes = 4_096
        limits.copyStatementBytes = 1_024
        limits.keptStatementBytes = 1_024
        limits.statements = 4
        limits.portals = 4
        limits.channels = 4
        self.session = SharedSession(limits: limits, capabilities: capabilities)
        guard choice & 32 == 0 else { return }
        self.session.engine.info = SessionInspection.Engine(
            reported: [.init(name: "server_version", value: "17.5")], database: "postgres",
            user: "postgres")
        self.session.engine.reported = ["server_version": "17.5"]
        self.session.engine.storedCode = .init(mayTouchSession: false, customSettings: [])
        self.session.engine.presence = .ours
        self.session.engine.needsPageLook = false
        self.session.engine.settings = SessionSettings()
        self.session.engine.reportsItself = true
    }

    // MARK: Verbs

    mutating func step(_ input: inout ByteBuffer) {
        let verb = input.choice()
        let id = SessionClientID(rawValue: UInt32(verb >> 4) % 3 + 1)
        switch verb & 15 {
        case 0: self.session.received(input.upTo(Int(input.choice())), from: id, now: self.now)
        case 1...3: self.say(id, input.choice(), &input)
        case 4: self.arrive(id)
        case 5: self.leave(id)
        case 6...9: self.answer(input.choice(), &input)
        case 10: self.session.stalled(id, verb & 0x80 != 0, now: self.now)
        case 11: self.pass(.milliseconds(Int64(input.wideChoice())))
        case 12: self.session.cancel(id, now: self.now)
        case 13: self.session.engineStalled(verb & 0x80 != 0, now: self.now)
        case 14:
            if self.isHoldAsked { self.session.held(now: self.now) }
            self.isHoldAsked = false
        default: self.engineFails(verb >> 4)
        }
    }

    private mutating func arrive(_ id: SessionClientID) {
        guard !self.here.contains(id) else { return }
        self.here.insert(id)
        self.closed.remove(id)
        self.sent[id] = nil
        self.arrivals += 1
        var parameters = [StartupRequest.Parameter(name: "user", value: "postgres")]
        if self.arrivals.isMultiple(of: 3) {
            parameters.append(.init(name: "application_name", value: "it's \\"))
        }
        let key = CancelKey(processID: Int32(id.rawValue), secret: [1, 2, 3, 4]) ?? .zero
        let arrival = SessionArrival(
            request: StartupRequest(parameters: parameters), cancelKey: key, address: "192.0.2.1")
        self.session.arrived(id, arrival, now: self.now)
    }

    private mutating func leave(_ id: SessionClientID) {
        guard self.here.remove(id) != nil else { return }
        self.session.left(id, now: self.now)
    }

    private mutating func pass(_ amount: TimeAmount) {
        self.now = self.now + amount
        self.session.tick(now: self.now)
    }

    /// A message that a client may send.
    private mutating func say(
        _ id: SessionClientID, _ kind: UInt8, _ input: inout ByteBuffer
    ) {
        let text = Self.texts[Int(kind >> 4)]
        let message: ByteBuffer =
            switch kind & 15 {
            case 0...3: PostgresMessage.query(text)
            case 4, 5: SessionMessage.parse(kind & 1 == 0 ? "" : "p", text: text)
            case 6: SessionMessage.bindUnnamed
            case 7: SessionMessage.executeUnnamed
            case 8, 9: PostgresMessage.sync()
            case 10: SessionMessage.flush
            case 11: SessionMessage.describe(kind & 16 == 0 ? "" : "p")
            case 12: SessionMessage.close("p")
            case 13: SessionMessage.message(.copyData) { $0.writeImmutableBuffer(input.upTo(4)) }
            case 14: kind & 16 == 0 ? PostgresMessage.copyDone() : PostgresMessage.copyFail("no")
            default: kind & 16 == 0 ? PostgresMessage.terminate() : self.bindNamed()
            }
        self.session.received(message, from: id, now: self.now)
    }

    private func bindNamed() -> ByteBuffer {
        SessionMessage.message(.bind) { body in
            body.writeText("q")
            body.writeText("p")
            body.writeRepeatingByte(0, count: 6)
        }
    }

    private mutating func engineFails(_ how: UInt8) {
        self.calls = []
        switch how {
        case 0...3: self.session.faulted("no", restarted: false, now: self.now)
        case 4...6: self.session.faulted("no", restarted: true, now: self.now)
        case 7, 8: self.session.sessionLost("no", now: self.now)
        case 9...13: self.session.restarted(now: self.now)
        case 14: self.session.notified(Self.notification, now: self.now)
        default:
            self.isGone = true
            self.session.engineGone(.connectionFailure, "gone", now: self.now)
        }
    }

    private static let notification = SessionMessage.message(.notificationResponse) { body in
        body.writeInteger(Int32(0))
        body.writeText("c")
        body.writeText("payload")
    }

    // MARK: The engine

    /// Answers the oldest call, or a part of it, or says anything.
    private mutating func answer(_ how: UInt8, _ input: inout ByteBuffer) {
        if !self.isHonest, how & 3 == 3 {
            return self.reply(input.upTo(Int(how >> 2)))
        }
        guard let call = self.calls.first else { return }
        var whole = self.honestReply(to: call, how)
        if how & 3 == 2 {
            // In two parts, with whatever comes between.
            self.reply(whole.upTo(whole.readableBytes / 2))
            self.reply(whole)
        } else {
            self.reply(whole)
        }
        self.calls.removeFirst()
        self.session.done(now: self.now)
    }

    private mutating func reply(_ bytes: ByteBuffer) {
        self.owedCredit += bytes.readableBytes
        self.session.replied(bytes, now: self.now)
    }

    private mutating func honestReply(to call: ByteBuffer, _ how: UInt8) -> ByteBuffer {
        var call = call
        var reply = ByteBuffer()
        var hasFailed = false
        while let header = MessageHeader(in: call),
            let whole = call.readSlice(length: header.totalBytes)
        {
            if hasFailed, header.type != .sync { continue }
            let fails = how & 0xF0 == 0xF0
            switch header.type {
            case .sync:
                hasFailed = false
                reply.writeImmutableBuffer(PostgresMessage.readyForQuery(self.status))
            case .query:
                self.run(whole, fails: fails, &reply)
                reply.writeImmutableBuffer(PostgresMessage.readyForQuery(self.status))
            case .parse where fails, .bind where fails:
                hasFailed = true
                self.fail(&reply)
            case .parse: reply.writeImmutableBuffer(SessionMessage.message(.parseComplete) { _ in })
            case .bind: reply.writeImmutableBuffer(SessionMessage.message(.bindComplete) { _ in })
            case .close: reply.writeImmutableBuffer(SessionMessage.message(.closeComplete) { _ in })
            case .describe: reply.writeImmutableBuffer(SessionMessage.message(.noData) { _ in })
            case .execute: reply.writeImmutableBuffer(PostgresMessage.commandComplete("SELECT 0"))
            default: break
            }
        }
        return reply
    }

    private mutating func run(_ query: ByteBuffer, fails: Bool, _ reply: inout ByteBuffer) {
        var body = query.messageBody
        let text = body.readNullTerminatedString() ?? ""
        if fails { return self.fail(&reply) }
        switch text {
        case "begin": self.status = "T"
        case "commit", "rollback", "ROLLBACK": self.status = "I"
        case _ where text.hasPrefix("copy") && text.hasSuffix("stdin"):
            reply.writeImmutableBuffer(
                SessionMessage.message(.copyInResponse) { $0.writeRepeatingByte(0, count: 3) })
            return self.fail(&reply)
        default: break
        }
        reply.writeImmutableBuffer(PostgresMessage.commandComplete("SELECT 0"))
    }

    private mutating func fail(_ reply: inout ByteBuffer) {
        PostgresError(severity: .error, sqlState: SQLState(rawValue: "57014"), message: "no")
            .write(into: &reply)
        if self.status == "T" { self.status = "E" }
    }

    // MARK: What came of it

    mutating func drain() throws(Broken) {
        while let action = self.session.nextAction() {
            switch action {
            case .send(let id, let bytes, let credit):
                try check(self.here.contains(id), "bytes for nobody")
                try check(!self.closed.contains(id), "bytes behind the end")
                try check(credit >= 0, "credit that is none")
                self.sent[id, default: ByteBuffer()].writeImmutableBuffer(bytes)
                self.owedCredit -= credit
            case .credit(let credit): self.owedCredit -= credit
            case .pause(let id), .resume(let id):
                try check(self.here.contains(id), "nobody is paused")
            case .close(let id):
                try check(self.closed.insert(id).inserted, "a client was closed twice")
            case .data(let bytes): self.gathered.writeImmutableBuffer(bytes)
            case .run:
                self.calls.append(self.gathered)
                self.gathered = ByteBuffer()
            case .drop: self.gathered = ByteBuffer()
            case .hold: self.isHoldAsked = true
            case .release: self.isHoldAsked = false
            case .restart: self.isRestartAsked = true
            case .log: break
            }
        }
        try check(self.owedCredit >= 0, "credit for bytes that never came")
        // A reply that is none ends its call here; an engine that lies may still be at it.
        guard self.isHonest else { return self.calls.removeFirst(max(0, self.calls.count - 1)) }
        try check(self.calls.count <= 1, "two calls at once")
        try self.checkStreams()
    }

    /// What a client was sent is messages; the last one may be still on its way.
    private func checkStreams() throws(Broken) {
        for bytes in self.sent.values {
            var rest = bytes
            while let header = MessageHeader(in: rest) {
                try check(
                    header.length >= 4 && header.length < 1 << 20, "a client lost its place")
                guard rest.readSlice(length: header.totalBytes) != nil else { break }
            }
        }
    }

    /// Everybody leaves, the engine answers what is asked: then a new client is served.
    mutating func finish() throws(Broken) {
        for id in self.here.sorted(by: { $0.rawValue < $1.rawValue }) { self.leave(id) }
        try self.drain()
        self.session.engineStalled(false, now: self.now)
        try self.settle()
        try check(self.session.clientCount == 0, "a client is left")
        try check(self.session.waitingCount == 0, "nobody waits and is in the queue")
        guard self.isHonest else { return }
        try check(self.owedCredit == 0, "credit was not given back")
        guard !self.isGone, self.session.engine.presence != .gone else { return }
        let id = SessionClientID(rawValue: 9)
        self.arrive(id)
        try self.settle()
        self.session.received(PostgresMessage.query("select 1"), from: id, now: self.now)
        try self.settle()
        if self.session.engine.presence == .gone || self.closed.contains(id) { return }
        let last = Array((self.sent[id] ?? ByteBuffer()).readableBytesView.suffix(6))
        try check(last.starts(with: [0x5A, 0, 0, 0, 5]), "a new client gets no answer: \(last)")
    }

    /// Until nothing is asked any more.
    private mutating func settle() throws(Broken) {
        var empty = ByteBuffer()
        for _ in 0..<200 {
            try self.drain()
            if self.isRestartAsked {
                self.isRestartAsked = false
                self.status = "I"
                self.session.restarted(now: self.now)
            } else if self.isHoldAsked {
                self.isHoldAsked = false
                self.session.held(now: self.now)
            } else if !self.calls.isEmpty {
                self.answer(0, &empty)
            } else if let due = self.session.nextDeadline {
                self.pass(max(.nanoseconds(0), due - self.now))
            } else {
                return
            }
        }
        throw Broken("it never comes to rest")
    }
}

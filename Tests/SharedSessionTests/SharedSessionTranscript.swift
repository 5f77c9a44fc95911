import NIOCore
import PostgresWire

@testable import SharedSession

/// A machine whose clients and whose engine the test plays, and what came of it.
struct SharedSessionTranscript {
    var session: SharedSession
    var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    /// What each client was sent and nobody has read yet.
    var sent: [SessionClientID: ByteBuffer] = [:]
    var closed: Set<SessionClientID> = []
    var paused: Set<SessionClientID> = []
    /// Calls that were run and not answered yet.
    var calls: [ByteBuffer] = []
    var gathered = ByteBuffer()
    var others: [SharedSession.Action] = []
    /// Calls that were run in all.
    var callCount = 0
    /// Whether what clients run is taken to leave nothing behind, where that is not the point.
    var forgetsTraces = true
    /// Bytes of replies that were neither sent nor given back.
    var owedCredit = 0

    /// Starts with an engine that was looked at already.
    init(
        limits: SessionLimits = SessionLimits(),
        capabilities: EngineCapabilities = EngineCapabilities()
    ) {
        self.session = SharedSession(limits: limits, capabilities: capabilities)
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

    mutating func arrive(
        _ number: UInt32, database: String? = nil, _ settings: [String: String] = [:]
    ) -> SessionClientID {
        let id = SessionClientID(rawValue: number)
        var parameters = [StartupRequest.Parameter(name: "user", value: "postgres")]
        if let database { parameters.append(.init(name: "database", value: database)) }
        for (name, value) in settings.sorted(by: { $0.key < $1.key }) {
            parameters.append(.init(name: name, value: value))
        }
        let key = CancelKey(processID: Int32(number), secret: [1, 2, 3, 4]) ?? .zero
        let arrival = SessionArrival(
            request: StartupRequest(parameters: parameters), cancelKey: key, address: nil)
        self.session.arrived(id, arrival, now: self.now)
        self.drain()
        return id
    }

    /// A client that was greeted.
    mutating func greeted(_ number: UInt32) -> SessionClientID {
        let id = self.arrive(number)
        self.sent[id] = nil
        return id
    }

    mutating func send(_ id: SessionClientID, _ messages: ByteBuffer...) {
        var bytes = ByteBuffer()
        for message in messages { bytes.writeImmutableBuffer(message) }
        self.session.received(bytes, from: id, now: self.now)
        self.drain()
    }

    /// The engine answers its oldest call.
    mutating func reply(_ messages: ByteBuffer...) {
        guard !self.calls.isEmpty else { return }
        self.calls.removeFirst()
        var bytes = ByteBuffer()
        for message in messages { bytes.writeImmutableBuffer(message) }
        self.owedCredit += bytes.readableBytes
        self.session.replied(bytes, now: self.now)
        self.drain()
        // Whether a statement leaves anything behind is not what most tests are about.
        if self.forgetsTraces {
            for id in self.session.clients.keys { self.session.clients[id]?.dirty = [] }
        }
        self.session.done(now: self.now)
        self.drain()
    }

    mutating func pass(_ amount: TimeAmount) {
        self.now = self.now + amount
        self.session.tick(now: self.now)
        self.drain()
    }

    mutating func leave(_ id: SessionClientID) {
        self.session.left(id, now: self.now)
        self.drain()
    }

    mutating func drain() {
        while let action = self.session.nextAction() {
            switch action {
            case .send(let id, let bytes, let credit):
                self.sent[id, default: ByteBuffer()].writeImmutableBuffer(bytes)
                self.owedCredit -= credit
            case .credit(let credit): self.owedCredit -= credit
            case .pause(let id): self.paused.insert(id)
            case .resume(let id): self.paused.remove(id)
            case .close(let id): self.closed.insert(id)
            case .data(let bytes): self.gathered.writeImmutableBuffer(bytes)
            case .run:
                self.callCount += 1
                self.calls.append(self.gathered)
                self.gathered = ByteBuffer()
            case .drop: self.gathered = ByteBuffer()
            case .hold, .release, .restart, .log: self.others.append(action)
            }
        }
    }

    /// What a client was sent since the last look, as words: `C(SELECT 1) Z(I)`.
    mutating func heard(_ id: SessionClientID) -> String {
        Self.words(self.sent.removeValue(forKey: id) ?? ByteBuffer())
    }

    /// The call that waits for an answer, as words; empty where there is none.
    var asked: String { Self.words(self.calls.first ?? ByteBuffer(), ofClient: true) }

    static func words(_ bytes: ByteBuffer, ofClient: Bool = false) -> String {
        var bytes = bytes
        var words: [String] = []
        while let header = MessageHeader(in: bytes),
            let whole = bytes.readSlice(length: header.totalBytes)
        {
            words.append(ofClient ? Self.question(header.type, whole) : Self.answer(header, whole))
        }
        if bytes.readableBytes > 0 { words.append("+\(bytes.readableBytes)") }
        return words.joined(separator: " ")
    }

    private static func question(_ type: MessageType, _ whole: ByteBuffer) -> String {
        var body = whole.messageBody
        switch type {
        case .query, .parse: return "\(type)(\(body.readText()?.text ?? ""))"
        case .bind:
            let portal = body.readText()?.text ?? ""
            return "B(\(portal),\(body.readText()?.text ?? ""))"
        case .close, .describe:
            body.moveReaderIndex(forwardBy: 1)
            return "\(type)(\(body.readText()?.text ?? ""))"
        default: return "\(type)"
        }
    }

    private static func answer(_ header: MessageHeader, _ whole: ByteBuffer) -> String {
        var body = whole.messageBody
        switch header.type {
        case .readyForQuery, .commandComplete:
            return "\(header.type)(\(body.text.filter { $0 != "\0" }))"
        case .errorResponse, .noticeResponse:
            let error = PostgresError.parse(body: body)
            let severity = error.severity == .fatal ? "!" : ""
            return "\(header.type)\(severity)(\(error.sqlState) \(error.message))"
        case .notificationResponse:
            let sender = body.readInteger(as: Int32.self) ?? 0
            return "A(\(sender) \(body.readText()?.text ?? ""))"
        default: return "\(header.type)"
        }
    }
}

/// Messages as a client and an engine write them.
enum Wire {
    static func query(_ text: String) -> ByteBuffer { PostgresMessage.query(text) }
    static let sync = PostgresMessage.sync()
    static let flush = SessionMessage.flush
    static let terminate = PostgresMessage.terminate()
    static let execute = SessionMessage.executeUnnamed
    static let parsed = SessionMessage.message(.parseComplete) { _ in }
    static let bound = SessionMessage.message(.bindComplete) { _ in }
    static let closed = SessionMessage.message(.closeComplete) { _ in }
    static let row = SessionMessage.message(.dataRow) { $0.writeInteger(UInt16(0)) }
    static let copyIn = SessionMessage.message(.copyInResponse) {
        $0.writeRepeatingByte(0, count: 3)
    }
    static let copyDone = PostgresMessage.copyDone()

    static func copyData(_ text: String) -> ByteBuffer {
        SessionMessage.message(.copyData) { $0.writeString(text) }
    }
    static func parse(_ name: String, _ text: String) -> ByteBuffer {
        SessionMessage.parse(name, text: text)
    }
    static func bind(_ name: String) -> ByteBuffer {
        SessionMessage.message(.bind) { body in
            body.writeText("")
            body.writeText(name)
            body.writeRepeatingByte(0, count: 6)
        }
    }
    static func complete(_ tag: String) -> ByteBuffer { PostgresMessage.commandComplete(tag) }
    static func ready(_ status: Unicode.Scalar = "I") -> ByteBuffer {
        PostgresMessage.readyForQuery(status)
    }
    static func error(_ code: String, _ message: String) -> ByteBuffer {
        PostgresError(
            severity: .error, sqlState: SQLState(rawValue: code), message: message
        ).encoded()
    }
    static func notification(_ channel: String) -> ByteBuffer {
        SessionMessage.message(.notificationResponse) { body in
            body.writeInteger(Int32(0))
            body.writeText(channel)
            body.writeText("payload")
        }
    }
}

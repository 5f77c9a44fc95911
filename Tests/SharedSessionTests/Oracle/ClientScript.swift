import NIOCore

/// What a client does from its connection to its end.
struct ClientScript: Sendable {
    /// Behind `user` and `database`.
    var startup: [(String, String)] = []
    var steps: [ScriptStep] = []
    /// Whether the last thing is Terminate; else the socket just closes.
    var isPolite = true
}

/// Bytes that a client sends at once, and what it then waits for.
struct ScriptStep: Sendable {
    enum Wait: Sendable {
        /// For nothing: the next step follows at once, a pipeline.
        case nothing
        /// For every ReadyForQuery it is owed.
        case ready
        /// For that many answers to messages behind which Flush was sent, or an error.
        case answers(Int)
        /// For CopyInResponse, or every ReadyForQuery.
        case copyOrReady
        /// For CopyInResponse, or an error.
        case copyOrError
    }

    /// For a person.
    var label: String
    var bytes: ByteBuffer
    /// ReadyForQuery messages that answer this step.
    var readies: Int
    var wait: Wait
    /// Is left out unless the server is taking CopyData.
    var needsCopy = false

    init(
        _ label: String, _ parts: [ByteBuffer], readies: Int, wait: Wait = .ready,
        needsCopy: Bool = false
    ) {
        self.label = label
        self.bytes = .joined(parts)
        self.readies = readies
        self.wait = wait
        self.needsCopy = needsCopy
    }

    static func query(_ sql: String) -> ScriptStep {
        ScriptStep("Q \(sql.prefix(300))", [FrontendMessage.query(sql)], readies: 1)
    }
}

/// A client that follows its script by what it is answered: the same one alone and shared.
struct ScriptedClient: Sendable {
    let script: ClientScript
    private(set) var transcript = Transcript()
    /// The step that is sent next.
    private(set) var position = 0
    /// The server ended the connection, in a legal way or not.
    private(set) var isDead = false
    /// Steps that were answered with a cancel while they waited; alone they are not run.
    private(set) var cancelled: Set<Int> = []
    /// Notifications of channels that several clients use, in the order they came.
    private(set) var sharedNotifications: [String] = []

    private var inbound = ByteBuffer()
    private var owedReadies = 1
    /// The step that each ReadyForQuery answers; the first is the greeting's.
    private var owners = [-1]
    private var seenReadies = 0
    private var answers = 0
    private var isCopying = false
    private var sawCopy = false
    /// An error was seen and no ReadyForQuery since.
    private var isSkipping = false
    private var wait = ScriptStep.Wait.ready
    /// The status of the last ReadyForQuery.
    private(set) var status = UInt8(ascii: "I")

    init(_ script: ClientScript) { self.script = script }

    /// Whether it may send its next step, or is at its end.
    var isReady: Bool {
        let isAnswered = self.seenReadies >= self.owedReadies
        switch self.wait {
        case .nothing: return true
        case .ready: return isAnswered
        case .answers(let count): return self.answers >= count || self.isSkipping
        case .copyOrReady: return isAnswered || self.sawCopy
        case .copyOrError: return self.isSkipping || self.sawCopy
        }
    }

    var isAtEnd: Bool { self.position >= self.script.steps.count && self.isReady }
    var isAwaitingAnswer: Bool { self.seenReadies < self.owedReadies }
    /// A client that waits for one exchange, begun outside of a transaction.
    var isInPlainExchange: Bool {
        self.owedReadies == self.seenReadies + 1 && self.position > 0
            && self.status == UInt8(ascii: "I") && !self.isCopying
            && self.owners.last.map { self.script.steps[$0].readies } == 1
    }

    /// Passes by the steps that do not apply now.
    mutating func passBy() {
        while self.position < self.script.steps.count,
            self.script.steps[self.position].needsCopy, !self.isCopying
        { self.position += 1 }
    }

    /// The next step, or nil at the end.
    mutating func next() -> ScriptStep? {
        self.passBy()
        guard self.position < self.script.steps.count else { return nil }
        let step = self.script.steps[self.position]
        self.owners += Array(repeating: self.position, count: step.readies)
        self.position += 1
        self.owedReadies += step.readies
        self.answers = 0
        self.sawCopy = false
        self.wait = step.wait
        return step
    }

    /// Leaves the next step out and writes what its cancel looked like.
    mutating func skipCancelled() {
        self.position += 1
        for line in Self.cancelLines { self.transcript.append(line: line) }
    }

    static let cancelLines = ["cancelled", "Z I"]

    /// Takes bytes of the server, cut anywhere.
    mutating func receive(_ bytes: ByteBuffer) {
        self.inbound.writeImmutableBuffer(bytes)
        while let message = self.inbound.readWireMessage() { self.receive(message) }
    }

    /// Whether there is half a message.
    var holdsBytes: Bool { self.inbound.readableBytes > 0 }

    mutating func receive(_ message: WireMessage) {
        if message.isType("A"), self.isShared(message) { return }
        switch Unicode.Scalar(message.type) {
        case "Z":
            self.seenReadies += 1
            self.isSkipping = false
            self.isCopying = false
            self.status = message.body.readableBytesView.first ?? 0
        case "G":
            self.isCopying = true
            self.sawCopy = true
        case "E":
            self.isSkipping = true
            self.isCopying = false
            if message.errorField("V") == "FATAL" { self.isDead = true }
            if self.isRelayCancel(message) {
                self.cancelled.insert(self.owners[self.seenReadies])
                self.transcript.append(line: Self.cancelLines[0])
                return
            }
        case "C":
            self.isCopying = false
            self.answers += 1
        case "1", "2", "3", "s", "I", "n", "T": self.answers += 1
        default: break
        }
        self.transcript.append(message)
    }

    /// The relay's own 57014: it names no routine of Postgres.
    private func isRelayCancel(_ message: WireMessage) -> Bool {
        message.errorField("C") == "57014" && message.errorField("R") == nil
    }

    private mutating func isShared(_ message: WireMessage) -> Bool {
        var body = message.body
        let process = body.readInteger(as: Int32.self) ?? 0
        let channel = body.readWireText()
        guard channel.hasPrefix("shared") else { return false }
        let sender = process == self.transcript.ownProcess ? "own" : "other"
        self.sharedNotifications.append("\(sender) \(channel) \(body.readWireText())")
        return true
    }
}

import NIOCore
import PostgresWire

/// One program's stay in a session: messages go both ways, whole statements past the policy.
///
///     (waiting for its turn) ──▶ serving ──Terminate──▶ left
///                                   └──gone──▶ clearing up ──ReadyForQuery──▶ left
///
/// A statement, function call or Parse is taken only once everything before it is answered, so that
/// answers of our own never overtake the server's.
final class DoorRun: SessionOccupant {
    /// How long the server may take to end what a program left behind; then the session is closed.
    static let clearingTimeout = TimeAmount.seconds(60)

    let ticket = SessionTicket()
    let inspected: MessageTypes = [
        .errorResponse, .readyForQuery, .copyInResponse, .parameterStatus,
    ]
    private let door: DoorState
    private let line: SessionHandler
    private weak var program: DoorProgramHandler?
    private var isServing = false
    private var isOver = false
    /// ReadyForQuery that the server still owes.
    private var owed = 0
    private var isCopyingIn = false
    /// Something of the extended protocol was sent and no Sync behind it.
    private var isUnsynced = false
    private var isSkippingToSync = false
    private var cutBytes = 0
    private var ending: CutMessageEnding?
    private var timer: Scheduled<Void>?

    init(_ door: DoorState, _ line: SessionHandler, _ program: DoorProgramHandler) {
        self.door = door
        self.line = line
        self.program = program
    }

    var wantsRead: Bool { self.program?.isWritable ?? true }

    /// Whether the program's next statement may be looked at.
    var takesStatements: Bool { self.owed == 0 }

    /// Whether more of the program's bytes are wanted.
    var takesBytes: Bool { self.line.isWritable }

    func begin(_ line: SessionHandler) {
        guard !self.isOver else { return line.leave(self) }
        guard line.facts.status == .inTransaction else {
            self.program?.refuse(DoorState.noTransaction)
            return self.leave()
        }
        self.isServing = true
        self.program?.joined(line.facts)
    }

    func run(_ bytes: ByteBuffer, cutBytes: Int, messages: Int64) {
        self.program?.write(bytes)
    }

    func message(_ type: MessageType, _ whole: ByteBuffer) {
        switch type {
        case .errorResponse:
            self.door.observer.error(PostgresError.parse(body: whole.messageBody))
        case .copyInResponse:
            self.isCopyingIn = true
            if self.program == nil { self.clearUp() }
        case .readyForQuery:
            self.owed -= 1
            self.isCopyingIn = false
            guard self.line.facts.status != .idle else {
                return self.line.abort(
                    .protocolViolation(detail: "the transaction ended while a program was in it"))
            }
        default:
            break
        }
        self.program?.write(whole)
        guard type == .readyForQuery else { return }
        self.program?.proceed()
        self.leaveIfClear()
    }

    func readComplete() {
        self.program?.flush()
    }

    func becameWritable() {
        self.ending?.pump(self.line)
        self.leaveIfClear()
        self.program?.proceed()
    }

    func cancel() {}

    func lost(_ error: SessionError) {
        guard !self.isOver else { return }
        self.program?.refuse(
            PostgresError(sqlState: .connectionFailure, message: "\(error)"))
        self.left()
    }

    private func leave() {
        self.line.leave(self)
        self.left()
    }

    private func left() {
        self.timer?.cancel()
        self.isOver = true
        self.program = nil
        self.door.left(self)
    }
}

// MARK: - The program's side

extension DoorRun {
    /// Bytes of messages that nobody looks at.
    func forward(_ bytes: ByteBuffer, cutBytes: Int) {
        guard !self.isSkippingToSync else { return }
        self.cutBytes = cutBytes
        if self.isCopyingIn {
            self.door.observer.copiedBytes(bytes.readableBytes)
        } else {
            self.isUnsynced = true
        }
        self.line.send(bytes)
    }

    /// A whole message of the program.
    func take(_ type: MessageType, _ whole: ByteBuffer) {
        guard !self.isSkippingToSync || type == .sync else { return }
        switch type {
        case .query: self.query(whole)
        case .parse: self.parse(whole)
        case .functionCall:
            self.owed += 1
            self.line.send(whole)
        case .sync:
            self.isSkippingToSync = false
            self.isUnsynced = false
            self.owed += 1
            self.line.send(whole)
        case .copyDone, .copyFail:
            self.isCopyingIn = false
            self.line.send(whole)
        default:
            self.line.send(whole)
        }
    }

    /// The program said goodbye, or is gone without it.
    func programGone() {
        guard !self.isOver else { return }
        self.program = nil
        guard self.isServing else {
            if !self.line.withdraw(self) { self.leave() }
            return
        }
        self.clearUp()
        self.line.readIfWanted()
    }

    /// The program's own cancel request.
    func cancelStatement() {
        if self.isServing, self.owed > 0 { self.line.sendCancel() }
    }

    private func query(_ whole: ByteBuffer) {
        switch self.verdict(on: self.sql(whole.messageBody)) {
        case .forward:
            self.owed += 1
            self.line.send(whole)
        case .answer where self.line.facts.status == .failed:
            self.refuse(DoorState.failedTransaction)
        case .answer(let tag):
            self.program?.answer(tag, self.line.facts.status)
        case .refuse(let error):
            self.refuse(error)
        }
    }

    private func refuse(_ error: PostgresError) {
        self.door.observer.error(error)
        self.program?.answer(error, self.line.facts.status)
    }

    /// Of the extended protocol only what is simply forwarded is allowed.
    private func parse(_ whole: ByteBuffer) {
        var body = whole.messageBody
        _ = body.readNullTerminatedString()
        let error: PostgresError
        switch self.verdict(on: self.sql(body)) {
        case .forward:
            self.isUnsynced = true
            return self.line.send(whole)
        case .answer: error = DoorState.notExtended
        case .refuse(let refusal): error = refusal
        }
        self.isSkippingToSync = true
        self.door.observer.error(error)
        self.program?.write(error.encoded())
        self.program?.flush()
    }

    private func sql(_ body: ByteBuffer) -> ArraySlice<UInt8> {
        let bytes = Array(body.readableBytesView)
        return bytes.prefix { $0 != 0 }
    }

    private func verdict(on sql: ArraySlice<UInt8>) -> DoorVerdict {
        let text = StatementText(sql)
        self.door.observer.statement(text)
        let isOldString = self.line.facts.parameters["standard_conforming_strings"] == "off"
        let statements = StatementScanner.statements(sql, escapesWithBackslash: isOldString)
        let version = self.door.serverVersion
        return DoorRules.verdict(statements, serverVersion: version) ?? self.door.policy(text)
    }
}

// MARK: - Clearing up

extension DoorRun {
    /// Brings the session to ReadyForQuery after a program that left in the middle of something.
    private func clearUp() {
        self.startTimer()
        var last = ByteBuffer()
        if self.isCopyingIn {
            last.writeImmutableBuffer(PostgresMessage.copyFail("the program has left"))
        } else if self.owed > 0 {
            self.line.sendCancel()
        }
        if self.isUnsynced {
            self.isUnsynced = false
            self.owed += 1
            last.writeImmutableBuffer(PostgresMessage.sync())
        }
        self.isCopyingIn = false
        let hasLast = last.readableBytes > 0
        self.ending = CutMessageEnding(cutBytes: self.cutBytes, last: hasLast ? last : nil)
        self.cutBytes = 0
        self.ending?.pump(self.line)
        self.leaveIfClear()
    }

    private func leaveIfClear() {
        guard self.program == nil, !self.isOver, self.owed == 0, self.ending?.isOver == true else {
            return
        }
        self.leave()
    }

    private func startTimer() {
        guard self.timer == nil else { return }
        let line = self.line
        let loop = line.eventLoop.assumeIsolated()
        self.timer = loop.scheduleTask(in: Self.clearingTimeout) {
            line.abort(.connectionLost(detail: "no answer after a program had left"))
        }
    }
}

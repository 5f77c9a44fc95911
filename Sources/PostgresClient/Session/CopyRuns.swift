import NIOCore
import PostgresWire

/// The side of a COPY that is read. Lives on its session's event loop.
final class CopySourceRun: SessionOccupant {
    /// Bytes that may be on their way to the target before the source is not read any further: one
    /// read of the largest kind. Together with what waits in the target's socket, the memory of a
    /// copy, whatever the table's size.
    static let windowBytes = SessionChannel.readBytes

    /// How often progress is told, in bytes.
    static let progressStepBytes: Int64 = 1024 * 1024

    let ticket: SessionTicket
    let inspected = ([.copyData] as MessageTypes).inverted()
    private let sql: String
    private let splice: NIOLoopBoundBox<CopySplice?>
    private let progress: @Sendable (Int64) -> Void
    /// Nil once this is over.
    private var line: SessionHandler?
    private var onTheirWayBytes = 0
    private var movedBytes: Int64 = 0
    private var toldBytes: Int64 = 0
    private var isDropping = false

    init(
        _ sql: String,
        _ line: SessionHandler,
        _ ticket: SessionTicket,
        _ splice: NIOLoopBoundBox<CopySplice?>,
        _ progress: @escaping @Sendable (Int64) -> Void
    ) {
        self.sql = sql
        self.line = line
        self.ticket = ticket
        self.splice = splice
        self.progress = progress
    }

    var wantsRead: Bool { self.isDropping || self.onTheirWayBytes < Self.windowBytes }

    func begin(_ line: SessionHandler) {
        line.send(PostgresMessage.query(self.sql))
    }

    func run(_ bytes: ByteBuffer, cutBytes: Int, messages: Int64) {
        guard !self.isDropping else { return }
        let count = bytes.readableBytes
        self.onTheirWayBytes += count
        self.movedBytes += Int64(count) - messages * Int64(MessageHeader.encodedBytes)
        self.post { $0.data(bytes, cutBytes: cutBytes) }
        guard self.movedBytes - self.toldBytes >= Self.progressStepBytes else { return }
        self.tellProgress()
    }

    func message(_ type: MessageType, _ whole: ByteBuffer) {
        switch type {
        case .copyOutResponse:
            guard let format = CopyFormat(whole) else { return self.violated(type) }
            self.post { $0.receive(.opened(.source, format)) }
        case .copyDone:
            self.post { $0.receive(.sourceDone) }
        case .commandComplete:
            let rows = CopyFormat.rows(commandComplete: whole)
            self.post { $0.receive(.completed(.source, rows: rows)) }
        case .errorResponse:
            let error = PostgresError.parse(body: whole.messageBody)
            self.post { $0.receive(.failed(.source, .server(error))) }
        case .readyForQuery:
            if !self.isDropping, self.movedBytes > self.toldBytes { self.tellProgress() }
            self.line?.leave(self)
            self.line = nil
            let bytes = self.movedBytes
            self.post { $0.sourceOver(bytes: bytes) }
        case .copyInResponse:
            self.line?.send(PostgresMessage.copyFail("COPY FROM was not expected here"))
        case .noticeResponse, .parameterStatus, .notificationResponse, .rowDescription, .dataRow,
            .emptyQueryResponse:
            break
        default:
            self.violated(type)
        }
    }

    func cancel() {
        self.post { $0.receive(.cancelled) }
    }

    func lost(_ error: SessionError) {
        self.line = nil
        let bytes = self.movedBytes
        self.post {
            $0.receive(.failed(.source, error))
            $0.sourceOver(bytes: bytes)
        }
    }

    /// The target's connection has taken so many bytes.
    func acknowledge(_ bytes: Int) {
        let wantedRead = self.wantsRead
        self.onTheirWayBytes -= bytes
        if self.wantsRead, !wantedRead { self.line?.readIfWanted() }
    }

    /// Nothing of this is wanted any more.
    func stop() {
        guard let line = self.line, !line.withdraw(self) else { return }
        self.isDropping = true
        line.sendCancel()
        line.readIfWanted()
    }

    /// Ends the session, unless this is over.
    func giveUp(_ error: SessionError) {
        self.line?.abort(error)
    }

    private func tellProgress() {
        self.toldBytes = self.movedBytes
        self.progress(self.movedBytes)
    }

    private func violated(_ type: MessageType) {
        self.line?.abort(.protocolViolation(detail: "message \(type) in a COPY"))
    }

    /// Runs on the target's loop: at once where that is this one.
    private func post(_ body: @escaping @Sendable (CopySplice) -> Void) {
        let box = self.splice
        box.eventLoop.runHere {
            if let splice = box.value { body(splice) }
        }
    }
}

/// The side of a COPY that is written. Lives on its session's event loop, as its splice does.
final class CopyTargetRun: SessionOccupant {
    let ticket: SessionTicket
    private let sql: String
    /// Both nil once this is over.
    private var splice: CopySplice?
    private var line: SessionHandler?
    private var ending: CutMessageEnding?
    private var cutBytes = 0
    private var hasFailed = false
    private var isReady = false

    init(
        _ sql: String, _ line: SessionHandler, _ ticket: SessionTicket, _ splice: CopySplice
    ) {
        self.sql = sql
        self.line = line
        self.ticket = ticket
        self.splice = splice
    }

    var isWritable: Bool { self.line?.isWritable ?? true }

    func begin(_ line: SessionHandler) {
        line.send(PostgresMessage.query(self.sql))
    }

    /// Bytes of CopyData messages; of the last one `cutBytes` are still to come.
    func write(_ bytes: ByteBuffer, cutBytes: Int) {
        self.cutBytes = cutBytes
        self.line?.send(bytes)
    }

    func finish() {
        self.line?.send(PostgresMessage.copyDone())
    }

    /// Ends the COPY so that it fails. The server takes CopyFail only between two messages.
    func fail(_ reason: String) {
        self.ending = CutMessageEnding(
            cutBytes: self.cutBytes,
            last: self.hasFailed ? nil : PostgresMessage.copyFail(reason))
        self.pump()
    }

    func stop() {
        guard let line = self.line, !line.withdraw(self) else { return }
        line.sendCancel()
    }

    /// Ends the session, unless this is over.
    func giveUp(_ error: SessionError) {
        self.line?.abort(error)
    }

    func becameWritable() {
        self.pump()
        self.splice?.targetBecameWritable()
    }

    func message(_ type: MessageType, _ whole: ByteBuffer) {
        switch type {
        case .copyInResponse:
            guard let format = CopyFormat(whole) else { return self.violated(type) }
            self.splice?.receive(.opened(.target, format))
        case .commandComplete:
            let rows = CopyFormat.rows(commandComplete: whole)
            self.splice?.receive(.completed(.target, rows: rows))
        case .errorResponse:
            self.hasFailed = true
            let error = PostgresError.parse(body: whole.messageBody)
            self.splice?.receive(.failed(.target, .server(error)))
        case .readyForQuery:
            self.isReady = true
            self.leaveIfOver()
        case .copyOutResponse:
            self.line?.sendCancel()
        case .noticeResponse, .parameterStatus, .notificationResponse, .rowDescription, .dataRow,
            .emptyQueryResponse, .copyData, .copyDone:
            break
        default:
            self.violated(type)
        }
    }

    func cancel() {
        self.splice?.receive(.cancelled)
    }

    func lost(_ error: SessionError) {
        self.splice?.receive(.failed(.target, error))
        self.over()
    }

    private func pump() {
        guard let line = self.line else { return }
        self.ending?.pump(line)
        self.leaveIfOver()
    }

    private func leaveIfOver() {
        guard self.isReady, self.ending?.isOver ?? true, let line = self.line else { return }
        line.leave(self)
        self.over()
    }

    private func over() {
        let splice = self.splice
        self.line = nil
        self.splice = nil
        splice?.receive(.over(.target))
    }

    private func violated(_ type: MessageType) {
        self.line?.abort(.protocolViolation(detail: "message \(type) in a COPY"))
    }
}

/// Fills up a message that was cut, as slowly as the connection takes it, and sends the last one.
struct CutMessageEnding {
    /// Zeros that are written at once.
    private static let chunk = ByteBuffer(repeating: 0, count: 64 * 1024)

    private var cutBytes: Int
    private var last: ByteBuffer?

    init(cutBytes: Int, last: ByteBuffer?) {
        self.cutBytes = cutBytes
        self.last = last
    }

    var isOver: Bool { self.cutBytes == 0 && self.last == nil }

    mutating func pump(_ line: SessionHandler) {
        while self.cutBytes > 0, line.isWritable {
            let count = min(self.cutBytes, Self.chunk.readableBytes)
            guard let zeros = Self.chunk.getSlice(at: 0, length: count) else { return }
            self.cutBytes -= count
            line.send(zeros)
        }
        guard self.cutBytes == 0, let last = self.last else { return }
        self.last = nil
        line.send(last)
    }
}

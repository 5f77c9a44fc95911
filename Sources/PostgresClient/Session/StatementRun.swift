import NIOCore
import PostgresWire

/// What a task gets when its occupant is done.
typealias SessionContinuation<Value: Sendable> = CheckedContinuation<
    Result<Value, SessionError>, Never
>

/// The greeting, from AuthenticationOk to the first ReadyForQuery.
final class GreetingRun: SessionOccupant {
    let ticket = SessionTicket()
    private let timeout: TimeAmount
    private let completion: (SessionError?) -> Void
    private var timer: Scheduled<Void>?
    private var line: SessionHandler?
    private var failure: SessionError?

    init(timeout: TimeAmount, _ completion: @escaping (SessionError?) -> Void) {
        self.timeout = timeout
        self.completion = completion
    }

    func begin(_ line: SessionHandler) {
        self.line = line
        self.timer = line.eventLoop.assumeIsolated().scheduleTask(in: self.timeout) {
            line.abort(.cannotConnect(BackendFailure(.timedOut, detail: "no greeting in time")))
        }
    }

    func message(_ type: MessageType, _ whole: ByteBuffer) {
        switch type {
        case .parameterStatus, .noticeResponse, .notificationResponse, .backendKeyData:
            break
        case .errorResponse:
            let error = PostgresError.parse(body: whole.messageBody)
            self.failure =
                self.failure ?? .cannotConnect(BackendFailure(server: error, afterLogin: true))
        case .readyForQuery:
            self.timer?.cancel()
            self.line?.leave(self)
            self.completion(nil)
        default:
            self.line?.abort(.protocolViolation(detail: "message \(type) in the greeting"))
        }
    }

    func cancel() {}

    func lost(_ error: SessionError) {
        self.timer?.cancel()
        self.completion(self.failure ?? error)
    }
}

/// One string of statements by the simple protocol.
final class StatementRun: SessionOccupant {
    let ticket: SessionTicket
    private let sql: String
    private let continuation: SessionContinuation<[[String?]]>
    private var rows: [[String?]] = []
    private var resultBytes = 0
    private var failure: SessionError?
    private var line: SessionHandler?

    init(
        _ sql: String, _ ticket: SessionTicket,
        _ continuation: SessionContinuation<[[String?]]>
    ) {
        self.sql = sql
        self.ticket = ticket
        self.continuation = continuation
    }

    func begin(_ line: SessionHandler) {
        self.line = line
        line.send(PostgresMessage.query(self.sql))
    }

    func message(_ type: MessageType, _ whole: ByteBuffer) {
        switch type {
        case .dataRow: self.row(whole)
        case .rowDescription: self.rows = []
        case .errorResponse: self.fail(.server(PostgresError.parse(body: whole.messageBody)))
        case .readyForQuery: self.finish()
        case .copyInResponse:
            self.fail(Self.copyMisuse)
            self.line?.send(PostgresMessage.copyFail("COPY was not expected here"))
        case .copyOutResponse:
            self.fail(Self.copyMisuse)
            self.line?.sendCancel()
        case .commandComplete, .emptyQueryResponse, .noticeResponse, .notificationResponse,
            .parameterStatus, .copyData, .copyDone:
            break
        default:
            self.line?.abort(.protocolViolation(detail: "message \(type) in a result"))
        }
    }

    func cancel() {
        self.line?.sendCancel()
    }

    func lost(_ error: SessionError) {
        self.line = nil
        self.continuation.resume(returning: .failure(self.failure ?? error))
    }

    private func finish() {
        self.line?.leave(self)
        self.line = nil
        if let failure = self.failure {
            self.continuation.resume(returning: .failure(failure))
        } else {
            self.continuation.resume(returning: .success(self.rows))
        }
    }

    private func fail(_ error: SessionError) {
        self.failure = self.failure ?? error
        self.rows = []
    }

    private func row(_ whole: ByteBuffer) {
        guard self.failure == nil else { return }
        self.resultBytes += whole.readableBytes
        guard self.resultBytes <= PostgresSession.maximumResultBytes else {
            self.fail(.resultTooLarge(limitBytes: PostgresSession.maximumResultBytes))
            self.line?.sendCancel()
            return
        }
        guard let row = Self.values(whole.messageBody) else {
            self.line?.abort(.protocolViolation(detail: "a row that is shorter than it says"))
            return
        }
        self.rows.append(row)
    }

    /// Source: PostgreSQL documentation, "DataRow".
    static func values(_ body: ByteBuffer) -> [String?]? {
        var body = body
        guard let count = body.readInteger(as: Int16.self), count >= 0 else { return nil }
        var row: [String?] = []
        row.reserveCapacity(Int(count))
        for _ in 0..<count {
            guard let length = body.readInteger(as: Int32.self) else { return nil }
            if length == -1 {
                row.append(nil)
            } else {
                guard length >= 0, let text = body.readString(length: Int(length)) else {
                    return nil
                }
                row.append(text)
            }
        }
        return row
    }

    private static let copyMisuse = SessionError.misuse(
        detail: "COPY to or from the client is for copy(_:into:_:progress:)")
}

/// The goodbye: waits for its turn like everybody else.
final class CloseRun: SessionOccupant {
    let ticket = SessionTicket()
    private let continuation: CheckedContinuation<Void, Never>

    init(_ continuation: CheckedContinuation<Void, Never>) {
        self.continuation = continuation
    }

    func begin(_ line: SessionHandler) {
        line.send(PostgresMessage.terminate())
        line.abort(.closed)
    }

    func message(_ type: MessageType, _ whole: ByteBuffer) {}

    func cancel() {}

    func lost(_ error: SessionError) {
        self.continuation.resume()
    }
}

public import PostgresWire

/// Why a statement of a ``PostgresSession`` failed.
public enum SessionError: Error, Hashable, Sendable {
    /// The server said no, in its own words.
    case server(PostgresError)
    /// There is no session: nothing answers, or the login failed. Its detail is for the person who
    /// owns the database.
    case cannotConnect(BackendFailure)
    /// The connection ended. What an unanswered COMMIT did is unknown.
    case connectionLost(detail: String)
    /// What answers does not speak the protocol, or said what has no place here. The session is
    /// over.
    case protocolViolation(detail: String)
    /// The rows have more than this many bytes. The statement was cancelled; the session goes on.
    case resultTooLarge(limitBytes: Int)
    /// The task was cancelled before the statement was sent.
    case cancelled
    /// The session was closed on this side.
    case closed
    /// The caller asked for what cannot be, for example a COPY by ``PostgresSession/rows(_:)``.
    case misuse(detail: String)

    /// Whether the session can run nothing more.
    public var endsSession: Bool {
        switch self {
        case .server(let error): error.severity == .fatal || error.severity == .panic
        case .cannotConnect, .connectionLost, .protocolViolation, .closed: true
        case .resultTooLarge, .cancelled, .misuse: false
        }
    }

    /// The server's error, where it is the server that said no.
    public var serverError: PostgresError? {
        switch self {
        case .server(let error): error
        case .cannotConnect(let failure):
            switch failure.reason {
            case .refused(let error): error
            case .unreachable, .timedOut, .tls, .login, .protocolViolation: nil
            }
        case .connectionLost, .protocolViolation, .resultTooLarge, .cancelled, .closed, .misuse:
            nil
        }
    }
}

extension SessionError: CustomStringConvertible {
    /// One sentence for a person; of the server's errors also code, detail, hint and context.
    public var description: String {
        switch self {
        case .server(let error): error.sentence
        case .cannotConnect(let failure): failure.detail
        case .connectionLost(let detail): "the connection to the server was lost: \(detail)"
        case .protocolViolation(let detail): "the server broke the protocol: \(detail)"
        case .resultTooLarge(let limit): "the result has more than \(limit) bytes"
        case .cancelled: "cancelled before it was sent"
        case .closed: "the session was closed"
        case .misuse(let detail): detail
        }
    }
}

extension PostgresError {
    /// Message and code, then detail, hint and context where there are any.
    var sentence: String {
        let more = [self.detail, self.hint, self.context].compactMap { $0 }.map { ". \($0)" }
        return "\(self.message) (\(self.sqlState))" + more.joined()
    }
}

/// Why a table was not copied. The first cause; what followed from it is left out.
public enum CopyError: Error, Hashable, Sendable {
    /// The side that is read failed.
    case source(SessionError)
    /// The side that is written failed.
    case target(SessionError)
    /// Both ended well, but not with the same number of rows.
    case rowsDiffer(source: Int64, target: Int64)
    /// One side speaks text and the other binary, or their columns are not equally many.
    case formatsDiffer
}

extension CopyError: CustomStringConvertible {
    /// One sentence for a person.
    public var description: String {
        switch self {
        case .source(let error): "reading from the source: \(error)"
        case .target(let error): "writing to the target: \(error)"
        case .rowsDiffer(let source, let target):
            "the source sent \(source) rows, but the target has stored \(target)"
        case .formatsDiffer: "the two COPY statements differ in format or number of columns"
        }
    }
}

/// What a COPY has moved.
public struct CopyResult: Hashable, Sendable {
    /// Rows, by the count of both servers.
    public var rows: Int64
    /// Bytes of the rows as COPY writes them, without the protocol's headers.
    public var bytes: Int64

    /// Creates a result.
    public init(rows: Int64, bytes: Int64) {
        self.rows = rows
        self.bytes = bytes
    }
}

/// Where a session is between two statements.
///
/// Source: PostgreSQL documentation, "ReadyForQuery".
public enum TransactionStatus: UInt8, Hashable, Sendable {
    /// Not in a transaction.
    case idle = 73
    /// In a transaction.
    case inTransaction = 84
    /// In a transaction that can only be rolled back.
    case failed = 69
}

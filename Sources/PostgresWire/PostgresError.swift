public import NIOCore

/// What an ErrorResponse says, as far as anybody here needs it.
///
/// Source: PostgreSQL documentation, "Error and Notice Message Fields".
public struct PostgresError: Error, Hashable, Sendable {
    /// How bad it is: field `V`, which is never translated.
    public enum Severity: String, Hashable, Sendable, CaseIterable {
        /// The statement failed; the session goes on.
        case error = "ERROR"
        /// The session ends.
        case fatal = "FATAL"
        /// Every session ends.
        case panic = "PANIC"
        /// Of notices only.
        case warning = "WARNING"
        /// Of notices only.
        case notice = "NOTICE"
        /// Of notices only.
        case debug = "DEBUG"
        /// Of notices only.
        case info = "INFO"
        /// Of notices only.
        case log = "LOG"
    }

    /// Fields `S` and `V`.
    public var severity: Severity
    /// Field `C`.
    public var sqlState: SQLState
    /// Field `M`: one sentence. A NUL in it, which the protocol cannot carry, is left out.
    public var message: String
    /// Field `D`, or nil.
    public var detail: String?
    /// Field `H`, what a person can do about it, or nil.
    public var hint: String?
    /// Field `W`, where it happened (`COPY t, line 7, column c`), or nil. It is read for the
    /// person who runs the statement and never written: it may quote their data.
    public var context: String?

    /// Creates an error. What ends a connection is `.fatal`.
    public init(
        severity: Severity = .fatal,
        sqlState: SQLState,
        message: String,
        detail: String? = nil,
        hint: String? = nil,
        context: String? = nil
    ) {
        self.severity = severity
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.hint = hint
        self.context = context
    }

    /// Appends a whole ErrorResponse: fields S, V, C, M, and D and H where there are any.
    public func write(into buffer: inout ByteBuffer) {
        buffer.writeMessage(.errorResponse) { body in
            body.writeErrorField("S", self.severity.rawValue)
            body.writeErrorField("V", self.severity.rawValue)
            body.writeErrorField("C", self.sqlState.rawValue)
            body.writeErrorField("M", self.message)
            if let detail = self.detail { body.writeErrorField("D", detail) }
            if let hint = self.hint { body.writeErrorField("H", hint) }
            body.writeInteger(UInt8(0))
        }
    }

    /// A whole ErrorResponse.
    public func encoded() -> ByteBuffer {
        var buffer = ByteBuffer()
        self.write(into: &buffer)
        return buffer
    }

    /// Reads the body of an ErrorResponse or NoticeResponse, without type and length.
    ///
    /// It is tolerant, for an error that cannot be read must still be reported: unknown fields are
    /// skipped as the documentation asks, a missing severity is ERROR, a missing code is XX000, and
    /// bytes that are not UTF-8 are replaced.
    public static func parse(body: ByteBuffer) -> PostgresError {
        var body = body
        var error = PostgresError(severity: .error, sqlState: .internalError, message: "")
        var isSeverityFinal = false
        while let field = body.readInteger(as: UInt8.self), field != 0 {
            let text = body.readErrorText()
            switch field {
            case UInt8(ascii: "S") where !isSeverityFinal:
                error.severity = Severity(backendText: text) ?? error.severity
            case UInt8(ascii: "V"):
                error.severity = Severity(backendText: text) ?? error.severity
                isSeverityFinal = true
            case UInt8(ascii: "C"): error.sqlState = SQLState(rawValue: text)
            case UInt8(ascii: "M"): error.message = text
            case UInt8(ascii: "D"): error.detail = text
            case UInt8(ascii: "H"): error.hint = text
            case UInt8(ascii: "W"): error.context = text
            default: continue
            }
        }
        return error
    }
}

extension PostgresError.Severity {
    /// Postgres names its debug levels `DEBUG1` to `DEBUG5` only in its log, but poolers forward
    /// them.
    fileprivate init?(backendText: String) {
        if backendText.hasPrefix("DEBUG") {
            self = .debug
        } else {
            self.init(rawValue: backendText)
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func writeErrorField(_ field: Unicode.Scalar, _ text: String) {
        self.writeInteger(UInt8(ascii: field))
        self.writeCString(text)
    }

    /// Reads up to the next NUL, or to the end where there is none.
    fileprivate mutating func readErrorText() -> String {
        let view = self.readableBytesView
        let length = view.firstIndex(of: 0).map { $0 - view.startIndex } ?? view.count
        let text = String(decoding: view.prefix(length), as: UTF8.self)
        self.moveReaderIndex(forwardBy: min(length + 1, self.readableBytes))
        return text
    }
}

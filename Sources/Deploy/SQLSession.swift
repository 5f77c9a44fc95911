/// One session of a database, as deploying uses it: a statement in, rows of text out.
///
/// Calls on one session never overlap: each waits for the one before.
public protocol SQLSession: Sendable {
    /// The server's version as libpq numbers it: 150018 is 15.18.
    var serverVersion: Int { get }

    /// Runs one statement, or several with semicolons between them, by the simple protocol.
    ///
    /// - Returns: The rows of the last statement that returned any, every value as Postgres writes
    ///   it as text; nil is NULL.
    /// - Throws: ``SQLFailure``. After ``SQLFailure/isConnectionLost`` the session is over.
    @discardableResult
    func rows(_ sql: String) async throws(SQLFailure) -> [[String?]]
}

/// Why a statement failed.
public struct SQLFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Five characters, or nil when it is not the server that said no.
    public var sqlState: String?
    /// One sentence, the server's own where it has one.
    public var message: String
    /// More about it, or nil.
    public var detail: String?
    /// What a person can do about it, or nil.
    public var hint: String?
    /// Whether the session is over. What an unanswered COMMIT did is then unknown.
    public var isConnectionLost: Bool

    /// Creates a failure.
    public init(
        sqlState: String?,
        message: String,
        detail: String? = nil,
        hint: String? = nil,
        isConnectionLost: Bool = false
    ) {
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.hint = hint
        self.isConnectionLost = isConnectionLost
    }

    /// Sentence, detail and hint, as psql orders them.
    public var description: String {
        let state = self.sqlState.map { " (\($0))" } ?? ""
        let more = [self.detail, self.hint].compactMap { $0 }.map { ". \($0)" }.joined()
        return self.message + state + more
    }
}

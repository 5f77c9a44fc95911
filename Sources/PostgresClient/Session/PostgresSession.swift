public import NIOCore
import PostgresWire

/// One session of a database, logged in, for statements and for whole tables.
///
/// Its verbs may be called from any task; they never overlap: each waits for the one before. A
/// session that is dropped without ``close()`` is closed.
public final class PostgresSession: Sendable {
    /// The most bytes that the rows of one ``rows(_:)`` may have, as the server sends them: 256
    /// MiB. A catalog of 100,000 tables is about a tenth of it.
    public static let maximumResultBytes = 256 * 1024 * 1024

    /// As libpq numbers it: 150018 is 15.18.
    public let serverVersion: Int
    /// The process id that the server gave; behind a pooler or a relay one of theirs.
    public let backendProcessID: Int32
    /// Where everything of this session happens.
    public let eventLoop: any EventLoop

    let channel: any Channel
    let line: NIOLoopBound<SessionHandler>
    private let facts: SessionFacts

    private init(_ opened: Opened, serverVersion: Int) {
        self.channel = opened.channel
        self.eventLoop = opened.channel.eventLoop
        self.line = opened.line
        self.facts = opened.facts
        self.serverVersion = serverVersion
        self.backendProcessID = opened.facts.key?.processID ?? 0
    }

    deinit {
        self.channel.close(promise: nil)
    }

    /// The server's settings that it reports, as they are now: `server_version`, `TimeZone`, …
    public var parameters: [String: String] { self.facts.parameters }

    /// Where the last statement left the session.
    public var transactionStatus: TransactionStatus { self.facts.status }

    /// Whether the session can run nothing more.
    public var isOver: Bool { self.facts.isOver }

    /// Opens a session and gives it the settings that deploying relies on
    /// (``SessionSettings/sql``).
    ///
    /// - Parameters:
    ///   - connector: Where the database is.
    ///   - database: Another database of the server; nil is the connector's own.
    ///   - applicationName: What the server's owner sees in `pg_stat_activity`.
    ///   - eventLoop: Where the session lives. Two sessions that copy into each other are best on
    ///     one.
    /// - Returns: The session, idle.
    /// - Throws: ``SessionError``.
    public static func connect(
        _ connector: DatabaseConnector,
        database: String? = nil,
        applicationName: String,
        on eventLoop: any EventLoop
    ) async throws(SessionError) -> PostgresSession {
        let opened = try await self.open(connector, database, applicationName, eventLoop)
        do throws(SessionError) {
            let facts = try await self.rows(SessionSettings.sql, opened.line)
            guard let text = facts.first?.first, let text, let version = Int(text) else {
                throw .protocolViolation(detail: "the server does not tell its version")
            }
            return PostgresSession(opened, serverVersion: version)
        } catch {
            opened.channel.close(promise: nil)
            throw error
        }
    }

    /// Runs one statement, or several with semicolons between them, by the simple protocol.
    ///
    /// When the task is cancelled the server is asked to cancel the statement, and what the
    /// statement then says is the answer: usually 57014.
    ///
    /// - Returns: The rows of the last statement that can have any, as text; nil is NULL.
    /// - Throws: ``SessionError``; whether the session is over is ``SessionError/endsSession``.
    @discardableResult
    public func rows(_ sql: String) async throws(SessionError) -> [[String?]] {
        try await Self.rows(sql, self.line)
    }

    /// Gives the session its settings again, after somebody else had it (``SessionDoor``).
    public func restoreSettings() async throws(SessionError) {
        try await self.rows(SessionSettings.sql)
    }

    /// Asks the server to cancel the statement that runs now, if any. Its caller gets the error.
    public func cancel() async {
        let line = self.line
        self.eventLoop.runHere { line.value.cancelCurrent() }
    }

    /// Says goodbye once everything before it is done, and closes. Closing twice does no harm.
    public func close() async {
        let line = self.line
        await withCheckedContinuation { continuation in
            self.eventLoop.runHere { line.value.enter(CloseRun(continuation)) }
        }
    }

    /// Closes at once. Whoever waits for the session gets ``SessionError/closed``; the server rolls
    /// back.
    public func abort() {
        let line = self.line
        self.eventLoop.runHere { line.value.abort(.closed) }
    }
}

// MARK: - Opening

extension PostgresSession {
    /// A session after its greeting.
    private struct Opened: Sendable {
        var channel: any Channel
        var line: NIOLoopBound<SessionHandler>
        var facts: SessionFacts
    }

    private static func open(
        _ connector: DatabaseConnector,
        _ database: String?,
        _ applicationName: String,
        _ eventLoop: any EventLoop
    ) async throws(SessionError) -> Opened {
        let parameters = [
            StartupRequest.Parameter(name: "application_name", value: applicationName),
            StartupRequest.Parameter(name: "client_encoding", value: "UTF8"),
        ]
        let request = BackendRequest(parameters: parameters, database: database)
        return try await withCheckedContinuation {
            (continuation: SessionContinuation<Opened>) in
            connector.connect(request, on: eventLoop).whenComplete { result in
                switch result {
                case .success(let backend):
                    self.greet(backend, connector, continuation)
                case .failure(let error):
                    let failure =
                        (error as? BackendFailure)
                        ?? BackendFailure(.unreachable, detail: "\(error)")
                    continuation.resume(returning: .failure(.cannotConnect(failure)))
                }
            }
        }.get()
    }

    private static func greet(
        _ backend: Backend,
        _ connector: DatabaseConnector,
        _ continuation: SessionContinuation<Opened>
    ) {
        let handler = SessionHandler(backend, connector)
        let opened = Opened(
            channel: backend.channel,
            line: NIOLoopBound(handler, eventLoop: backend.channel.eventLoop),
            facts: handler.facts)
        let greeting = GreetingRun(timeout: connector.target.connectTimeout) { failure in
            continuation.resume(returning: failure.map { .failure($0) } ?? .success(opened))
        }
        handler.enter(greeting)
        do {
            try SessionChannel.configure(backend.channel, connector.target.endpoint)
            try backend.channel.pipeline.syncOperations.addHandler(handler)
        } catch {
            handler.abort(.connectionLost(detail: "\(error)"))
            return backend.channel.close(promise: nil)
        }
        handler.received(backend.early)
        handler.readIfWanted()
    }

    private static func rows(
        _ sql: String,
        _ line: NIOLoopBound<SessionHandler>
    ) async throws(SessionError) -> [[String?]] {
        let ticket = SessionTicket()
        return try await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                line.eventLoop.runHere {
                    line.value.enter(StatementRun(sql, ticket, continuation))
                }
            }
        } onCancel: {
            ticket.markCancelled()
            line.eventLoop.runHere { line.value.cancel(ticket) }
        }.get()
    }
}

import NIOCore
import PostgresClient
import PostgresWire

/// A session of one end, as the parts of a deploy talk to it.
struct DeploySession: SQLSession {
    /// For COPY and for the door.
    let session: PostgresSession

    var serverVersion: Int { self.session.serverVersion }

    /// Whether all who connect share one session, as they do with a database in a browser: a second
    /// connection then waits for as long as this one is in a transaction. The relay says so in its
    /// greeting.
    var isShared: Bool { self.session.parameters["pgshare_session"] == "shared" }

    /// Opens a session of an end, as the role that the end names.
    ///
    /// - Parameters:
    ///   - connector: Of the end.
    ///   - end: Whose role is taken.
    ///   - database: Another database of the same server; nil is the end's own.
    ///   - eventLoop: Sessions that copy into each other are best on one.
    /// - Returns: The session, outside a transaction.
    /// - Throws: ``SQLFailure``; then nothing stays open.
    static func open(
        _ connector: DatabaseConnector,
        _ end: DeployEnd,
        database: String? = nil,
        on eventLoop: any EventLoop
    ) async throws(SQLFailure) -> DeploySession {
        let session: PostgresSession
        do throws(SessionError) {
            session = try await PostgresSession.connect(
                connector, database: database, applicationName: "pgshare deploy", on: eventLoop)
        } catch {
            throw SQLFailure(error)
        }
        let opened = DeploySession(session: session)
        guard let role = end.role else { return opened }
        do throws(SQLFailure) {
            try await opened.rows("SET ROLE \(SQLText.identifier(role))")
            return opened
        } catch {
            await opened.close()
            throw error
        }
    }

    @discardableResult
    func rows(_ sql: String) async throws(SQLFailure) -> [[String?]] {
        do throws(SessionError) {
            return try await self.session.rows(sql)
        } catch {
            throw SQLFailure(error)
        }
    }

    /// The first value of the first row.
    func value(_ sql: String) async throws(SQLFailure) -> String? {
        try await self.rows(sql).first?.first ?? nil
    }

    /// Says goodbye; does no harm to a session that is over.
    func close() async { await self.session.close() }
}

extension SQLFailure {
    /// What a session threw.
    init(_ error: SessionError) {
        guard let server = error.serverError else {
            self.init(sqlState: nil, message: "\(error)", isConnectionLost: error.endsSession)
            return
        }
        self.init(
            sqlState: server.sqlState.rawValue, message: server.message, detail: server.detail,
            hint: server.hint, isConnectionLost: error.endsSession)
    }
}

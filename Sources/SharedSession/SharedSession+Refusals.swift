import NIOCore
import PostgresWire

/// Statements that are refused without the engine's having seen them.
///
/// They are refused as the engine would: a text that it refuses goes in their place, so that a
/// transaction fails by it and a pipeline is skipped, and the client reads our words.
extension SharedSession {
    struct StatementRefusal: Sendable {
        var error: PostgresError

        static func tooLong(_ bytes: Int) -> Self {
            Self(
                error: PostgresError(
                    severity: .error, sqlState: SQLState(rawValue: "54000"),
                    message: "a statement of more than \(bytes) bytes",
                    hint: "Use COPY or parameters for data."))
        }

        static let tooManyInAText = Self(
            error: PostgresError(
                severity: .error, sqlState: SQLState(rawValue: "54000"),
                message: "more than \(SQLAnalysis.maximumStatements) statements in one text",
                hint: "Send them in several."))

        static let discardInTransaction = Self(
            error: PostgresError(
                severity: .error, sqlState: SQLState(rawValue: "25001"),
                message: "DISCARD ALL cannot run inside a transaction block"))

        static let copyBehindOthers = Self(
            error: PostgresError(
                severity: .error, sqlState: .featureNotSupported,
                message: "COPY FROM STDIN behind other statements of a pipeline is not supported",
                hint: "Send a Sync before it, or begin a transaction."))

        static let noCopyIn = Self(
            error: PostgresError(
                severity: .error, sqlState: .featureNotSupported,
                message: "COPY FROM STDIN does not work with the engine of this sandbox",
                hint: "Use INSERT, or restore with pg_dump --inserts."))
    }

    /// A text that no engine takes.
    static let refused = "refused"

    /// A statement in front of the inbox that is too long to be read.
    mutating func tooLong(_ type: MessageType, _ id: SessionClientID) -> Bool {
        guard self.call == nil else {
            self.runWithoutSync()
            return false
        }
        self.clients[id]?.inbox.skipMessage()
        return self.refuse(type, id, .tooLong(self.limits.statementBytes))
    }

    /// A statement that was taken out of the inbox; a Query where no call is open.
    mutating func refuse(
        _ type: MessageType, _ id: SessionClientID, _ refusal: StatementRefusal
    ) -> Bool {
        self.begin(id, [])
        self.openCall(id)
        self.call?.substitute = refusal.error
        if type == .query {
            self.call?.matcher.expect(.query([]))
            self.gather(PostgresMessage.query(Self.refused))
            self.runGathered()
        } else {
            self.call?.matcher.expect(.bind)
            self.gather(SessionMessage.parse("", text: Self.refused))
            self.runWithoutSync()
        }
        return false
    }
}

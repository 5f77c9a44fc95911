public import PostgresWire

/// Why a client gets no backend. The client reads ``clientError``; only the agent's owner reads
/// ``detail``.
public struct BackendFailure: Error, Hashable, Sendable {
    /// A closed list.
    public enum Reason: Hashable, Sendable {
        /// Nothing answers where the database is, or it stopped answering.
        case unreachable
        /// The time for a connection was over.
        case timedOut
        /// TLS could not be agreed on, or the certificate is not to be trusted.
        case tls
        /// Postgres does not let the agent's role in, or asks for a method that we lack.
        case login
        /// What answered does not speak the protocol.
        case protocolViolation
        /// Postgres said no to the client's own request; the client may read why.
        case refused(PostgresError)
    }

    /// What the client may know.
    public var reason: Reason
    /// What happened, for the agent's log. May name hosts and roles; never leaves the agent.
    public var detail: String

    /// Creates a failure.
    public init(_ reason: Reason, detail: String) {
        self.reason = reason
        self.detail = detail
    }

    /// An ErrorResponse that Postgres sent instead of, or during, the greeting.
    ///
    /// An allow-list decides what a client reads: errors about what the client asked for, which
    /// Postgres reports once the login itself has succeeded, go through with Postgres's own
    /// message, because the person at the client is the one who can act. Everything else is about
    /// the agent's login, and its text names roles, hosts and files.
    ///
    /// | SQLSTATE | why the client may read it |
    /// |---|---|
    /// | 3D000, 55000 | it asked for that database, which is not there or not open |
    /// | 22023, 42704, 22P02, 42602, 55P02, 42601 | a startup parameter of its own is wrong |
    /// | 0A000 | it asked for something this server lacks |
    /// | 53300 | full: a fixed sentence, since Postgres's may name the agent's role |
    /// | 57P03 | starting, stopping or recovering |
    /// | 42501 | behind the login only: no right to set the parameter, to replicate, … |
    ///
    /// - Parameters:
    ///   - error: What Postgres said.
    ///   - afterLogin: Whether AuthenticationOk had arrived before.
    public init(server error: PostgresError, afterLogin: Bool) {
        let detail = "\(error.sqlState): \(error.message)"
        switch error.sqlState.rawValue {
        case "53300":
            let full = PostgresError(
                severity: .fatal, sqlState: error.sqlState,
                message: "the shared database has no connection left; try again later")
            self.init(.refused(full), detail: detail)
        case "57P03", "57P01", "57P02":
            let starting = PostgresError(
                severity: .fatal, sqlState: .cannotConnectNow,
                message: "the shared database is starting up or shutting down; try again shortly")
            self.init(.refused(starting), detail: detail)
        case "3D000", "55000", "22023", "42704", "22P02", "42602", "55P02", "42601", "0A000":
            self.init(.refused(Self.readable(error)), detail: detail)
        case "42501" where afterLogin:
            self.init(.refused(Self.notAllowed), detail: detail)
        default:
            self.init(.login, detail: detail)
        }
    }

    /// What the client is told: a whole ErrorResponse, FATAL, without hosts, roles or file names.
    public var clientError: PostgresError {
        switch self.reason {
        case .unreachable:
            Self.fatal(.cannotConnectNow, "the shared database cannot be reached; try again later")
        case .timedOut:
            Self.fatal(.cannotConnectNow, "the shared database did not answer in time")
        case .tls:
            Self.fatal(.cannotConnectNow, "the shared database cannot be reached securely")
        case .login:
            Self.fatal(
                .cannotConnectNow,
                "the shared database refused the agent; its owner can read why in the agent's log")
        case .protocolViolation:
            Self.fatal(.cannotConnectNow, "the shared database does not answer as PostgreSQL does")
        case .refused(let error):
            error
        }
    }

    /// Postgres's sentence, without the fields that describe the server.
    private static func readable(_ error: PostgresError) -> PostgresError {
        PostgresError(severity: .fatal, sqlState: error.sqlState, message: error.message)
    }

    private static let notAllowed = Self.fatal(
        .insufficientPrivilege, "the shared database does not allow what this connection asks for")

    private static func fatal(_ state: SQLState, _ message: String) -> PostgresError {
        PostgresError(severity: .fatal, sqlState: state, message: message)
    }
}

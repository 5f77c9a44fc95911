import NIOCore
import PostgresWire
import SharePolicy

extension Refusal.Reason {
    /// The five-character code drivers branch on.
    ///
    /// Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes"; what means which is
    /// in `PROTOCOL.md`.
    var sqlState: SQLState {
        switch self {
        case .tlsRequired, .shareNotNamed, .badShareAddress, .shareAddressDisagrees,
            .tooManyAttempts, .addressNotAllowed:
            .invalidAuthorizationSpecification
        case .protocolViolation, .handshakeTimeout: .protocolViolation
        case .protocolVersion: .featureNotSupported
        case .invalidPassword: .invalidPassword
        case .tooManyHandshakes, .tooManyClients, .ownerFull, .relayFull: .tooManyConnections
        case .agentOffline: .cannotConnectNow
        case .databaseNotServed: .invalidCatalogName
        case .databaseUnreachable: .cannotEstablishConnection
        case .databaseLoginFailed: .connectionRejected
        case .tunnelLost: .connectionFailure
        case .shareEnded, .relayStopping, .clientLifetime: .adminShutdown
        case .clientIdle: .idleSessionTimeout
        case .internalFailure: .internalError
        }
    }

    /// What the client is sent: always FATAL, always one of our own sentences.
    var postgresError: PostgresError {
        PostgresError(
            severity: .fatal, sqlState: self.sqlState, message: self.message, hint: self.hint)
    }

    /// What else a person can do, where the sentence has no room for it.
    private var hint: String? {
        guard self == .shareNotNamed else { return nil }
        return "a client that can do neither sends the option -c pgshare.share=SHARE"
    }
}

extension Refusal {
    /// The one place where a violation of the start-up talk becomes a refusal.
    init(_ violation: StartupViolation) {
        switch violation {
        case .tlsRequired:
            self.init(.tlsRequired, detail: "StartupMessage in plaintext")
        case .unsupportedVersion(let version):
            self.init(.protocolVersion, detail: "version \(version)")
        case .badLength, .plaintextBehindTLSRequest, .malformed, .unexpected:
            self.init(.protocolViolation, detail: "\(violation)")
        }
    }

    /// The one place where a violation of the login becomes a refusal.
    ///
    /// A channel binding that does not match is the password's failure, as in Postgres: it must not
    /// tell a man in the middle more than that.
    init(_ violation: LoginViolation) {
        switch violation {
        case .badLength, .unexpected, .malformed, .mechanismNotOffered:
            self.init(.protocolViolation, detail: "\(violation)")
        case .channelBindingDowngrade, .channelBindingMismatch:
            self.init(.invalidPassword, detail: "\(violation)")
        }
    }
}

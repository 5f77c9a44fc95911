/// Why the relay turned a client away. Clients see the reason; only operators see ``detail``.
public struct Refusal: Error, Hashable, Sendable {
    /// A closed list. Each reason has a SQLSTATE, a sentence, and a row in `PROTOCOL.md`.
    ///
    /// The raw value is the reason's stable name in metrics and logs. Reasons carry no values: so
    /// the list can be enumerated, and each has one counter.
    public enum Reason: String, Hashable, Sendable, CaseIterable {
        /// The client did not ask for TLS.
        case tlsRequired = "tls_required"
        /// The client did not speak the PostgreSQL protocol.
        case protocolViolation = "protocol_violation"
        /// The client speaks a version of the protocol that the relay does not.
        case protocolVersion = "protocol_version"
        /// Neither the host, nor the options, nor the user name a share.
        case shareNotNamed = "share_not_named"
        /// What names the share has not the form of an id or a name.
        case badShareAddress = "bad_share_address"
        /// Host, options and user name different shares.
        case shareAddressDisagrees = "share_address_disagrees"
        /// A wrong password, or an unknown, expired or revoked share: one reason for all, so that
        /// nobody can probe for shares.
        case invalidPassword = "invalid_password"
        /// Too many failed logins from this address for what was asked.
        ///
        /// Told apart from a wrong password on purpose: who has the right one would otherwise
        /// believe it wrong, and keep trying. It betrays nothing, because failures are counted
        /// for names that no share has as for those of shares.
        case tooManyAttempts = "too_many_attempts"
        /// Too many connections of this address, or of all, have not logged in yet.
        case tooManyHandshakes = "too_many_handshakes"
        /// Accept to authenticated took longer than the deadline.
        case handshakeTimeout = "handshake_timeout"
        /// The share lets in other networks than the client's. Only after authentication.
        case addressNotAllowed = "address_not_allowed"
        /// The share already has all the clients it allows. Only after authentication.
        case tooManyClients = "too_many_clients"
        /// The shares of this owner have all the clients that one owner may have. Only after
        /// authentication.
        case ownerFull = "owner_full"
        /// The relay already has all the clients it can serve. Only after authentication.
        case relayFull = "relay_full"
        /// The agent is not connected. Only after authentication.
        case agentOffline = "agent_offline"
        /// The share serves one database, and the client asked for another.
        case databaseNotServed = "database_not_served"
        /// The agent could not reach its Postgres.
        case databaseUnreachable = "database_unreachable"
        /// The agent's Postgres refused the agent.
        case databaseLoginFailed = "database_login_failed"
        /// The tunnel was lost and did not come back in time.
        case tunnelLost = "tunnel_lost"
        /// The share expired or was revoked while the client was connected.
        case shareEnded = "share_ended"
        /// The relay is shutting down.
        case relayStopping = "relay_stopping"
        /// The client said and got nothing for longer than the relay lets it.
        case clientIdle = "client_idle"
        /// The client was connected for as long as the relay lets it.
        case clientLifetime = "client_lifetime"
        /// Our fault.
        case internalFailure = "internal_failure"
    }

    /// What the client may know.
    public var reason: Reason
    /// What happened, for the log. May name hosts and shares; never leaves the relay.
    public var detail: String

    /// Creates a refusal.
    public init(_ reason: Reason, detail: String) {
        self.reason = reason
        self.detail = detail
    }
}

extension Refusal.Reason {
    /// One sentence the client can act on: no addresses, no names, no underlying error text.
    public var message: String {
        switch self {
        case .tlsRequired:
            "this server needs an encrypted connection; use sslmode=require"
        case .protocolViolation:
            "the connection did not speak the PostgreSQL protocol; check host and port"
        case .protocolVersion:
            "this version of the PostgreSQL protocol is not supported; use 3.0 or 3.2"
        case .shareNotNamed:
            "no share is named; connect to the share's own host name, or as USER.SHARE"
        case .badShareAddress:
            "the share's name cannot be read; copy the connection string again"
        case .shareAddressDisagrees:
            "host, options and user name different shares; name the share in one of them"
        case .invalidPassword:
            "password authentication failed; check the password, or ask for a fresh link"
        case .tooManyAttempts:
            "too many failed logins from your address; wait a few minutes and check the password"
        case .tooManyHandshakes:
            "too many connections are still logging in; try again shortly"
        case .handshakeTimeout:
            "logging in took too long; connect again"
        case .addressNotAllowed:
            "this share does not admit clients from your address; ask its owner to allow it"
        case .tooManyClients:
            "this share already has all the clients it allows; close one or try later"
        case .ownerFull:
            "the shares of this owner have all the clients they may have; close some or try later"
        case .relayFull:
            "the server already has all the clients it can serve; try later"
        case .agentOffline:
            "the agent is not connected; try again shortly"
        case .databaseNotServed:
            "this share does not serve that database; use the one of the connection string"
        case .databaseUnreachable:
            "the agent cannot reach its database; ask the share's owner to check it"
        case .databaseLoginFailed:
            "the database refused the agent; ask the share's owner to check its credentials"
        case .tunnelLost:
            "the connection to the database was lost; connect again"
        case .shareEnded:
            "this share has ended; ask for a fresh link"
        case .relayStopping:
            "the server is restarting; reconnect"
        case .clientIdle:
            "this connection was idle for too long; connect again"
        case .clientLifetime:
            "this connection has been open for as long as the server allows; connect again"
        case .internalFailure:
            "something failed on our side; try again, and tell the operator if it persists"
        }
    }

    /// Whether only a client that has proven the password may be told this.
    ///
    /// These reasons tell that a share exists, or how it is doing.
    public var needsAuthentication: Bool {
        switch self {
        case .addressNotAllowed, .tooManyClients, .ownerFull, .relayFull, .agentOffline,
            .databaseNotServed, .databaseUnreachable, .databaseLoginFailed, .tunnelLost,
            .shareEnded, .clientIdle, .clientLifetime:
            true
        case .tlsRequired, .protocolViolation, .protocolVersion, .shareNotNamed, .badShareAddress,
            .shareAddressDisagrees, .invalidPassword, .tooManyAttempts, .tooManyHandshakes,
            .handshakeTimeout, .relayStopping, .internalFailure:
            false
        }
    }
}

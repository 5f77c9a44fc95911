/// Why the relay turned a tunnel away, or ended it. Agents see the reason; only operators see
/// ``detail``.
public struct TunnelRefusal: Error, Hashable, Sendable {
    /// A closed list. The raw value is the code that goes over the wire and never changes.
    public enum Reason: String, Hashable, Sendable, CaseIterable {
        /// No token, an unknown one, or a revoked one.
        case unauthorized
        /// The two ends have no version of the tunnel protocol in common.
        case protocolVersion = "protocol_version"
        /// What the agent asked for cannot be read, or lies outside the limits.
        case badRequest = "bad_request"
        /// The id belongs to another owner.
        case idTaken = "id_taken"
        /// The name belongs to another share.
        case nameTaken = "name_taken"
        /// The name has not the form of one.
        case badName = "bad_name"
        /// The share was revoked.
        case shareRevoked = "share_revoked"
        /// The share's time is over.
        case shareExpired = "share_expired"
        /// The owner, or the relay, already has all the shares it may have.
        case tooManyShares = "too_many_shares"
        /// The relay already has all the tunnels it can serve.
        case relayFull = "relay_full"
        /// A newer tunnel of the same share took over.
        case takenOver = "taken_over"
        /// The session to resume is unknown or its grace is over.
        case resumeExpired = "resume_expired"
        /// The relay is shutting down.
        case relayStopping = "relay_stopping"
        /// The relay's fault.
        case internalFailure = "internal_failure"
    }

    /// What the agent may know.
    public var reason: Reason
    /// What happened, for the relay's log. Never leaves the relay.
    public var detail: String

    /// Creates a refusal.
    public init(_ reason: Reason, detail: String) {
        self.reason = reason
        self.detail = detail
    }
}

extension TunnelRefusal.Reason {
    /// The stable code agents branch on.
    public var code: String { self.rawValue }

    /// One sentence the share's owner can act on.
    public var message: String {
        switch self {
        case .unauthorized:
            "the relay does not accept this token; ask its operator for a new one"
        case .protocolVersion:
            "the relay speaks another version of the tunnel protocol; update pgshare"
        case .badRequest:
            "the relay cannot accept what was asked for; check the options"
        case .idTaken:
            "this share id belongs to another owner; start again without it"
        case .nameTaken:
            "this name belongs to another share; choose another with --name"
        case .badName:
            "a name has 1 to 40 of a-z, 0-9 and hyphens, none at the ends; change --name"
        case .shareRevoked:
            "this share was revoked; start a new one"
        case .shareExpired:
            "this share has expired; start a new one"
        case .tooManyShares:
            "there are too many shares already; revoke one with pgshare shares revoke"
        case .relayFull:
            "the relay has all the tunnels it can serve; try again later"
        case .takenOver:
            "another agent has taken this share over; stop one of the two"
        case .resumeExpired:
            "the tunnel was gone for too long; connecting anew"
        case .relayStopping:
            "the relay is restarting; connecting again"
        case .internalFailure:
            "something failed on the relay; connecting again"
        }
    }

    /// Whether the agent should dial again by itself; otherwise a person must change something.
    public var isRetryable: Bool {
        switch self {
        case .relayFull, .resumeExpired, .relayStopping, .internalFailure:
            true
        case .unauthorized, .protocolVersion, .badRequest, .idTaken, .nameTaken, .badName,
            .shareRevoked, .shareExpired, .tooManyShares, .takenOver:
            false
        }
    }
}

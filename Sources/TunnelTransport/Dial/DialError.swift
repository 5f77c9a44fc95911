/// Why no tunnel to the relay could be made.
package enum DialError: Error, Sendable, Hashable {
    /// A setting cannot work: the token, the CA file, the relay's name.
    case badSettings(reason: String)
    /// No TCP connection: the name is unknown, the port is closed, no route.
    case unreachable(reason: String)
    /// TLS failed: the certificate is not trusted, is for another host, or the peer speaks no TLS.
    case tlsFailed(reason: String)
    /// The relay does not accept the token.
    case unauthorized(message: String)
    /// The relay, or something in front of it, answered with this HTTP status.
    case rejected(status: Int, message: String)
    /// What answered is not a relay of pgshare, or hung up.
    case notARelay(reason: String)
    /// The HTTP proxy refused.
    case proxyFailed(reason: String)
    /// Not done within the deadline.
    case timedOut
    /// ``DialAttempt/abandon()`` was called.
    case abandoned

    /// One sentence for a person. Texts of the peer in it are cut to 300 printable characters.
    package var message: String {
        switch self {
        case .badSettings(let reason): reason
        case .unreachable(let reason): "the relay cannot be reached: \(reason)"
        case .tlsFailed(let reason): "no secure connection to the relay: \(reason)"
        case .unauthorized(let message): "the relay refused the token: \(message)"
        case .rejected(let status, let message):
            message.isEmpty
                ? "the relay answered with HTTP status \(status)"
                : "the relay answered with HTTP status \(status): \(message)"
        case .notARelay(let reason): "this does not look like a pgshare relay: \(reason)"
        case .proxyFailed(let reason): "the HTTP proxy did not let us through: \(reason)"
        case .timedOut: "the relay did not answer in time"
        case .abandoned: "another connection was faster"
        }
    }

    /// Whether another transport may fare better: a middlebox may have refused this one.
    var mayDependOnTransport: Bool {
        switch self {
        case .rejected, .notARelay: true
        case .badSettings, .unreachable, .tlsFailed, .unauthorized, .proxyFailed, .timedOut,
            .abandoned:
            false
        }
    }

    /// Whether what stands there did not say no, but refused TCP or hung up: it may be starting.
    package var isCut: Bool {
        switch self {
        case .unreachable(let reason), .proxyFailed(let reason):
            reason == DialReason.connectionRefused || reason == DialReason.connectionReset
                || self == DialReason.hungUp
        case .notARelay(let reason):
            reason == DialReason.noAnswer || reason == DialReason.hungUpAtOnce
                || reason == DialReason.connectionReset
        case .badSettings, .tlsFailed, .unauthorized, .rejected, .timedOut, .abandoned: false
        }
    }

    /// Whether nobody was reached.
    package var isUnreachable: Bool {
        switch self {
        case .unreachable, .proxyFailed, .timedOut: !self.isCut
        case .badSettings, .tlsFailed, .unauthorized, .rejected, .notARelay, .abandoned: false
        }
    }
}

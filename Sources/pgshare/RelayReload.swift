import Logging
import NIOCore
import Relay
import SharePolicy

/// All that flags, environment and config file say of a relay.
struct RelaySettings: Sendable {
    var relay: RelayConfiguration
    var logs: LogSettings
}

/// How much is logged, and how.
struct LogSettings: Sendable, Hashable {
    var format = LogFormat.text
    /// The least level that is written.
    var level = Logger.Level.info
}

/// Which settings of a running relay have changed, by their keys.
///
/// SIGHUP reads environment and config file again. Flags cannot change; what they say stays.
struct RelayReload {
    /// Settings that were changed and are served from now on.
    private(set) var applied: [SettingKey] = []
    /// Settings that were changed and count at the next start only.
    private(set) var refused: [SettingKey] = []

    /// Compares what the relay was started with, or given since, with what is set now.
    init(from old: RelaySettings, to new: RelaySettings) {
        self.applied = Self.changed(
            Self.atRunTime(old.relay) + [(.logLevel, "\(old.logs.level)")],
            Self.atRunTime(new.relay) + [(.logLevel, "\(new.logs.level)")])
        self.refused = Self.changed(
            Self.atStart(old.relay) + [(.logFormat, "\(old.logs.format)")],
            Self.atStart(new.relay) + [(.logFormat, "\(new.logs.format)")])
    }

    private typealias Values = [(SettingKey, String)]

    private static func changed(_ old: Values, _ new: Values) -> [SettingKey] {
        zip(old, new).filter { $0.1 != $1.1 }.map { $0.0.0 }
    }

    private static func atRunTime(_ configuration: RelayConfiguration) -> Values {
        [
            (.sessionWait, "\(configuration.sessionWait)"),
            (.sessionIdle, "\(configuration.sessionIdle)"),
            (.sessionNotice, "\(configuration.sessionNotice)"),
            (.browserGrace, "\(configuration.browserGrace)"),
            (.drainTimeout, "\(configuration.drainTimeout)"),
            (.clientIdle, "\(String(describing: configuration.clientIdle))"),
            (.clientLifetime, "\(String(describing: configuration.clientLifetime))"),
        ]
    }

    private static func atStart(_ configuration: RelayConfiguration) -> Values {
        let admission = configuration.admission
        let issuer = configuration.issuer
        let counts = configuration.shareCounts
        return [
            (.domain, configuration.domain),
            (.postgresListen, "\(configuration.postgresHost):\(configuration.postgresPort)"),
            (.httpsListen, "\(configuration.httpsHost):\(configuration.httpsPort)"),
            (.httpListen, "\(configuration.httpHost ?? ""):\(configuration.httpPort)"),
            (.tlsCert, configuration.certificateFile ?? ""),
            (.tlsKey, configuration.keyFile ?? ""),
            (.state, configuration.stateFolder),
            (.open, "\(configuration.isOpen)"),
            (.links, "\(configuration.eventLoops)"),
            (.exclusive, "\(configuration.isExclusive)"),
            (.takeOver, "\(configuration.takesOver)"),
            (.jwtIssuer, issuer?.issuer ?? ""),
            (.jwtAudience, issuer?.audience ?? ""),
            (.jwtJWKS, issuer.map { "\(String(describing: $0.keySet))" } ?? ""),
            (.jwtSecretFile, issuer?.secretFile ?? ""),
            (.proxyProtocol, "\(configuration.proxies)"),
            (.maxPending, "\(admission.maximumPending)"),
            (.maxPendingAnAddress, "\(admission.maximumPendingAnAddress)"),
            (.handshakeTimeout, "\(admission.handshakeTimeout)"),
            (.maxClients, "\(admission.maximumClients)"),
            (.maxClientsAnOwner, "\(String(describing: admission.maximumClientsAnOwner))"),
            (.maxFailureEntries, "\(admission.maximumFailureEntries)"),
            (.maxShares, "\(counts.maximumInTotal)"),
            (.maxSharesAnOwner, "\(counts.maximumAnOwner)"),
        ]
    }
}

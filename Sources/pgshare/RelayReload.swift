import Logging
import NIOCore
import Relay
import SharePolicy

/// Which settings of a running relay have changed, by their keys.
///
/// SIGHUP reads environment and config file again. Flags cannot change; what they say stays.
struct RelayReload {
    /// Settings that were changed and are served from now on.
    private(set) var applied: [SettingKey] = []
    /// Settings that were changed and count at the next start only.
    private(set) var refused: [SettingKey] = []

    /// Compares what the relay was started with, or given since, with what is set now.
    init(from old: RelayConfiguration, to new: RelayConfiguration) {
        self.applied = Self.changed(Self.atRunTime(old), Self.atRunTime(new))
        self.refused = Self.changed(Self.atStart(old), Self.atStart(new))
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

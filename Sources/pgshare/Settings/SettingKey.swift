/// Every setting there is: a flag, a `PGSHARE_…` variable and a key of the config file share its
/// name.
///
/// One list for all commands, so that one file can serve a machine that runs several of them, and
/// a key that is not here is a spelling mistake.
enum SettingKey: String, CaseIterable, Sendable {
    case config
    case domain
    case postgresListen = "postgres-listen"
    case httpsListen = "https-listen"
    case httpListen = "http-listen"
    case tlsCert = "tls-cert"
    case tlsKey = "tls-key"
    case state
    case open
    case jwtIssuer = "jwt-issuer"
    case jwtAudience = "jwt-audience"
    case jwtJWKS = "jwt-jwks"
    case jwtSecretFile = "jwt-secret-file"
    case logFormat = "log-format"
    case logLevel = "log-level"
    case relay
    case token
    case caFile = "ca-file"
    case database
    case id
    case name
    case password
    case auth
    case expires
    case maxConnections = "max-connections"
    case readOnly = "read-only"
    case allow
    case allDatabases = "all-databases"
    case links
    case sessionWait = "session-wait"
    case sessionIdle = "session-idle"
    case sessionNotice = "session-notice"
    case browserGrace = "browser-grace"
    case exclusive
    case proxyProtocol = "proxy-protocol"
    case maxPending = "max-pending"
    case maxPendingAnAddress = "max-pending-an-address"
    case handshakeTimeout = "handshake-timeout"
    case maxClients = "max-clients"
    case maxClientsAnOwner = "max-clients-an-owner"
    case maxFailureEntries = "max-failure-entries"
    case maxShares = "max-shares"
    case maxSharesAnOwner = "max-shares-an-owner"
    case drainTimeout = "drain-timeout"
    case takeOver = "take-over"
    case clientIdle = "client-idle"
    case clientLifetime = "client-lifetime"
    case transport
    case sourcePassword = "source-password"
    case targetPassword = "target-password"
    case plan
    case yes
    case schemaOnly = "schema-only"
    case dataOnly = "data-only"
    case schema
    case excludeSchema = "exclude-schema"
    case table
    case verify
    case method
    case jobs
    case ownership
    case replace
    case noKeep = "no-keep"
    case noAnalyze = "no-analyze"

    /// As the flag is written.
    var flag: String { "--\(self.rawValue)" }

    /// The environment variable.
    var variable: String {
        "PGSHARE_" + self.rawValue.uppercased().replacing("-", with: "_")
    }

    /// Whether the value must never be shown.
    var isSecret: Bool {
        switch self {
        case .token, .password, .sourcePassword, .targetPassword:
            true
        case .config, .domain, .postgresListen, .httpsListen, .httpListen, .tlsCert, .tlsKey,
            .state, .open, .logFormat, .logLevel, .relay, .caFile, .database, .id, .name, .auth,
            .expires, .maxConnections, .readOnly, .allow, .allDatabases, .links, .sessionWait,
            .sessionIdle,
            .sessionNotice, .browserGrace, .exclusive, .transport, .plan,
            .proxyProtocol, .maxPending, .maxPendingAnAddress, .handshakeTimeout, .maxClients,
            .maxClientsAnOwner, .maxFailureEntries, .maxShares, .maxSharesAnOwner,
            .yes, .schemaOnly, .dataOnly, .schema, .excludeSchema, .table, .verify, .method, .jobs,
            .ownership, .jwtIssuer, .jwtAudience, .jwtJWKS, .jwtSecretFile, .replace, .noKeep,
            .noAnalyze, .drainTimeout, .takeOver, .clientIdle, .clientLifetime:
            false
        }
    }
}

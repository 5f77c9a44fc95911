public import NIOCore
public import PostgresWire

/// Where the shared database is and how to log in to it: what libpq found out, once, at the start.
///
/// Every new connection is made from this value without asking libpq, DNS or a file again.
public struct DatabaseTarget: Hashable, Sendable, CustomStringConvertible {
    /// The socket Postgres listens on.
    public enum Endpoint: Hashable, Sendable {
        /// A unix socket, by the full path of its file (`/var/run/postgresql/.s.PGSQL.5432`).
        case unixSocket(path: String)
        /// TCP. `host` is the name that a certificate is checked against (empty if only an address
        /// was given); `address` is the IP address libpq reached, tried first when known.
        case tcp(host: String, address: String?, port: Int)
    }

    /// How long a connection may take, from `connect` to authenticated, when nobody says so.
    ///
    /// libpq waits for ever by default; a client of the relay should not. 10 s is the relay's own
    /// handshake deadline.
    public static let defaultConnectTimeout = TimeAmount.seconds(10)

    /// The longest connection timeout that is honoured; longer ones are shortened to it.
    public static let maximumConnectTimeout = TimeAmount.seconds(60)

    /// The socket.
    public var endpoint: Endpoint
    /// The role the agent logs in as.
    public var user: String
    /// Its password, if libpq had one to use.
    public var password: Secret?
    /// The shared database.
    public var database: String
    /// The encryption between agent and database. A unix socket is never encrypted, as in libpq.
    public var tls: DatabaseTLSSettings
    /// The `channel_binding` setting.
    public var channelBinding: ClientLoginMachine.ChannelBindingPolicy
    /// The `require_auth` setting; nil allows every method.
    public var requireAuth: Set<ClientLoginMachine.Method>?
    /// Command-line options for every session (`options`, `PGOPTIONS`); the client's own follow.
    public var options: String?
    /// The bound for one connection, from `connect` to authenticated.
    public var connectTimeout: TimeAmount

    /// Creates a target; see the properties.
    public init(
        endpoint: Endpoint,
        user: String,
        password: Secret? = nil,
        database: String,
        tls: DatabaseTLSSettings = DatabaseTLSSettings(mode: .disable),
        channelBinding: ClientLoginMachine.ChannelBindingPolicy = .prefer,
        requireAuth: Set<ClientLoginMachine.Method>? = nil,
        options: String? = nil,
        connectTimeout: TimeAmount = Self.defaultConnectTimeout
    ) {
        self.endpoint = endpoint
        self.user = user
        self.password = password
        self.database = database
        self.tls = tls
        self.channelBinding = channelBinding
        self.requireAuth = requireAuth
        self.options = options
        self.connectTimeout = connectTimeout
    }

    /// For the agent's own log: no password, ever.
    public var description: String {
        "\(self.user)@\(self.endpoint)/\(self.database) sslmode=\(self.tls.mode.rawValue)"
    }
}

extension DatabaseTarget.Endpoint: CustomStringConvertible {
    /// The path, or `host:port`.
    public var description: String {
        switch self {
        case .unixSocket(let path): path
        case .tcp(let host, let address, let port):
            "\(host.isEmpty ? address ?? "" : host):\(port)"
        }
    }

    /// Whether bytes stay on this machine's file system.
    var isUnixSocket: Bool {
        switch self {
        case .unixSocket: true
        case .tcp: false
        }
    }
}

/// Encryption to the database, by libpq's words.
///
/// Source: PostgreSQL documentation, "Database Connection Control Functions" and "SSL Support".
public struct DatabaseTLSSettings: Hashable, Sendable {
    /// The `sslmode` setting.
    public enum Mode: String, Hashable, Sendable, CaseIterable {
        /// Never TLS.
        case disable
        /// Plaintext first; TLS if the server insists.
        case allow
        /// TLS if the server has it.
        case prefer
        /// TLS or nothing; the certificate is checked only if there is a root certificate.
        case require
        /// TLS, with a certificate of a trusted authority.
        case verifyCA = "verify-ca"
        /// TLS, with a certificate of a trusted authority for this host.
        case verifyFull = "verify-full"
    }

    /// The `sslnegotiation` setting.
    public enum Negotiation: String, Hashable, Sendable {
        /// An SSLRequest first.
        case postgres
        /// The TLS handshake at once (Postgres 17 and later).
        case direct
    }

    /// What a server certificate is checked against.
    public enum RootCertificate: Hashable, Sendable {
        /// The certificates in this file.
        case file(String)
        /// The operating system's (`sslrootcert=system`).
        case system
    }

    /// The `sslmode`.
    public var mode: Mode
    /// The `sslnegotiation`.
    public var negotiation: Negotiation
    /// The root certificate; nil means the server's certificate is not checked.
    public var rootCertificate: RootCertificate?
    /// A client certificate, a PEM file. Nil sends none.
    public var certificatePath: String?
    /// The key of ``certificatePath``, a PEM or DER file.
    public var keyPath: String?
    /// The pass phrase of ``keyPath``.
    public var keyPassword: Secret?
    /// Whether the host name is sent in the handshake (`sslsni`).
    public var sendsServerName: Bool

    /// Creates settings; see the properties.
    public init(
        mode: Mode,
        negotiation: Negotiation = .postgres,
        rootCertificate: RootCertificate? = nil,
        certificatePath: String? = nil,
        keyPath: String? = nil,
        keyPassword: Secret? = nil,
        sendsServerName: Bool = true
    ) {
        self.mode = mode
        self.negotiation = negotiation
        self.rootCertificate = rootCertificate
        self.certificatePath = certificatePath
        self.keyPath = keyPath
        self.keyPassword = keyPassword
        self.sendsServerName = sendsServerName
    }
}

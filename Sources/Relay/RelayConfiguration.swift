public import NIOCore
public import SharePolicy

/// What a relay is started with. Each default says why.
public struct RelayConfiguration: Sendable {
    /// The domain below which shares have host names. `localhost` has no wildcard DNS: clients
    /// then carry the share in their user name.
    public var domain = "localhost"
    /// Where clients connect. Port 0 picks a free one.
    public var postgresHost = "127.0.0.1"
    /// The port of ``postgresHost``: not 5432, where a Postgres of this machine may be.
    public var postgresPort = 15_432
    /// Where agents connect and the API is. Port 0 picks a free one.
    public var httpsHost = "127.0.0.1"
    /// The port of ``httpsHost``.
    public var httpsPort = 8_443
    /// Where the same is served without TLS, for a reverse proxy of this machine that has it; nil
    /// for nowhere. A loopback address: tokens travel there in clear.
    public var httpHost: String?
    /// The port of ``httpHost``.
    public var httpPort = 0
    /// The certificate chain and key to serve, PEM; nil makes development certificates.
    public var certificateFile: String?
    /// The key of ``certificateFile``.
    public var keyFile: String?
    /// Proxies in front of either door, whose PROXY header says where a client is. From their
    /// addresses a header must come; from others none is read.
    public var proxies = TrustedProxies()
    /// How much room strangers and clients get.
    public var admission = AdmissionLimits()
    /// How many shares there may be.
    public var shareCounts = Claim.Limits()
    /// Where shares and tokens are kept.
    public var stateFolder: String
    /// Whether agents need no token that the operator made.
    public var isOpen = false
    /// Whose JSON Web Tokens are as good as tokens of ours; nil for nobody's.
    public var issuer: IssuerConfiguration?
    /// Event loops. One link a tunnel is opened for each.
    ///
    /// Half of the cores: the kernel's half of every byte runs beside them, and fewer loops gather
    /// more into one write. On two cores one loop served 8 clients with a quarter less CPU than
    /// two did.
    public var eventLoops = max(1, System.coreCount / 2)
    /// How long a cut link waits to be resumed.
    public var grace = TimeAmount.seconds(30)
    /// How long the cut link of a browser waits: tabs are frozen and laptops sleep for longer.
    public var browserGrace = TimeAmount.seconds(60)
    /// How long a client waits for its turn in a browser's one session. A share may ask for
    /// another time.
    public var sessionWait = TimeAmount.seconds(60)
    /// How long a client may keep that session idle in a transaction while others wait.
    public var sessionIdle = TimeAmount.seconds(10)
    /// How long a client waits before it is told whom it waits for.
    public var sessionNotice = TimeAmount.seconds(5)
    /// Whether every database in a browser takes one client at a time.
    public var isExclusive = false

    /// Whether to start beside a relay that serves the same state, and to take over from it.
    public var takesOver = false
    /// How long a relay that was told to stop waits for clients in a query or a transaction. Long
    /// enough for most queries, and shorter than the 90 s after which systemd loses patience.
    public var drainTimeout = TimeAmount.seconds(30)
    /// How long a client that has logged in waits for an agent that is expected back. Longer than
    /// an agent's first few tries to dial, and shorter than most clients' patience.
    public var agentWait = TimeAmount.seconds(10)
    /// How long a client may say and get nothing, between queries and outside of a transaction;
    /// nil for ever.
    public var clientIdle: TimeAmount?
    /// How long a client may be connected, until its first rest after that; nil for ever.
    public var clientLifetime: TimeAmount?

    /// Creates the defaults for a state folder.
    public init(stateFolder: String) {
        self.stateFolder = stateFolder
    }

    /// Takes what a relay may be given anew while it runs; the rest stays as it is.
    public mutating func takeRunTimeSettings(of new: RelayConfiguration) {
        self.sessionWait = new.sessionWait
        self.sessionIdle = new.sessionIdle
        self.sessionNotice = new.sessionNotice
        self.browserGrace = new.browserGrace
        self.drainTimeout = new.drainTimeout
        self.clientIdle = new.clientIdle
        self.clientLifetime = new.clientLifetime
    }
}

/// Where a relay listens, once it does.
public struct RelayAddresses: Sendable, Hashable, Codable {
    /// `host:port` of the Postgres door.
    public var postgres: String
    /// `host:port` of the HTTPS door.
    public var https: String
    /// `host:port` of the door without TLS, if there is one.
    public var http: String?
    /// What clients and agents verify the certificate with, if this relay made it itself.
    public var caFile: String?

    enum CodingKeys: String, CodingKey {
        case postgres, https, http
        case caFile = "ca_file"
    }
}

/// Why a relay cannot start.
public struct RelayError: Error, Sendable, CustomStringConvertible {
    /// A sentence for the operator.
    public var description: String

    /// Creates an error.
    public init(_ description: String) { self.description = description }
}

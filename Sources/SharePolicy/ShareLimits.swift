/// What one share may use and who may use it. Units are in the names; each default says why.
///
/// Settings of `pgshare share`:
/// - `max-connections` (int, default 20, 1...10000)
/// - `allow` (list of networks, default empty = everywhere, at most 64)
/// - `read-only` (bool, default false)
public struct ShareLimits: Hashable, Sendable {
    /// The most networks ``allow`` may list. Each is looked at for each client; 64 is a firewall
    /// written by hand.
    public static let maximumNetworks = 64

    /// Clients connected at once.
    ///
    /// A stock Postgres has `max_connections = 100`; 20 leaves most of it to the owner.
    public var maximumClients = 20

    /// The networks clients may come from; empty lets them come from everywhere.
    public var allow: [CIDR] = []

    /// Whether the share promises that clients cannot write. The agent keeps the promise.
    public var readOnly = false

    /// Creates the default limits.
    public init() {}

    /// Checks every field once, at the door; past it, code relies on the ranges.
    ///
    /// - Throws: ``ConfigurationError`` naming the key, the value and the range.
    /// - Returns: The same limits.
    public func validated() throws(ConfigurationError) -> ShareLimits {
        try Check.range("share.maximumClients", self.maximumClients, in: 1...10_000)
        try Check.range("share.allow.count", self.allow.count, in: 0...Self.maximumNetworks)
        return self
    }

    /// Whether a client from this address, as text without a port, may use the share.
    ///
    /// Where networks are listed, what is no IP address (nil, a unix socket) may not.
    public func admits(address: String?) -> Bool {
        guard !self.allow.isEmpty else { return true }
        guard let address else { return false }
        return self.allow.contains { $0.contains(address: address) }
    }
}

extension ShareLimits: Codable {
    private enum CodingKeys: String, CodingKey {
        case maximumClients = "maximum_clients"
        case allow
        case readOnly = "read_only"
    }

    /// Reads limits; what is missing keeps its default, and unknown keys are ignored, so that an
    /// older peer understands a newer one. The caller validates.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init()
        self.maximumClients =
            try container.decodeIfPresent(Int.self, forKey: .maximumClients) ?? self.maximumClients
        self.allow = try container.decodeIfPresent([CIDR].self, forKey: .allow) ?? self.allow
        self.readOnly = try container.decodeIfPresent(Bool.self, forKey: .readOnly) ?? self.readOnly
    }
}

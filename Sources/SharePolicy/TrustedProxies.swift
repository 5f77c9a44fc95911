/// The proxies whose PROXY headers are believed; by default none.
public struct TrustedProxies: Hashable, Sendable {
    /// Where they are.
    public var networks: [CIDR]

    /// Creates a list of networks.
    public init(_ networks: [CIDR] = []) {
        self.networks = networks
    }

    /// Whether a connection from this address, as text without a port, is a trusted proxy's.
    public func contains(_ address: String?) -> Bool {
        guard !self.networks.isEmpty, let address else { return false }
        return self.networks.contains { $0.contains(address: address) }
    }
}

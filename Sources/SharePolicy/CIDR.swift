/// A network that a share lets in: `192.0.2.0/24`, `2001:db8::/32`, or one address alone.
public struct CIDR: Hashable, Sendable {
    private let address: IPAddress
    private let prefixBits: Int

    /// The network as it was written, except that a missing prefix length is spelled out.
    public let text: String

    /// Reads `ADDRESS/BITS` or `ADDRESS`; nil if the address is not one or the bits do not fit it.
    ///
    /// Bits of the address behind the prefix are ignored, as `pg_hba.conf` readers expect of
    /// `192.0.2.7/24`. A mapped network (`::ffff:192.0.2.0/120`) is the IPv4 network it means.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, !first.contains("%"), let address = IPAddress(first) else {
            return nil
        }
        let isWrittenAsV6 = first.contains(":")
        let writtenBits = isWrittenAsV6 ? 128 : 32
        var bits = writtenBits
        if parts.count == 2 {
            let digits = parts[1]
            guard (1...3).contains(digits.utf8.count),
                digits.utf8.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains),
                let read = Int(digits), read <= writtenBits
            else { return nil }
            bits = read
        }
        if case .v4 = address, isWrittenAsV6 {
            guard bits >= 96 else { return nil }
            bits -= 96
        }
        self.address = address
        self.prefixBits = bits
        self.text = parts.count == 2 ? text : "\(text)/\(writtenBits)"
    }

    /// Whether an address, as text without a port, lies in the network.
    ///
    /// An IPv4-mapped address is taken for the IPv4 address it means. What is no IP address lies
    /// in no network.
    public func contains(address: String) -> Bool {
        switch (self.address, IPAddress(address)) {
        case (.v4(let network), .v4(let member)):
            (network ^ member) >> UInt32(32 - self.prefixBits) == 0
        case (.v6(let network), .v6(let member)):
            (network ^ member) >> UInt128(128 - self.prefixBits) == 0
        case (.v4, .v6), (.v6, .v4), (_, nil):
            false
        }
    }

    /// Two networks are equal if they have the same members, however they were written.
    public static func == (left: CIDR, right: CIDR) -> Bool {
        left.identity == right.identity
    }

    /// Feeds what equality compares to the hasher.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.identity)
    }

    private struct Identity: Hashable {
        var network: IPAddress
        var prefixBits: Int
    }

    private var identity: Identity {
        switch self.address {
        case .v4(let value):
            Identity(
                network: .v4(value & ~(UInt32.max >> UInt32(self.prefixBits))),
                prefixBits: self.prefixBits)
        case .v6(let value):
            Identity(
                network: .v6(value & ~(UInt128.max >> UInt128(self.prefixBits))),
                prefixBits: self.prefixBits)
        }
    }
}

extension CIDR: Codable, CustomStringConvertible {
    /// Reads the network from its text.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let network = CIDR(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "not an address or ADDRESS/BITS")
        }
        self = network
    }

    /// Writes the network as its text.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(self.text)
    }

    /// The network's text.
    public var description: String { self.text }
}

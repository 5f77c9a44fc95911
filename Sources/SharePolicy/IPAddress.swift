/// An IPv4 or IPv6 address as a number; an IPv4-mapped IPv6 address is the IPv4 address it means.
///
/// A listener on `::` sees IPv4 clients as `::ffff:192.0.2.1`. Who allowed `192.0.2.0/24` meant
/// them too, so the mapping is undone where an address enters.
enum IPAddress: Hashable, Sendable {
    case v4(UInt32)
    case v6(UInt128)

    /// Reads an address as `inet_ntop` writes it and people type it; a zone (`%eth0`) is dropped.
    ///
    /// Source: RFC 4291, 2.2 (text forms) and 2.5.5.2 (mapped addresses).
    init?(_ text: some StringProtocol) {
        if let v4 = Self.parseV4(text) {
            self = .v4(v4)
            return
        }
        let withoutZone = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let head = withoutZone.first, let v6 = Self.parseV6(head) else { return nil }
        self = v6 >> 32 == 0xFFFF ? .v4(UInt32(truncatingIfNeeded: v6)) : .v6(v6)
    }

    /// Four decimal numbers. Leading zeros are refused: some readers take them for octal.
    private static func parseV4(_ text: some StringProtocol) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard part.utf8.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains),
                let byte = UInt8(part), part.utf8.count == 1 || part.utf8.first != UInt8(ascii: "0")
            else { return nil }
            value = value << 8 | UInt32(byte)
        }
        return value
    }

    private static func parseV6(_ text: some StringProtocol) -> UInt128? {
        guard text.utf8.count <= 45 else { return nil }
        let halves = Self.splitAtDoubleColon(String(text))
        // An IPv4 address may only be the end of the whole.
        guard halves.count <= 2, let first = halves.first, let head = Self.groups(first),
            halves.count == 1 || !first.contains(".")
        else { return nil }
        guard halves.count == 2 else {
            return head.count == 8 ? Self.number(head) : nil
        }
        guard let tail = Self.groups(halves[1]), head.count + tail.count <= 7 else { return nil }
        let zeros = Array(repeating: UInt16(0), count: 8 - head.count - tail.count)
        return Self.number(head + zeros + tail)
    }

    private static func splitAtDoubleColon(_ text: String) -> [Substring] {
        var halves: [Substring] = []
        var rest = Substring(text)
        while let colon = rest.indices.first(where: { rest[$0...].hasPrefix("::") }) {
            halves.append(rest[..<colon])
            rest = rest[colon...].dropFirst(2)
        }
        return halves + [rest]
    }

    /// Groups of hex digits between colons; the last may be an IPv4 address and counts for two.
    private static func groups(_ text: Substring) -> [UInt16]? {
        if text.isEmpty { return [] }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        var groups: [UInt16] = []
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1, part.contains("."), let v4 = Self.parseV4(part) {
                groups.append(UInt16(v4 >> 16))
                groups.append(UInt16(truncatingIfNeeded: v4))
            } else if (1...4).contains(part.utf8.count), part.allSatisfy(\.isHexDigit),
                let group = UInt16(part, radix: 16)
            {
                groups.append(group)
            } else {
                return nil
            }
        }
        return groups
    }

    private static func number(_ groups: [UInt16]) -> UInt128 {
        groups.reduce(0) { $0 << 16 | UInt128($1) }
    }
}

/// Where a connection comes from, as far as limits care: an IPv4 address or an IPv6 /64.
///
/// One subscriber gets a whole IPv6 /64 or more, so counting single IPv6 addresses would count
/// nothing. What is no IP address (a unix socket, an unknown peer) counts as one source together.
public struct SourceAddress: Hashable, Sendable {
    private enum Network: Hashable, Sendable {
        case v4(UInt32)
        case v6(UInt64)
        case other
    }

    private let network: Network

    /// Whether it is this machine, by an address that no other has.
    public let isLoopback: Bool

    /// Reads an IP address without its port; nil or anything else is the one "other" source.
    public init(_ ipAddress: String?) {
        switch ipAddress.flatMap({ IPAddress($0) }) {
        case .v4(let address): self.network = .v4(address)
        case .v6(let address): self.network = .v6(UInt64(truncatingIfNeeded: address >> 64))
        case nil: self.network = .other
        }
        self.isLoopback = ipAddress.map(Self.isLoopback) ?? false
    }

    /// Source: RFC 1122, 3.2.1.3 (`127.0.0.0/8`); RFC 4291, 2.5.3 (`::1`).
    private static func isLoopback(_ text: String) -> Bool {
        switch IPAddress(text) {
        case .v4(let address): address >> 24 == 127
        case .v6(let address): address == 1
        case nil: false
        }
    }
}

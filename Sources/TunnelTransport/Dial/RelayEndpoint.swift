/// Where a relay's HTTPS door listens.
package struct RelayEndpoint: Sendable, Hashable {
    /// A name or an address; an IPv6 address without brackets.
    package var host: String
    /// 1...65535.
    package var port: Int
    /// Whether the connection is encrypted. Off is for a relay behind a proxy on the same machine.
    package var usesTLS: Bool

    /// Creates an endpoint.
    package init(host: String, port: Int, usesTLS: Bool) {
        self.host = host
        self.port = port
        self.usesTLS = usesTLS
    }

    /// Reads `https://HOST[:PORT]`, or `http://HOST[:PORT]` for a loopback host; without a scheme
    /// it is `https`.
    ///
    /// - Returns: nil for anything else: another scheme, a user, a path, a port out of range.
    package init?(_ text: String) {
        var rest = text[...]
        var usesTLS = true
        if let scheme = text.firstRange(of: "://") {
            switch text[..<scheme.lowerBound].lowercased() {
            case "https", "wss": usesTLS = true
            case "http", "ws": usesTLS = false
            default: return nil
            }
            rest = text[scheme.upperBound...]
        }
        if rest.hasSuffix("/") {
            rest.removeLast()
        }
        guard let (host, port) = Self.split(rest), Self.isPlainHost(host) else { return nil }
        // The token would travel in clear.
        guard usesTLS || Self.isLoopback(host) else { return nil }
        self.init(host: host, port: port ?? (usesTLS ? 443 : 80), usesTLS: usesTLS)
    }

    /// What stands in the `Host` header.
    var authority: String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return self.port == (self.usesTLS ? 443 : 80) ? host : "\(host):\(self.port)"
    }

    static func split(_ text: Substring) -> (host: String, port: Int?)? {
        var host = text
        var port: Substring?
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            let behind = text[text.index(after: end)...]
            guard behind.isEmpty || behind.hasPrefix(":") else { return nil }
            port = behind.isEmpty ? nil : behind.dropFirst()
        } else if let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        guard let port else { return (String(host), nil) }
        guard let number = Int(port), (1...65535).contains(number) else { return nil }
        return (String(host), number)
    }

    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }

    /// Only what a name or an address is made of: nothing that could break out of a header.
    private static func isPlainHost(_ host: String) -> Bool {
        !host.isEmpty && host.utf8.count <= 253
            && host.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
                    UInt8(ascii: "_"), UInt8(ascii: ":"):
                    true
                default:
                    false
                }
            }
    }
}

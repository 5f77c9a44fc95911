import NIOCore
import NIOHTTP1

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Which HTTP proxy stands between this machine and a relay, if any.
///
/// Source: what curl makes of `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
package struct ProxySettings: Sendable, Hashable {
    /// No proxy.
    package static let none = ProxySettings(proxy: nil, exceptions: [])

    private let proxy: ProxyEndpoint?
    private let exceptions: [String]

    private init(proxy: ProxyEndpoint?, exceptions: [String]) {
        self.proxy = proxy
        self.exceptions = exceptions
    }

    /// Reads the environment, lower-case names first.
    ///
    /// - Throws: ``DialError/badSettings(reason:)`` if the proxy's URL is not `http://HOST:PORT`.
    package init(environment: [String: String]) throws(DialError) {
        func value(_ name: String) -> String? {
            let text = environment[name.lowercased()] ?? environment[name] ?? ""
            return text.isEmpty ? nil : text
        }
        let exceptions = (value("NO_PROXY") ?? "").split(whereSeparator: { ", ".contains($0) })
        self.exceptions = exceptions.map { $0.lowercased() }
        guard let text = value("HTTPS_PROXY") ?? value("ALL_PROXY") else {
            self.proxy = nil
            return
        }
        guard let proxy = ProxyEndpoint(text) else {
            throw .badSettings(reason: "HTTPS_PROXY or ALL_PROXY is not http://HOST:PORT")
        }
        self.proxy = proxy
    }

    /// The proxy to dial for `endpoint`, nil to dial it directly.
    ///
    /// Without TLS there is no CONNECT worth the name; this machine itself needs no proxy.
    func proxy(for endpoint: RelayEndpoint) -> ProxyEndpoint? {
        let host = endpoint.host.lowercased()
        let isThisMachine = host == "localhost" || host.hasPrefix("127.") || host == "::1"
        guard endpoint.usesTLS, !isThisMachine,
            !self.exceptions.contains(where: { exception in
                let name = exception.hasPrefix(".") ? String(exception.dropFirst()) : exception
                return name == "*" || host == name || host.hasSuffix(".\(name)")
            })
        else { return nil }
        return self.proxy
    }
}

/// An HTTP proxy that understands CONNECT.
struct ProxyEndpoint: Sendable, Hashable, CustomStringConvertible {
    var host: String
    var port: Int
    /// `user:password`, secret.
    private var credentials: String?

    /// Without the credentials.
    var description: String { "\(self.host):\(self.port)" }

    /// Reads `[http://][USER:PASSWORD@]HOST[:PORT][/]`; the port is 3128 without one.
    init?(_ text: String) {
        var rest = text[...]
        if let scheme = text.firstRange(of: "://") {
            guard text[..<scheme.lowerBound].lowercased() == "http" else { return nil }
            rest = text[scheme.upperBound...]
        }
        if let at = rest.lastIndex(of: "@") {
            self.credentials = Self.decoded(rest[..<at])
            rest = rest[rest.index(after: at)...]
        }
        // Only the host is read of it; `http` would stand for this machine alone.
        guard let endpoint = RelayEndpoint("https://\(rest)") else { return nil }
        self.host = endpoint.host
        self.port = RelayEndpoint.split(rest.hasSuffix("/") ? rest.dropLast() : rest)?.port ?? 3128
    }

    func connectRequest(to endpoint: RelayEndpoint) -> HTTPRequestHead {
        let host = endpoint.host.contains(":") ? "[\(endpoint.host)]" : endpoint.host
        let target = "\(host):\(endpoint.port)"
        var headers: HTTPHeaders = ["Host": target, "User-Agent": "pgshare"]
        if let credentials = self.credentials {
            let encoded = Data(credentials.utf8).base64EncodedString()
            headers.add(name: "Proxy-Authorization", value: "Basic \(encoded)")
        }
        return HTTPRequestHead(version: .http1_1, method: .CONNECT, uri: target, headers: headers)
    }

    /// Without percent encoding; nil if it is broken.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let digits = String(rest.prefix(2)), digits.utf8.count == 2,
                let value = UInt8(digits, radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

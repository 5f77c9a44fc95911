import Foundation
import HTTPTypes
import NIOHTTP1
import SharePolicy
import TunnelTransport

/// A request that asks for a tunnel as `HTTPAPI` describes it. Whether it may have one is not said.
struct TunnelRequest {
    /// Who takes the connection over.
    enum Destination {
        /// ``TunnelDoor``.
        case tunnel(TunnelTransportKind)
        /// ``PageDoor``: database.build's page for the share that its host names.
        case page(ShareID)
    }

    /// The one subprotocol that is spoken, and the only one that is ever answered.
    static let subprotocol = "pgshare.v1"
    /// The protocol of a raw upgrade.
    static let rawProtocol = "pgshare/1"

    let destination: Destination
    let credentials: Credentials
    /// The headers of the 101.
    let responseHeaders: HTTPHeaders

    /// Nil for any other request, and for one that asks in a way that HTTP does not allow.
    ///
    /// A body is refused: the bytes behind the head belong to the tunnel.
    init?(_ head: HTTPRequestHead) {
        let parts = head.uri.split(
            separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts.first ?? ""
        let connection = head.headers[canonicalForm: "connection"].map { $0.lowercased() }
        let page = path == HTTPAPI.pagePath ? Self.page(head.headers) : nil
        guard head.method == .GET, head.version == .http1_1,
            path == HTTPAPI.tunnelPath || page != nil, connection.contains("upgrade"),
            !head.headers.contains(name: "transfer-encoding"),
            head.headers["content-length"].allSatisfy({ $0 == "0" })
        else { return nil }
        let protocols = head.headers[canonicalForm: "upgrade"].map { $0.lowercased() }
        if let page {
            guard protocols.contains("websocket"), parts.count == 2,
                let key = Self.webSocketKey(head.headers)
            else { return nil }
            self.credentials = Credentials(query: parts[1])
            self.destination = .page(page)
            self.responseHeaders = Self.webSocketAnswer(key)
            return
        }
        self.credentials = Credentials(head.headers)
        if protocols.contains(Self.rawProtocol) {
            self.destination = .tunnel(.raw)
            self.responseHeaders = ["Connection": "upgrade", "Upgrade": Self.rawProtocol]
        } else if protocols.contains("websocket"), let key = Self.webSocketKey(head.headers),
            head.headers[canonicalForm: "sec-websocket-protocol"]
                .contains(Substring(Self.subprotocol))
        {
            self.destination = .tunnel(.webSocket)
            var headers = Self.webSocketAnswer(key)
            headers.add(name: "Sec-WebSocket-Protocol", value: Self.subprotocol)
            self.responseHeaders = headers
        } else {
            return nil
        }
    }

    /// The share that the first label of the host names. database.build's page asks for no
    /// subprotocol, and could take none.
    private static func page(_ headers: HTTPHeaders) -> ShareID? {
        let hosts = headers["host"]
        guard hosts.count == 1, let host = hosts.first, let dot = host.firstIndex(of: "."),
            !headers.contains(name: "sec-websocket-protocol")
        else { return nil }
        return ShareID(rawValue: host[..<dot].lowercased())
    }

    private static func webSocketAnswer(_ key: String) -> HTTPHeaders {
        [
            "Connection": "upgrade", "Upgrade": "websocket",
            "Sec-WebSocket-Accept": WebSocketHandshake.accept(key: key),
        ]
    }

    /// The key of a valid handshake. Source: RFC 6455, 4.2.1.
    private static func webSocketKey(_ headers: HTTPHeaders) -> String? {
        let keys = headers["sec-websocket-key"]
        guard headers["sec-websocket-version"] == ["13"], keys.count == 1, let key = keys.first,
            Data(base64Encoded: key)?.count == 16
        else { return nil }
        return key
    }
}

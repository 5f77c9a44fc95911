import Foundation
import HTTPTypes
import NIOHTTP1
import TunnelTransport

/// A request that asks for a tunnel as `HTTPAPI` describes it. Whether it may have one is not said.
struct TunnelRequest {
    /// The one subprotocol that is spoken, and the only one that is ever answered.
    static let subprotocol = "pgshare.v1"
    /// The protocol of a raw upgrade.
    static let rawProtocol = "pgshare/1"

    let transport: TunnelTransportKind
    let credentials: Credentials
    /// The headers of the 101.
    let responseHeaders: HTTPHeaders

    /// Nil for any other request, and for one that asks in a way that HTTP does not allow.
    ///
    /// A body is refused: the bytes behind the head belong to the tunnel.
    init?(_ head: HTTPRequestHead) {
        let path = head.uri.split(separator: "?", maxSplits: 1).first ?? ""
        let connection = head.headers[canonicalForm: "connection"].map { $0.lowercased() }
        guard head.method == .GET, head.version == .http1_1, path == HTTPAPI.tunnelPath,
            connection.contains("upgrade"), !head.headers.contains(name: "transfer-encoding"),
            head.headers["content-length"].allSatisfy({ $0 == "0" })
        else { return nil }
        self.credentials = Credentials(head.headers)
        let protocols = head.headers[canonicalForm: "upgrade"].map { $0.lowercased() }
        if protocols.contains(Self.rawProtocol) {
            self.transport = .raw
            self.responseHeaders = ["Connection": "upgrade", "Upgrade": Self.rawProtocol]
        } else if protocols.contains("websocket"), let key = Self.webSocketKey(head.headers) {
            self.transport = .webSocket
            self.responseHeaders = [
                "Connection": "upgrade", "Upgrade": "websocket",
                "Sec-WebSocket-Accept": WebSocketHandshake.accept(key: key),
                "Sec-WebSocket-Protocol": Self.subprotocol,
            ]
        } else {
            return nil
        }
    }

    /// The key of a valid handshake that offers our subprotocol. Source: RFC 6455, 4.2.1.
    private static func webSocketKey(_ headers: HTTPHeaders) -> String? {
        let keys = headers["sec-websocket-key"]
        let subprotocols = headers[canonicalForm: "sec-websocket-protocol"]
        guard headers["sec-websocket-version"] == ["13"], keys.count == 1, let key = keys.first,
            Data(base64Encoded: key)?.count == 16,
            subprotocols.contains(Substring(Self.subprotocol))
        else { return nil }
        return key
    }
}

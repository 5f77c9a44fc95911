import NIOCore
import NIOHTTP1

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One `GET /v1/tunnel` and what its answer means.
///
/// Pure. Source: `PROTOCOL.md` 1; RFC 9110, 7.8 "Upgrade"; RFC 6455, 4.1.
struct UpgradeRequest {
    /// The path of the tunnel door.
    static let path = "/v1/tunnel"
    /// The protocol of the raw transport.
    static let rawProtocol = "pgshare/1"
    /// The WebSocket subprotocol.
    static let subprotocol = "pgshare.v1"

    /// Which transport is asked for.
    let transport: TunnelTransportKind
    /// What is sent.
    let head: HTTPRequestHead
    private let webSocketKey: String
    private let token: String

    init(
        _ transport: TunnelTransportKind,
        endpoint: RelayEndpoint,
        token: String,
        using random: inout some RandomNumberGenerator
    ) {
        self.transport = transport
        self.token = token
        self.webSocketKey = WebSocketHandshake.makeKey(using: &random)
        var headers: HTTPHeaders = [
            "Host": endpoint.authority,
            "User-Agent": "pgshare",
            "Authorization": "Bearer \(token)",
            "Connection": "Upgrade",
        ]
        switch transport {
        case .raw:
            headers.add(name: "Upgrade", value: Self.rawProtocol)
        case .webSocket:
            headers.add(name: "Upgrade", value: "websocket")
            headers.add(name: "Sec-WebSocket-Version", value: "13")
            headers.add(name: "Sec-WebSocket-Key", value: self.webSocketKey)
            headers.add(name: "Sec-WebSocket-Protocol", value: Self.subprotocol)
        }
        self.head = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: Self.path, headers: headers)
    }

    /// Judges the answer; returning means that the transport was agreed upon.
    func check(_ answer: HTTPAnswer) throws(DialError) {
        let status = Int(answer.head.status.code)
        guard status == 101 else {
            let message = answer.errorMessage(hiding: self.token)
            throw status == 401 || status == 403
                ? .unauthorized(message: message.isEmpty ? "HTTP status \(status)" : message)
                : .rejected(status: status, message: message)
        }
        let headers = answer.head.headers
        guard headers[canonicalForm: "connection"].contains(where: { $0.lowercased() == "upgrade" })
        else {
            throw .notARelay(reason: "it answered 101 without an upgrade")
        }
        let upgrade = headers.first(name: "upgrade")?.lowercased()
        switch self.transport {
        case .raw:
            guard upgrade == Self.rawProtocol else {
                throw .notARelay(reason: "it upgraded to another protocol")
            }
        case .webSocket:
            guard upgrade == "websocket",
                headers.first(name: "sec-websocket-protocol") == Self.subprotocol,
                !headers.contains(name: "sec-websocket-extensions")
            else {
                throw .notARelay(reason: "it upgraded to another protocol")
            }
            let accept = WebSocketHandshake.accept(key: self.webSocketKey)
            guard headers.first(name: "sec-websocket-accept") == accept else {
                throw .notARelay(reason: "its Sec-WebSocket-Accept is wrong")
            }
        }
    }
}

/// A whole HTTP answer, its body cut to ``maximumBodyBytes``.
struct HTTPAnswer {
    /// What is kept of a body: an error of a relay is far shorter, a proxy's page is not read.
    static let maximumBodyBytes = 16 * 1024

    var head: HTTPResponseHead
    var body = ByteBuffer()

    private struct ErrorBody: Decodable {
        struct Content: Decodable {
            var code: String
            var message: String
        }
        var error: Content
    }

    /// The message of the relay's JSON error, empty if the body holds none.
    ///
    /// A stranger may have written it: printable characters only, at most 300, without the token.
    func errorMessage(hiding token: String) -> String {
        let data = Data(self.body.readableBytesView)
        guard let body = try? JSONDecoder().decode(ErrorBody.self, from: data) else { return "" }
        let safe = body.error.message.unicodeScalars.filter { scalar in
            scalar.properties.generalCategory != .control
                && scalar.properties.generalCategory != .format
        }
        // By scalars: with an accent behind it, the token's last letter is another `Character`.
        let hidden = String.UnicodeScalarView(safe)
            .replacing(token.unicodeScalars, with: "…".unicodeScalars)
        return String(hidden.prefix(300))
    }
}

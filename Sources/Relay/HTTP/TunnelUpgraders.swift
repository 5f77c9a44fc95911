import Foundation
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import SharePolicy
import TunnelTransport

/// What became of a connection to the HTTPS port.
enum Upgraded: Sendable {
    /// It is a tunnel's link now and belongs to the ``TunnelDoor``.
    case tunnel
    /// It speaks HTTP.
    case http(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>)
}

/// What both ways into a tunnel have in common. One is made for each connection.
///
/// A request that is not granted is not answered here: the upgrade fails, the same request goes on
/// to the router, and the route of `/v1/tunnel` says why.
final class TunnelUpgrade: Sendable {
    private let gate: TokenGate
    private let door: any TunnelDoor
    private let metrics: RelayMetrics
    /// Set when a token was accepted; read when the upgrade was answered.
    private let owner: NIOLoopBoundBox<OwnerID?>

    init(gate: TokenGate, door: any TunnelDoor, metrics: RelayMetrics, eventLoop: any EventLoop) {
        self.gate = gate
        self.door = door
        self.metrics = metrics
        self.owner = NIOLoopBoundBox(nil, eventLoop: eventLoop)
    }

    /// Checks the token. The future fails unless it is good.
    func authorize(_ head: HTTPRequestHead, channel: any Channel) -> EventLoopFuture<Void> {
        let credentials = Credentials(head.headers)
        let promise = channel.eventLoop.makePromise(of: OwnerID.self)
        promise.completeWithTask { [gate = self.gate] in
            try await gate.tunnelOwner(of: credentials)
        }
        return promise.futureResult.map { self.owner.value = $0 }
    }

    /// Hands the connection over.
    func upgrade(
        channel: any Channel, transport: TunnelTransportKind
    ) -> EventLoopFuture<Upgraded> {
        guard let owner = self.owner.value else {
            return channel.eventLoop.makeFailedFuture(APIError(.unauthorized))
        }
        self.metrics.httpResponses.add(.upgraded)
        return self.door.accept(channel: channel, transport: transport, owner: owner)
            .map { Upgraded.tunnel }
    }

    /// Whether the request is for a tunnel and asks for the upgrade as HTTP wants it.
    ///
    /// A body is refused: the bytes behind the head belong to the tunnel.
    static func isAsked(by head: HTTPRequestHead) -> Bool {
        let path = head.uri.split(separator: "?", maxSplits: 1).first ?? ""
        return head.method == .GET && head.version == .http1_1 && path == HTTPAPI.tunnelPath
            && head.headers[canonicalForm: "connection"].contains { $0.lowercased() == "upgrade" }
            && !head.headers.contains(name: "transfer-encoding")
            && head.headers["content-length"].allSatisfy { $0 == "0" }
    }
}

/// `Upgrade: pgshare/1`: the connection itself carries the frames.
struct RawTunnelUpgrader: NIOTypedHTTPServerProtocolUpgrader {
    let supportedProtocol = "pgshare/1"
    let requiredUpgradeHeaders: [String] = []
    let tunnel: TunnelUpgrade

    func buildUpgradeResponse(
        channel: any Channel, upgradeRequest: HTTPRequestHead,
        initialResponseHeaders: HTTPHeaders
    ) -> EventLoopFuture<HTTPHeaders> {
        guard TunnelUpgrade.isAsked(by: upgradeRequest) else {
            return channel.eventLoop.makeFailedFuture(APIError(.badRequest))
        }
        return self.tunnel.authorize(upgradeRequest, channel: channel)
            .map { initialResponseHeaders }
    }

    func upgrade(
        channel: any Channel, upgradeRequest: HTTPRequestHead
    ) -> EventLoopFuture<Upgraded> {
        self.tunnel.upgrade(channel: channel, transport: .raw)
    }
}

/// A WebSocket with the subprotocol `pgshare.v1`: its binary messages carry the frames.
///
/// Only the handshake is done here. The frames are read by `WebSocketTransportHandler`, which the
/// ``TunnelDoor`` adds, and not by NIO's codec.
struct WebSocketTunnelUpgrader: NIOTypedHTTPServerProtocolUpgrader {
    /// The one subprotocol that is spoken, and the only one that is ever answered.
    static let subprotocol = "pgshare.v1"

    let supportedProtocol = "websocket"
    let requiredUpgradeHeaders: [String] = []
    let tunnel: TunnelUpgrade

    func buildUpgradeResponse(
        channel: any Channel, upgradeRequest: HTTPRequestHead,
        initialResponseHeaders: HTTPHeaders
    ) -> EventLoopFuture<HTTPHeaders> {
        guard TunnelUpgrade.isAsked(by: upgradeRequest),
            let key = Self.key(of: upgradeRequest.headers)
        else {
            return channel.eventLoop.makeFailedFuture(APIError(.badRequest))
        }
        var headers = initialResponseHeaders
        headers.replaceOrAdd(
            name: "Sec-WebSocket-Accept", value: WebSocketHandshake.accept(key: key))
        headers.replaceOrAdd(name: "Sec-WebSocket-Protocol", value: Self.subprotocol)
        return self.tunnel.authorize(upgradeRequest, channel: channel).map { [headers] in headers }
    }

    func upgrade(
        channel: any Channel, upgradeRequest: HTTPRequestHead
    ) -> EventLoopFuture<Upgraded> {
        self.tunnel.upgrade(channel: channel, transport: .webSocket)
    }

    /// The key of a valid handshake that offers our subprotocol. Source: RFC 6455, 4.2.1.
    private static func key(of headers: HTTPHeaders) -> String? {
        let keys = headers["sec-websocket-key"]
        let subprotocols = headers[canonicalForm: "sec-websocket-protocol"]
        guard headers["sec-websocket-version"] == ["13"], keys.count == 1, let key = keys.first,
            Data(base64Encoded: key)?.count == 16,
            subprotocols.contains(Substring(Self.subprotocol))
        else { return nil }
        return key
    }
}

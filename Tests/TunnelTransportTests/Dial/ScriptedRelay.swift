import Crypto
import NIOCore
import NIOPosix
import NIOSSL
import SwiftASN1
import Synchronization
import X509

@testable import TunnelTransport

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A server on a free port of the loopback that answers each request as its script says.
struct ScriptedRelay {
    enum Reply: Sendable {
        /// Send these bytes in one write and stay.
        case send(String)
        /// Send these bytes and close.
        case sendAndClose(String)
        case hangUp
        case silence
    }

    let channel: any Channel
    /// The requests so far, head only.
    let log: RequestLog

    var requests: [String] { self.log.requests }
    var port: Int { self.channel.localAddress?.port ?? 0 }

    static func start(
        tls: NIOSSLContext? = nil,
        script: @escaping @Sendable (_ request: String) -> Reply
    ) async throws -> ScriptedRelay {
        let log = RequestLog()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLServerHandler(context: tls))
                    }
                    try channel.pipeline.syncOperations.addHandler(
                        ScriptHandler(log: log, script: script))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return ScriptedRelay(channel: channel, log: log)
    }

    private init(channel: any Channel, log: RequestLog) {
        self.channel = channel
        self.log = log
    }

    func dialer(
        host: String = "127.0.0.1",
        trust: RelayTrust? = nil,
        timeout: TimeAmount = TunnelDialer.defaultTimeout,
        token: String = "pgs_secret"
    ) throws -> TunnelDialer {
        try TunnelDialer(
            relay: RelayEndpoint(host: host, port: self.port, usesTLS: trust != nil),
            token: token, trust: trust ?? .system, timeout: timeout)
    }

    func stop() async throws {
        try await self.channel.close()
    }

    // MARK: Answers

    static let raw101 =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: pgshare/1\r\n\r\n"

    static func webSocket101(for request: String) -> String {
        let line = request.split(separator: "\r\n").first { line in
            line.lowercased().hasPrefix("sec-websocket-key: ")
        }
        let key = String(line?.dropFirst("sec-websocket-key: ".count) ?? "")
        return "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            + "sec-websocket-accept: \(WebSocketHandshake.accept(key: key))\r\n"
            + "sec-websocket-protocol: pgshare.v1\r\n\r\n"
    }

    static func answer(_ status: String, body: String = "") -> String {
        "HTTP/1.1 \(status)\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
    }
}

/// What a relay was asked, from any thread.
final class RequestLog: Sendable {
    private let entries = Mutex<[String]>([])

    var requests: [String] { self.entries.withLock { $0 } }

    func append(_ request: String) {
        self.entries.withLock { $0.append(request) }
    }
}

private final class ScriptHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let log: RequestLog
    private let script: @Sendable (String) -> ScriptedRelay.Reply
    private var text = ""

    init(
        log: RequestLog,
        script: @escaping @Sendable (String) -> ScriptedRelay.Reply
    ) {
        self.log = log
        self.script = script
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.text += String(buffer: Self.unwrapInboundIn(data))
        guard self.text.hasSuffix("\r\n\r\n") else { return }
        let request = self.text
        self.text = ""
        self.log.append(request)
        switch self.script(request) {
        case .send(let text):
            context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
        case .sendAndClose(let text):
            context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
            context.close(promise: nil)
        case .hangUp:
            context.close(promise: nil)
        case .silence:
            break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// A certificate for a name, signed by itself, and the file to trust it by.
struct TestCertificate {
    let context: NIOSSLContext
    let file: String

    init(for name: String) throws {
        let key = P256.Signing.PrivateKey()
        let subject = try DistinguishedName { CommonName(name) }
        let certificate = try Certificate(
            version: .v3,
            serialNumber: .init(),
            publicKey: .init(key.publicKey),
            notValidBefore: Date(timeIntervalSince1970: 1_700_000_000),
            notValidAfter: Date(timeIntervalSince1970: 4_000_000_000),
            issuer: subject,
            subject: subject,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                SubjectAlternativeNames([.dnsName(name)])
            },
            issuerPrivateKey: .init(key))
        let pem = try certificate.serializeAsPEM().pemString
        let folder = FileManager.default.temporaryDirectory
        let file = folder.appendingPathComponent("pgshare-test-\(UUID().uuidString).pem")
        try Data(pem.utf8).write(to: file)
        self.file = file.path
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)).map {
                .certificate($0)
            },
            privateKey: .privateKey(
                try NIOSSLPrivateKey(bytes: Array(key.pemRepresentation.utf8), format: .pem)))
        configuration.applicationProtocols = ["http/1.1"]
        self.context = try NIOSSLContext(configuration: configuration)
    }

    func remove() throws {
        try FileManager.default.removeItem(atPath: self.file)
    }
}

import Foundation
import HTTPTypes
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Relay
import SharePolicy
import Synchronization
import TunnelTransport

/// A folder that goes away with the test.
@discardableResult
func withFolder<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try await body(folder.path)
}

/// Takes every tunnel and echoes: first who owns it and how it came, then each byte.
struct EchoTunnels: TunnelDoor {
    func accept(
        channel: any Channel, transport: TunnelTransportKind, owner: OwnerID
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let handlers = channel.pipeline.syncOperations
            try handlers.addHandler(EchoHandler(greeting: "[\(owner) \(transport)]"))
        }
    }
}

/// Takes every page and echoes like ``EchoTunnels``.
struct EchoPages: PageDoor {
    func accept(
        channel: any Channel, share: ShareID, owner: OwnerID
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let handlers = channel.pipeline.syncOperations
            try handlers.addHandler(EchoHandler(greeting: "[\(owner) page \(share)]"))
        }
    }
}

/// Writes back what it reads, behind one greeting.
final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let greeting: String

    init(greeting: String) {
        self.greeting = greeting
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let greeting = ByteBuffer(string: self.greeting)
        context.writeAndFlush(Self.wrapOutboundOut(greeting), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Self.unwrapInboundIn(data)
        context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: nil)
    }
}

/// A directory with one share of `alice`.
final class OneShare: SharesControl {
    static let id = "0123456789abcdef"

    private let isRevoked = Mutex(false)

    func shares(of owner: OwnerID) async throws -> [ShareStatus] {
        owner.rawValue == "alice" ? [self.status] : []
    }

    func share(_ key: ShareKey, of owner: OwnerID) async throws -> ShareStatus? {
        key.text == Self.id && owner.rawValue == "alice" ? self.status : nil
    }

    func revoke(_ key: ShareKey, of owner: OwnerID) async throws -> ShareStatus? {
        guard try await self.share(key, of: owner) != nil else { return nil }
        self.isRevoked.withLock { $0 = true }
        return self.status
    }

    /// Its agent holds the password until it is revoked, which no test of a real share would do.
    func makePassword(_ key: ShareKey, of owner: OwnerID) async throws -> MadePassword? {
        guard try await self.share(key, of: owner) != nil else { return nil }
        guard self.isRevoked.withLock({ $0 }) else { throw APIError(.passwordElsewhere) }
        return MadePassword(
            user: "guest", password: "p/w", host: "db.example", port: 1, database: "a b",
            expiresAt: nil)
    }

    private var status: ShareStatus {
        let isRevoked = self.isRevoked.withLock { $0 }
        return ShareStatus(
            id: Self.id, name: nil, state: isRevoked ? .revoked : .online, database: "shop",
            user: "guest", clients: 2, maxConnections: 20,
            createdAt: Date(timeIntervalSince1970: 1_700_000_000), expiresAt: nil,
            revokedAt: isRevoked ? Date(timeIntervalSince1970: 1_700_000_100) : nil)
    }
}

/// A store that cannot be asked.
struct StoreIsDown: Error {}

/// A door that listens on a free loopback port while a test runs.
struct RunningDoor: Sendable {
    let port: Int
    let caFile: String
    /// Alice's.
    let token: TunnelToken
    let metrics: RelayMetrics

    var url: String { "https://localhost:\(self.port)" }

    /// Opens a door, runs `body`, closes the door.
    static func with(
        isOpen: Bool = false, isReady: Bool = true, storeIsDown: Bool = false,
        limits: HTTPDoorLimits = .patient, proxies: TrustedProxies = TrustedProxies(),
        _ body: @escaping @Sendable (RunningDoor) async throws -> Void
    ) async throws {
        try await withFolder { folder in
            let files = try DevelopmentCertificates.make(
                in: folder, domain: "localhost", now: Date())
            let metrics = RelayMetrics()
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let tls = try TLSContextBox(
                certificateFile: files.certificateFile, keyFile: files.keyFile, logger: logger,
                metrics: metrics)
            var random = SystemRandomNumberGenerator()
            let token = TunnelToken.make(using: &random)
            let gate = TokenGate(isOpen: isOpen) { hash in
                guard !storeIsDown else { throw StoreIsDown() }
                return hash == token.hash ? OwnerID(tokenName: "alice") : nil
            }
            var configuration = HTTPDoorConfiguration(host: "127.0.0.1", port: 0)
            configuration.limits = limits
            configuration.proxies = proxies
            let (ports, announced) = AsyncStream.makeStream(of: Int.self)
            let door = HTTPDoor(
                configuration: configuration, group: MultiThreadedEventLoopGroup.singleton,
                tls: tls, gate: gate, tunnels: EchoTunnels(), pages: EchoPages(),
                shares: OneShare(), metrics: metrics, isReady: { isReady }, logger: logger,
                onListening: { channel in
                    announced.yield(channel.localAddress?.port ?? 0)
                    announced.finish()
                })
            try await withThrowingTaskGroup { group in
                group.addTask { try await door.run() }
                var iterator = ports.makeAsyncIterator()
                let port = await iterator.next() ?? 0
                try await body(
                    RunningDoor(
                        port: port, caFile: files.caFile, token: token, metrics: metrics))
                group.cancelAll()
            }
        }
    }

    /// Sends `pieces` over one TLS connection, and returns what came back until it contains `end`
    /// or the door closed. `header` goes in front of TLS.
    func talk(
        _ pieces: [String], until end: String, header: ByteBuffer? = nil
    ) async throws -> String {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(self.caFile))
        tls.applicationProtocols = ["http/1.1"]
        let context = try NIOSSLContext(configuration: tls)
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        let connection = try await bootstrap.connect(host: "127.0.0.1", port: self.port) {
            channel in
            channel.eventLoop.makeCompletedFuture {
                if let header {
                    try channel.pipeline.syncOperations.addHandler(FirstBytes(header))
                }
                try channel.pipeline.syncOperations.addHandler(
                    NIOSSLClientHandler(context: context, serverHostname: "localhost"))
                return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                    wrappingChannelSynchronously: channel)
            }
        }
        return try await connection.executeThenClose { inbound, outbound in
            var answer = ""
            do {
                for piece in pieces { try await outbound.write(ByteBuffer(string: piece)) }
                for try await bytes in inbound {
                    answer += String(buffer: bytes)
                    if answer.contains(end) { break }
                }
            } catch {
                // The door closed without a close_notify: what came until then is the answer.
                answer += ""
            }
            return answer
        }
    }
}

/// Sends bytes as soon as the connection is there, before any handler behind it does.
private final class FirstBytes: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let bytes: ByteBuffer

    init(_ bytes: ByteBuffer) { self.bytes = bytes }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(NIOAny(self.bytes), promise: nil)
        context.fireChannelActive()
    }
}

/// A request head of lines.
func request(_ lines: String...) -> String {
    lines.joined(separator: "\r\n") + "\r\n\r\n"
}

extension HTTPDoorLimits {
    /// For tests that are not about time: forty doors at once on a busy machine are slow.
    static let patient: HTTPDoorLimits = {
        var limits = HTTPDoorLimits()
        limits.handshakeTimeout = .minutes(2)
        return limits
    }()
}

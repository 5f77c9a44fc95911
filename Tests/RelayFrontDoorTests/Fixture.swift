import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import PostgresWire
import SharePolicy
import Testing

@testable import Relay

/// Everything a front door stands on, with one share in the directory.
struct Fixture {
    static let password = "correct horse"
    static let domain = "share.test"

    let services: FrontDoorServices
    let acceptor = AcceptorDouble()
    let share: Share
    let clientTLS: NIOSSLContext

    var directory: ShareDirectory { self.services.directory }
    var id: String { self.share.id.rawValue }

    /// `protocols` is the client's ALPN; `change` alters share and configuration before their use.
    init(
        isOnline: Bool = true,
        limits: AdmissionLimits = AdmissionLimits(),
        protocols: [String] = ["postgresql"],
        change: (inout Share, inout FrontDoorConfiguration) -> Void = { _, _ in }
    ) throws {
        var configuration = FrontDoorConfiguration(mockSecret: [UInt8](repeating: 7, count: 32))
        configuration.port = 0
        configuration.domain = Self.domain
        var random = SystemRandomNumberGenerator()
        let owner = try #require(OwnerID(rawValue: "tests"))
        var share = Share(
            id: ShareID.make(using: &random),
            name: ShareName(rawValue: "blue"),
            owner: owner,
            verifier: Self.verifier.text,
            authMethod: .scram,
            limits: ShareLimits(),
            createdAt: Date(),
            expiresAt: nil,
            database: "shop",
            user: "reader"
        )
        change(&share, &configuration)
        self.share = share
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let directory = ShareDirectory()
        _ = directory.load([share], now: Date())
        if isOnline {
            _ = directory.tunnelUp(share, acceptor: self.acceptor, generation: 1, now: Date())
        }
        self.services = FrontDoorServices(
            configuration: configuration,
            directory: directory,
            cancels: CancelDirectory(),
            admission: AdmissionGate(limits: limits),
            tls: try TLSContextBox(
                certificateFile: Self.certificates.certificateFile,
                keyFile: Self.certificates.keyFile,
                logger: logger
            ),
            metrics: RelayMetrics(),
            logger: logger,
            threads: .singleton
        )
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file(Self.certificates.caFile)
        // A share is reached with and without a server name; its certificate is checked either way.
        tls.certificateVerification = .noHostnameVerification
        tls.applicationProtocols = protocols
        self.clientTLS = try NIOSSLContext(configuration: tls)
    }

    /// Made once: each takes a millisecond and more.
    private static let verifier: SCRAMVerifier = {
        var random = SystemRandomNumberGenerator()
        return SCRAMVerifier(password: Secret(Self.password), using: &random)
    }()

    /// Where the authority of all tests of the process is, until the process ends.
    private static let folder = FileManager.default.temporaryDirectory.path + "/pgshare-\(UUID())"

    private static let certificates: DevelopmentCertificates = {
        atexit { try? FileManager.default.removeItem(atPath: Fixture.folder) }
        do {
            return try DevelopmentCertificates.make(
                in: Self.folder, domain: Self.domain, now: Date())
        } catch {
            fatalError("no certificates for the tests: \(error)")
        }
    }()

    /// The authority's file.
    var caFile: String { Self.certificates.caFile }
}

/// Stands in for a tunnel: greets whoever is admitted and answers every Query with nothing.
final class AcceptorDouble: ClientAcceptor {
    struct Seen: Sendable {
        var clients: [AdmittedClient] = []
        var endings: [Refusal.Reason] = []
    }

    private let seen = NIOLockedValueBox(Seen())

    var clients: [AdmittedClient] { self.seen.withLockedValue { $0.clients } }
    var endings: [Refusal.Reason] { self.seen.withLockedValue { $0.endings } }

    /// Forgets the clients, and with them their leases.
    func forget() {
        self.seen.withLockedValue { $0.clients = [] }
    }

    func accept(_ client: AdmittedClient, channel: any Channel) {
        self.seen.withLockedValue { $0.clients.append(client) }
        var bytes = client.bufferedLoginReply
        bytes.writeImmutableBuffer(PostgresMessage.parameterStatus("server_version", "15.0"))
        bytes.writeImmutableBuffer(PostgresMessage.readyForQuery())
        channel.writeAndFlush(bytes, promise: nil)
        do {
            try channel.pipeline.syncOperations.addHandler(BackendDouble(client.earlyBytes))
        } catch {
            channel.close(promise: nil)
        }
    }

    func end(_ reason: Refusal.Reason) {
        self.seen.withLockedValue { $0.endings.append(reason) }
    }
}

/// Answers Query with EmptyQueryResponse and ReadyForQuery, and closes at Terminate.
final class BackendDouble: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var unread: ByteBuffer

    init(_ early: ByteBuffer) {
        self.unread = early
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.answer(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.unread.append(Self.unwrapInboundIn(data))
        self.answer(context)
    }

    private func answer(_ context: ChannelHandlerContext) {
        while let length = self.unread.getInteger(at: self.unread.readerIndex + 1, as: UInt32.self),
            var message = self.unread.readSlice(length: Int(length) + 1)
        {
            switch message.readInteger(as: UInt8.self) {
            case UInt8(ascii: "Q"):
                var bytes = ByteBuffer(bytes: [UInt8(ascii: "I"), 0, 0, 0, 4])
                bytes.writeImmutableBuffer(PostgresMessage.readyForQuery())
                context.writeAndFlush(NIOAny(bytes), promise: nil)
            case UInt8(ascii: "X"):
                context.close(promise: nil)
            default:
                break
            }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

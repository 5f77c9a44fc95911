import Crypto
import Foundation
import JWTKit
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import SharePolicy
import Testing

@testable import Relay

/// A folder that goes away with the test.
@discardableResult
func withFolder<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try await body(folder.path)
}

/// A key that signs tokens, made for one test.
struct TestKey: Sendable {
    let algorithm: String
    /// As it stands in a key set; nil for a shared secret.
    let jwk: String?
    let sign: @Sendable (Data) throws -> Data

    static func shared(_ secret: Data) -> TestKey {
        let key = SymmetricKey(data: secret)
        return TestKey(algorithm: "HS256", jwk: nil) { bytes in
            Data(HMAC<SHA256>.authenticationCode(for: bytes, using: key))
        }
    }

    static func p256(id: String, alg: String? = "ES256") -> TestKey {
        let key = P256.Signing.PrivateKey()
        let point = key.publicKey.x963Representation.dropFirst()
        let fields = [
            "kty": "EC", "crv": "P-256", "kid": id, "x": Self.text(point.prefix(32)),
            "y": Self.text(point.suffix(32)), "use": "sig", "alg": alg,
        ]
        return TestKey(algorithm: "ES256", jwk: Self.json(fields)) { bytes in
            try key.signature(for: bytes).rawRepresentation
        }
    }

    static func ed25519(id: String) -> TestKey {
        let key = Curve25519.Signing.PrivateKey()
        let fields = [
            "kty": "OKP", "crv": "Ed25519", "kid": id,
            "x": Self.text(key.publicKey.rawRepresentation),
        ]
        return TestKey(algorithm: "EdDSA", jwk: Self.json(fields)) { bytes in
            try key.signature(for: bytes)
        }
    }

    /// The library that makes RSA keys is not ours to use here; openssl makes one.
    static func rsa(id: String, in folder: String) async throws -> TestKey {
        let path = "\(folder)/rsa-\(id).pem"
        let openssl = Process()
        openssl.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        openssl.arguments = [
            "openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out",
            path,
        ]
        openssl.standardError = FileHandle.nullDevice
        try openssl.run()
        openssl.waitUntilExit()
        let key = try Insecure.RSA.PrivateKey(pem: Data(contentsOf: URL(fileURLWithPath: path)))
        let numbers = try key.publicKey.getKeyPrimitives()
        let fields = [
            "kty": "RSA", "kid": id, "n": Self.text(numbers.modulus),
            "e": Self.text(numbers.publicExponent),
        ]
        let signer = try await JWTKeyCollection().add(rsa: key, digestAlgorithm: .sha256).getKey()
        return TestKey(algorithm: "RS256", jwk: Self.json(fields)) { Data(try signer.sign($0)) }
    }

    static func keySet(_ keys: TestKey...) -> String {
        #"{"keys":[\#(keys.compactMap(\.jwk).joined(separator: ","))]}"#
    }

    static func text(_ bytes: some DataProtocol) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
            .replacing("=", with: "")
    }

    private static func json(_ fields: [String: String?]) -> String {
        let present = fields.compactMapValues { $0 }
        return "{" + present.map { #""\#($0)":"\#($1)""# }.sorted().joined(separator: ",") + "}"
    }

    /// A token of this key.
    func token(
        _ claims: String, algorithm: String? = nil, kid: String? = nil, header more: String = ""
    ) throws -> String {
        let id = kid.map { #","kid":"\#($0)""# } ?? ""
        let header = #"{"alg":"\#(algorithm ?? self.algorithm)","typ":"JWT"\#(id)\#(more)}"#
        let signed = Self.text(Data(header.utf8)) + "." + Self.text(Data(claims.utf8))
        return signed + "." + Self.text(try self.sign(Data(signed.utf8)))
    }
}

/// A server of key sets on a free port of this machine.
final class KeyServer: Sendable {
    /// How it answers.
    enum Manner {
        case whole
        /// It hangs up.
        case notAtAll
        /// It says nothing, and stays.
        case silent
        /// It sends the head and one byte, and stays.
        case stalled
        /// It sends one byte after another, as long as somebody listens.
        case dripping
        /// It sends more and more, as fast as it is taken.
        case endless
    }

    struct State {
        var body = ""
        var status = 200
        var manner = Manner.whole
        /// Where it redirects to.
        var location: String?
        var asked = 0
    }

    let state = NIOLockedValueBox(State())
    private let listener: any Channel

    private init(_ listener: any Channel) { self.listener = listener }

    var url: String { "http://127.0.0.1:\(self.listener.localAddress?.port ?? 0)/keys" }
    var asked: Int { self.state.withLockedValue { $0.asked } }

    static func with(_ body: (KeyServer) async throws -> Void) async throws {
        let box = NIOLockedValueBox<KeyServer?>(nil)
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Answer(box))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let server = KeyServer(listener)
        box.withLockedValue { $0 = server }
        do {
            try await body(server)
        } catch {
            try? await listener.close()
            throw error
        }
        try? await listener.close()
    }

    /// From here on connections are refused.
    func stop() async throws { try await self.listener.close() }

    private final class Answer: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let server: NIOLockedValueBox<KeyServer?>

        init(_ server: NIOLockedValueBox<KeyServer?>) { self.server = server }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard case .end = Self.unwrapInboundIn(data) else { return }
            let now = self.server.withLockedValue { $0 }?.state.withLockedValue { state in
                state.asked += 1
                return state
            }
            guard let now else { return context.close(promise: nil) }
            switch now.manner {
            case .whole: self.write(context, now)
            case .notAtAll: context.close(promise: nil)
            case .silent: break
            case .stalled:
                self.begin(context, now, length: 1_000)
                self.write(context, " ")
            case .dripping:
                self.begin(context, now, length: 1_000_000)
                self.goOn(context, " ", every: .milliseconds(100))
            case .endless:
                self.begin(context, now, length: nil)
                let much = String(repeating: " ", count: 64 * 1_024)
                self.goOn(context, much, every: .milliseconds(1))
            }
        }

        private func write(_ context: ChannelHandlerContext, _ state: State) {
            self.begin(context, state, length: state.body.utf8.count)
            self.write(context, state.body)
            context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        }

        private func begin(_ context: ChannelHandlerContext, _ state: State, length: Int?) {
            var headers = HTTPHeaders()
            if let length { headers.add(name: "Content-Length", value: "\(length)") }
            if let location = state.location { headers.add(name: "Location", value: location) }
            let head = HTTPResponseHead(
                version: .http1_1, status: HTTPResponseStatus(statusCode: state.status),
                headers: headers)
            context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        }

        private func write(_ context: ChannelHandlerContext, _ text: String) {
            let body = ByteBuffer(string: text)
            context.writeAndFlush(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }

        private func goOn(_ context: ChannelHandlerContext, _ text: String, every: TimeAmount) {
            guard context.channel.isActive else { return }
            self.write(context, text)
            context.eventLoop.assumeIsolated().scheduleTask(in: every) {
                self.goOn(context, text, every: every)
            }
        }
    }
}

/// A clock that a test moves by hand.
final class HandClock: Sendable {
    private let time = NIOLockedValueBox(NIODeadline.uptimeNanoseconds(1_000_000_000_000))

    var now: NIODeadline { self.time.withLockedValue { $0 } }
    func advance(_ amount: TimeAmount) { self.time.withLockedValue { $0 = $0 + amount } }
}

/// An issuer as a relay of the tests believes it.
enum TestIssuer {
    static let name = "https://issuer.example/auth/v1"
    static let audience = "pgshare"
    static let now = Date(timeIntervalSince1970: 1_800_000_000)
    static let secret = Data("0123456789abcdef0123456789abcdef-secret".utf8)
    static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Good claims, with some replaced; nil leaves one out.
    static func claims(_ changes: [String: String?] = [:]) -> String {
        let good: [String: String?] = [
            "iss": #""\#(Self.name)""#, "aud": #""\#(Self.audience)""#, "sub": #""anna""#,
            "exp": "1800003600",
        ]
        let all = good.merging(changes) { $1 }.compactMapValues { $0 }
        return "{" + all.map { #""\#($0)":\#($1)"# }.sorted().joined(separator: ",") + "}"
    }

    static func make(
        keySet: IssuerConfiguration.KeySet? = nil, secretFile: String? = nil,
        clock: HandClock = HandClock()
    ) async throws -> TokenIssuer {
        try await TokenIssuer(
            IssuerConfiguration(
                issuer: Self.name, audience: Self.audience, keySet: keySet,
                secretFile: secretFile),
            logger: Self.quiet, clock: { clock.now })
    }

    static func file(_ bytes: Data, in folder: String) throws -> String {
        let path = "\(folder)/secret"
        try bytes.write(to: URL(fileURLWithPath: path))
        return path
    }

    /// Whom a token speaks for, or the code of the refusal.
    static func verdict(_ token: String, _ issuer: TokenIssuer) async throws -> String {
        let token = try #require(IssuedToken(token))
        do {
            return try await issuer.owner(of: token, now: Self.now).rawValue
        } catch {
            return error.code.rawValue
        }
    }
}

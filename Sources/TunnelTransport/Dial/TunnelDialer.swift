package import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// Whom the agent trusts to be the relay.
package enum RelayTrust: Sendable, Hashable {
    /// The certificate authorities of the operating system.
    case system
    /// Those of this PEM file, and no others.
    case certificateFile(String)
}

/// A connection to the relay on which the tunnel protocol may begin.
package struct DialedTunnel: Sendable {
    /// Its pipeline holds TLS if the relay uses it, and for WebSocket a
    /// ``WebSocketTransportHandler``. `autoRead` is off and nothing is being read: whoever takes
    /// over adds handlers, handles ``early``, then reads. It may have become inactive meanwhile.
    package var channel: any Channel
    /// How the bytes travel.
    package var transport: TunnelTransportKind
    /// Tunnel bytes that arrived with the answer; for WebSocket the payload.
    package var early: ByteBuffer
    /// Whether ``DialPlan/opening`` went out behind the request.
    package var hasOpened = false
}

/// What is particular about one dial.
package struct DialPlan: Sendable {
    /// Tried first.
    package var transport = TunnelTransportKind.raw
    /// The relay's address, or the proxy's, as it was last; nil to look the name up.
    package var address: SocketAddress?
    /// Called once TCP stands.
    package var connected: (@Sendable () -> Void)?
    /// Called when a raw upgrade is about to be asked for, for bytes that travel behind it without
    /// waiting for the answer. Only for a relay that takes them.
    package var opening: (@Sendable () -> ByteBuffer?)?

    package init() {}
}

/// A dial that is under way. On its event loop.
package struct DialAttempt: Sendable {
    /// Fails with ``DialError`` only.
    package let tunnel: EventLoopFuture<DialedTunnel>
    private let dial: Dial

    init(_ dial: Dial, tunnel: EventLoopFuture<DialedTunnel>) {
        self.dial = dial
        self.tunnel = tunnel
    }

    /// Closes whatever there is of it. Does nothing once it has ended.
    package func abandon() { self.dial.abandon() }
}

/// Dials the relay for an agent: TCP, TLS, token, upgrade; raw first, WebSocket where that fails.
package final class TunnelDialer: Sendable {
    /// The default of the time that one dial may take, both transports together.
    package static let defaultTimeout = TimeAmount.seconds(10)

    let endpoint: RelayEndpoint
    let token: String
    let tls: NIOSSLContext?
    let proxy: ProxySettings
    let fallsBack: Bool
    let timeout: TimeAmount
    /// Whether the last dial that worked was one where raw had been refused.
    private let rawWasRefused = Atomic<Bool>(false)
    /// HELLOs in a row that left on a raw tunnel, and that no relay answered.
    private let lostHellos = Atomic<Int>(0)
    /// After so many the next dial is a WebSocket. One is a relay that was just being restarted.
    static let mostLostHellos = 2

    /// Creates a dialer; one TLS context is shared by all its dials.
    ///
    /// - Parameters:
    ///   - endpoint: Where to dial.
    ///   - token: Sent as bearer; never printed.
    ///   - trust: Who may vouch for the relay.
    ///   - proxy: Which HTTP proxy to go through, for TLS endpoints only.
    ///   - fallsBack: Whether a raw dial that the network spoils is tried again as WebSocket.
    ///   - timeout: For one dial, above zero.
    /// - Throws: ``DialError/badSettings(reason:)``.
    package init(
        relay endpoint: RelayEndpoint,
        token: String,
        trust: RelayTrust,
        proxy: ProxySettings = .none,
        fallsBack: Bool = true,
        timeout: TimeAmount = TunnelDialer.defaultTimeout
    ) throws(DialError) {
        guard !token.isEmpty, token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .badSettings(reason: "the token holds characters that no token has")
        }
        self.endpoint = endpoint
        self.token = token
        self.proxy = proxy
        self.fallsBack = fallsBack
        self.timeout = timeout
        self.tls = endpoint.usesTLS ? try Self.makeContext(trust) : nil
    }

    /// Dials once, with a fallback where the transport may be at fault.
    ///
    /// - Parameters:
    ///   - loop: The channel lives on it, and the future belongs to it.
    ///   - transport: Raw falls back to WebSocket, and a later dial then begins with WebSocket.
    ///     WebSocket does not fall back.
    /// - Returns: Fails with ``DialError`` only.
    package func dial(
        on loop: any EventLoop,
        preferring transport: TunnelTransportKind = .raw
    ) -> EventLoopFuture<DialedTunnel> {
        self.begin(on: loop, preferring: transport).tunnel
    }

    /// The same, for who may lose interest.
    package func begin(
        on loop: any EventLoop, preferring transport: TunnelTransportKind
    ) -> DialAttempt {
        var plan = DialPlan()
        plan.transport = self.doubtsRaw ? .webSocket : transport
        let attempt = self.attempt(plan, on: loop)
        attempt.tunnel.whenFailure { _ in
            // Perhaps the network has changed: begin anew with what was asked for.
            self.rawWasRefused.store(false, ordering: .relaxed)
            self.lostHellos.store(0, ordering: .relaxed)
        }
        return attempt
    }

    /// Whoever has said HELLO on a tunnel of ``begin(on:preferring:)`` tells what came of it: a
    /// middlebox may let the upgrade pass and spoil what comes behind it.
    ///
    /// - Parameters:
    ///   - isAnswered: Whether a relay answered, be it no.
    ///   - transport: The tunnel's.
    package func hello(isAnswered: Bool, over transport: TunnelTransportKind) {
        switch (transport, isAnswered) {
        case (.raw, false):
            self.lostHellos.add(1, ordering: .relaxed)
        case (.webSocket, true):
            if self.doubtsRaw { self.rememberFallback() }
            self.lostHellos.store(0, ordering: .relaxed)
        case (.raw, true), (.webSocket, false):
            self.lostHellos.store(0, ordering: .relaxed)
        }
    }

    private var doubtsRaw: Bool {
        self.fallsBack && self.lostHellos.load(ordering: .relaxed) >= Self.mostLostHellos
    }

    /// Begins one dial that can be given up: several may race.
    package func attempt(_ plan: DialPlan, on loop: any EventLoop) -> DialAttempt {
        let promise = loop.makePromise(of: DialedTunnel.self)
        let knowsBetter = self.rawWasRefused.load(ordering: .relaxed)
        let first: TunnelTransportKind = knowsBetter ? .webSocket : plan.transport
        let dial = Dial(self, plan: plan, loop: loop, promise: promise)
        if knowsBetter {
            promise.futureResult.whenFailure { error in
                let error = error as? DialError
                guard error != .abandoned, error?.isUnreachable != true else { return }
                self.rawWasRefused.store(false, ordering: .relaxed)
            }
        }
        if loop.inEventLoop { dial.start(first) } else { loop.execute { dial.start(first) } }
        return DialAttempt(dial, tunnel: promise.futureResult)
    }

    /// WebSocket worked where raw did not.
    func rememberFallback() {
        self.rawWasRefused.store(true, ordering: .relaxed)
    }

    private static func makeContext(_ trust: RelayTrust) throws(DialError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        configuration.certificateVerification = .fullVerification
        // close_notify is a courtesy here: the tunnel protocol has its own goodbye.
        configuration.shutdownTimeout = .milliseconds(500)
        switch trust {
        case .system:
            configuration.trustRoots = .default
        case .certificateFile(let path):
            guard let certificates = try? NIOSSLCertificate.fromPEMFile(path), !certificates.isEmpty
            else {
                throw .badSettings(reason: "the CA file \(path) holds no certificate we can read")
            }
            configuration.trustRoots = .certificates(certificates)
        }
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw .badSettings(reason: "TLS cannot be set up: \(error)")
        }
    }
}

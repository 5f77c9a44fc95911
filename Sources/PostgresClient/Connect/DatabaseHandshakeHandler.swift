import NIOCore
import NIOSSL
import NIOTLS
import PostgresWire

/// From a connected socket to AuthenticationOk, or to a sent cancel request.
///
///     negotiating ──S──▶ handshaking ──TLS──▶ loggingIn ──AuthenticationOk──▶ loggedIn
///          └─────N──────────────────────────────▲ │
///                                                 └─ cancel: awaitingClose ──EOF──▶ finished
///
/// It runs a ``ClientLoginMachine``, reads only what it needs (`autoRead` is off), and removes
/// itself before it reports.
final class DatabaseHandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What the connection is for.
    enum Purpose {
        /// A session.
        case login(BackendRequest)
        /// A cancel request.
        case cancel(CancelKey)
    }

    /// How it ended. Reported once.
    enum Outcome {
        /// Authenticated.
        case loggedIn(Backend)
        /// Postgres has closed the connection of a cancel request.
        case cancelled
        /// Neither. `mayTryOtherEncryption`: libpq would try `allow` and `prefer` the other way.
        case failed(BackendFailure, mayTryOtherEncryption: Bool)

        /// The common failure.
        static func failed(_ failure: BackendFailure, _ mayTry: Bool) -> Outcome {
            .failed(failure, mayTryOtherEncryption: mayTry)
        }
    }

    /// Called on the event loop.
    typealias Completion = @Sendable (Outcome) -> Void

    private enum Phase {
        case negotiating
        case handshaking
        case loggingIn(ClientLoginMachine)
        case awaitingClose
        case loggedIn
        case finished
    }

    private let purpose: Purpose
    private let encryption: Encryption
    private let connector: DatabaseConnector
    private let deadline: NIODeadline
    private let completion: Completion
    private var phase = Phase.negotiating
    private var unread = ByteBuffer()
    private var isEncrypted = false
    private var tlsHandler: NIOSSLClientHandler?
    private var timer: Scheduled<Void>?
    private var random = SystemRandomNumberGenerator()

    init(
        _ purpose: Purpose,
        _ encryption: Encryption,
        _ connector: DatabaseConnector,
        deadline: NIODeadline,
        _ completion: @escaping Completion
    ) {
        self.purpose = purpose
        self.encryption = encryption
        self.connector = connector
        self.deadline = deadline
        self.completion = completion
    }

    func handlerAdded(context: ChannelHandlerContext) {
        // The channel is active: it was handed over connected.
        guard context.channel.isActive else {
            return self.closed(context: context)
        }
        self.timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: self.deadline) {
            self.fail(.init(.timedOut, detail: "the handshake"), context: context)
        }
        self.begin(context: context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.timer?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        if self.unread.readableBytes == 0 {
            self.unread = bytes
        } else {
            self.unread.writeBuffer(&bytes)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.consume(context: context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.consume(context: context)
        self.closed(context: context)
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .handshakeCompleted(let negotiated)? = event as? TLSUserEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        self.encrypted(negotiated, context: context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch self.phase {
        case .handshaking:
            self.fail(
                .init(.tls, detail: "\(error)"), mayTryOtherEncryption: true, context: context)
        case .awaitingClose:
            // Postgres closes without a TLS goodbye; channelInactive follows.
            break
        case .negotiating, .loggingIn, .loggedIn:
            self.fail(.init(.unreachable, detail: "\(error)"), context: context)
        case .finished:
            break
        }
    }
}

// MARK: - Encryption

extension DatabaseHandshakeHandler {
    /// The first write.
    private func begin(context: ChannelHandlerContext) {
        switch (self.encryption, self.connector.target.tls.negotiation) {
        case (.none, _):
            self.speak(context: context)
        case (.required, .direct):
            self.startTLS(context: context)
        case (.ifOffered, _), (.required, .postgres):
            self.send(PostgresMessage.sslRequest(), context: context)
        }
    }

    /// The one-byte answer to SSLRequest.
    private func negotiated(context: ChannelHandlerContext) {
        guard let answer = self.unread.readInteger(as: UInt8.self) else { return context.read() }
        guard self.unread.readableBytes == 0 else {
            // Nobody has authenticated these bytes: CVE-2021-23222 is libpq once reading them.
            return self.fail(
                .init(.tls, detail: "bytes in clear behind the answer to SSLRequest"),
                context: context)
        }
        switch (answer, self.encryption) {
        case (UInt8(ascii: "S"), _):
            self.startTLS(context: context)
        case (UInt8(ascii: "N"), .ifOffered):
            self.speak(context: context)
        case (UInt8(ascii: "N"), _):
            self.fail(
                .init(.tls, detail: "the server does not support TLS, but sslmode requires it"),
                context: context)
        default:
            // An ErrorResponse here is not authenticated either (CVE-2024-10977): not read.
            self.fail(
                .init(.protocolViolation, detail: "the answer to SSLRequest is byte \(answer)"),
                mayTryOtherEncryption: true, context: context)
        }
    }

    private func startTLS(context: ChannelHandlerContext) {
        self.phase = .handshaking
        do {
            let handler = try self.connector.makeTLSHandler()
            self.tlsHandler = handler
            try context.pipeline.syncOperations.addHandler(handler, position: .before(self))
            context.read()
        } catch {
            self.fail(.init(.tls, detail: "\(error)"), context: context)
        }
    }

    private func encrypted(_ negotiatedProtocol: String?, context: ChannelHandlerContext) {
        guard case .handshaking = self.phase else { return }
        // A server that speaks direct TLS must agree on the protocol: what answers may be an
        // HTTPS server otherwise (ALPACA).
        let isDirect = self.connector.target.tls.negotiation == .direct
        guard !isDirect || negotiatedProtocol == DatabaseTLSSettings.applicationProtocol else {
            return self.fail(
                .init(.tls, detail: "direct TLS without ALPN \"postgresql\""), context: context)
        }
        guard self.isExpectedServer else {
            return self.fail(
                .init(.tls, detail: "the server certificate is not for the host name"),
                context: context)
        }
        self.isEncrypted = true
        self.speak(context: context)
    }
}

extension DatabaseHandshakeHandler {
    /// Whether `sslmode=verify-full` is content with the certificate.
    private var isExpectedServer: Bool {
        let target = self.connector.target
        guard target.tls.mode == .verifyFull, let name = target.serverName else { return true }
        guard let certificate = self.tlsHandler?.peerCertificate else { return false }
        return ServerNameCheck.matches(certificate, name: name)
    }
}

// MARK: - Login

extension DatabaseHandshakeHandler {
    /// The first write of Postgres's own protocol.
    private func speak(context: ChannelHandlerContext) {
        switch self.purpose {
        case .login(let request):
            var machine = self.connector.makeLogin(
                request, certificate: try? self.tlsHandler?.peerCertificate?.toDERBytes())
            let startup = machine.start()
            self.phase = .loggingIn(machine)
            self.send(startup, context: context)
        case .cancel(let key):
            self.phase = .awaitingClose
            self.send(PostgresMessage.cancelRequest(key), context: context)
        }
    }

    /// Takes what has arrived.
    private func consume(context: ChannelHandlerContext) {
        switch self.phase {
        case .negotiating:
            self.negotiated(context: context)
        case .loggingIn(let machine):
            self.phase = .finished
            self.advance(machine, context: context)
        case .loggedIn:
            self.handOver(context: context)
        case .awaitingClose:
            self.unread.clear()
            context.read()
        case .handshaking, .finished:
            break
        }
    }

    /// Runs the machine until it wants more bytes, or is done.
    private func advance(_ machine: consuming ClientLoginMachine, context: ChannelHandlerContext) {
        while true {
            switch machine.receive(&self.unread, using: &self.random) {
            case .readMore:
                self.phase = .loggingIn(machine)
                return context.read()
            case .send(let reply):
                context.writeAndFlush(Self.wrapOutboundOut(reply), promise: nil)
            case .authenticated:
                if let keys = machine.scramKeys { self.connector.remember(keys) }
                self.phase = .loggedIn
                return self.handOver(context: context)
            case .failed(.server(let error)):
                let isPolicy = error.sqlState == .invalidAuthorizationSpecification
                return self.fail(
                    .init(server: error, afterLogin: false), mayTryOtherEncryption: isPolicy,
                    context: context)
            case .failed(let failure):
                return self.fail(.init(.login, detail: "\(failure)"), context: context)
            }
        }
    }

    /// Reports the session, unless its greeting begins with an error: Postgres looks for the
    /// database and at the parameters only after the login.
    private func handOver(context: ChannelHandlerContext) {
        let start = self.unread.readerIndex
        guard let first = self.unread.getInteger(at: start, as: UInt8.self) else {
            return context.read()
        }
        guard first != UInt8(ascii: "E") else {
            guard let error = self.greetingError() else { return context.read() }
            return self.fail(.init(server: error, afterLogin: true), context: context)
        }
        let backend = Backend(
            channel: context.channel, early: self.unread, isEncrypted: self.isEncrypted)
        self.phase = .finished
        self.unread = ByteBuffer()
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        self.completion(.loggedIn(backend))
    }

    /// The ErrorResponse at the front, once it is whole.
    private func greetingError() -> PostgresError? {
        let start = self.unread.readerIndex
        guard let length = self.unread.getInteger(at: start + 1, as: UInt32.self),
            (4...UInt32(ClientLoginMachine.maximumMessageBytes)).contains(length),
            let body = self.unread.getSlice(at: start + 5, length: Int(length) - 4)
        else { return nil }
        return PostgresError.parse(body: body)
    }

    private func closed(context: ChannelHandlerContext) {
        switch self.phase {
        case .finished:
            break
        case .awaitingClose:
            self.phase = .finished
            self.timer?.cancel()
            self.completion(.cancelled)
        case .handshaking:
            self.fail(
                .init(.tls, detail: "closed during the TLS handshake"),
                mayTryOtherEncryption: true, context: context)
        case .negotiating, .loggingIn, .loggedIn:
            self.fail(
                .init(.unreachable, detail: "closed before the login was over"), context: context)
        }
    }

    private func send(_ bytes: ByteBuffer, context: ChannelHandlerContext) {
        context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: nil)
        context.read()
    }

    private func fail(
        _ failure: BackendFailure,
        mayTryOtherEncryption: Bool = false,
        context: ChannelHandlerContext
    ) {
        if case .finished = self.phase, self.timer == nil { return }
        self.phase = .finished
        self.timer?.cancel()
        self.timer = nil
        context.close(promise: nil)
        self.completion(.failed(failure, mayTryOtherEncryption: mayTryOtherEncryption))
    }
}

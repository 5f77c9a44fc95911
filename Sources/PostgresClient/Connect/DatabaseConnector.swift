import Dispatch
public import NIOCore
import NIOPosix
import NIOSSL
public import PostgresWire
import Synchronization

/// Opens sessions of the shared database, each logged in as the agent's role.
///
/// This is the path of every new client: a socket, one write, one read, and the greeting is
/// handed on. The TLS context and the SCRAM keys are made once and shared by all of them.
public final class DatabaseConnector: Sendable {
    /// How long Postgres may take to close a cancel connection.
    public static let cancelTimeout = TimeAmount.seconds(10)

    /// The wait before a unix socket whose queue of connections is full is tried again.
    static let queueFullRetry = TimeAmount.milliseconds(5)

    /// Where the sessions are.
    public let target: DatabaseTarget
    private let tlsContext: NIOSSLContext?
    /// The address libpq reached, so that no resolver (and no other thread) is asked again.
    private let knownAddress: SocketAddress?
    private let scramKeys = Mutex<SCRAMKeys?>(nil)

    /// Creates a connector; reads the certificates and keys that `target` names.
    ///
    /// - Throws: ``DatabaseSettingsError`` if one of them cannot be used.
    public init(_ target: DatabaseTarget) throws(DatabaseSettingsError) {
        self.target = target
        self.knownAddress = target.knownAddress
        self.tlsContext =
            target.encryptions.contains { $0 != .none } ? try target.tls.makeContext() : nil
    }

    /// Opens one session. Any thread may call this; everything happens on `eventLoop`.
    ///
    /// - Returns: The session, authenticated, or a ``BackendFailure``, within the target's
    ///   ``DatabaseTarget/connectTimeout``.
    public func connect(
        _ request: BackendRequest,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<Backend> {
        let promise = eventLoop.makePromise(of: Backend.self)
        let encryptions = self.target.encryptions
        let deadline = NIODeadline.now() + self.target.connectTimeout
        eventLoop.runHere {
            self.logIn(request, encryptions[...], deadline, eventLoop, promise)
        }
        return promise.futureResult
    }

    /// Asks Postgres to cancel what the session with this key is doing.
    ///
    /// - Parameters:
    ///   - key: The backend's own key, from its greeting.
    ///   - isEncrypted: Whether the session's own connection is (``Backend/isEncrypted``); the
    ///     request is then never sent in clear.
    ///   - eventLoop: Where the future completes.
    /// - Returns: Completes once Postgres has closed the connection, so the signal is sent; fails
    ///   with a ``BackendFailure`` within ``cancelTimeout``.
    public func cancel(
        _ key: CancelKey,
        isEncrypted: Bool,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        let limit = min(self.target.connectTimeout, Self.cancelTimeout)
        let deadline = NIODeadline.now() + limit
        eventLoop.runHere {
            self.open(.cancel(key), isEncrypted ? .required : .none, deadline, eventLoop) {
                switch $0 {
                case .loggedIn, .cancelled: promise.succeed()
                case .failed(let failure, _): promise.fail(failure)
                }
            }
        }
        return promise.futureResult
    }

    /// Tries the kinds of encryption in order, as libpq does for `allow` and `prefer`.
    private func logIn(
        _ request: BackendRequest,
        _ encryptions: ArraySlice<Encryption>,
        _ deadline: NIODeadline,
        _ eventLoop: any EventLoop,
        _ promise: EventLoopPromise<Backend>
    ) {
        guard let encryption = encryptions.first else {
            return promise.fail(BackendFailure(.tls, detail: "no kind of encryption is allowed"))
        }
        self.open(.login(request), encryption, deadline, eventLoop) { outcome in
            switch outcome {
            case .loggedIn(let backend):
                promise.succeed(backend)
            case .failed(_, mayTryOtherEncryption: true) where encryptions.count > 1:
                self.logIn(request, encryptions.dropFirst(), deadline, eventLoop, promise)
            case .failed(let failure, _):
                promise.fail(failure)
            case .cancelled:
                promise.fail(BackendFailure(.protocolViolation, detail: "closed as a cancel is"))
            }
        }
    }

    /// Opens a socket and hands it to a ``DatabaseHandshakeHandler``.
    private func open(
        _ purpose: DatabaseHandshakeHandler.Purpose,
        _ encryption: Encryption,
        _ deadline: NIODeadline,
        _ eventLoop: any EventLoop,
        _ completion: @escaping DatabaseHandshakeHandler.Completion
    ) {
        let left = deadline - .now()
        guard left > .zero else {
            return completion(.failed(BackendFailure(.timedOut, detail: "connecting"), false))
        }
        self.socket(left, eventLoop).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel):
                let handler = DatabaseHandshakeHandler(
                    purpose, encryption, self, deadline: deadline, completion)
                do {
                    try channel.pipeline.syncOperations.addHandler(handler)
                } catch {
                    completion(.failed(BackendFailure(.unreachable, detail: "\(error)"), false))
                }
            case .failure(let error as IOError)
            where error.errnoCode == EAGAIN && self.target.endpoint.isUnixSocket:
                // The queue behind listen() is full: for a unix socket that is an error at once.
                eventLoop.scheduleTask(in: Self.queueFullRetry) {
                    self.open(purpose, encryption, deadline, eventLoop, completion)
                }
            case .failure(let error):
                completion(.failed(BackendFailure(connecting: error), false))
            }
        }
    }

    /// A connected socket that reads nothing by itself.
    private func socket(
        _ timeout: TimeAmount,
        _ eventLoop: any EventLoop
    ) -> EventLoopFuture<any Channel> {
        let bootstrap = ClientBootstrap(group: eventLoop)
            .channelOption(.autoRead, value: false)
            // A read buffer stays with an idle session; a greeting fits, and a result grows it.
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 512, initial: 1_024, maximum: 65_536)
            )
            .connectTimeout(timeout)
        switch self.target.endpoint {
        case .unixSocket(let path):
            return bootstrap.connect(unixDomainSocketPath: path)
        case .tcp(let host, let address, let port):
            let alive = bootstrap.channelOption(.socketOption(.so_keepalive), value: 1)
            guard let knownAddress = self.knownAddress else {
                return alive.connect(host: host, port: port)
            }
            let known = alive.connect(to: knownAddress)
            guard !host.isEmpty, host != address else { return known }
            // The name may point elsewhere by now: the database has moved, or failed over.
            return known.assumeIsolated()
                .flatMapError { _ in alive.connect(host: host, port: port) }
                .nonisolated()
        }
    }
}

extension DatabaseConnector {
    /// A TLS handler for one connection.
    func makeTLSHandler() throws -> NIOSSLClientHandler {
        guard let context = self.tlsContext else {
            throw BackendFailure(.tls, detail: "sslmode does not allow TLS")
        }
        return try NIOSSLClientHandler(context: context, serverHostname: self.target.serverName)
    }

    /// A login for one connection; `certificate` is the server's, DER, or nil without TLS.
    func makeLogin(
        _ request: BackendRequest,
        certificate: @autoclosure () -> [UInt8]?
    ) -> ClientLoginMachine {
        let binding = self.target.channelBinding == .disable ? nil : certificate()
        return ClientLoginMachine(
            startup: request.startup(for: self.target),
            credentials: .init(
                user: self.target.user,
                password: self.target.password,
                channelBindingPolicy: self.target.channelBinding,
                requireAuth: self.target.requireAuth,
                cachedKeys: self.scramKeys.withLock { $0 }
            ),
            channelBinding: binding.flatMap(TLSServerEndPoint.hash(certificateDER:))
        )
    }

    /// Keeps what the next login need not compute again: PBKDF2 is most of its cost.
    func remember(_ keys: SCRAMKeys) {
        self.scramKeys.withLock { $0 = keys }
    }
}

/// What one attempt does about TLS.
enum Encryption: Hashable, Sendable {
    /// Plaintext.
    case none
    /// TLS if the server says yes to an SSLRequest, else plaintext.
    case ifOffered
    /// TLS or nothing.
    case required
}

extension DatabaseTarget {
    /// The attempts, in order.
    ///
    /// Source: libpq's `fe-connect.c`; "SSL Support" in PostgreSQL's documentation.
    var encryptions: [Encryption] {
        guard !self.endpoint.isUnixSocket else { return [.none] }
        return switch self.tls.mode {
        case .disable: [.none]
        case .allow: [.none, .required]
        case .prefer: [.ifOffered, .none]
        case .require, .verifyCA, .verifyFull: [.required]
        }
    }

    /// The IP address that libpq reached, if it said so.
    var knownAddress: SocketAddress? {
        switch self.endpoint {
        case .unixSocket, .tcp(_, nil, _): nil
        case .tcp(_, let address?, let port): try? SocketAddress(ipAddress: address, port: port)
        }
    }

    /// The name for SNI and for the check of the certificate; nil where only an address is known.
    var serverName: String? {
        switch self.endpoint {
        case .unixSocket:
            return nil
        case .tcp(let host, _, let port):
            let isNeeded = self.tls.sendsServerName || self.tls.mode == .verifyFull
            let isAddress = (try? SocketAddress(ipAddress: host, port: port)) != nil
            return host.isEmpty || isAddress || !isNeeded ? nil : host
        }
    }
}

extension BackendFailure {
    /// A socket that could not be connected.
    init(connecting error: any Error) {
        switch error {
        case let error as BackendFailure:
            self = error
        case ChannelError.connectTimeout:
            self.init(.timedOut, detail: "connecting")
        default:
            self.init(.unreachable, detail: "connecting: \(error)")
        }
    }
}

extension EventLoop {
    /// Runs `task` now where the caller is on this loop already, else as soon as the loop can.
    func runHere(_ task: @escaping @Sendable () -> Void) {
        guard self.inEventLoop else { return self.execute(task) }
        task()
    }
}

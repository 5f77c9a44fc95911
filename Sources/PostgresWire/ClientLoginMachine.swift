import Crypto
public import NIOCore

/// How the agent logs in to its own Postgres, from StartupMessage to AuthenticationOk.
///
///                 AuthenticationCleartextPassword, MD5Password/send
///     starting ──▶ awaitingRequest ──────────────────────────▶ awaitingOk ──┐
///         start       │  │                                          ▲       │
///                     │  │ AuthenticationSASL/send                  │       │ AuthenticationOk
///                     │  ▼                                          │       │ /authenticated
///                     │ awaitingChallenge ──▶ awaitingSignature ────┘       ▼
///                     │           SASLContinue/send       SASLFinal      finished
///                     └──────────────────── AuthenticationOk ──────────────▶
/// ErrorResponse/failed everywhere. NoticeResponse and, before the request,
/// NegotiateProtocolVersion
/// are read and dropped. Anything else fails and ends in finished.
///
/// Source: PostgreSQL documentation, "Message Flow", "Start-up"; libpq's `fe-auth.c`, whose rules
/// for
/// `channel_binding` and `require_auth` these are.
public struct ClientLoginMachine: Sendable {
    /// The longest message accepted before AuthenticationOk, in bytes: `MAX_ERRLEN` in libpq.
    public static let maximumMessageBytes = 30_000

    /// Who logs in, and how a server may ask.
    public struct Credentials: Hashable, Sendable {
        /// The role.
        public var user: String
        /// Its password, or nil where there is none: then a server that asks for one is refused.
        public var password: Secret?
        /// libpq's `channel_binding`.
        public var channelBindingPolicy: ChannelBindingPolicy
        /// libpq's `require_auth`: what is allowed, or nil for everything.
        public var requireAuth: Set<Method>?
        /// Keys of an earlier login of the same user and password; see
        /// ``ClientLoginMachine/scramKeys``.
        public var cachedKeys: SCRAMKeys?

        /// Creates credentials.
        public init(
            user: String,
            password: Secret?,
            channelBindingPolicy: ChannelBindingPolicy = .prefer,
            requireAuth: Set<Method>? = nil,
            cachedKeys: SCRAMKeys? = nil
        ) {
            self.user = user
            self.password = password
            self.channelBindingPolicy = channelBindingPolicy
            self.requireAuth = requireAuth
            self.cachedKeys = cachedKeys
        }
    }

    /// libpq's `channel_binding`.
    public enum ChannelBindingPolicy: String, Hashable, Sendable {
        /// Never.
        case disable
        /// Where server and connection can.
        case prefer
        /// Or fail.
        case require
    }

    /// The names of libpq's `require_auth` that we can do.
    public enum Method: String, Hashable, Sendable, CaseIterable {
        /// The server asks for nothing: trust, peer, or a client certificate.
        case none
        /// Cleartext.
        case password
        /// MD5 of password, name and salt.
        case md5
        /// SCRAM-SHA-256, with or without PLUS.
        case scramSHA256 = "scram-sha-256"
    }

    /// What to do next. One message in, one action out.
    public enum OnReceive: Equatable, Sendable {
        /// Not a whole message yet.
        case readMore
        /// Send this, then read on.
        case send(ByteBuffer)
        /// We are in. What is left in `bytes` is the greeting.
        case authenticated
        /// We are not. Close.
        case failed(LoginFailure)
    }

    private enum Phase {
        case starting
        case awaitingRequest
        case awaitingChallenge(SCRAMClient)
        case awaitingSignature(SCRAMClient, SCRAMClient.Response)
        case awaitingOk(Method, bound: Bool, SCRAMKeys?)
        case finished(SCRAMKeys?)
    }

    private let startup: [StartupRequest.Parameter]
    private let credentials: Credentials
    private let channelBinding: [UInt8]?
    private var phase = Phase.starting

    /// Creates a machine for one login.
    ///
    /// - Parameters:
    ///   - startup: The parameters of StartupMessage, `user` and `database` among them.
    ///   - credentials: Who logs in.
    ///   - channelBinding: The `tls-server-end-point` data of the server's certificate, or nil
    ///     where
    ///     there is no TLS or the data is not defined for it.
    public init(
        startup: [StartupRequest.Parameter],
        credentials: Credentials,
        channelBinding: [UInt8]?
    ) {
        self.startup = startup
        self.credentials = credentials
        self.channelBinding = channelBinding
    }

    /// The keys of the SCRAM exchange, once authenticated and the server has proven itself. With
    /// them in ``Credentials/cachedKeys`` the next login skips PBKDF2, which is most of its cost.
    public var scramKeys: SCRAMKeys? {
        guard case .finished(let keys) = self.phase else { return nil }
        return keys
    }

    /// StartupMessage, protocol 3.0. Call it once, first.
    public mutating func start() -> ByteBuffer {
        guard case .starting = self.phase else { preconditionFailure("a login starts once") }
        self.phase = .awaitingRequest
        return PostgresMessage.startup(self.startup)
    }

    /// Takes at most one message that matters off the front of `bytes`.
    ///
    /// The generator makes the nonce of SCRAM.
    public mutating func receive(
        _ bytes: inout ByteBuffer,
        using generator: inout some RandomNumberGenerator
    ) -> OnReceive {
        do throws(LoginFailure) {
            while true {
                switch self.phase {
                case .starting, .finished: return .readMore
                case .awaitingRequest, .awaitingChallenge, .awaitingSignature, .awaitingOk: break
                }
                guard let message = try LoginMessage.read(from: &bytes) else { return .readMore }
                let (next, action) = try self.transition(message, using: &generator)
                self.phase = next
                if let action { return action }
            }
        } catch {
            self.phase = .finished(nil)
            return .failed(error)
        }
    }

    /// The diagram above. No action: read on.
    private func transition(
        _ message: LoginMessage,
        using generator: inout some RandomNumberGenerator
    ) throws(LoginFailure) -> (next: Phase, action: OnReceive?) {
        switch (self.phase, message) {
        case (_, .error(let error)):
            throw .server(error)
        case (_, .notice), (.awaitingRequest, .negotiation):
            return (self.phase, nil)
        case (.awaitingRequest, .ok):
            try self.allow(.none, bound: false)
            return (.finished(nil), .authenticated)
        case (.awaitingRequest, .cleartextPassword):
            let password = try self.password(for: .password)
            let reply = PostgresMessage.password(password.reveal)
            return (.awaitingOk(.password, bound: false, nil), .send(reply))
        case (.awaitingRequest, .md5Password(let salt)):
            let password = try self.password(for: .md5)
            let hash = Self.md5(password, user: self.credentials.user, salt: salt)
            return (.awaitingOk(.md5, bound: false, nil), .send(PostgresMessage.password(hash)))
        case (.awaitingRequest, .sasl(let mechanisms)):
            let client = try self.scramClient(mechanisms, using: &generator)
            let reply = PostgresMessage.saslInitialResponse(
                mechanism: client.mechanism.rawValue, client.first)
            return (.awaitingChallenge(client), .send(reply))
        case (.awaitingChallenge(let client), .saslContinue(let text)):
            let password = try self.password(for: .scramSHA256, bound: client.mechanism == .plus)
            let cached = self.credentials.cachedKeys
            let response = try client.respond(to: text, password: password, cached: cached)
            let reply = PostgresMessage.saslResponse(response.message)
            return (.awaitingSignature(client, response), .send(reply))
        case (.awaitingSignature(let client, let response), .saslFinal(let text)):
            try SCRAMClient.check(text, response)
            let isBound = client.mechanism == .plus
            return (.awaitingOk(.scramSHA256, bound: isBound, response.keys), nil)
        case (.awaitingSignature, .ok):
            // The server says yes without having shown that it knows the password.
            throw .serverSignatureInvalid
        case (.awaitingOk(let method, let isBound, let keys), .ok):
            try self.allow(method, bound: isBound)
            return (.finished(keys), .authenticated)
        case (_, .unsupported(let method)):
            throw .unsupportedMethod(method)
        case (.starting, _), (.awaitingRequest, _), (.awaitingChallenge, _),
            (.awaitingSignature, _), (.awaitingOk, _), (.finished, _):
            throw .unexpected(message.name)
        }
    }

    /// Whether `require_auth` and `channel_binding` allow what happened or is about to.
    private func allow(_ method: Method, bound: Bool) throws(LoginFailure) {
        if let allowed = self.credentials.requireAuth, !allowed.contains(method) {
            throw .methodNotAllowed(method)
        }
        guard bound || self.credentials.channelBindingPolicy != .require else {
            throw .channelBindingUnavailable
        }
    }

    /// The password, if this method may have it. Asked before anything of it goes out.
    private func password(
        for method: Method,
        bound: Bool = false
    ) throws(LoginFailure) -> Secret {
        try self.allow(method, bound: bound)
        guard let password = self.credentials.password, !password.reveal.isEmpty else {
            throw .passwordRequired
        }
        return password
    }

    private func scramClient(
        _ mechanisms: [String],
        using generator: inout some RandomNumberGenerator
    ) throws(LoginFailure) -> SCRAMClient {
        let isWanted = self.credentials.channelBindingPolicy != .disable
        let canBind = isWanted && self.channelBinding != nil
        let mechanism: SCRAMMechanism
        let header: GS2Header
        if canBind, mechanisms.contains(SCRAMMechanism.plus.rawValue) {
            (mechanism, header) = (.plus, .endPoint)
        } else if mechanisms.contains(SCRAMMechanism.plain.rawValue) {
            (mechanism, header) = (.plain, canBind ? .notOffered : .unsupported)
        } else if mechanisms.contains(SCRAMMechanism.plus.rawValue) {
            throw .channelBindingUnavailable
        } else {
            throw .unsupportedMethod(mechanisms.first ?? "SASL")
        }
        _ = try self.password(for: .scramSHA256, bound: mechanism == .plus)
        return SCRAMClient(
            mechanism: mechanism,
            header: header,
            endPoint: self.channelBinding ?? [],
            nonce: Base64.encode(generator.bytes(SCRAMClient.nonceBytes))
        )
    }

    /// `md5` and the hexadecimal MD5 of (hexadecimal MD5 of password and name) and salt.
    static func md5(_ password: Secret, user: String, salt: [UInt8]) -> String {
        func hex(_ bytes: [UInt8]) -> [UInt8] {
            Insecure.MD5.hash(data: bytes).flatMap { byte in
                [byte >> 4, byte & 15].map { $0 < 10 ? 0x30 + $0 : 0x57 + $0 }
            }
        }
        let inner = hex(Array(password.reveal.utf8) + Array(user.utf8))
        return "md5" + String(decoding: hex(inner + salt), as: UTF8.self)
    }
}

/// Why a login to a Postgres did not succeed. No case holds a secret.
public enum LoginFailure: Error, Hashable, Sendable {
    /// Postgres said no, in its own words.
    case server(PostgresError)
    /// Postgres asks for a method that we cannot do: Kerberos, GSSAPI, SSPI, OAuth, by name.
    case unsupportedMethod(String)
    /// Postgres asks for a password, and there is none.
    case passwordRequired
    /// `require_auth` does not allow what the server did or asked for.
    case methodNotAllowed(ClientLoginMachine.Method)
    /// `channel_binding=require`, or the server insists, and the connection cannot.
    case channelBindingUnavailable
    /// The server does not know the password: it is not the server it claims to be.
    case serverSignatureInvalid
    /// A length that no message has here, in bytes without the type byte.
    case badLength(Int)
    /// What does not parse, without quoting it.
    case malformed(String)
    /// A message that has no place here, by name.
    case unexpected(String)
}

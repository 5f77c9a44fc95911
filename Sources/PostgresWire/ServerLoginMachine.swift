public import NIOCore

/// How the relay asks a client for its password.
///
///                       SASLInitialResponse/send challenge        SASLResponse/succeeded or failed
///     asking(scram) ──▶ awaitingMechanism ──▶ awaitingProof ──────────────────▶ finished
///          start          │    ▲                                                    ▲
///                         ▼    │ SASLResponse/send challenge                        │
///                       awaitingFirst (a mechanism without its first message)       │
///
///                          PasswordMessage/verify             verified/succeeded or failed
///     asking(password) ──▶ awaitingPassword ──▶ verifying ──────────────────────────┘
///          start
/// Anything else is a violation and ends in finished.
///
/// A mock takes every step that a real verifier takes, and fails at the proof.
///
/// Source: PostgreSQL documentation, "Message Flow", "SASL Authentication"; `auth-sasl.c`.
public struct ServerLoginMachine: Sendable {
    /// The longest password accepted, in bytes: some are JWTs.
    public static let maximumPasswordBytes = 64 * 1024

    /// The longest SASL message accepted, in bytes: `PG_MAX_SASL_MESSAGE_LENGTH` in PostgreSQL.
    public static let maximumSASLBytes = 1_024

    /// How to ask.
    public enum Method: Hashable, Sendable {
        /// SCRAM-SHA-256, and with `channelBinding` also SCRAM-SHA-256-PLUS.
        ///
        /// `isMock`: the name is unknown, and no proof is right. `channelBinding`: the
        /// `tls-server-end-point` data of the certificate served, nil to not offer PLUS.
        case scram(SCRAMVerifier, isMock: Bool, channelBinding: [UInt8]?)
        /// The password itself, inside TLS.
        case password
    }

    /// What to do next. One message in, one action out.
    public enum OnReceive: Equatable, Sendable {
        /// Not a whole message yet.
        case readMore
        /// Send this, then read on.
        case send(ByteBuffer)
        /// Check this off the event loop, then call ``ServerLoginMachine/verified(_:)``.
        case verify(password: Secret)
        /// The client is who it says. Send this when its backend is there: AuthenticationOk, and
        /// before it what SCRAM says last.
        case succeeded(ByteBuffer)
        /// The password is wrong, or the name is unknown: answer 28P01 for both.
        case failed
    }

    private enum Phase {
        case asking(Method)
        case awaitingMechanism(SCRAM)
        case awaitingFirst(SCRAM, SCRAMServer)
        case awaitingProof(SCRAM, SCRAMServer, SCRAMServer.Challenge)
        case awaitingPassword
        case verifying
        case finished
    }

    private struct SCRAM {
        var verifier: SCRAMVerifier
        var isMock: Bool
        var channelBinding: [UInt8]?
    }

    private var phase: Phase

    /// Creates a machine for one login.
    public init(method: Method) {
        self.phase = .asking(method)
    }

    /// The first message to send. Call it once, before anything is received.
    public mutating func start(using generator: inout some RandomNumberGenerator) -> ByteBuffer {
        guard case .asking(let method) = self.phase else {
            preconditionFailure("a login starts once")
        }
        switch method {
        case .scram(let verifier, let isMock, let channelBinding):
            self.phase = .awaitingMechanism(
                SCRAM(verifier: verifier, isMock: isMock, channelBinding: channelBinding))
            let plus = channelBinding == nil ? [] : [SCRAMMechanism.plus.rawValue]
            return PostgresMessage.authenticationSASL(
                mechanisms: plus + [SCRAMMechanism.plain.rawValue])
        case .password:
            self.phase = .awaitingPassword
            return PostgresMessage.authenticationCleartextPassword()
        }
    }

    /// Takes at most one message off the front of `bytes`.
    ///
    /// - Throws: ``LoginViolation`` if the client broke the protocol. The machine is then finished.
    public mutating func receive(
        _ bytes: inout ByteBuffer,
        using generator: inout some RandomNumberGenerator
    ) throws(LoginViolation) -> OnReceive {
        do throws(LoginViolation) {
            guard let maximumBytes = self.maximumBodyBytes else { return .readMore }
            guard let body = try Self.readBody(&bytes, maximumBytes: maximumBytes) else {
                return .readMore
            }
            let (next, action) = try Self.transition(self.phase, body, using: &generator)
            self.phase = next
            return action
        } catch {
            self.phase = .finished
            throw error
        }
    }

    /// The password was checked. Call it once after ``OnReceive/verify(password:)``.
    public mutating func verified(_ isRight: Bool) -> OnReceive {
        guard case .verifying = self.phase else {
            preconditionFailure("no password was given out to be checked")
        }
        self.phase = .finished
        return isRight ? .succeeded(PostgresMessage.authenticationOk()) : .failed
    }

    /// Bytes the next message may have, or nil where none is read now: what a client sends before
    /// it has its answer waits, and what it sends after belongs to the backend.
    private var maximumBodyBytes: Int? {
        switch self.phase {
        case .awaitingMechanism, .awaitingFirst, .awaitingProof: Self.maximumSASLBytes
        case .awaitingPassword: Self.maximumPasswordBytes + 1  // and its NUL
        case .asking, .verifying, .finished: nil
        }
    }

    private static func transition(
        _ phase: Phase,
        _ body: ByteBuffer,
        using generator: inout some RandomNumberGenerator
    ) throws(LoginViolation) -> (next: Phase, action: OnReceive) {
        switch phase {
        case .awaitingMechanism(let scram):
            let (server, first) = try self.initialResponse(body, scram)
            guard let first else {
                let empty = PostgresMessage.authenticationSASLContinue("")
                return (.awaitingFirst(scram, server), .send(empty))
            }
            return try self.challenge(scram, server, first, using: &generator)
        case .awaitingFirst(let scram, let server):
            return try self.challenge(scram, server, try self.text(body), using: &generator)
        case .awaitingProof(let scram, let server, let challenge):
            let final = try server.verify(try self.text(body), challenge)
            guard let final, !scram.isMock else { return (.finished, .failed) }
            var reply = PostgresMessage.authenticationSASLFinal(final)
            reply.writeImmutableBuffer(PostgresMessage.authenticationOk())
            return (.finished, .succeeded(reply))
        case .awaitingPassword:
            guard let password = try self.password(body) else { return (.finished, .failed) }
            return (.verifying, .verify(password: password))
        case .asking, .verifying, .finished:
            return (phase, .readMore)
        }
    }

    private static func challenge(
        _ scram: SCRAM,
        _ server: SCRAMServer,
        _ first: String,
        using generator: inout some RandomNumberGenerator
    ) throws(LoginViolation) -> (next: Phase, action: OnReceive) {
        let challenge = try server.challenge(first, using: &generator)
        let message = PostgresMessage.authenticationSASLContinue(challenge.message)
        return (.awaitingProof(scram, server, challenge), .send(message))
    }

    /// Reads SASLInitialResponse: the mechanism, and the client's first message where it came
    /// along.
    private static func initialResponse(
        _ body: ByteBuffer,
        _ scram: SCRAM
    ) throws(LoginViolation) -> (SCRAMServer, first: String?) {
        var body = body
        guard
            let name = body.readCStringBytes(),
            let length = body.readInteger(as: Int32.self),
            length == -1 ? body.readableBytes == 0 : Int(length) == body.readableBytes
        else {
            throw .malformed("SASLInitialResponse")
        }
        let mechanism = SCRAMMechanism(rawValue: String(buffer: name))
        guard let mechanism, mechanism == .plain || scram.channelBinding != nil else {
            throw .mechanismNotOffered
        }
        let server = SCRAMServer(
            verifier: scram.verifier,
            mechanism: mechanism,
            endPoint: scram.channelBinding
        )
        return (server, length == -1 ? nil : try self.text(body))
    }

    private static func text(_ body: ByteBuffer) throws(LoginViolation) -> String {
        let view = body.readableBytesView
        guard !view.contains(0), let text = String(validating: view, as: UTF8.self) else {
            throw .malformed("SASL message")
        }
        return text
    }

    /// Nil for a password that is nobody's: empty, as Postgres has it, or not UTF-8.
    private static func password(_ body: ByteBuffer) throws(LoginViolation) -> Secret? {
        var body = body
        guard let bytes = body.readCStringBytes(), body.readableBytes == 0 else {
            throw .malformed("PasswordMessage")
        }
        let text = String(validating: bytes.readableBytesView, as: UTF8.self)
        guard let text, !text.isEmpty else { return nil }
        return Secret(text)
    }

    /// Takes one `p` message, or nothing where it is not whole. Type and length are judged first.
    private static func readBody(
        _ bytes: inout ByteBuffer,
        maximumBytes: Int
    ) throws(LoginViolation) -> ByteBuffer? {
        guard let type = bytes.readableBytesView.first.map(MessageType.init(rawValue:)) else {
            return nil
        }
        guard type == .passwordMessage else { throw .unexpected("\(type)") }
        guard let header = MessageHeader(in: bytes) else { return nil }
        guard (4...(maximumBytes + 4)).contains(header.length) else {
            throw .badLength(header.length)
        }
        guard var message = bytes.readSlice(length: header.totalBytes) else { return nil }
        message.moveReaderIndex(forwardBy: MessageHeader.encodedBytes)
        return message
    }
}

/// How a client broke the login.
public enum LoginViolation: Error, Hashable, Sendable {
    /// A length that no message has here, in bytes without the type byte.
    case badLength(Int)
    /// A message other than the password message, by its type.
    case unexpected(String)
    /// What does not parse, without quoting it.
    case malformed(String)
    /// A SASL mechanism that was not offered.
    case mechanismNotOffered
    /// The client could bind to the channel and thinks that we could not: somebody is in between.
    case channelBindingDowngrade
    /// The client sees another certificate than the one we serve, or changed its mind.
    case channelBindingMismatch
}

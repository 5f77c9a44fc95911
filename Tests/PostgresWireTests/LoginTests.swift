import NIOCore
import Testing

@testable import PostgresWire

private let verifier = SCRAMVerifier(
    password: Secret("pencil"), salt: [1, 2, 3, 4], iterations: 16)
private let parameters = [StartupRequest.Parameter(name: "user", value: "ada")]

private func client(
    password: String? = "pencil",
    policy: ClientLoginMachine.ChannelBindingPolicy = .prefer,
    requireAuth: Set<ClientLoginMachine.Method>? = nil,
    channelBinding: [UInt8]? = nil
) -> ClientLoginMachine {
    ClientLoginMachine(
        startup: parameters,
        credentials: .init(
            user: "ada", password: password.map(Secret.init), channelBindingPolicy: policy,
            requireAuth: requireAuth),
        channelBinding: channelBinding)
}

private struct Outcome: Equatable {
    var isAdmitted: Bool
    var isAuthenticated: Bool
    var failure: LoginFailure?
    var violation: LoginViolation?
    var clientMessages = 0
}

/// Plays both sides until neither has anything to say. Every message goes in `partBytes` at a time.
private func play(
    _ server: ServerLoginMachine,
    _ client: ClientLoginMachine,
    partBytes: Int = .max,
    seed: UInt64 = 1
) -> Outcome {
    var (server, client) = (server, client)
    var random = SeededGenerator(seed: seed)
    var outcome = Outcome(isAdmitted: false, isAuthenticated: false)
    _ = client.start()
    var toClient = server.start(using: &random)
    while toClient.readableBytes > 0 {
        var arrived = ByteBuffer()
        var toServer = ByteBuffer()
        while let part = toClient.readSlice(length: min(partBytes, toClient.readableBytes)),
            part.readableBytes > 0
        {
            arrived.writeImmutableBuffer(part)
            switch client.receive(&arrived, using: &random) {
            case .readMore: break
            case .send(let reply): toServer.writeImmutableBuffer(reply)
            case .authenticated: outcome.isAuthenticated = true
            case .failed(let failure): outcome.failure = failure
            }
        }
        outcome.clientMessages += toServer.readableBytes > 0 ? 1 : 0
        toClient.clear()
        var unread = ByteBuffer()
        while let part = toServer.readSlice(length: min(partBytes, toServer.readableBytes)),
            part.readableBytes > 0
        {
            unread.writeImmutableBuffer(part)
            do throws(LoginViolation) {
                var action = try server.receive(&unread, using: &random)
                if case .verify(let password) = action {
                    action = server.verified(password == Secret("pencil"))
                }
                switch action {
                case .readMore, .verify: break
                case .send(let reply): toClient = reply
                case .succeeded(let reply):
                    outcome.isAdmitted = true
                    toClient = reply
                case .failed:
                    toClient = PostgresError(sqlState: .invalidPassword, message: "no").encoded()
                }
            } catch {
                outcome.violation = error
            }
        }
    }
    return outcome
}

private let admitted = Outcome(isAdmitted: true, isAuthenticated: true, clientMessages: 2)
private let refusal = LoginFailure.server(
    PostgresError(sqlState: .invalidPassword, message: "no"))

struct LoginTests {
    private static let hash = Array(repeating: UInt8(7), count: 32)

    @Test(arguments: [1, 2, 3, 7, 50, .max])
    func `client and server agree, with PLUS and without`(partBytes: Int) {
        for (serverHash, clientHash) in [(nil, nil), (Self.hash, Self.hash), (Self.hash, nil)] {
            let server = ServerLoginMachine(
                method: .scram(verifier, isMock: false, channelBinding: serverHash))
            let outcome = play(server, client(channelBinding: clientHash), partBytes: partBytes)
            #expect(outcome == admitted)
        }
        let password = play(
            ServerLoginMachine(method: .password), client(), partBytes: partBytes)
        #expect(password.isAdmitted && password.isAuthenticated)
    }

    @Test func `a wrong password and a mock fail at the same point`() {
        let wrong = play(
            ServerLoginMachine(method: .scram(verifier, isMock: false, channelBinding: nil)),
            client(password: "pen"))
        let mock = play(
            ServerLoginMachine(method: .scram(verifier, isMock: true, channelBinding: nil)),
            client())
        let expected = Outcome(
            isAdmitted: false, isAuthenticated: false, failure: refusal, clientMessages: 2)
        #expect(wrong == expected)
        #expect(mock == expected)
    }

    @Test func `another certificate is a mismatch`() {
        let server = ServerLoginMachine(
            method: .scram(verifier, isMock: false, channelBinding: Self.hash))
        let other = Array(repeating: UInt8(8), count: 32)
        #expect(play(server, client(channelBinding: other)).violation == .channelBindingMismatch)
    }

    @Test func `a required binding that cannot be is refused before the password goes out`() {
        for method in [
            ServerLoginMachine.Method.password,
            .scram(verifier, isMock: false, channelBinding: nil),
        ] {
            let outcome = play(
                ServerLoginMachine(method: method),
                client(policy: .require, channelBinding: Self.hash))
            #expect(outcome.failure == .channelBindingUnavailable)
            #expect(outcome.clientMessages == 0)
        }
    }

    @Test func `require_auth is asked before the password goes out`() {
        let outcome = play(
            ServerLoginMachine(method: .password), client(requireAuth: [.scramSHA256]))
        #expect(outcome.failure == .methodNotAllowed(.password))
        #expect(outcome.clientMessages == 0)
    }

    @Test(
        arguments: [
            ("SCRAM-SHA-256", "y,,n=,r=abc", .channelBindingDowngrade),
            ("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=abc", nil),
            ("SCRAM-SHA-256-PLUS", "n,,n=,r=abc", nil), ("SCRAM-SHA-256-PLUS", "y,,n=,r=abc", nil),
            ("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=abc", nil),
            ("SCRAM-SHA-256", "n,a=x,n=,r=abc", nil), ("SCRAM-SHA-256", "n,,m=x,n=,r=abc", nil),
            ("SCRAM-SHA-256", "n,,r=abc", nil), ("SCRAM-SHA-256", "n,,n=,r=", nil),
            ("SCRAM-SHA-256", "n,,n=,r=a b", nil), ("SCRAM-SHA-256", "", nil),
            ("SCRAM-SHA-1", "n,,n=,r=abc", .mechanismNotOffered),
        ] as [(String, String, LoginViolation?)])
    func `a first message that breaks SCRAM is a violation`(
        mechanism: String, first: String, expected: LoginViolation?
    ) {
        var random = SeededGenerator(seed: 1)
        var server = ServerLoginMachine(
            method: .scram(verifier, isMock: false, channelBinding: Self.hash))
        _ = server.start(using: &random)
        var bytes = PostgresMessage.saslInitialResponse(mechanism: mechanism, first)
        let violation = #expect(throws: LoginViolation.self) {
            try server.receive(&bytes, using: &random)
        }
        if let expected { #expect(violation == expected) }
    }

    @Test func `a mechanism without its first message gets an empty challenge`() throws {
        var random = SeededGenerator(seed: 1)
        var server = ServerLoginMachine(
            method: .scram(verifier, isMock: false, channelBinding: nil))
        _ = server.start(using: &random)
        var bytes = PostgresMessage.saslInitialResponse(mechanism: "SCRAM-SHA-256", nil)
        let empty = PostgresMessage.authenticationSASLContinue("")
        #expect(try server.receive(&bytes, using: &random) == .send(empty))
        bytes = PostgresMessage.saslResponse("y,,n=,r=abc")
        guard case .send = try server.receive(&bytes, using: &random) else {
            Issue.record("no challenge")
            return
        }
        bytes = PostgresMessage.saslResponse("c=biws,r=abc,p=AAAA")
        #expect(throws: LoginViolation.channelBindingMismatch) {
            try server.receive(&bytes, using: &random)
        }
    }

    @Test func `a password of 64 KiB is taken and one byte more is not`() throws {
        for (count, isTaken) in [(65_536, true), (65_537, false)] {
            var random = SeededGenerator(seed: 1)
            var server = ServerLoginMachine(method: .password)
            _ = server.start(using: &random)
            let text = String(repeating: "j", count: count)
            var bytes = PostgresMessage.password(text)
            if isTaken {
                let action = try server.receive(&bytes, using: &random)
                #expect(action == .verify(password: Secret(text)))
            } else {
                #expect(throws: LoginViolation.badLength(count + 5)) {
                    try server.receive(&bytes, using: &random)
                }
            }
        }
    }

    @Test(
        arguments: [
            ([0x51], .unexpected("Q")), ([0x70, 0, 0, 0, 3], .badLength(3)),
            ([0x70, 0xff, 0xff, 0xff, 0xff], .badLength(0xffff_ffff)),
            ([0x70, 0, 0, 0, 4], .malformed("PasswordMessage")),
            ([0x70, 0, 0, 0, 7, 0x61, 0, 0x62], .malformed("PasswordMessage")),
        ] as [([UInt8], LoginViolation)])
    func `a bad password message is refused at once`(bytes: [UInt8], expected: LoginViolation) {
        var random = SeededGenerator(seed: 1)
        var server = ServerLoginMachine(method: .password)
        _ = server.start(using: &random)
        var bytes = ByteBuffer(bytes: bytes)
        #expect(throws: expected) { try server.receive(&bytes, using: &random) }
    }

    @Test func `an empty password is wrong`() throws {
        var random = SeededGenerator(seed: 1)
        var server = ServerLoginMachine(method: .password)
        _ = server.start(using: &random)
        var bytes = PostgresMessage.password("")
        #expect(try server.receive(&bytes, using: &random) == .failed)
    }
}

/// Feeds a client what a server says; returns what it said last.
private func hear(_ parts: [ByteBuffer], _ machine: ClientLoginMachine)
    -> ClientLoginMachine.OnReceive
{
    var machine = machine
    var random = SeededGenerator(seed: 3)
    _ = machine.start()
    var bytes = ByteBuffer()
    var last = ClientLoginMachine.OnReceive.readMore
    for part in parts {
        bytes.writeImmutableBuffer(part)
        let action = machine.receive(&bytes, using: &random)
        if action != .readMore { last = action }
    }
    return last
}

struct ClientLoginMachineTests {
    @Test func `every request has its answer however it is cut`() {
        let notice = ByteBuffer(bytes: [0x4e, 0, 0, 0, 5, 0])
        var negotiation = ByteBuffer()
        NegotiateProtocolVersion(minor: 0, unknown: []).write(into: &negotiation)
        let kerberos = PostgresMessage.authentication(.kerberosV5) { _ in }
        let error = PostgresError(sqlState: .tooManyConnections, message: "full")
        let md5 = PostgresMessage.password("md5d1b13b8314d3b5545feef5ce8ab91e15")
        let table: [(ByteBuffer, ClientLoginMachine.OnReceive)] = [
            (PostgresMessage.authenticationOk(), .authenticated),
            (joined(negotiation, notice, PostgresMessage.authenticationOk()), .authenticated),
            (
                PostgresMessage.authenticationCleartextPassword(),
                .send(PostgresMessage.password("pencil"))
            ),
            (PostgresMessage.authenticationMD5Password(salt: [1, 2, 3, 4]), .send(md5)),
            (kerberos, .failed(.unsupportedMethod("Kerberos V5"))),
            (
                PostgresMessage.authenticationSASL(mechanisms: ["OAUTHBEARER"]),
                .failed(.unsupportedMethod("OAUTHBEARER"))
            ),
            (
                PostgresMessage.authenticationSASL(mechanisms: ["SCRAM-SHA-256-PLUS"]),
                .failed(.channelBindingUnavailable)
            ),
            (error.encoded(), .failed(.server(error))),
            (PostgresMessage.readyForQuery(), .failed(.unexpected("Z"))),
            (
                PostgresMessage.authenticationSASLFinal("v="),
                .failed(.unexpected("AuthenticationSASLFinal"))
            ),
            (ByteBuffer(bytes: [0x52, 0, 0, 0, 3]), .failed(.badLength(3))),
            (
                ByteBuffer(bytes: [0x52, 0xff, 0xff, 0xff, 0xff]),
                .failed(.badLength(0xffff_ffff))
            ),
        ]
        for (bytes, expected) in table {
            for parts in everyCut(of: bytes) {
                #expect(hear(parts, client()) == expected)
            }
        }
    }

    @Test func `the greeting stays in the bytes`() {
        var machine = client()
        var random = SeededGenerator(seed: 1)
        _ = machine.start()
        var bytes = joined(
            PostgresMessage.authenticationOk(), PostgresMessage.readyForQuery())
        #expect(machine.receive(&bytes, using: &random) == .authenticated)
        #expect(bytes == PostgresMessage.readyForQuery())
        #expect(machine.receive(&bytes, using: &random) == .readMore)
    }

    @Test func `no password is said, not guessed`() {
        let ask = PostgresMessage.authenticationCleartextPassword()
        #expect(hear([ask], client(password: nil)) == .failed(.passwordRequired))
    }

    @Test func `a server that skips its signature is not believed`() {
        var machine = client()
        var random = SeededGenerator(seed: 1)
        _ = machine.start()
        var bytes = PostgresMessage.authenticationSASL(mechanisms: ["SCRAM-SHA-256"])
        guard case .send(let first) = machine.receive(&bytes, using: &random) else {
            Issue.record("no first message")
            return
        }
        let nonce = String(decoding: first.array, as: UTF8.self).split(separator: "r=").last ?? ""
        bytes = PostgresMessage.authenticationSASLContinue("r=\(nonce)x,s=QUFB,i=1")
        guard case .send = machine.receive(&bytes, using: &random) else {
            Issue.record("no proof")
            return
        }
        bytes = PostgresMessage.authenticationOk()
        #expect(machine.receive(&bytes, using: &random) == .failed(.serverSignatureInvalid))
    }
}

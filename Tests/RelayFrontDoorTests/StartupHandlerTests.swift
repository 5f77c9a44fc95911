import NIOCore
import NIOEmbedded
import NIOSSL
import PostgresWire
import SharePolicy
import Testing

@testable import Relay

struct StartupHandlerTests {
    private static let accepted = ByteBuffer(bytes: [UInt8(ascii: "S")])
    private static let declined = ByteBuffer(bytes: [UInt8(ascii: "N")])

    /// However the network cuts the bytes, a client gets in.
    @Test(arguments: [1, 2, 3, 7, 64, 1_000, Int.max])
    func `a client gets in when its bytes come in pieces`(pieceBytes: Int) throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture, pieceBytes: pieceBytes)
        try talk.send(PostgresMessage.gssRequest())
        #expect(talk.take() == Self.declined)
        try talk.send(PostgresMessage.sslRequest())
        #expect(talk.take() == Self.accepted)
        try talk.startTLS(fixture.clientTLS, serverName: "\(fixture.id).\(Fixture.domain)")

        #expect(try talk.logIn(user: "ann") == .authenticated)

        let client = try #require(fixture.acceptor.clients.first)
        #expect(client.shareID == fixture.share.id)
        #expect(client.request.user == "ann")
        #expect(client.request.database == "shop")
        #expect(client.serverName == "\(fixture.id).\(Fixture.domain)")
        #expect(client.remoteAddress?.ipAddress == "192.0.2.7")
        #expect(fixture.services.admission.pendingSockets == 0)
    }

    @Test func `direct TLS needs no request in front of it`() throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture)
        try talk.startTLS(fixture.clientTLS)

        #expect(try talk.logIn(user: "ann.\(fixture.id)") == .authenticated)
        #expect(fixture.acceptor.clients.first?.request.user == "ann")
    }

    @Test(arguments: [[], ["http/1.1"]])
    func `direct TLS without the name postgresql is refused`(protocols: [String]) throws {
        let fixture = try Fixture(protocols: protocols)
        let talk = try Talk(fixture)
        try talk.startTLS(fixture.clientTLS)
        try talk.pump()

        #expect(talk.takeError()?.sqlState == .protocolViolation)
    }

    @Test func `TLS after SSLRequest may come without ALPN but not with another name`() throws {
        let silent = try Fixture(protocols: [])
        let talk = try Talk(silent)
        try talk.send(PostgresMessage.sslRequest())
        _ = talk.take()
        try talk.startTLS(silent.clientTLS)
        #expect(try talk.logIn(user: "ann.blue") == .authenticated)

        let other = try Fixture(protocols: ["h2"])
        let refused = try Talk(other)
        try refused.send(PostgresMessage.sslRequest())
        _ = refused.take()
        try refused.startTLS(other.clientTLS)
        #expect(refused.takeError()?.sqlState == .protocolViolation)
    }

    @Test func `plaintext is refused with a sentence that says what to do`() throws {
        let talk = try Talk(try Fixture())
        try talk.send(PostgresMessage.startup([.init(name: "user", value: "ann.blue")]))

        let error = try #require(talk.takeError())
        #expect(error.severity == .fatal)
        #expect(error.sqlState == .invalidAuthorizationSpecification)
        #expect(error.message.contains("sslmode=require"))
        #expect(!talk.server.isActive)
    }

    @Test func `bytes in clear behind SSLRequest are refused`() throws {
        let talk = try Talk(try Fixture())
        var bytes = PostgresMessage.sslRequest()
        bytes.writeString("select 1")
        try talk.send(bytes)

        #expect(talk.takeError()?.sqlState == .protocolViolation)
    }

    /// The lengths of the "Bad input", each in front of four bytes.
    @Test(arguments: [UInt32(0), 3, 4, 7, 10_001, 1 << 31, .max])
    func `a startup packet of an impossible length is refused at once`(length: UInt32) throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture)
        var bytes = ByteBuffer(integer: length)
        bytes.writeInteger(UInt32(196_608))
        try talk.send(bytes)

        let error = try #require(talk.takeError())
        #expect(error.sqlState == .protocolViolation)
        #expect(error.message == Refusal.Reason.protocolViolation.message)
        #expect(fixture.services.metrics.refusals.value(.protocolViolation) == 1)
        #expect(fixture.services.admission.pendingSockets == 0)
    }

    /// Whatever a stranger sends, the connection ends by the deadline and its place is free.
    @Test(arguments: UInt64(0)..<200)
    func `random bytes never get further than the deadline`(seed: UInt64) throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture)
        var random = SeededGenerator(seed: seed)
        if seed.isMultiple(of: 2) { try talk.send(PostgresMessage.sslRequest()) }
        let count = Int.random(in: 0...300, using: &random)
        try? talk.send(ByteBuffer(bytes: (0..<count).map { _ in random.byte() }))
        try? talk.advance(by: .seconds(12))

        #expect(!talk.server.isActive)
        #expect(fixture.services.admission.pendingSockets == 0)
        #expect(fixture.services.metrics.clientsOpen.value == 0)
        #expect(fixture.acceptor.clients.isEmpty)
    }

    @Test func `half a packet and then silence is refused at the deadline`() throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture)
        try talk.send(ByteBuffer(bytes: [0, 0, 0]))
        try talk.advance(by: .milliseconds(9_999))
        #expect(talk.server.isActive)
        try talk.advance(by: .milliseconds(1))

        #expect(talk.takeError()?.message == Refusal.Reason.handshakeTimeout.message)
        #expect(!talk.server.isActive)
        #expect(fixture.services.metrics.refusals.value(.handshakeTimeout) == 1)
    }

    @Test func `the deadline is one from accept to authenticated`() throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture)
        try talk.startTLS(fixture.clientTLS)
        try talk.advance(by: .seconds(6))
        try talk.send(PostgresMessage.startup([.init(name: "user", value: "ann.blue")]))
        _ = talk.take()
        try talk.advance(by: .seconds(4))

        #expect(talk.takeError()?.message == Refusal.Reason.handshakeTimeout.message)
    }

    @Test func `a client that was admitted has no deadline`() throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture)
        try talk.startTLS(fixture.clientTLS)
        #expect(try talk.logIn(user: "ann.blue") == .authenticated)
        try talk.advance(by: .seconds(60))

        #expect(talk.server.isActive)
    }

    @Test func `a socket over the cap of its address is turned away, and others are not`() throws {
        var limits = AdmissionLimits()
        limits.maximumPendingAnAddress = 2
        let fixture = try Fixture(limits: limits)
        let first = try Talk(fixture)
        let second = try Talk(fixture)
        #expect(throws: TurnedAway.self) { try Talk(fixture) }
        let other = try Talk(fixture, from: "192.0.2.8")
        #expect(fixture.services.metrics.refusals.value(.tooManyHandshakes) == 1)

        _ = try first.server.finish()
        let again = try Talk(fixture)
        #expect(fixture.services.admission.pendingSockets == 3)
        for talk in [second, other, again] { _ = try talk.server.finish() }
        #expect(fixture.services.admission.pendingSockets == 0)
    }

    @Test func `a client that was admitted does not count as a stranger`() throws {
        var limits = AdmissionLimits()
        limits.maximumPendingAnAddress = 1
        let fixture = try Fixture(limits: limits)
        for _ in 0..<3 {
            let talk = try Talk(fixture)
            try talk.startTLS(fixture.clientTLS)
            #expect(try talk.logIn(user: "ann.blue") == .authenticated)
        }
        #expect(fixture.acceptor.clients.count == 3)
    }
}

/// SplitMix64: the seed is the argument, so a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        self.state = seed
    }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func byte() -> UInt8 {
        UInt8(truncatingIfNeeded: self.next())
    }
}

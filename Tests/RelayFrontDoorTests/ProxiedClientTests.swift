import NIOCore
import NIOEmbedded
import PostgresWire
import SharePolicy
import Testing

@testable import Relay

/// Clients that a proxy passes on, and others who say they were.
struct ProxiedClientTests {
    static let proxy = "203.0.113.5"

    private func fixture(
        limits: AdmissionLimits = AdmissionLimits(), allow: [String] = []
    ) throws -> Fixture {
        let networks = try allow.map { try #require(CIDR($0)) }
        let proxies = TrustedProxies([try #require(CIDR("203.0.113.0/24"))])
        return try Fixture(limits: limits) { share, configuration in
            share.limits.allow = networks
            configuration.proxies = proxies
        }
    }

    private static func header(_ client: String) -> ByteBuffer {
        let family = client.contains(":") ? "TCP6 \(client) ::1" : "TCP4 \(client) 198.51.100.1"
        return ByteBuffer(string: "PROXY \(family) 40000 5432\r\n")
    }

    private func talk(
        _ fixture: Fixture, client: String, pieceBytes: Int = .max
    ) throws -> Talk {
        let talk = try Talk(fixture, from: Self.proxy, pieceBytes: pieceBytes)
        try talk.send(Self.header(client))
        return talk
    }

    @Test(arguments: [1, 7, Int.max])
    func `a client behind a proxy has its own address`(pieceBytes: Int) throws {
        let fixture = try self.fixture(allow: ["192.0.2.0/24"])
        let talk = try self.talk(fixture, client: "192.0.2.7", pieceBytes: pieceBytes)
        try talk.startTLS(fixture.clientTLS)
        #expect(try talk.logIn(user: "ann.blue") == .authenticated)
        let client = try #require(fixture.acceptor.clients.first)
        #expect(client.remoteAddress?.ipAddress == "192.0.2.7")
        #expect(client.remoteAddress?.port == 40_000)
    }

    @Test func `header and ClientHello may come at once`() throws {
        let fixture = try self.fixture()
        let talk = try Talk(fixture, from: Self.proxy)
        var bytes = Self.header("192.0.2.7")
        bytes.writeBytes([0, 0, 0, 8, 4, 210, 22, 47])
        try talk.send(bytes)
        #expect(String(buffer: talk.take()) == "S")
        try talk.startTLS(fixture.clientTLS)
        #expect(try talk.logIn(user: "ann.blue") == .authenticated)
    }

    @Test(arguments: [
        ("198.51.100.9", false), ("::ffff:192.0.2.9", true), ("2001:db8::1", false),
        ("192.0.2.9", true),
    ])
    func `networks are held against the client and not the proxy`(
        client: String, isAdmitted: Bool
    ) throws {
        let fixture = try self.fixture(allow: ["192.0.2.0/24"])
        let talk = try self.talk(fixture, client: client)
        try talk.startTLS(fixture.clientTLS)
        _ = try talk.logIn(user: "ann.blue")
        #expect((talk.takeError()?.message.contains("admit") ?? false) != isAdmitted)
        #expect(fixture.acceptor.clients.count == (isAdmitted ? 1 : 0))
    }

    @Test func `the proxy's own address is not the client's`() throws {
        let fixture = try self.fixture(allow: ["203.0.113.0/24"])
        let talk = try self.talk(fixture, client: "192.0.2.7")
        try talk.startTLS(fixture.clientTLS)
        _ = try talk.logIn(user: "ann.blue")
        #expect(fixture.acceptor.clients.isEmpty)
    }

    @Test func `a proxy that sends no header is refused`() throws {
        let fixture = try self.fixture()
        let talk = try Talk(fixture, from: Self.proxy)
        try talk.send(ByteBuffer(bytes: [0, 0, 0, 8, 4, 210, 22, 47]))
        #expect(talk.takeError()?.sqlState == .protocolViolation)
        #expect(fixture.services.metrics.refusals.value(.protocolViolation) == 1)
    }

    @Test func `a proxy that is silent is closed at the deadline`() throws {
        let fixture = try self.fixture()
        let talk = try Talk(fixture, from: Self.proxy)
        try talk.send(ByteBuffer(string: "PROXY TCP4"))
        try talk.advance(by: .seconds(10))
        #expect(fixture.services.metrics.refusals.value(.handshakeTimeout) == 1)
        try talk.advance(by: .seconds(1))
        #expect(!talk.server.isActive)
        #expect(fixture.services.admission.pendingSockets == 0)
    }

    @Test func `a header of a stranger is not interpreted`() throws {
        let fixture = try self.fixture(allow: ["192.0.2.0/24"])
        let talk = try Talk(fixture, from: "198.51.100.9")
        try talk.send(Self.header("192.0.2.7"))
        #expect(talk.takeError()?.sqlState == .protocolViolation)
        #expect(fixture.acceptor.clients.isEmpty)
    }

    @Test func `places of an address are the client's, and the proxy has more`() throws {
        var limits = AdmissionLimits()
        limits.maximumPendingAnAddress = 2
        let fixture = try self.fixture(limits: limits)
        let waiting = try (0..<5).map { _ in try Talk(fixture, from: Self.proxy) }
        let crowd = try (0..<2).map { _ in try self.talk(fixture, client: "192.0.2.7") }
        let third = try self.talk(fixture, client: "192.0.2.7")
        #expect(!third.server.isActive)
        #expect(fixture.services.metrics.refusals.value(.tooManyHandshakes) == 1)
        let other = try self.talk(fixture, client: "192.0.2.8")
        #expect((crowd + waiting + [other]).allSatisfy { $0.server.isActive })
        #expect(fixture.services.admission.pendingSockets == 8)
    }

    @Test func `a guesser behind the proxy locks nobody else behind it out`() throws {
        let fixture = try self.fixture()
        for _ in 0..<6 {
            let talk = try self.talk(fixture, client: "192.0.2.7")
            try talk.startTLS(fixture.clientTLS)
            _ = try talk.logIn(user: "ann.blue", password: "guess")
        }
        #expect(fixture.services.metrics.refusals.value(.tooManyAttempts) > 0)
        let talk = try self.talk(fixture, client: "192.0.2.8")
        try talk.startTLS(fixture.clientTLS)
        #expect(try talk.logIn(user: "ann.blue") == .authenticated)
    }
}

/// Silent sockets, and who comes after them.
struct DisplacedSocketTests {
    @Test func `the oldest of who has most makes room, at once and without a word`() throws {
        var limits = AdmissionLimits()
        limits.maximumPending = 4
        let fixture = try Fixture(limits: limits)
        let silent = try (0..<4).map { _ in try Talk(fixture, from: "198.51.100.9") }
        let client = try Talk(fixture)
        for talk in silent { talk.loop.run() }
        #expect(silent.map { $0.server.isActive } == [false, true, true, true])
        #expect(silent[0].take().readableBytes == 0)
        try client.startTLS(fixture.clientTLS)
        #expect(try client.logIn(user: "ann.blue") == .authenticated)
        #expect(fixture.services.metrics.refusals.value(.tooManyHandshakes) == 1)
        #expect(fixture.services.metrics.clientsOpen.value == 4)
    }

    @Test func `one that is silent behind TLS goes without its goodbye`() throws {
        var limits = AdmissionLimits()
        limits.maximumPending = 1
        let fixture = try Fixture(limits: limits)
        let silent = try Talk(fixture, from: "198.51.100.9")
        try silent.startTLS(fixture.clientTLS)
        let client = try Talk(fixture)
        silent.loop.run()
        #expect(!silent.server.isActive)
        #expect(client.server.isActive)
        #expect(fixture.services.admission.pendingSockets == 1)
    }
}

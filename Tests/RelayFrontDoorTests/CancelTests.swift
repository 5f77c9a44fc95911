import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import PostgresWire
import SharePolicy
import Testing

@testable import Relay

struct CancelHandlerTests {
    /// What an action was given, for the test to complete.
    private final class Asked: Sendable {
        private let box = NIOLockedValueBox<EventLoopPromise<Void>?>(nil)

        var promise: EventLoopPromise<Void>? { self.box.withLockedValue { $0 } }

        func ask(_ promise: EventLoopPromise<Void>) {
            self.box.withLockedValue { $0 = promise }
        }
    }

    @Test(arguments: [false, true])
    func `a cancelling client is held until the database has taken it`(inTLS: Bool) throws {
        let fixture = try Fixture()
        let asked = Asked()
        let key = fixture.services.cancels.mint(version: .v3_2) { asked.ask($0) }
        let talk = try Talk(fixture)
        if inTLS { try talk.startTLS(fixture.clientTLS) }
        try talk.send(PostgresMessage.cancelRequest(key))

        let promise = try #require(asked.promise)
        #expect(talk.server.isActive)
        promise.succeed(())
        try talk.pump()
        #expect(!talk.server.isActive)
        #expect(talk.take().readableBytes == 0)
        #expect(fixture.services.metrics.cancels.value(.routed) == 1)
        #expect(fixture.services.admission.pendingSockets == 0)
    }

    @Test func `a cancelling client is let go after ten seconds`() throws {
        let fixture = try Fixture()
        let asked = Asked()
        let key = fixture.services.cancels.mint(version: .v3_0) { asked.ask($0) }
        let talk = try Talk(fixture)
        try talk.advance(by: .seconds(5))
        try talk.send(PostgresMessage.cancelRequest(key))
        try talk.advance(by: .milliseconds(9_999))
        #expect(talk.server.isActive)
        try talk.advance(by: .milliseconds(1))

        #expect(!talk.server.isActive)
        let result = try #require(asked.promise).futureResult
        #expect(throws: CancelAbandoned.timedOut) { try result.wait() }
    }

    @Test func `a cancel is told when its client went away`() throws {
        let fixture = try Fixture()
        let asked = Asked()
        let key = fixture.services.cancels.mint(version: .v3_0) { asked.ask($0) }
        let talk = try Talk(fixture)
        try talk.send(PostgresMessage.cancelRequest(key))
        _ = try talk.server.finish()

        let result = try #require(asked.promise).futureResult
        #expect(throws: CancelAbandoned.clientLeft) { try result.wait() }
    }

    @Test func `a key that nobody has closes the connection without a word`() throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture)
        let key = try #require(CancelKey(processID: 1, secret: [1, 2, 3, 4]))
        try talk.send(PostgresMessage.cancelRequest(key))

        #expect(!talk.server.isActive)
        #expect(talk.take().readableBytes == 0)
        #expect(fixture.services.metrics.cancels.value(.unknown) == 1)
    }
}

/// The port where relays of one machine hand cancel requests on.
struct CancelPortTests {
    private static let unknown = CancelKey(processID: 1, secret: [1, 2, 3, 4])

    @Test(arguments: [1, 7, Int.max])
    func `a cancel request is served, in whatever pieces it comes`(pieceBytes: Int) throws {
        let fixture = try Fixture()
        let asked = NIOLockedValueBox(0)
        let key = fixture.services.cancels.mint(version: .v3_2) { promise in
            asked.withLockedValue { $0 += 1 }
            promise.succeed(())
        }
        let talk = try Talk(
            fixture, for: .cancelRequests, from: "127.0.0.1", pieceBytes: pieceBytes)
        try talk.send(PostgresMessage.cancelRequest(key))

        #expect(asked.withLockedValue { $0 } == 1)
        #expect(!talk.server.isActive)
        #expect(fixture.services.admission.pendingSockets == 0)
    }

    @Test(
        arguments: [
            // SSLRequest, GSSENCRequest, the first byte of TLS, any other first byte.
            [0, 0, 0, 8, 4, 210, 22, 47], [0, 0, 0, 8, 4, 210, 22, 48], [0x16], [0x47],
            // The beginning of a StartupMessage, of protocol 3.0 and 3.2; one that cannot be short.
            [0, 0, 0, 50, 0, 3, 0, 0], [0, 0, 0, 50, 0, 3, 0, 2], [0, 0, 0, 50, 0], [0, 0, 3, 0],
            // CancelRequests that are too short and too long.
            [0, 0, 0, 12, 4, 210, 22, 46], [0, 0, 1, 13, 4, 210, 22, 46],
            // What a proxy says first: none stands before this port.
            Array("PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n".utf8),
        ] as [[UInt8]])
    func `anything else is closed at once and without a word`(bytes: [UInt8]) throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture, for: .cancelRequests, from: "127.0.0.1")
        try talk.send(ByteBuffer(bytes: bytes))

        #expect(!talk.server.isActive)
        #expect(talk.take().readableBytes == 0)
        #expect(fixture.services.metrics.refusals.value(.protocolViolation) == 1)
        #expect(fixture.services.admission.pendingSockets == 0)
    }

    @Test func `one that says nothing is closed at the deadline`() throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture, for: .cancelRequests, from: "127.0.0.1")
        let key = try #require(Self.unknown)
        let request = PostgresMessage.cancelRequest(key)
        try talk.send(try #require(request.getSlice(at: 0, length: 11)))
        try talk.advance(by: .seconds(10))

        #expect(!talk.server.isActive)
        #expect(talk.take().readableBytes == 0)
        #expect(fixture.services.metrics.refusals.value(.handshakeTimeout) == 1)
    }

    @Test func `silent ones there take no more places than the handshake limits give`() throws {
        var limits = AdmissionLimits()
        limits.maximumPendingAnAddress = 2
        let fixture = try Fixture(limits: limits)
        let silent = try (0..<2).map { _ in
            try Talk(fixture, for: .cancelRequests, from: "127.0.0.1")
        }
        #expect(throws: TurnedAway.self) {
            try Talk(fixture, for: .cancelRequests, from: "127.0.0.1")
        }
        #expect(silent.allSatisfy { $0.server.isActive })
    }
}

struct ListeningAddressTests {
    @Test(arguments: [("127.0.0.1", "127.0.0.1:5432"), ("::1", "[::1]:5432")])
    func `an address is logged as settings spell it`(host: String, text: String) throws {
        #expect(try SocketAddress(ipAddress: host, port: 5_432).hostAndPort == text)
    }
}

struct CancelDirectoryTests {
    @Test func `a key is known from mint to remove, by its secret as well`() throws {
        let directory = CancelDirectory()
        let key = directory.mint(version: .v3_2) { $0.succeed(()) }
        var secret = key.secret
        secret[0] ^= 1
        let forged = try #require(CancelKey(processID: key.processID, secret: secret))

        #expect(directory.action(for: key) != nil)
        #expect(directory.action(for: forged) == nil)
        directory.remove(forged)
        #expect(directory.count == 1)
        directory.remove(key)
        #expect(directory.action(for: key) == nil)
        #expect(directory.count == 0)
    }

    @Test func `two clients never get the same process id`() {
        let directory = CancelDirectory()
        var first = SeededGenerator(seed: 1)
        var second = SeededGenerator(seed: 1)
        let one = directory.mint(version: .v3_0, using: &first) { $0.succeed(()) }
        let two = directory.mint(version: .v3_0, using: &second) { $0.succeed(()) }

        #expect(one.processID != two.processID)
        #expect(one.processID > 0 && two.processID > 0)
    }
}

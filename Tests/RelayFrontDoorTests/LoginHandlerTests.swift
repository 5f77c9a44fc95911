import Foundation
import NIOCore
import NIOEmbedded
import PostgresWire
import SharePolicy
import Testing

@testable import Relay

struct LoginHandlerTests {
    private func admittedTalk(_ fixture: Fixture) throws -> Talk {
        let talk = try Talk(fixture)
        try talk.startTLS(fixture.clientTLS)
        return talk
    }

    private func failure(
        _ fixture: Fixture, user: String, password: String = Fixture.password
    ) throws -> PostgresError? {
        let talk = try self.admittedTalk(fixture)
        guard case .failed(.server(let error)) = try talk.logIn(user: user, password: password)
        else { return talk.takeError() }
        return error
    }

    @Test func `an unknown, an expired and a revoked share answer like a wrong password`() throws {
        let live = try Fixture()
        let wrong = try #require(
            try self.failure(live, user: "ann.\(live.id)", password: "guess"))
        #expect(wrong.severity == .fatal)
        #expect(wrong.sqlState == .invalidPassword)
        #expect(try self.failure(live, user: "ann.nobody") == wrong)

        let expired = try Fixture(change: { share, _ in
            share.expiresAt = Date(timeIntervalSinceNow: -1)
        })
        #expect(try self.failure(expired, user: "ann.\(expired.id)") == wrong)
        let revoked = try Fixture(change: { share, _ in share.revokedAt = Date() })
        #expect(try self.failure(revoked, user: "ann.\(revoked.id)") == wrong)
        #expect(revoked.services.metrics.loginFailures.value == 1)
        #expect(revoked.acceptor.clients.isEmpty)
    }

    @Test func `an offline agent is told after the password and never before`() throws {
        let fixture = try Fixture(isOnline: false)

        #expect(try self.failure(fixture, user: "ann.blue")?.sqlState == .cannotConnectNow)
        let wrong = try self.failure(fixture, user: "ann.blue", password: "guess")
        #expect(wrong?.sqlState == .invalidPassword)
    }

    @Test func `a share admits its maximum of clients and a released lease makes room`() throws {
        let fixture = try Fixture(change: { share, _ in share.limits.maximumClients = 1 })
        let first = try self.admittedTalk(fixture)
        #expect(try first.logIn(user: "ann.blue") == .authenticated)
        #expect(try self.failure(fixture, user: "ann.blue")?.sqlState == .tooManyConnections)

        fixture.acceptor.clients.first?.lease.release()
        fixture.acceptor.clients.first?.lease.release()
        #expect(fixture.services.admission.clients(of: fixture.share.id) == 0)
        let next = try self.admittedTalk(fixture)
        #expect(try next.logIn(user: "ann.blue") == .authenticated)
    }

    @Test func `a client from another network is told after the password`() throws {
        let fixture = try Fixture(change: { share, _ in
            share.limits.allow = [CIDR("198.51.100.0/24")].compactMap(\.self)
        })
        let error = try self.failure(fixture, user: "ann.blue")

        #expect(error?.sqlState == .invalidAuthorizationSpecification)
        #expect(error?.message == Refusal.Reason.addressNotAllowed.message)
    }

    @Test func `failed logins lock their address out, and nobody else`() throws {
        let fixture = try Fixture()
        for _ in 0..<20 {
            _ = try self.failure(fixture, user: "ann.blue", password: "guess")
        }
        let locked = try self.failure(fixture, user: "ann.blue")
        #expect(locked?.message == Refusal.Reason.tooManyAttempts.message)

        let owner = try Talk(fixture, from: "198.51.100.1")
        try owner.startTLS(fixture.clientTLS)
        #expect(try owner.logIn(user: "ann.blue") == .authenticated)
    }

    @Test func `a client that names no share is told how to`() throws {
        let error = try self.failure(try Fixture(), user: "ann")

        #expect(error?.sqlState == .invalidAuthorizationSpecification)
        #expect(error?.message == Refusal.Reason.shareNotNamed.message)
    }

    @Test func `two ways to name a share that disagree are refused`() throws {
        let fixture = try Fixture()
        let talk = try Talk(fixture)
        try talk.startTLS(fixture.clientTLS, serverName: "blue.\(Fixture.domain)")
        try talk.send(
            PostgresMessage.startup([
                .init(name: "user", value: "ann"),
                .init(name: "options", value: "-c pgshare.share=green"),
            ]))

        let error = try #require(talk.takeError())
        #expect(error.message == Refusal.Reason.shareAddressDisagrees.message)
    }

    @Test func `what follows the password is handed on`() throws {
        let fixture = try Fixture()
        let talk = try self.admittedTalk(fixture)
        let query = PostgresMessage.query("select 1")
        #expect(try talk.logIn(user: "ann.blue", behind: query) == .authenticated)

        #expect(fixture.acceptor.clients.first?.earlyBytes == query)
    }

    @Test func `the version is negotiated once, in front of the password`() throws {
        let fixture = try Fixture()
        let talk = try self.admittedTalk(fixture)
        try talk.send(
            PostgresMessage.startup(
                [
                    .init(name: "user", value: "ann.blue"),
                    .init(name: "_pq_.grease", value: "1"),
                ], version: ProtocolVersion(major: 3, minor: 9_999)))

        var bytes = talk.take()
        #expect(bytes.readInteger(as: UInt8.self) == UInt8(ascii: "v"))
        let head = bytes.readInteger(as: UInt32.self)
        let length = try #require(head)
        let start = bytes.readerIndex
        #expect(bytes.getInteger(at: start + 2, as: UInt16.self) == 2)
        #expect(bytes.getInteger(at: start + 4, as: UInt32.self) == 1)
        let next = bytes.getInteger(at: start + Int(length) - 4, as: UInt8.self)
        #expect(next == UInt8(ascii: "R"))
    }

    @Test func `a message that is no password is a violation`() throws {
        let fixture = try Fixture()
        let talk = try self.admittedTalk(fixture)
        try talk.send(PostgresMessage.startup([.init(name: "user", value: "ann.blue")]))
        _ = talk.take()
        try talk.send(PostgresMessage.query("select 1"))

        #expect(talk.takeError()?.sqlState == .protocolViolation)
        #expect(fixture.services.metrics.loginFailures.value == 0)
    }

    @Test func `an admitted client leaves nothing of the front door behind`() throws {
        let fixture = try Fixture()
        let talk = try self.admittedTalk(fixture)
        let operations = talk.server.pipeline.syncOperations
        weak let startup = try operations.handler(type: StartupHandler.self)
        #expect(startup != nil)
        #expect(try talk.logIn(user: "ann.blue") == .authenticated)

        #expect(startup == nil)
        #expect(throws: ChannelPipelineError.self) {
            try operations.handler(type: StartupHandler.self)
        }
        #expect(throws: ChannelPipelineError.self) {
            try operations.handler(type: LoginHandler.self)
        }
    }

    @Test func `a relay that stops lets nobody in`() throws {
        let fixture = try Fixture()
        fixture.services.stop()

        #expect(try self.failure(fixture, user: "ann.blue")?.sqlState == .adminShutdown)
    }
}

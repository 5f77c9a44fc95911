import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import PostgresWire
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

import NIOConcurrencyHelpers
import NIOCore
import PostgresWire
import Testing
import TunnelTransport

@testable import Relay

/// Real relays on free ports; the page is a double, and so is its engine.
@Suite(.timeLimit(.minutes(2)))
struct DoorTests {
    private static let id = "0123456789abcdef"
    private static let select = PostgresMessage.query("select 1")

    @Test func `two clients have their turns at the same time`() async throws {
        try await DoorRelay.with { relay in
            let token = try await relay.token("anna")
            let (page, login) = try await relay.share(id: Self.id, token: token)
            let one = try await DoorClient.logIn(relay, login)
            let two = try await DoorClient.logIn(relay, login)
            #expect(try await one.ask(PostgresMessage.query("begin")) == "C:OK Z:T")
            two.socket.send(Self.select)
            #expect(try await one.ask(PostgresMessage.query("select 2")) == "T D:2 C:SELECT 1 Z:T")
            #expect(try await one.ask(PostgresMessage.query("commit")) == "C:OK Z:I")
            #expect(try await two.answer() == "T D:1 C:SELECT 1 Z:I")
            #expect(page.page.dropped == 0)
        }
    }
}

import NIOCore
import PostgresWire
import SharePolicy
import SharedSession
import Testing
import TunnelWire

@testable import Relay

/// One session, several clients: who is served when, and what each of them sees.
struct SessionHostTests {
    @Test(arguments: [false, true])
    func `a client is greeted by the engine and served, on whichever event loop`(
        elsewhere: Bool
    ) async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page, elsewhere: elsewhere)
            try await client.query("select 1")
            try await bench.settle()
            #expect(try await client.heard() == "C(SELECT) Z(I)")
            #expect(page.engine.ran == ["select 1"])
            #expect(page.told.contains("HOLD"))
        }
    }

    @Test(arguments: [false, true])
    func `two clients are served at once, the second behind the first one's transaction`(
        elsewhere: Bool
    ) async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let first = try await bench.greeted(at: page)
            let second = try await bench.greeted(at: page, elsewhere: elsewhere)
            try await first.query("begin")
            try await bench.settle()
            try await second.query("select 2")
            try await bench.settle()
            #expect(try await first.heard() == "C(BEGIN) Z(T)")
            #expect(try await second.heard() == "")
            #expect(bench.metrics.sessionClientsWaiting.value == 1)

            try await first.query("commit")
            try await bench.settle()
            #expect(try await first.heard() == "C(COMMIT) Z(I)")
            #expect(try await second.heard() == "C(SELECT) Z(I)")
            #expect(page.engine.ran == ["begin", "commit", "select 2"])
            #expect(bench.metrics.sessionClientsWaiting.value == 0)
        }
    }

    @Test func `clients that wait are served in the order in which they came`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let holder = try await bench.greeted(at: page)
            try await holder.query("begin")
            try await bench.settle()
            var others: [ClientDouble] = []
            for number in 1...5 {
                let client = try await bench.client(at: page, elsewhere: number % 2 == 0)
                // It is greeted though another one has the session.
                try await bench.pass(.seconds(1))
                #expect(try await client.heard() == "R K Z(I)")
                try await client.query("select \(number)")
                try await bench.settle()
                others.append(client)
            }
            try await holder.query("rollback")
            try await bench.settle()
            let expected = ["begin", "rollback"] + (1...5).map { "select \($0)" }
            #expect(page.engine.ran == expected)
            for client in others { #expect(try await client.heard() == "C(SELECT) Z(I)") }
        }
    }

    @Test func `the page has its engine back once nobody uses it`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            try await bench.pass(.seconds(1))
            #expect(page.told.last == "RELEASE")
            try await client.query("select 1")
            try await bench.settle()
            #expect(page.told.last == "HOLD")
        }
    }

    @Test func `the page hears of its clients`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.client(at: page, application: "psql")
            try await client.vanish()
            try await bench.settle()
            let events = page.told.filter { $0.hasPrefix("EVENT") }
            #expect(
                events == [
                    "EVENT {\"address\":\"192.0.2.7\",\"application\":\"psql\",\"client\":1,"
                        + "\"event\":\"client-connected\"}",
                    "EVENT {\"client\":1,\"event\":\"client-disconnected\"}",
                ])
        }
    }

    // MARK: Clients that go

    @Test func `who vanishes in a transaction is rolled back before the next is served`()
        async throws
    {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let first = try await bench.greeted(at: page)
            let second = try await bench.greeted(at: page)
            try await first.query("begin")
            try await first.query("insert")
            try await bench.settle()
            try await second.query("select 2")
            try await bench.settle()
            try await first.vanish()
            try await bench.settle()
            #expect(page.engine.ran == ["begin", "insert", "ROLLBACK", "select 2"])
            #expect(try await second.heard() == "C(SELECT) Z(I)")
        }
    }

    @Test func `who vanishes in the middle of a call is rolled back when it is over`()
        async throws
    {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let first = try await bench.greeted(at: page)
            let second = try await bench.greeted(at: page)
            try await first.query("begin")
            try await bench.settle()
            page.engine.stuckOn = ["insert"]
            try await first.query("insert")
            try await second.query("select 2")
            try await bench.settle()
            try await first.vanish()
            try await bench.settle()
            #expect(page.engine.ran == ["begin"])
            page.engine.stuckOn = []
            try await bench.settle()
            #expect(page.engine.ran == ["begin", "insert", "ROLLBACK", "select 2"])
            #expect(try await second.heard() == "C(SELECT) Z(I)")
        }
    }

    @Test func `who idles in a transaction while others wait is ended`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let first = try await bench.greeted(at: page)
            let second = try await bench.greeted(at: page)
            try await first.query("begin")
            try await bench.settle()
            _ = try await first.heard()
            try await second.query("select 2")
            try await bench.pass(.seconds(11))
            #expect(try await first.heard().hasPrefix("E!(25P03"))
            #expect(first.isClosed)
            // It was told whom it waited for, and then it was served.
            let heard = try await second.heard()
            #expect(heard.hasPrefix("N(00000 waiting for a client (192.0.2.7)"))
            #expect(heard.hasSuffix("C(SELECT) Z(I)"))
            #expect(page.engine.ran == ["begin", "ROLLBACK", "select 2"])
            #expect(bench.metrics.sessionTimeouts.value(.idle) == 1)
        }
    }

    @Test func `who waits for longer than its patience is told for whom`() async throws {
        try await SessionBench.with {
            $0.session.waitTimeout = .seconds(3)
            $0.session.idleTimeout = .seconds(60)
        } _: { bench in
            let page = try await bench.page()
            let first = try await bench.greeted(at: page)
            let second = try await bench.greeted(at: page)
            try await first.query("begin")
            try await bench.settle()
            try await second.query("select 2")
            try await bench.pass(.seconds(4))
            #expect(
                try await second.heard()
                    == "E(55P03 waited too long for the session of this sandbox, "
                    + "which a client (192.0.2.7) has) Z(I)")
            #expect(!second.isClosed)
            #expect(bench.metrics.sessionTimeouts.value(.wait) == 1)
        }
    }

    // MARK: Cancel

    @Test(arguments: [false, true])
    func `a cancel takes who waits out of the queue`(elsewhere: Bool) async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let first = try await bench.greeted(at: page)
            let second = try await bench.greeted(at: page, elsewhere: elsewhere)
            try await first.query("begin")
            try await bench.settle()
            try await second.query("select 2")
            try await bench.settle()
            try await bench.cancel(second)
            #expect(
                try await second.heard()
                    == "E(57014 canceling statement due to user request) Z(I)")
            try await first.query("commit")
            try await second.query("select 3")
            try await bench.settle()
            #expect(page.engine.ran == ["begin", "commit", "select 3"])
        }
    }

    @Test func `a cancel says what it cannot interrupt, and hits nothing afterwards`()
        async throws
    {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            page.engine.stuckOn = ["select 1"]
            try await client.query("select 1")
            try await bench.settle()
            try await bench.cancel(client)
            page.engine.stuckOn = []
            try await bench.settle()
            #expect(
                try await client.heard()
                    == "N(00000 the engine in the browser cannot interrupt a running query; "
                    + "it goes on) C(SELECT) Z(I)")
            try await bench.cancel(client)
            try await client.query("select 2")
            try await bench.settle()
            #expect(try await client.heard() == "C(SELECT) Z(I)")
        }
    }

    @Test func `every client has a cancel key of its own, as long as it is here`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let clients = [
                try await bench.greeted(at: page), try await bench.greeted(at: page),
            ]
            #expect(Set(clients.map(\.key)).count == 2)
            #expect(bench.cancels.count == 2)
            let key = try #require(clients[0].key)
            try await clients[0].vanish()
            try await bench.settle()
            #expect(bench.cancels.count == 1)
            #expect(bench.cancels.action(for: key) == nil)
        }
    }

    // MARK: How many

    @Test func `a share takes as many clients as it allows`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page { $0.maxConnections = 2 }
            let first = try await bench.greeted(at: page)
            _ = try await bench.greeted(at: page)
            let third = try await bench.arrive(at: page)
            #expect(throws: SessionBench.Refused(reason: .tooManyClients)) { try third.get() }
            try await first.vanish()
            try await bench.settle()
            _ = try await bench.greeted(at: page)
        }
    }

    @Test(arguments: [true, false])
    func `an exclusive share takes one client at a time`(isRelays: Bool) async throws {
        try await SessionBench.with {
            $0.exclusive = isRelays
        } _: { bench in
            let page = try await bench.page { $0.exclusive = !isRelays }
            let first = try await bench.greeted(at: page)
            let second = try await bench.arrive(at: page)
            #expect(throws: SessionBench.Refused(reason: .tooManyClients)) { try second.get() }
            try await first.send(PostgresMessage.terminate())
            try await bench.settle()
            #expect(first.isClosed)
            _ = try await bench.greeted(at: page)
        }
    }
}

import Foundation
import NIOCore
import PostgresWire
import SharePolicy
import SharedSession
import Testing
import TunnelWire

@testable import Relay

/// The way to the page is cut, comes back, or ends.
struct SessionTunnelTests {
    @Test(arguments: [false, true])
    func `a tunnel that is cut in the middle of a call goes on where it was`(
        elsewhere: Bool
    ) async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            page.engine.stuckOn = ["insert"]
            try await client.query("begin")
            try await client.query("insert")
            try await bench.settle()
            try await page.cut()
            page.engine.stuckOn = []
            try await bench.pass(.seconds(30))
            #expect(try await client.heard() == "C(BEGIN) Z(T)")
            // What it sends meanwhile is kept.
            try await client.query("commit")
            try await page.resume(on: bench.connection(elsewhere: elsewhere))
            try await bench.settle()
            #expect(try await client.heard() == "C(INSERT) Z(T) C(COMMIT) Z(I)")
            #expect(page.engine.ran == ["begin", "insert", "commit"])
            #expect(bench.metrics.resumes.value == 1)
        }
    }

    @Test func `a tunnel that is cut in the middle of a reply loses nothing of it`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            try await client.stick(true)
            try await client.query("big 8192")
            try await bench.settle()
            try await page.cut()
            try await client.stick(false)
            try await bench.settle()
            try await page.resume(on: bench.connection())
            try await bench.settle()
            #expect(try await client.heard() == "D*8192 C(BIG) Z(I)")
        }
    }

    @Test func `while the tunnel is away nobody's time runs out`() async throws {
        try await SessionBench.with {
            $0.session.waitTimeout = .seconds(10)
            $0.session.idleTimeout = .seconds(5)
        } _: { bench in
            let page = try await bench.page()
            let holder = try await bench.greeted(at: page)
            let waiter = try await bench.greeted(at: page)
            try await holder.query("begin")
            try await bench.settle()
            try await waiter.query("select 2")
            try await bench.settle()
            try await page.cut()
            try await bench.pass(.seconds(50))
            try await page.resume(on: bench.connection())
            try await bench.settle()
            #expect(!holder.isClosed)
            #expect(try await waiter.heard() == "")
            try await holder.query("commit")
            try await bench.settle()
            #expect(try await waiter.heard() == "C(SELECT) Z(I)")
        }
    }

    @Test func `a tunnel that is away for longer than its grace is lost`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let clients = [
                try await bench.greeted(at: page),
                try await bench.greeted(at: page, elsewhere: true),
            ]
            try await page.cut()
            try await bench.pass(.seconds(59))
            #expect(!clients[0].isClosed)
            try await bench.pass(.seconds(2))
            for client in clients {
                #expect(
                    try await client.heard()
                        == "E!(08006 the connection to the database was lost; connect again)")
                #expect(client.isClosed)
            }
            #expect(bench.metrics.linksLost.value == 1)
            let late = try await bench.arrive(at: page)
            #expect(throws: SessionBench.Refused(reason: .agentOffline)) { try late.get() }
        }
    }

    // MARK: Who comes while it is away

    @Test func `who comes while the tunnel is away is served when it is back`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            try await page.cut()
            let client = try await bench.client(at: page)
            try await client.query("select 1")
            try await bench.pass(.seconds(20))
            #expect(try await client.heard() == "")
            #expect(bench.metrics.sessionClientsWaiting.value == 1)
            try await page.resume(on: bench.connection())
            try await bench.settle()
            #expect(try await client.heard() == "R K Z(I) C(SELECT) Z(I)")
            #expect(client.socket.reads == 0)
        }
    }

    @Test(arguments: [false, true])
    func `who comes while the tunnel is away waits no longer than for its turn`(
        elsewhere: Bool
    ) async throws {
        try await SessionBench.with {
            $0.session.waitTimeout = .seconds(5)
        } _: { bench in
            let page = try await bench.page()
            let old = try await bench.greeted(at: page)
            try await page.cut()
            try await bench.pass(.seconds(20))
            let client = try await bench.client(at: page, elsewhere: elsewhere)
            try await bench.pass(.seconds(4))
            #expect(try await client.heard() == "")
            try await bench.pass(.seconds(2))
            #expect(
                try await client.heard()
                    == "R E!(57P03 the agent is not connected; try again shortly)")
            #expect(client.isClosed)
            #expect(!old.isClosed)
            #expect(bench.metrics.refusals.value(.agentOffline) == 1)
        }
    }

    @Test func `who comes before the page has answered waits for it`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page { _ in
            } _: {
                $0.answer = nil
            }
            let client = try await bench.client(at: page)
            try await client.query("select 1")
            try await bench.pass(.seconds(44))
            #expect(try await client.heard() == "")
            try await bench.pass(.seconds(2))
            #expect(
                try await client.heard().hasPrefix("R E!(08001 the agent cannot reach"))
            #expect(page.error?.code == "internal_failure")
        }
    }

    // MARK: Ends

    @Test func `a relay that stops says so to both sides`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let idle = try await bench.greeted(at: page)
            let holder = try await bench.greeted(at: page, elsewhere: true)
            try await holder.query("begin")
            try await bench.settle()
            _ = try await holder.heard()
            for tunnel in bench.registry.all { tunnel.end(.relayStopping) }
            try await bench.settle()
            for client in [idle, holder] {
                #expect(
                    try await client.heard() == "E!(57P01 the server is restarting; reconnect)")
                #expect(client.isClosed)
            }
            #expect(page.error?.code == "relay_stopping")
            #expect(page.error?.retry == true)
        }
    }

    @Test func `clients of a share that was revoked are told so, and its page`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            let id = try #require(ShareID(rawValue: page.id))
            for ending in bench.directory.ended(id, .shareEnded) {
                ending.acceptor.end(ending.reason)
            }
            try await bench.settle()
            #expect(
                try await client.heard()
                    == "E!(57P01 this share has ended; ask for a fresh link)")
            #expect(page.error?.code == "share_revoked")
        }
    }

    @Test func `clients of a share that has expired are told so`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page { $0.expiresIn = 60 }
            let client = try await bench.greeted(at: page)
            for ending in bench.directory.expire(now: Date().addingTimeInterval(61)) {
                ending.acceptor.end(ending.reason)
            }
            try await bench.settle()
            #expect(
                try await client.heard()
                    == "E!(57P01 this share has ended; ask for a fresh link)")
            #expect(client.isClosed)
        }
    }

    @Test(
        arguments: [
            (.shareEnded, 0, .shareExpired), (.shareEnded, 1, .shareRevoked),
            (.relayStopping, 0, .relayStopping), (.tunnelLost, 1, .takenOver),
            (.databaseUnreachable, 1, .internalFailure),
        ] as [(Refusal.Reason, Double, TunnelRefusal.Reason)])
    func `a page is told why its share is over`(
        reason: Refusal.Reason, secondsLeft: Double, told: TunnelRefusal.Reason
    ) {
        let now = Date(timeIntervalSince1970: 1_000)
        let expiresAt = now.addingTimeInterval(secondsLeft)
        #expect(TunnelRefusal.Reason(ending: reason, expiresAt: expiresAt, now: now) == told)
        let never = TunnelRefusal.Reason(ending: .shareEnded, expiresAt: nil, now: now)
        #expect(never == .shareRevoked)
    }

    @Test func `clients of a page that stops sharing are told so`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            try await page.leave(
                LinkError(code: LinkError.agentStopped, message: "bye", retry: false))
            try await bench.settle()
            #expect(
                try await client.heard()
                    == "E!(57P01 the page that shares this database has stopped sharing it)")
            #expect(client.isClosed)
        }
    }

    @Test func `a second tab takes a share over, and the first one's clients are told`()
        async throws
    {
        try await SessionBench.with { bench in
            let first = try await bench.page()
            let client = try await bench.greeted(at: first)
            let second = try await bench.page { $0.id = first.id }
            #expect(
                try await client.heard()
                    == "E!(08006 the connection to the database was lost; connect again)")
            #expect(first.error?.code == "taken_over")
            #expect(first.error?.retry == false)
            #expect(second.id == first.id)
            let another = try await bench.greeted(at: second)
            try await another.query("select 1")
            try await bench.settle()
            #expect(second.engine.ran == ["select 1"])
        }
    }
}

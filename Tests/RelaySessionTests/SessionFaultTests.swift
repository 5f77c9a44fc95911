import NIOCore
import Relay
import SharedSession
import Testing
import TunnelWire

/// Engines that fail, and pages that do not keep to the rules.
struct SessionFaultTests {
    @Test(arguments: [false, true])
    func `a fault fails its client, the engine is new, and the others go on`(
        restartsByItself: Bool
    ) async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let first = try await bench.greeted(at: page)
            let second = try await bench.greeted(at: page)
            page.engine.faultsOn = ["select huge": restartsByItself]
            try await first.query("begin")
            try await bench.settle()
            try await second.query("select 2")
            try await first.query("select huge")
            try await bench.settle()
            #expect(
                try await first.heard()
                    == "C(BEGIN) Z(T) E!(58000 the engine in the browser failed: trap)")
            #expect(first.isClosed)
            #expect(try await second.heard() == "C(SELECT) Z(I)")
            #expect(page.told.contains("RESTART") == !restartsByItself)
            #expect(bench.metrics.engineFaults.value == 1)
            #expect(bench.metrics.engineRestarts.value == 1)
        }
    }

    @Test func `an engine that cannot be held is asked for again`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page { _ in
            } _: {
                $0.failsHolds = true
                $0.failsRestarts = false
            }
            let client = try await bench.client(at: page)
            // Each time the engine is restarted, and at last it is given up.
            #expect(
                try await client.heard()
                    == "R E!(08006 the engine in the browser does not work any more)")
            #expect(page.told.filter { $0 == "HOLD" }.count == 4)
            #expect(page.error == nil)
        }
    }

    @Test func `a HOLD that fails once costs nobody a connection`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            try await bench.pass(.seconds(1))
            page.failsHolds = true
            page.failsNextOnly = true
            try await client.query("select 1")
            try await bench.settle()
            #expect(try await client.heard() == "C(SELECT) Z(I)")
            #expect(page.engine.ran == ["select 1"])
            #expect(page.told.suffix(3) == ["HOLD", "RESTART", "HOLD"])
        }
    }

    @Test func `an engine that cannot be restarted is given up`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let first = try await bench.greeted(at: page)
            let second = try await bench.greeted(at: page)
            page.failsRestarts = true
            page.engine.faultsOn = ["select huge": false]
            try await first.query("select huge")
            try await bench.settle()
            #expect(try await first.heard().hasPrefix("E!(58000"))
            #expect(
                try await second.heard()
                    == "E!(08006 the engine in the browser does not work any more)")
            let late = try await bench.client(at: page)
            #expect(try await late.heard().hasPrefix("R E!(08006"))
        }
    }

    @Test func `a notification of the page reaches who listens`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            try await client.query("listen a")
            try await bench.settle()
            #expect(try await client.heard() == "C(LISTEN) Z(I)")
            page.say(.notify, ByteBuffer(bytes: [0x41, 0, 0, 0, 11, 0, 0, 0, 0, 0x61, 0, 0]))
            try await bench.settle()
            #expect(try await client.heard() == "A(0 a)")
        }
    }

    /// Wherever the network cuts them.
    @Test func `records that come byte by byte mean the same`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page { _ in
            } _: {
                $0.isCut = true
            }
            let client = try await bench.greeted(at: page)
            try await client.query("big 3")
            try await client.query("wrong")
            try await bench.settle()
            #expect(
                try await client.heard() == "D*3 C(BIG) Z(I) E(42601 wrong) Z(I)")
        }
    }

    // MARK: Hostile pages

    @Test(
        arguments: [
            [0x12, 0, 0, 0, 0],  // DONE without a call.
            [0x11, 0, 0, 0, 1, 0x5A],  // REPLY without a call.
            [0x16, 0, 0, 0, 0],  // HELD that nobody asked for.
            [0x12, 0, 0, 0, 1, 0],  // A DONE with something in it.
            [0x13, 0xFF, 0xFF, 0xFF, 0xFF],  // A FAULT of 4 GiB.
            // A NOTIFY whose payload has no end.
            [0x14, 0, 0, 0, 12, 0x41, 0, 0, 0, 11, 0, 0, 0, 0, 0x61, 0, 0x62],
            [0x55, 0, 1, 0, 1],  // What is not known, and too long.
            [0x03, 0, 0, 0, 0],  // A record of ours.
        ] as [[UInt8]])
    func `a page that breaks the rules loses its link, and its clients learn it`(
        bytes: [UInt8]
    ) async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            try await bench.pass(.seconds(1))
            page.say(ByteBuffer(bytes: bytes))
            try await bench.settle()
            #expect(page.error?.code == "bad_record")
            #expect(
                try await client.heard()
                    == "E!(08006 the connection to the database was lost; connect again)")
            #expect(client.isClosed)
        }
    }

    @Test func `a page that ends its stream loses its link`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            page.finish()
            try await bench.settle()
            #expect(page.error?.code == "bad_record")
            #expect(try await client.heard().hasPrefix("E!(08006"))
        }
    }

    @Test func `what a newer page may say does no harm`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page)
            page.say(ByteBuffer(bytes: [0x55, 0, 0, 0, 3, 1, 2, 3]))
            // Faults of the page's own queries, one of them unreadable.
            page.say(.fault, ByteBuffer(string: "{}"))
            page.say(.fault, ByteBuffer(string: "no JSON"))
            try await bench.settle()
            try await client.query("select 1")
            try await bench.settle()
            #expect(try await client.heard() == "C(SELECT) Z(I)")
        }
    }

    @Test func `a reply that is no Postgres fails its client alone`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let first = try await bench.greeted(at: page)
            let second = try await bench.greeted(at: page)
            page.engine.stuckOn = ["select 1"]
            try await first.query("select 1")
            try await bench.settle()
            page.say(.reply, ByteBuffer(string: "<html>nothing that Postgres says</html>"))
            try await bench.settle()
            page.engine.stuckOn = []
            try await second.query("select 2")
            try await bench.settle()
            #expect(try await first.heard().hasPrefix("E!(58000"))
            #expect(try await second.heard() == "C(SELECT) Z(I)")
        }
    }
}

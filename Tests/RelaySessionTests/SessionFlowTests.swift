import NIOCore
import PostgresWire
import Testing
import TunnelWire

@testable import SharedSession

/// What waits where, when somebody does not read.
struct SessionFlowTests {
    /// What the page may send before the relay gives credit back, in bytes.
    private static let window = LinkLimits.browser.maximumWindowBytes

    @Test(arguments: [false, true])
    func `what waits for a client that does not read is bounded, and arrives later`(
        elsewhere: Bool
    ) async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let client = try await bench.greeted(at: page, elsewhere: elsewhere)
            try await client.stick(true)
            let before = page.sentBytes
            try await client.query("big 8192")
            try await bench.settle()
            // 8 MiB are asked for.
            #expect(client.socket.waitingBytes > 64 * 1024)
            #expect(client.socket.waitingBytes <= Self.window)
            #expect(page.sentBytes - before <= Self.window)

            try await client.stick(false)
            try await bench.settle()
            #expect(try await client.heard() == "D*8192 C(BIG) Z(I)")
            #expect(page.sentBytes - before > 8 * 1024 * 1024)
        }
    }

    @Test func `a client that does not read loses its turn when others wait`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let slow = try await bench.greeted(at: page)
            let other = try await bench.greeted(at: page)
            try await slow.stick(true)
            try await slow.query("big 8192")
            try await bench.settle()
            try await other.query("select 2")
            try await bench.pass(.seconds(12))
            #expect(try await other.heard().hasSuffix("C(SELECT) Z(I)"))
            // What it was sent may still be read for a while, then it is closed.
            try await bench.pass(.seconds(31))
            #expect(slow.isClosed)
            try await slow.stick(false)
        }
    }

    @Test func `a client that goes while the page sends leaves no credit behind`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            for _ in 0..<4 {
                let client = try await bench.greeted(at: page)
                try await client.stick(true)
                try await client.query("big 4096")
                try await bench.settle()
                try await client.vanish()
                try await client.stick(false)
                try await bench.settle()
            }
            // With a window that was lost, this would never be whole.
            let client = try await bench.greeted(at: page)
            try await client.query("big 4096")
            try await bench.settle()
            #expect(try await client.heard() == "D*4096 C(BIG) Z(I)")
        }
    }

    @Test func `a client that waits is read no further than its queue`() async throws {
        try await SessionBench.with { bench in
            let page = try await bench.page()
            let holder = try await bench.greeted(at: page)
            let waiter = try await bench.greeted(at: page)
            try await holder.query("begin")
            try await bench.settle()
            let reads = waiter.socket.reads
            for _ in 0..<4 {
                try await waiter.query("select '\(String(repeating: "x", count: 32 * 1024))'")
                try await waiter.askToRead()
            }
            try await bench.settle()
            #expect(waiter.socket.reads == reads + 1)
            try await holder.query("commit")
            try await bench.settle()
            #expect(waiter.socket.reads > reads + 1)
            #expect(
                try await waiter.heard()
                    == Array(repeating: "C(SELECT) Z(I)", count: 4).joined(separator: " "))
        }
    }
}

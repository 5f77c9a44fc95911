import NIOCore
import PostgresWire
import Simulation
import Testing

@testable import SharedSession

struct SharedSessionLeaseTests {
    @Test func `a client is greeted with the engine's parameters and its own key`() {
        var talk = SharedSessionTranscript()
        let id = talk.arrive(1)
        #expect(talk.heard(id) == "S S K Z(I)")
    }

    @Test func `another database than the engine's is refused`() {
        var talk = SharedSessionTranscript()
        let id = talk.arrive(1, database: "other")
        #expect(talk.heard(id) == "E!(3D000 database \"other\" does not exist)")
        #expect(talk.closed == [id])
    }

    @Test func `a simple query goes through, and all of its reply is credited`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("select 1"))
        #expect(talk.asked == "Q(select 1) f")
        talk.reply(Wire.row, Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(id) == "D C(SELECT 1) Z(I)")
        #expect(talk.owedCredit == 0)
        #expect(talk.session.holder == nil)
    }

    /// However the network cuts the bytes, the machine must say the same thing.
    @Test(arguments: 1..<14)
    func `a query cut in two is the same query`(front: Int) throws {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        var whole = Wire.query("select 1")
        let firstPart = whole.readSlice(length: front)
        let first = try #require(firstPart)
        talk.send(id, first)
        #expect(talk.asked == "")
        #expect(talk.session.waitingCount == 0)
        talk.send(id, whole)
        #expect(talk.asked == "Q(select 1) f")
    }

    @Test func `clients are served in the order in which they asked`() {
        var talk = SharedSessionTranscript()
        let ids = (1...3).map { talk.greeted($0) }
        for id in ids { talk.send(id, Wire.query("select \(id.rawValue)")) }
        #expect(talk.session.waitingCount == 2)
        for id in ids {
            #expect(talk.asked == "Q(select \(id.rawValue)) f")
            talk.reply(Wire.complete("SELECT 1"), Wire.ready())
            #expect(talk.heard(id) == "C(SELECT 1) Z(I)")
        }
        #expect(talk.session.waitingCount == 0)
    }

    @Test func `a transaction keeps the session until it ends`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("begin"))
        talk.send(second, Wire.query("select 2"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        #expect(talk.asked == "")
        talk.send(first, Wire.query("commit"))
        #expect(talk.asked == "Q(commit) f")
        talk.reply(Wire.complete("COMMIT"), Wire.ready())
        #expect(talk.asked == "Q(select 2) f")
    }

    @Test func `a client that leaves in a transaction is rolled back before the next is served`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        talk.send(second, Wire.query("select 2"))
        talk.leave(first)
        #expect(talk.asked == "Q(ROLLBACK)")
        talk.reply(Wire.complete("ROLLBACK"), Wire.ready())
        #expect(talk.asked == "Q(select 2) f")
    }

    @Test func `a client that leaves during its call is rolled back when the call is over`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("begin; select 1"))
        talk.send(second, Wire.query("select 2"))
        talk.leave(first)
        talk.reply(Wire.complete("BEGIN"), Wire.complete("SELECT 1"), Wire.ready("T"))
        #expect(talk.owedCredit == 0)
        #expect(talk.asked == "Q(ROLLBACK)")
        talk.reply(Wire.complete("ROLLBACK"), Wire.ready())
        #expect(talk.asked == "Q(select 2) f")
    }

    @Test func `a client that waits is told so, and in the end refused`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("select pg_sleep(100)"))
        talk.send(second, Wire.query("select 2"))
        talk.pass(.seconds(5))
        #expect(talk.heard(second).hasPrefix("N(00000 waiting for a client"))
        talk.pass(.seconds(55))
        let refusal = talk.heard(second)
        #expect(refusal.hasPrefix("E(55P03") && refusal.hasSuffix("Z(I)"))
        talk.send(second, Wire.query("select 3"))
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.asked == "Q(select 3) f")
    }

    @Test func `a holder that idles in a transaction is ended while others wait`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        talk.pass(.seconds(100))
        #expect(talk.closed.isEmpty)
        talk.send(second, Wire.query("select 2"))
        talk.pass(.seconds(10))
        #expect(talk.heard(first).contains("E!(25P03"))
        #expect(talk.closed == [first])
        #expect(talk.asked == "Q(ROLLBACK)")
    }

    @Test func `cancel answers what waits, and tells what cannot be interrupted`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("select 1"))
        talk.send(second, Wire.parse("", "select 2"), Wire.bind(""))
        talk.session.cancel(second, now: talk.now)
        talk.session.cancel(first, now: talk.now)
        talk.drain()
        #expect(talk.heard(second) == "E(57014 canceling statement due to user request)")
        #expect(talk.heard(first).hasPrefix("N(00000 the engine in the browser cannot"))
        talk.send(second, Wire.execute, Wire.sync)
        #expect(talk.heard(second) == "Z(I)")
        #expect(talk.session.waitingCount == 0)
    }

    @Test func `the session goes back to the page when nobody has come for a while`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("select 1"))
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        #expect(!talk.others.contains(.release))
        talk.pass(.milliseconds(20))
        #expect(talk.others.contains(.release))
    }

    @Test func `what is no message ends its client alone`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, ByteBuffer(bytes: [0x51, 0, 0, 0, 1, 2, 3]))
        #expect(talk.heard(first).hasPrefix("E!(08P01"))
        talk.send(second, ByteBuffer(bytes: [0x7a, 0, 0, 0, 4]))
        #expect(talk.heard(second).hasPrefix("E!(08P01 invalid frontend message type 122"))
        #expect(talk.closed == [first, second])
    }

    @Test func `what a waiting client sends is held within a bound`() {
        var limits = SessionLimits()
        limits.queuedBytes = 100
        var talk = SharedSessionTranscript(limits: limits)
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("select 1"))
        talk.send(second, Wire.query(String(repeating: " ", count: 200)))
        #expect(talk.paused == [second])
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.paused.isEmpty)
    }

    @Test func `a fault ends the client whose call it was, and the others go on`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("select 1"))
        talk.send(second, Wire.query("select 2"))
        talk.session.faulted("trap", restarted: false, now: talk.now)
        talk.drain()
        #expect(talk.heard(first).hasPrefix("E!(58000"))
        #expect(talk.others.contains(.restart))
        #expect(talk.session.clientCount == 1)
        #expect(!talk.closed.contains(second))
    }

    @Test func `an engine that is gone for good ends every client`() {
        var talk = SharedSessionTranscript()
        let ids = (1...2).map { talk.greeted($0) }
        talk.session.engineGone(.connectionFailure, "the tab was closed", now: talk.now)
        talk.drain()
        for id in ids { #expect(talk.heard(id) == "E!(08006 the tab was closed)") }
        #expect(talk.session.clientCount == 0)
    }
}

struct SharedSessionEndTests {
    @Test func `an engine that fails to be held is restarted and asked for again`() {
        var talk = SharedSessionTranscript()
        talk.session.engine.presence = .withPage
        let id = talk.arrive(1)
        #expect(talk.others == [.hold])
        talk.others = []
        talk.calls = []
        talk.session.faulted("trap", restarted: false, now: talk.now)
        talk.drain()
        #expect(talk.others == [.log(.faulted(nil)), .restart])
        talk.others = []
        talk.session.restarted(now: talk.now)
        talk.drain()
        #expect(talk.others == [.log(.restarted), .hold])
        #expect(talk.calls.count == 1)
        #expect(!talk.closed.contains(id))
    }

    @Test func `an engine that is never held is given up`() {
        var talk = SharedSessionTranscript()
        talk.session.engine.presence = .withPage
        let id = talk.arrive(1)
        for _ in 0..<4 {
            talk.session.faulted("trap", restarted: true, now: talk.now)
            talk.drain()
        }
        #expect(talk.heard(id).hasPrefix("E!(08006 the engine in the browser does not work"))
        #expect(talk.closed == [id])
    }

    @Test func `who comes when the engine is gone is told so`() {
        var talk = SharedSessionTranscript()
        talk.session.engineGone(.adminShutdown, "this share has ended", now: talk.now)
        let id = talk.arrive(1)
        #expect(talk.heard(id) == "E!(57P01 this share has ended)")
        #expect(talk.closed == [id])
    }

    @Test(arguments: [SQLState.adminShutdown, .connectionFailure])
    func `clients that hold, wait or are idle hear why the engine is gone`(why: SQLState) {
        var talk = SharedSessionTranscript()
        let ids = (1...3).map { talk.greeted($0) }
        talk.send(ids[0], Wire.query("select 1"))
        talk.send(ids[1], Wire.query("select 2"))
        talk.session.engineGone(why, "over", now: talk.now)
        talk.session.engineGone(.internalError, "over again", now: talk.now)
        talk.drain()
        for id in ids { #expect(talk.heard(id) == "E!(\(why) over)") }
        #expect(talk.session.clientCount == 0)
        #expect(talk.session.nextDeadline == nil)
    }

    @Test func `a client that is ended in the middle of a row is closed without a word`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("select 1"))
        talk.session.replied(
            ByteBuffer(bytes: [0x44, 0, 0, 1, 0, 1, 2, 3]), now: talk.now)
        talk.session.engineGone(.connectionFailure, "the tab was closed", now: talk.now)
        talk.drain()
        #expect(talk.heard(id) == "+8")
        #expect(talk.closed == [id])
    }

    @Test
    func `what keeps the session with its client keeps the others waiting, and no timer runs`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.session.pinned = first
        talk.session.settled = first
        talk.send(second, Wire.query("select 2"))
        #expect(talk.asked == "")
        #expect((talk.session.nextDeadline ?? .distantPast) > talk.now)
        talk.leave(first)
        #expect(talk.asked.contains("pg_advisory_unlock_all"))
    }

    /// Whatever a client sends, it is answered or closed, and holds no more than its bound.
    @Test(arguments: UInt64(0)..<60)
    func `garbage hurts nobody but its sender`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var talk = SharedSessionTranscript()
        let (hostile, other) = (talk.greeted(1), talk.greeted(2))
        let types = Array("QPBEDCSHFdcfXpZ".utf8)
        for _ in 0..<30 where !talk.closed.contains(hostile) {
            var bytes = ByteBuffer()
            let length = UInt32.random(in: 0...40, using: &random)
            bytes.writeInteger(types.randomElement(using: &random) ?? 0)
            bytes.writeInteger(length)
            for _ in 0..<Int.random(in: 0...40, using: &random) {
                bytes.writeInteger(UInt8.random(in: 0...255, using: &random))
            }
            talk.send(hostile, bytes)
            if !talk.calls.isEmpty { talk.reply(Wire.error("42601", "no"), Wire.ready()) }
        }
        talk.leave(hostile)
        for _ in 0..<5 where !talk.calls.isEmpty { talk.reply(Wire.ready()) }
        talk.session.engine.settings = SessionSettings()
        talk.send(other, Wire.query("select 2"))
        #expect(talk.calls.count == 1)
        #expect(talk.session.clientCount == 1)
        #expect(talk.owedCredit == 0)
    }
}

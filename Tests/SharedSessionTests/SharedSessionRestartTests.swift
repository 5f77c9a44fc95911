import NIOCore
import PostgresWire
import Testing

@testable import SharedSession

/// The engine's session ends under its clients and begins anew.
struct SharedSessionRestartTests {
    /// A client with a statement, a setting and a LISTEN.
    private func furnish(_ talk: inout SharedSessionTranscript, _ id: SessionClientID) {
        talk.send(id, Wire.parse("s", "select 1"), Wire.sync)
        talk.reply(Wire.parsed, Wire.ready())
        talk.send(id, Wire.query("prepare p as select 2"))
        talk.reply(Wire.complete("PREPARE"), Wire.ready())
        talk.send(id, Wire.query("listen news"))
        talk.reply(Wire.complete("LISTEN"), Wire.ready())
        // Somebody listens: the engine is asked whether there is something to hear.
        #expect(talk.asked == "S")
        talk.reply(Wire.ready())
        talk.send(id, Wire.query("set search_path to b"))
        talk.reply(Wire.complete("SET"), Wire.ready())
        talk.reply(Wire.ready())
        talk.sent[id] = nil
    }

    @Test func `a fault ends whose call it was; the others find all they had`() {
        var talk = SharedSessionTranscript()
        talk.forgetsTraces = false
        let (faulty, other) = (talk.greeted(1), talk.greeted(2))
        self.furnish(&talk, other)
        talk.send(faulty, Wire.query("select 3"))
        #expect(talk.askedFor == "look")
        talk.replyToLook(["search_path": "b"])
        #expect(talk.hasPreface && talk.asked.hasSuffix("Q(select 3) f"))

        talk.calls = []
        talk.session.faulted("unreachable executed", restarted: false, now: talk.now)
        talk.drain()
        let words = "the engine in the browser failed: unreachable executed"
        #expect(talk.heard(faulty) == "E!(58000 \(words))")
        #expect(talk.closed == [faulty])
        #expect(talk.others.contains(.restart))

        // Meanwhile one comes, and one goes on.
        let late = talk.arrive(3)
        talk.send(other, Wire.bind("s"), Wire.execute, Wire.sync)
        #expect(talk.calls.isEmpty)
        #expect(talk.heard(late) == "" && talk.heard(other) == "")

        talk.session.restarted(now: talk.now)
        talk.drain()
        #expect(talk.askedFor == "engine?")
        talk.replyToEngineLook()
        #expect(talk.askedFor == "look")
        talk.replyToLook()
        #expect(talk.asked == "Q(LISTEN \"news\")")
        talk.reply(Wire.complete("LISTEN"), Wire.ready())
        #expect(talk.heard(late) == "S S K Z(I)")

        #expect(talk.askedFor == "set" && talk.asked.contains("'search_path', E'b'"))
        talk.replyToApply()
        #expect(talk.asked == "P(pgs2_1) S P() B(,) E S")
        talk.reply(
            Wire.parsed, Wire.ready(), Wire.parsed, Wire.bound, Wire.complete("PREPARE"),
            Wire.ready())
        #expect(talk.asked == "B(,pgs2_1) E S")
        talk.reply(Wire.bound, Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(other) == "2 C(SELECT 1) Z(I)")
        talk.reply(Wire.ready())
        talk.send(other, Wire.query("execute p"))
        #expect(talk.asked == "Q(execute pgs2_2) f")
        talk.reply(Wire.notification("news"), Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(other).contains("A("))
        #expect(talk.owedCredit == 0)
    }

    @Test func `a session that is new behind an answered exchange ends nobody`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("select 1"))
        talk.send(second, Wire.query("select 2"))
        // The engine says so ahead of the call's end.
        talk.calls = []
        var reply = Wire.complete("SELECT 1")
        reply.writeImmutableBuffer(Wire.ready())
        talk.session.replied(reply, now: talk.now)
        talk.session.restarted(now: talk.now)
        talk.drain()
        #expect(talk.calls.isEmpty)
        talk.session.done(now: talk.now)
        talk.drain()
        #expect(talk.heard(first) == "C(SELECT 1) Z(I)")
        #expect(talk.askedFor == "engine?")
        talk.replyToEngineLook()
        talk.replyToLook()
        #expect(talk.asked == "Q(select 2) f")
        #expect(talk.closed.isEmpty)
    }

    @Test func `what was seen of a session that is gone is not believed`() {
        var talk = SharedSessionTranscript()
        talk.session.engine.settings = nil
        let id = talk.greeted(1)
        #expect(talk.askedFor == "look")
        talk.calls = []
        talk.session.replied(
            InspectionRows.session(["search_path": "old"]), now: talk.now)
        talk.session.restarted(now: talk.now)
        talk.session.done(now: talk.now)
        talk.drain()
        #expect(talk.session.engine.settings == nil)
        #expect(talk.askedFor == "engine?")
        talk.replyToEngineLook()
        talk.replyToLook()
        #expect(talk.heard(id) == "S S K Z(I)")
    }

    @Test func `a transaction is lost with its session, and so are temporary tables`() {
        var talk = SharedSessionTranscript()
        let (holder, pinned) = (talk.greeted(1), talk.greeted(2))
        talk.send(holder, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        talk.session.pinned = pinned
        talk.session.restarted(now: talk.now)
        talk.drain()
        #expect(talk.heard(holder).contains("E!(58000"))
        #expect(talk.heard(pinned).contains("E!(58000"))
        #expect(talk.session.clientCount == 0)
    }

    @Test func `who had its turn and had not begun waits for its settings again`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1, ["application_name": "one"])
        _ = talk.greeted(2, ["application_name": "two"])
        var bind = Wire.bind("s")
        let rest = bind.readableBytes - 6
        let front = bind.readSlice(length: 6) ?? ByteBuffer()
        talk.session.clients[id]?.inbox.receive(front)
        talk.session.enqueue(id, now: talk.now)
        talk.send(id, ByteBuffer())
        #expect(talk.session.holder == id)
        talk.session.restarted(now: talk.now)
        talk.drain()
        #expect(talk.session.holder == nil && talk.closed.isEmpty)
        talk.replyToEngineLook()
        talk.replyToLook()
        #expect(talk.askedFor == "set")
        talk.replyToApply()
        #expect(rest == bind.readableBytes)
        talk.send(id, bind, Wire.execute, Wire.sync)
        #expect(talk.asked == "B(,pgs1_1) E S")
    }
}

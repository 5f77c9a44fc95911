import Testing

@testable import SharedSession

/// The engine goes away together with its session, and comes back with a new one.
struct SharedSessionLostTests {
    @Test func `a session that is lost ends who had a call in it, and the others wait`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("select 1"))
        talk.calls = []
        talk.session.sessionLost("away", now: talk.now)
        talk.drain()
        #expect(talk.closed == [first])
        #expect(talk.heard(first) == "E!(58000 the engine in the browser failed: away)")
        talk.send(second, Wire.query("select 2"))
        #expect(talk.calls.isEmpty)
        talk.session.restarted(now: talk.now)
        talk.drain()
        #expect(talk.askedFor == "engine?")
        talk.replyToEngineLook()
        talk.replyToLook()
        #expect(talk.asked == "Q(select 2) f")
        #expect(talk.closed == [first])
    }

    @Test func `a session that is lost ends who was in a transaction`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        talk.session.sessionLost("away", now: talk.now)
        talk.drain()
        #expect(talk.closed == [first])
        #expect(talk.heard(second) == "")
    }

    @Test func `a session that is lost ends who has set what nobody has seen`() {
        var talk = SharedSessionTranscript()
        talk.forgetsTraces = false
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("set app.owner to b"))
        talk.reply(Wire.complete("SET"), Wire.ready())
        talk.session.sessionLost("away", now: talk.now)
        talk.drain()
        #expect(talk.closed == [first])
        #expect(talk.heard(second) == "")
    }
}

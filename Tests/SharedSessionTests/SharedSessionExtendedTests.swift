import NIOCore
import PostgresWire
import Testing

@testable import SharedSession

struct SharedSessionExtendedTests {
    @Test func `a pipeline is one call, and names in it are the engine's`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(7)
        talk.send(id, Wire.parse("s1", "select 1"), Wire.bind("s1"), Wire.execute)
        #expect(talk.asked == "")
        talk.send(id, Wire.sync)
        #expect(talk.asked == "P(pgs7_1) B(,pgs7_1) E S")
        talk.reply(Wire.parsed, Wire.bound, Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(id) == "1 2 C(SELECT 1) Z(I)")
        talk.send(id, Wire.bind("s1"), Wire.execute, Wire.sync)
        #expect(talk.asked == "B(,pgs7_1) E S")
    }

    @Test func `the unnamed statement is closed before it is replaced, and nobody hears of it`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(7)
        for round in 0..<2 {
            talk.send(id, Wire.parse("", "select 1"), Wire.bind(""), Wire.execute, Wire.sync)
            #expect(talk.asked == (round == 0 ? "" : "C(pgs7_0) ") + "P(pgs7_0) B(,pgs7_0) E S")
            if round == 0 {
                talk.reply(Wire.parsed, Wire.bound, Wire.complete("SELECT 1"), Wire.ready())
            } else {
                talk.reply(
                    Wire.closed, Wire.parsed, Wire.bound, Wire.complete("SELECT 1"), Wire.ready())
            }
            #expect(talk.heard(id) == "1 2 C(SELECT 1) Z(I)")
        }
    }

    @Test func `a name that was never prepared is refused under the client's own name`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(7)
        talk.send(id, Wire.bind("foo"), Wire.execute, Wire.sync)
        #expect(talk.asked == "B(,pgs7_1) E S")
        talk.reply(
            Wire.error("26000", "prepared statement \"pgs7_1\" does not exist"), Wire.ready())
        #expect(talk.heard(id) == "E(26000 prepared statement \"foo\" does not exist) Z(I)")
        talk.send(id, Wire.bind(""), Wire.execute, Wire.sync)
        talk.reply(
            Wire.error("26000", "prepared statement \"pgs7_2\" does not exist"), Wire.ready())
        #expect(talk.heard(id) == "E(26000 unnamed prepared statement does not exist) Z(I)")
    }

    @Test func `a ReadyForQuery too many is not heard`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.parse("", "selec"), Wire.bind(""), Wire.execute, Wire.sync)
        talk.reply(Wire.error("42601", "syntax error"), Wire.ready(), Wire.ready())
        #expect(talk.heard(id) == "E(42601 syntax error) Z(I)")
    }

    @Test func `a ReadyForQuery that is owed is made`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("select 1"))
        talk.reply(Wire.error("54000", "too long"))
        #expect(talk.heard(id) == "E(54000 too long) Z(I)")
    }

    @Test func `a Flush runs what is there and keeps the session`() {
        var talk = SharedSessionTranscript()
        let (id, other) = (talk.greeted(1), talk.greeted(2))
        talk.send(id, Wire.parse("s", "select 1"), Wire.flush)
        talk.send(other, Wire.query("select 2"))
        #expect(talk.asked == "P(pgs1_1) H")
        talk.reply(Wire.parsed)
        #expect(talk.heard(id) == "1")
        #expect(talk.asked == "")
        talk.send(id, Wire.bind("s"), Wire.execute, Wire.sync)
        #expect(talk.asked == "B(,pgs1_1) E S")
        talk.reply(Wire.bound, Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.asked == "Q(select 2) f")
    }

    @Test func `behind an error all is dropped until Sync, also what comes later`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.parse("", "selec"), Wire.flush)
        talk.reply(Wire.error("42601", "syntax error"), Wire.ready())
        #expect(talk.heard(id) == "E(42601 syntax error)")
        talk.send(id, Wire.bind(""), Wire.execute, Wire.query("select 1"))
        #expect(talk.asked == "")
        talk.send(id, Wire.sync)
        #expect(talk.asked == "S")
        talk.reply(Wire.ready())
        #expect(talk.heard(id) == "Z(I)")
    }

    /// Rows and messages may be cut anywhere.
    @Test(arguments: 1..<40)
    func `a reply cut in two is the same reply`(front: Int) throws {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("select 1"))
        var whole = Wire.row
        whole.writeImmutableBuffer(Wire.complete("SELECT 12345678901234"))
        whole.writeImmutableBuffer(Wire.ready())
        let firstPart = whole.readSlice(length: min(front, whole.readableBytes))
        let first = try #require(firstPart)
        talk.session.replied(first, now: talk.now)
        talk.session.replied(whole, now: talk.now)
        talk.session.done(now: talk.now)
        talk.drain()
        #expect(talk.heard(id) == "D C(SELECT 12345678901234) Z(I)")
    }

    @Test func `a large Bind is passed on as it comes`() throws {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        var bind = SessionMessage.message(.bind) { body in
            body.writeText("")
            body.writeText("s")
            body.writeRepeatingByte(1, count: 300_000)
        }
        talk.send(id, Wire.parse("s", "select $1"))
        let frontPart = bind.readSlice(length: 100_000)
        let front = try #require(frontPart)
        talk.send(id, front)
        #expect(talk.gathered.readableBytes >= 100_000)
        talk.send(id, bind, Wire.execute, Wire.sync)
        #expect(talk.asked == "P(pgs1_1) B(,pgs1_1) E S")
        #expect(talk.calls.first?.readableBytes ?? 0 > 300_000)
    }

    @Test func `a restart prepares a client's statements anew when its turn comes`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.parse("s", "select 1"), Wire.sync)
        talk.reply(Wire.parsed, Wire.ready())
        let entry = talk.session.clients[id]?.statements.resolve("s")
        #expect(entry?.kept?.readableBytes == 11)
        talk.session.clients[id]?.statements.engineRestarted()
        #expect(talk.session.clients[id]?.statements.kept.map(\.name) == ["s"])
    }
}

import NIOCore
import PostgresWire
import Testing

@testable import SharedSession

/// SQL whose effects reach beyond its transaction: names, COPY, notifications.
struct SharedSessionStateTests {
    @Test func `SQL's PREPARE and EXECUTE name the client's own statements`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(7)
        talk.send(id, Wire.query("prepare Foo as select 1"))
        #expect(talk.asked == "Q(prepare pgs7_1 as select 1) f")
        talk.reply(Wire.complete("PREPARE"), Wire.ready())
        talk.send(id, Wire.query("execute foo"))
        #expect(talk.asked == "Q(execute pgs7_1) f")
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        talk.send(id, Wire.query("deallocate foo"))
        #expect(talk.asked == "Q(deallocate pgs7_1) f")
        talk.reply(Wire.complete("DEALLOCATE"), Wire.ready())
        #expect(talk.session.clients[id]?.statements.kept.isEmpty == true)
    }

    @Test func `DEALLOCATE ALL is not the engine's, and its tag is Postgres's`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(7)
        talk.send(id, Wire.query("deallocate all"))
        #expect(talk.asked == "Q(DISCARD PLANS) f")
        talk.reply(Wire.complete("DISCARD PLANS"), Wire.ready())
        #expect(talk.heard(id) == "C(DEALLOCATE ALL) Z(I)")
    }

    @Test func `DISCARD ALL is done by us, before its ReadyForQuery`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(7)
        talk.send(id, Wire.query("discard all"))
        #expect(talk.asked == "Q(DISCARD PLANS) f")
        talk.reply(Wire.complete("DISCARD PLANS"), Wire.ready())
        #expect(talk.heard(id) == "C(DISCARD ALL)")
        #expect(talk.asked.contains("RESET ALL"))
        talk.reply(Wire.complete("SELECT 1"), Wire.complete("DISCARD TEMP"), Wire.ready())
        #expect(talk.heard(id) == "Z(I)")
    }

    @Test func `notifications reach who listens, from who sent them`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("listen news"))
        talk.reply(Wire.complete("LISTEN"), Wire.ready())
        #expect(talk.asked == "S")
        talk.reply(Wire.ready())
        talk.send(second, Wire.query("notify news"))
        talk.reply(Wire.complete("NOTIFY"), Wire.notification("news"), Wire.ready())
        #expect(talk.heard(first) == "C(LISTEN) Z(I) A(2 news)")
        #expect(talk.heard(second) == "C(NOTIFY) Z(I)")
        talk.session.notified(Wire.notification("news"), now: talk.now)
        talk.drain()
        #expect(talk.heard(first) == "A(0 news)")
    }

    @Test func `a client in a transaction is notified when it ends`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("listen news"))
        talk.reply(Wire.complete("LISTEN"), Wire.ready())
        #expect(talk.asked == "S")
        talk.reply(Wire.ready())
        talk.send(id, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.notification("news"), Wire.ready("T"))
        #expect(talk.heard(id) == "C(LISTEN) Z(I) C(BEGIN) Z(T)")
        talk.send(id, Wire.query("commit"))
        talk.reply(Wire.complete("COMMIT"), Wire.ready())
        #expect(talk.heard(id) == "C(COMMIT) A(1 news) Z(I)")
    }

    @Test func `a COPY is probed, then its data go as they come, in one call`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("copy t from stdin"))
        #expect(talk.asked == "Q(copy t from stdin) f")
        talk.reply(Wire.copyIn, Wire.error("57014", "COPY from stdin failed"), Wire.ready())
        #expect(talk.heard(id) == "G")
        talk.send(id, Wire.copyData("1\n"), Wire.copyData("2\n"))
        #expect(talk.asked == "")
        talk.send(id, Wire.copyDone)
        #expect(talk.asked == "Q(copy t from stdin) d d c")
        talk.reply(Wire.copyIn, Wire.complete("COPY 2"), Wire.ready())
        #expect(talk.heard(id) == "C(COPY 2) Z(I)")
        #expect(talk.owedCredit == 0)
    }

    @Test func `a COPY that the engine refuses is refused`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("copy t from stdin"))
        talk.reply(Wire.error("42P01", "no t"), Wire.ready())
        #expect(talk.heard(id) == "E(42P01 no t) Z(I)")
        talk.send(id, Wire.copyData("1\n"), Wire.copyDone, Wire.query("select 1"))
        #expect(talk.asked == "Q(select 1) f")
    }

    @Test func `in a transaction the probe of a COPY is undone`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        talk.send(id, Wire.query("copy t from stdin"))
        #expect(talk.asked == "Q(SAVEPOINT pgs_probe)")
        talk.reply(Wire.complete("SAVEPOINT"), Wire.ready("T"))
        talk.reply(Wire.copyIn, Wire.error("57014", "COPY from stdin failed"), Wire.ready("E"))
        #expect(talk.asked.hasPrefix("Q(ROLLBACK TO SAVEPOINT"))
        talk.reply(Wire.complete("ROLLBACK"), Wire.complete("RELEASE"), Wire.ready("T"))
        #expect(talk.heard(id) == "C(BEGIN) Z(T) G")
        talk.send(id, Wire.copyDone)
        #expect(talk.asked == "Q(copy t from stdin) c")
        talk.reply(Wire.copyIn, Wire.complete("COPY 0"), Wire.ready("T"))
        #expect(talk.heard(id) == "C(COPY 0) Z(T)")
    }

    @Test func `a COPY of the extended protocol ignores the Sync within it`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(
            id, Wire.parse("", "copy t from stdin"), Wire.bind(""), Wire.execute, Wire.sync)
        #expect(talk.asked == "P(pgs1_0) B(,pgs1_0) H")
        talk.reply(Wire.parsed, Wire.bound)
        talk.reply(Wire.copyIn, Wire.error("57014", "COPY from stdin failed"), Wire.ready())
        #expect(talk.heard(id) == "1 2 G")
        talk.send(id, Wire.copyData("1\n"), Wire.copyDone, Wire.sync)
        #expect(talk.asked == "Q(copy t from stdin) d c")
        talk.reply(Wire.copyIn, Wire.complete("COPY 1"), Wire.ready())
        #expect(talk.heard(id) == "C(COPY 1)")
        #expect(talk.asked == "S")
        talk.reply(Wire.ready())
        #expect(talk.heard(id) == "Z(I)")
    }

    @Test func `a cancelled COPY fails in the engine, too`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("copy t from stdin"))
        talk.reply(Wire.copyIn, Wire.error("57014", "COPY from stdin failed"), Wire.ready())
        talk.send(id, Wire.copyData("1\n"))
        talk.session.cancel(id, now: talk.now)
        talk.drain()
        #expect(talk.asked == "Q(copy t from stdin) f")
        talk.reply(Wire.copyIn, Wire.error("57014", "COPY from stdin failed"), Wire.ready())
        #expect(talk.heard(id) == "G E(57014 canceling statement due to user request) Z(I)")
    }

    @Test func `a statement that is too long is refused, and fails its transaction`() {
        var limits = SessionLimits()
        limits.statementBytes = 100
        var talk = SharedSessionTranscript(limits: limits)
        let id = talk.greeted(1)
        talk.send(id, Wire.query(String(repeating: " ", count: 200)))
        #expect(talk.asked == "Q(refused)")
        talk.reply(Wire.error("42601", "syntax error"), Wire.ready())
        #expect(talk.heard(id).hasPrefix("E(54000"))
    }

    @Test func `when no answer about the session is understood the page still gets it back`() {
        var talk = SharedSessionTranscript()
        let id = talk.arrive(1)
        talk.pass(.seconds(1))
        talk.others = []
        talk.send(id, Wire.query("select 1"))
        #expect(talk.others.contains(.hold))
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(id).contains("E!(XX000"))
        #expect(talk.others.contains(.release))
        #expect(talk.calls.isEmpty)
    }
}

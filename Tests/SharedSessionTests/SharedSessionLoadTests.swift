import NIOCore
import PostgresWire
import Testing

@testable import SharedSession

/// Clients and engines that want memory or time. A test here that hangs has found one.
@Suite struct SharedSessionLoadTests {
    private func plan(_ text: String, _ table: inout StatementTable) -> StatementPlan {
        StatementPlan(
            ByteBuffer(string: text), standardConformingStrings: true, isIdle: true,
            defaults: SessionSettings(), table: &table)
    }

    private func plan(_ text: String) -> StatementPlan {
        var table = StatementTable(client: SessionClientID(rawValue: 1))
        return self.plan(text, &table)
    }

    @Test func `a text of too many statements is refused, and the session goes on`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        let text = String(repeating: "a;", count: SQLAnalysis.maximumStatements + 1)
        talk.send(id, Wire.query(text))
        #expect(talk.asked.hasPrefix("Q(refused)"))
        talk.reply(Wire.error("42601", "syntax error"), Wire.ready())
        #expect(talk.heard(id) == "E(54000 more than 100000 statements in one text) Z(I)")
        talk.send(id, Wire.query("select 1"))
        #expect(talk.asked.hasPrefix("Q(select 1)"))
    }

    @Test func `a COPY before many statements goes to the engine alone`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        let text = "copy t from stdin;" + String(repeating: "a;", count: 20_000)
        talk.send(id, Wire.query(text))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        #expect(talk.calls.first.map { $0.readableBytes < 200 } == true)
        talk.reply(Wire.complete("SAVEPOINT"), Wire.ready("T"))
        #expect(talk.asked.hasPrefix("Q(copy t from stdin)"))
    }

    @Test func `a part's errors have positions of the whole text`() {
        let text = "execute ä; copy t from stdin; execute längst ("
        let plan = self.plan(text)
        let part = plan.part(2)
        #expect(part.text.text == "execute pgs1_2 (")
        #expect(part.originalPosition(16) == 46)
        #expect(plan.part(1).originalPosition(1) == 12)
        #expect(plan.part(1).copiesIn && !part.copiesIn)
    }

    @Test func `a position behind many names is found`() {
        let count = 10_000
        let plan = self.plan(String(repeating: "execute a;", count: count) + "selec")
        let last = plan.text.text.unicodeScalars.count - 4
        #expect(plan.originalPosition(last) == 10 * count + 1)
        #expect(plan.originalPosition(1) == 1)
    }

    @Test func `many DEALLOCATE ALL take away many statements`() {
        var table = StatementTable(client: SessionClientID(rawValue: 1))
        for number in 1..<SessionLimits().statements {
            let entry = StatementTable.Entry(
                number: table.numberToPrepare("s\(number)"), kept: nil, flags: [], effect: .none)
            table.announce("s\(number)", entry)
            table.confirm("s\(number)", entry, keeping: 0)
        }
        table.exchangeEnded()
        let before = table.resolve("s1").number
        _ = self.plan(String(repeating: "deallocate all;", count: 10_000), &table)
        let hidden = table.resolve("s1").number
        #expect(hidden != before)
        table.exchangeEnded()
        #expect(table.resolve("s1").number == before)
        #expect(table.removeNamed().count == SessionLimits().statements - 1)
    }

    @Test func `what was prepared and taken away in one exchange is closed with its client`() {
        var table = StatementTable(client: SessionClientID(rawValue: 1))
        _ = self.plan("prepare a as select 1; deallocate all; prepare a as select 2", &table)
        #expect(table.removeAll().sorted() == ["pgs1_1", "pgs1_2"])
    }

    @Test func `a pipeline without an end is run in parts, whatever its messages are`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        let closePortal = SessionMessage.message(.close) { body in
            body.writeInteger(UInt8(ascii: "P"))
            body.writeText("")
        }
        var bytes = ByteBuffer()
        for _ in 0..<SharedSession.pipelineMessages { bytes.writeImmutableBuffer(closePortal) }
        talk.send(id, bytes)
        #expect(talk.calls.count == 1)
    }

    @Test func `an engine reports so many parameters and no more`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("select 1"))
        var bytes = ByteBuffer()
        for number in 0..<10_000 {
            bytes.writeImmutableBuffer(PostgresMessage.parameterStatus("p\(number)", "on"))
        }
        let long = String(repeating: "x", count: 1 << 20)
        bytes.writeImmutableBuffer(PostgresMessage.parameterStatus("server_version", long))
        talk.reply(bytes, Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.session.engine.reported.count == 64)
        #expect(talk.session.engine.reported["server_version"] == "17.5")
        #expect(talk.owedCredit == 0)
    }

    @Test func `notifications beyond number reach who listens before the call is over`() {
        var talk = SharedSessionTranscript()
        let (sender, listener) = (talk.greeted(1), talk.greeted(2))
        talk.send(listener, Wire.query("listen a"))
        talk.reply(Wire.complete("LISTEN"), Wire.ready())
        _ = talk.heard(listener)
        talk.send(sender, Wire.query("notify a"))
        var bytes = ByteBuffer()
        for _ in 0..<5_000 { bytes.writeImmutableBuffer(Wire.notification("a")) }
        talk.session.replied(bytes, now: talk.now)
        talk.drain()
        let early = talk.sent[listener]?.readableBytes ?? 0
        #expect(early > bytes.readableBytes - 70_000)
        talk.reply(Wire.complete("NOTIFY"), Wire.ready())
        #expect(talk.sent[listener]?.readableBytes == bytes.readableBytes)
    }
}

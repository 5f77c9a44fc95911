import NIOCore
import PostgresWire
import Testing

@testable import SharedSession

/// What it costs to hand the session from one client to the next.
struct SharedSessionHandOverTests {
    private static let simple = Wire.query("select 1")
    private static let answer = [Wire.row, Wire.complete("SELECT 1"), Wire.ready()]

    private func joined(_ messages: [ByteBuffer]) -> ByteBuffer {
        messages.reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) }
    }

    /// Ten clients that all ask at once, three times.
    private func run(
        _ talk: inout SharedSessionTranscript, _ ids: [SessionClientID],
        _ exchange: (SessionClientID) -> [(ask: ByteBuffer, answer: ByteBuffer)]
    ) {
        for _ in 0..<3 {
            var rest = ids.map { (id: $0, steps: exchange($0)[...]) }
            for index in rest.indices {
                if let step = rest[index].steps.first { talk.send(rest[index].id, step.ask) }
            }
            while let holder = rest.firstIndex(where: { !$0.steps.isEmpty }) {
                guard let step = rest[holder].steps.popFirst() else { return }
                talk.replyBehindPreface(step.answer)
                if let next = rest[holder].steps.first { talk.send(rest[holder].id, next.ask) }
            }
        }
    }

    @Test func `clients of the same settings need no call but their own`() {
        var talk = SharedSessionTranscript()
        talk.forgetsTraces = false
        let ids = (1...10).map { talk.greeted($0) }
        talk.callCount = 0
        self.run(&talk, ids) { _ in [(Self.simple, self.joined(Self.answer))] }
        #expect(talk.callCount == 30)
        for id in ids { #expect(talk.heard(id).hasSuffix("D C(SELECT 1) Z(I)")) }
    }

    @Test func `prepared statements of the extended protocol need none either`() {
        var talk = SharedSessionTranscript()
        talk.forgetsTraces = false
        let ids = (1...10).map { talk.greeted($0) }
        for id in ids {
            talk.send(id, Wire.parse("s", "select $1 + 1"), Wire.sync)
            talk.reply(Wire.parsed, Wire.ready())
        }
        talk.callCount = 0
        self.run(&talk, ids) { _ in
            [
                (
                    self.joined([Wire.bind("s"), Wire.execute, Wire.sync]),
                    self.joined([Wire.bound] + Self.answer)
                )
            ]
        }
        #expect(talk.callCount == 30)
    }

    @Test(arguments: [[:], ["application_name": "pool"]])
    func `small transactions need no call but their own`(settings: [String: String]) {
        var talk = SharedSessionTranscript()
        talk.forgetsTraces = false
        let ids = (1...10).map { number in
            settings.isEmpty
                ? talk.greeted(number)
                : talk.greeted(number, settings.mapValues { "\($0)\(number)" })
        }
        talk.callCount = 0
        self.run(&talk, ids) { _ in
            [
                ("begin", "BEGIN"), ("insert into t values (1)", "INSERT 0 1"),
                ("select count(*) from t", "SELECT 1"), ("commit", "COMMIT"),
            ].map { text, tag in
                let status: Unicode.Scalar = tag == "COMMIT" ? "I" : "T"
                return (Wire.query(text), self.joined([Wire.complete(tag), Wire.ready(status)]))
            }
        }
        #expect(talk.callCount == 120)
    }

    @Test func `different settings go in front of the client's own messages, in its call`() {
        var talk = SharedSessionTranscript()
        talk.forgetsTraces = false
        let ids = (1...3).map { talk.greeted($0, ["application_name": "app\($0)"]) }
        talk.callCount = 0
        talk.send(ids[0], Self.simple)
        #expect(talk.hasPreface)
        #expect(talk.preface.contains("E'app1'") && talk.asked.hasSuffix("Q(select 1) f"))
        talk.replyBehindPreface(self.joined(Self.answer))
        #expect(talk.heard(ids[0]) == "D C(SELECT 1) Z(I)")
        talk.send(ids[0], Self.simple)
        #expect(talk.asked == "Q(select 1) f")
        talk.reply(self.joined(Self.answer))
        self.run(&talk, ids) { _ in [(Self.simple, self.joined(Self.answer))] }
        #expect(talk.callCount == 11)
        #expect(talk.owedCredit == 0)
    }

    @Test func `what the engine reports of a change of settings is told where it is news`() {
        var talk = SharedSessionTranscript()
        let one = talk.greeted(1, ["application_name": "one"])
        let two = talk.greeted(2, ["application_name": "two"])
        let report = { PostgresMessage.parameterStatus("application_name", $0) }
        talk.session.clients[one]?.told["application_name"] = "one"
        talk.session.engine.reported["application_name"] = "two"
        talk.send(one, Self.simple)
        talk.reply(
            Wire.parsed, Wire.bound, report("one"), Wire.row, Wire.complete("SELECT 1"),
            Wire.ready(), Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(one) == "C(SELECT 1) Z(I)")
        #expect(talk.heard(two) == "")
    }

    @Test func `an engine that takes one message at a time gets settings in a call of their own`() {
        var capabilities = EngineCapabilities()
        capabilities.batches = false
        var talk = SharedSessionTranscript(capabilities: capabilities)
        let first = talk.greeted(1, ["application_name": "one"])
        _ = talk.greeted(2, ["application_name": "two"])
        talk.send(first, Self.simple)
        #expect(talk.askedFor == "set")
        talk.replyToApply()
        #expect(talk.asked == "Q(select 1) f")
    }

    @Test func `a setting that may be refused gets a call of its own`() {
        var talk = SharedSessionTranscript()
        let first = talk.greeted(1, ["default_tablespace": "fast"])
        _ = talk.greeted(2, [:])
        talk.send(first, Self.simple)
        #expect(talk.askedFor == "set")
        talk.reply(Wire.error("22023", "tablespace \"fast\" does not exist"), Wire.ready())
        #expect(talk.heard(first) == "E!(22023 tablespace \"fast\" does not exist)")
    }

    @Test func `a client whose settings are refused hears nothing of what ran behind them`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (
            talk.greeted(1, ["application_name": "one"]), talk.greeted(2, ["lock_timeout": "2"])
        )
        talk.send(first, Self.simple)
        talk.send(second, Self.simple)
        talk.reply(
            Wire.error("53200", "out of memory"), Wire.ready(), Wire.row,
            Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(first) == "E!(53200 out of memory)")
        #expect(talk.closed == [first])
        #expect(talk.owedCredit == 0)
        #expect(talk.askedFor == "look")
        talk.replyToLook(["application_name": "two"])
        #expect(talk.hasPreface && talk.asked.hasSuffix("Q(select 1) f"))
    }

    @Test func `a client that leaves before its call is run has changed nothing`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (
            talk.greeted(1, ["application_name": "one"]), talk.greeted(2, ["lock_timeout": "2"])
        )
        talk.send(first, Wire.parse("s", String(repeating: " ", count: 100_000)))
        #expect(talk.gathered.readableBytes > 100_000)
        talk.leave(first)
        #expect(talk.asked == "P() S")
        talk.reply(Wire.error("42601", "syntax error"), Wire.ready())
        talk.send(second, Self.simple)
        #expect(talk.asked == "C(pgs1_1) S")
        talk.reply(Wire.closed, Wire.ready())
        #expect(talk.askedFor == "look")
        talk.replyToLook(["lock_timeout": "2"])
        #expect(talk.asked == "Q(select 1) f")
    }

    @Test func `a COPY's settings go before its probe`() {
        var talk = SharedSessionTranscript()
        let first = talk.greeted(1, ["application_name": "one"])
        _ = talk.greeted(2, ["application_name": "two"])
        talk.send(first, Wire.query("copy t from stdin"))
        #expect(talk.askedFor == "set")
        talk.replyToApply()
        #expect(talk.asked == "Q(copy t from stdin) f")
    }
}

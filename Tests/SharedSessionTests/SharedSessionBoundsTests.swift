import NIOCore
import PostgresWire
import Testing

@testable import SharedSession

/// What a client may not do: keep others waiting, fill the relay's memory.
struct SharedSessionBoundsTests {
    // MARK: Keeping others waiting

    @Test func `two clients that wait for each other: the one in its transaction is ended`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        talk.send(first, Wire.query("update t set a = 1"))
        talk.reply(Wire.complete("UPDATE 1"), Wire.ready("T"))
        // The application of the first one waits for what the second one is going to say.
        talk.send(second, Wire.query("select 2"))
        #expect(talk.calls.isEmpty)
        talk.pass(.seconds(5))
        #expect(talk.heard(second).hasPrefix("N(00000 waiting for a client"))
        talk.pass(.seconds(5))
        let words = "terminating connection due to idle-in-transaction timeout"
        #expect(talk.heard(first) == "C(BEGIN) Z(T) C(UPDATE 1) Z(T) E!(25P03 \(words))")
        #expect(talk.closed == [first])
        #expect(talk.asked == "Q(ROLLBACK)")
        talk.reply(Wire.complete("ROLLBACK"), Wire.ready())
        #expect(talk.asked == "Q(select 2) f")
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(second) == "C(SELECT 1) Z(I)")
        #expect(talk.others.contains(.log(.holderTimedOut(first))))
        let again = talk.greeted(3)
        talk.send(again, Wire.query("select 3"))
        #expect(talk.asked == "Q(select 3) f")
    }

    @Test func `a COPY that trickles ends like a silent one, where others wait`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("copy t from stdin"))
        talk.reply(Wire.copyIn, Wire.error("57014", "COPY from stdin failed"), Wire.ready())
        for _ in 0..<30 {
            talk.send(first, Wire.copyData("1\n"))
            talk.pass(.seconds(1))
        }
        #expect(talk.closed.isEmpty)
        talk.send(second, Wire.query("select 2"))
        for _ in 0..<10 where talk.closed.isEmpty {
            talk.send(first, Wire.copyData("1\n"))
            talk.pass(.seconds(1))
        }
        let words = "terminating connection: its data came too slowly"
        #expect(talk.heard(first) == "G E!(25P03 \(words))")
        #expect(talk.closed == [first])
        #expect(talk.asked == "P() S")
        talk.reply(Wire.error("42601", "syntax error"), Wire.ready())
        #expect(talk.asked == "Q(select 2) f")
    }

    @Test func `a COPY that comes at a fair pace goes on while others wait`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("copy t from stdin"))
        talk.reply(Wire.copyIn, Wire.error("57014", "COPY from stdin failed"), Wire.ready())
        talk.send(second, Wire.query("select 2"))
        for _ in 0..<40 {
            talk.send(first, Wire.copyData(String(repeating: "1", count: 2_000)))
            talk.pass(.seconds(1))
        }
        #expect(talk.closed.isEmpty)
        talk.session.engineStalled(true, now: talk.now)
        talk.pass(.seconds(15))
        #expect(talk.closed.isEmpty, "the engine takes nothing, and the client is not read")
        talk.session.engineStalled(false, now: talk.now)
        talk.send(first, Wire.copyDone)
        #expect(talk.calls.count == 1)
    }

    @Test func `a holder that does not take its result is ended, too`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("select 1"))
        talk.send(second, Wire.query("select 2"))
        talk.session.replied(Wire.row, now: talk.now)
        talk.session.stalled(first, true, now: talk.now)
        talk.pass(.seconds(10))
        #expect(
            talk.heard(first).hasSuffix(
                "E!(25P03 terminating connection: its results were not taken)"))
    }

    // MARK: What is refused

    private func withoutCopy() -> SharedSessionTranscript {
        var capabilities = EngineCapabilities()
        capabilities.copiesIn = false
        return SharedSessionTranscript(capabilities: capabilities)
    }

    private static let noCopy = "COPY FROM STDIN does not work with the engine of this sandbox"

    @Test func `an engine that takes no COPY has it refused, and its transaction fails`() {
        var talk = self.withoutCopy()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        talk.send(id, Wire.query("insert into t values (1); copy t from stdin"))
        #expect(talk.asked == "Q(refused)")
        talk.reply(Wire.error("42601", "syntax error"), Wire.ready("E"))
        #expect(talk.heard(id) == "C(BEGIN) Z(T) E(0A000 \(Self.noCopy)) Z(E)")
        talk.send(id, Wire.copyData("1\n"), Wire.copyDone, Wire.query("rollback"))
        #expect(talk.asked == "Q(rollback) f")
    }

    @Test func `it is refused in the extended protocol, up to the Sync`() {
        var talk = self.withoutCopy()
        let id = talk.greeted(1)
        talk.send(
            id, Wire.parse("", "copy t from stdin"), Wire.bind(""), Wire.execute, Wire.execute,
            Wire.sync)
        #expect(talk.asked == "P(pgs1_0) B(,pgs1_0) H")
        talk.reply(Wire.parsed, Wire.bound)
        #expect(talk.asked == "P() H")
        talk.reply(Wire.error("42601", "syntax error"))
        #expect(talk.asked == "S")
        talk.reply(Wire.ready())
        #expect(talk.heard(id) == "1 2 E(0A000 \(Self.noCopy)) Z(I)")
    }

    @Test func `a Parse that is too long fails in the middle of its pipeline`() {
        var limits = SessionLimits()
        limits.statementBytes = 100
        var talk = SharedSessionTranscript(limits: limits)
        let id = talk.greeted(1)
        talk.send(
            id, Wire.parse("a", "select 1"), Wire.bind("a"), Wire.execute,
            Wire.parse("b", String(repeating: " ", count: 200)), Wire.bind("b"), Wire.execute,
            Wire.sync, Wire.bind("a"), Wire.execute, Wire.sync)
        #expect(talk.asked == "P(pgs1_1) B(,pgs1_1) E H")
        talk.reply(Wire.parsed, Wire.bound, Wire.complete("SELECT 1"))
        #expect(talk.asked == "P() H")
        talk.reply(Wire.error("42601", "syntax error"))
        #expect(talk.asked == "S")
        talk.reply(Wire.ready())
        #expect(talk.asked == "B(,pgs1_1) E S")
        talk.reply(Wire.bound, Wire.complete("SELECT 1"), Wire.ready())
        let refusal = "E(54000 a statement of more than 100 bytes)"
        #expect(talk.heard(id) == "1 2 C(SELECT 1) \(refusal) Z(I) 2 C(SELECT 1) Z(I)")
    }

    @Test func `an error before the refused statement is the engine's own`() {
        var limits = SessionLimits()
        limits.copyStatementBytes = 100
        var talk = SharedSessionTranscript(limits: limits)
        let id = talk.greeted(1)
        let copy = "copy t (\(String(repeating: "a,", count: 100))b) from stdin"
        talk.send(id, Wire.parse("a", "selec"), Wire.parse("b", copy), Wire.sync)
        talk.reply(Wire.error("42601", "own"))
        if talk.asked == "S" { talk.reply(Wire.ready()) }
        #expect(talk.heard(id) == "E(42601 own) Z(I)")
        talk.send(id, Wire.parse("b", copy), Wire.sync)
        talk.reply(Wire.error("42601", "own"))
        #expect(talk.heard(id) == "E(54000 a statement of more than 100 bytes)")
    }

    @Test func `an engine that is lost in the middle of a pipeline says so once`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.parse("a", "select 1"), Wire.flush, Wire.bind("a"))
        talk.session.engineGone(.connectionFailure, "lost", now: talk.now)
        talk.send(id, Wire.execute, Wire.sync)
        #expect(talk.heard(id) == "E!(08006 lost)")
        #expect(talk.closed == [id])
    }

    // MARK: Memory

    private func small() -> SharedSessionTranscript {
        var limits = SessionLimits()
        (limits.statements, limits.portals, limits.channels) = (5, 5, 5)
        return SharedSessionTranscript(limits: limits)
    }

    private func six(_ text: (Int) -> String) -> String { (0..<6).map(text).joined(separator: ";") }

    @Test func `a client prepares no more statements than its bound, in SQL neither`() {
        var talk = self.small()
        let first = talk.greeted(1)
        talk.send(first, Wire.query(self.six { "prepare a\($0) as select 1" }))
        #expect(talk.heard(first) == "E!(53400 too many prepared statements)")
        #expect(talk.asked == "P() S")
        talk = self.small()
        let second = talk.greeted(2)
        for number in 0..<6 { talk.send(second, Wire.parse("a\(number)", "select 1")) }
        #expect(talk.heard(second) == "E!(53400 too many prepared statements)")
    }

    @Test func `a client has no more portals that matter than its bound`() {
        var talk = self.small()
        let id = talk.greeted(1)
        talk.send(id, Wire.parse("s", "listen a"))
        for number in 0..<6 where talk.closed.isEmpty {
            talk.send(
                id,
                SessionMessage.message(.bind) { body in
                    body.writeText("portal\(number)")
                    body.writeText("s")
                    body.writeRepeatingByte(0, count: 6)
                })
        }
        #expect(talk.heard(id) == "E!(53400 too many portals)")
    }

    @Test(arguments: ["listen", "savepoint"])
    func `a client has no more channels and savepoints than its bound`(verb: String) {
        var talk = self.small()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        talk.send(id, Wire.query(self.six { "\(verb) a\($0)" }))
        let done = (0..<6).reduce(into: ByteBuffer()) { reply, _ in
            reply.writeImmutableBuffer(Wire.complete(verb.uppercased()))
        }
        talk.reply(done, Wire.ready("T"))
        #expect(talk.heard(id).contains("E!(53400 too many channels or savepoints)"))
        #expect(talk.asked == "Q(ROLLBACK)")
    }

    @Test func `the same savepoint before each statement is one`() {
        var book = ListenBook()
        for _ in 0..<1_000 { book.completed(.savepoint("s"), tag: "SAVEPOINT") }
        #expect(book.size < 5)
        book.completed(.listen("a"), tag: "LISTEN")
        book.completed(.release("s"), tag: "RELEASE")
        book.completed(.listen("b"), tag: "LISTEN")
        book.completed(.rollbackTo("s"), tag: "ROLLBACK")
        book.completed(.listen("c"), tag: "LISTEN")
        book.ended(committed: true)
        #expect(book.channels == ["c"], "what was released is the savepoint's before, and went")
    }

    @Test func `a statement that is kept does not hold on to what came with it`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(
            id, Wire.parse("s", "select 1"), Wire.parse("c", "copy t from stdin"),
            Wire.parse("", String(repeating: " ", count: 100_000)), Wire.sync)
        talk.reply(Wire.parsed, Wire.parsed, Wire.parsed, Wire.ready())
        for name in ["s", "c"] {
            let entry = talk.session.clients[id]?.statements.resolve(name)
            guard case .parse(let kept) = entry?.kept else {
                Issue.record("\(name) was not kept")
                continue
            }
            #expect(kept.capacity < 1_000)
            #expect((entry?.effect.copyText?.capacity ?? 0) < 1_000)
        }
    }

    @Test func `a client that takes no answers is not read`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.session.stalled(id, true, now: talk.now)
        talk.drain()
        #expect(talk.paused == [id])
        talk.session.stalled(id, false, now: talk.now)
        talk.drain()
        #expect(talk.paused.isEmpty)
        for _ in 0..<1_000 { talk.send(id, Wire.sync) }
        #expect(talk.sent[id]?.readableBytes == 6_000)
        #expect(talk.calls.isEmpty && talk.session.waitingCount == 0)
    }

    @Test(arguments: ["S", "E", "D", "H", "C", "c", "X", "Q"])
    func `a short message that says it is long is refused by its header`(type: String) {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        var bytes = ByteBuffer(string: type)
        bytes.writeInteger(type == "Q" ? UInt32.max : UInt32(1 << 30) - 1)
        talk.send(id, bytes)
        #expect(talk.heard(id) == "E!(08P01 invalid message length)")
        #expect(talk.gathered.readableBytes == 0)
    }

    @Test func `Terminate in the middle of a pipeline undoes it`() {
        var talk = SharedSessionTranscript()
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.parse("s", "select 1"), Wire.bind("s"), Wire.execute, Wire.terminate)
        #expect(talk.closed == [first])
        talk.send(second, Wire.query("select 2"))
        var asked: [String] = []
        while !talk.calls.isEmpty {
            asked.append(talk.asked)
            talk.reply(Wire.ready())
        }
        #expect(asked.first == "P() S" && asked.last == "Q(select 2) f")
    }
}

/// What a client leaves, and what the page gets back.
struct SharedSessionCleanupTests {
    @Test func `a client that left during the page's turn does not cost the page its settings`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.session.pinned = id
        talk.pass(.seconds(1))
        #expect(talk.others.contains(.release))
        talk.others = []
        // The page sets something of its own, and then the client leaves its temporary table.
        talk.leave(id)
        #expect(talk.others.contains(.hold))
        #expect(talk.askedFor == "look")
        talk.replyToLook(["work_mem": "1MB"], isPinned: true)
        #expect(talk.asked.contains("DISCARD TEMP"))
        talk.reply(Wire.complete("DISCARD TEMP"), Wire.ready())
        var sets: [String] = []
        while !talk.calls.isEmpty {
            switch talk.askedFor {
            case "look": talk.replyToLook()
            case "engine?": talk.replyToEngineLook()
            case "set":
                sets.append(talk.asked)
                talk.replyToApply()
            case let other:
                Issue.record("asked \(other)")
                return
            }
        }
        #expect(sets.count == 1 && sets.first?.contains("'work_mem', E'1MB'") == true)
        #expect(talk.others.last == .release)
    }

    @Test func `who leaves while another has a transaction open takes nothing from it`() {
        var talk = SharedSessionTranscript()
        talk.forgetsTraces = false
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("select * from t"))
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        talk.send(second, Wire.query("begin; create table u (a int)"))
        talk.reply(Wire.complete("BEGIN"), Wire.complete("CREATE TABLE"), Wire.ready("T"))
        talk.leave(first)
        #expect(talk.calls.isEmpty)
        talk.send(second, Wire.query("commit"))
        #expect(talk.asked == "Q(commit) f")
        talk.reply(Wire.complete("COMMIT"), Wire.ready())
        #expect(talk.heard(second) == "C(BEGIN) C(CREATE TABLE) Z(T) C(COMMIT) Z(I)")
    }

    @Test func `a pipeline whose client left before its Sync is undone, not committed`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(
            id, Wire.parse("", "insert into t values (1)"), Wire.bind(""), Wire.execute,
            Wire.flush)
        talk.reply(Wire.parsed, Wire.bound, Wire.complete("INSERT 0 1"))
        talk.leave(id)
        #expect(talk.asked == "P() S")
        talk.reply(Wire.error("42601", "syntax error at or near \"refused\""), Wire.ready())
        #expect(talk.session.engine.cleanup?.needsSync != true)
    }

    @Test func `rows that were inserted leave nothing to clean up`() {
        var talk = SharedSessionTranscript()
        talk.forgetsTraces = false
        let (first, second) = (talk.greeted(1), talk.greeted(2))
        talk.send(first, Wire.query("insert into t values (1)"))
        talk.reply(Wire.complete("INSERT 0 1"), Wire.ready())
        talk.send(first, Wire.terminate)
        talk.send(second, Wire.query("select 2"))
        #expect(talk.asked == "Q(select 2) f")
    }
}

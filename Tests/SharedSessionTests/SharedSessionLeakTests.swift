import NIOCore
import PostgresWire
import TestSupport
import Testing

@testable import SharedSession

/// What one client does to the session without its text's saying so plainly, and what the next one
/// sees of it, on a real Postgres.
@Suite(.serialized)
struct SharedSessionLeakTests {
    private let real = SharedSessionPostgresTests()

    /// What one client sends, and the setting that another one must not see.
    @Test(arguments: [
        ("select set_config('leak.' || 'ed', 'mine', false)", "leak.ed"),
        ("do $$ begin perform set_config('leak.' || 'ed', 'mine', false); end $$", "leak.ed"),
        ("select U&\"set!005fconfig\" UESCAPE '!' ('leak.ed', 'mine', false)", "leak.ed"),
        (
            "set standard_conforming_strings to off; "
                + "select '\\''; set search_path to mine; --'", "search_path"
        ),
        ("select set_config('search_path', 'mine', false)", "search_path"),
    ])
    func `no way to change a setting reaches the next client`(text: String, name: String) throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.real.talk()
        let first = self.real.arrive(1, [:], &talk)
        let second = self.real.arrive(2, [:], &talk)
        try self.real.run(&talk, engine)
        talk.send(first, Wire.query(text))
        try self.real.run(&talk, engine)
        #expect(talk.heard(first).hasSuffix("Z(I)"))
        _ = talk.heard(second)
        // It divides by nothing where it is there.
        let question = "select 1 / (coalesce(current_setting('\(name)', true), '') <> 'mine')::int"
        talk.send(second, Wire.query(question))
        try self.real.run(&talk, engine)
        #expect(talk.heard(second).hasSuffix("C(SELECT 1) Z(I)"))
        talk.pass(.milliseconds(20))
        try self.real.run(&talk, engine)
        #expect(talk.others.contains(.release))
        let page = try engine.call(Wire.query(question))
        #expect(SharedSessionTranscript.words(page).contains("C(SELECT 1)"))
    }

    @Test func `a name in a Bind's parameter is no constant either`() {
        let flags = SQLAnalysis(ByteBuffer(string: "select set_config($1, $2, false)")).flags
        #expect(flags.contains(.mayNameSettings))
        let constant = SQLAnalysis(
            ByteBuffer(string: "select pg_catalog.set_config('a.b', $1, false)")
        ).flags
        #expect(!constant.contains(.mayNameSettings))
    }

    @Test func `a DISCARD ALL that was prepared in a transaction touches nobody else`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(id, Wire.query("begin"))
        talk.reply(Wire.complete("BEGIN"), Wire.ready("T"))
        talk.send(id, Wire.parse("d", "discard all"), Wire.sync)
        #expect(talk.asked.hasPrefix("P(pgs1_1)"))
        #expect(talk.calls.first?.text.contains("DISCARD PLANS") == true)
        talk.reply(Wire.parsed, Wire.ready("T"))
        _ = talk.heard(id)
        talk.send(id, Wire.bind("d"), Wire.execute, Wire.sync)
        talk.reply(Wire.error("42601", "syntax error"))
        #expect(
            talk.heard(id) == "E(25001 DISCARD ALL cannot run inside a transaction block)")
        #expect(talk.asked == "S")
        talk.reply(Wire.ready("E"))
        #expect(talk.heard(id) == "Z(E)")
    }

    @Test func `a COPY behind statements that no Sync has committed is refused`() {
        var talk = SharedSessionTranscript()
        let id = talk.greeted(1)
        talk.send(
            id, Wire.parse("i", "insert into t values (1)"), Wire.bind("i"), Wire.execute,
            Wire.parse("c", "copy t from stdin"), Wire.bind("c"), Wire.execute, Wire.sync)
        talk.reply(
            Wire.parsed, Wire.bound, Wire.complete("INSERT 0 1"), Wire.parsed, Wire.bound)
        #expect(talk.asked.hasPrefix("P()"))
        talk.reply(Wire.error("42601", "syntax error"))
        #expect(talk.heard(id).contains("E(0A000 COPY FROM STDIN behind other statements"))
        #expect(talk.asked == "S")
        talk.reply(Wire.ready())
        #expect(talk.heard(id) == "Z(I)")
    }
}

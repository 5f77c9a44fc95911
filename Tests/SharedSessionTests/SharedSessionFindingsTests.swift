import NIOCore
import PostgresWire
import TestSupport
import Testing

@testable import SharedSession

/// What the oracle found once, each by itself.
extension SharedSessionPostgresTests {
    @Test func `a client that goes while it is looked at keeps nobody waiting`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let first = self.arrive(1, [:], &talk)
        let second = self.arrive(2, [:], &talk)
        try self.run(&talk, engine)
        talk.send(first, Wire.query("create temp table mine (a int)"))
        try self.run(&talk, engine)
        _ = talk.heard(second)
        talk.send(second, Wire.query("select from mine"))
        #expect(!talk.calls.isEmpty)
        talk.leave(first)
        try self.run(&talk, engine)
        #expect(talk.heard(second).hasPrefix("E(42P01"))
    }

    @Test func `a setting that is reset and set again at once is not told`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let id = self.arrive(1, ["DateStyle": "German"], &talk)
        try self.run(&talk, engine)
        _ = talk.heard(id)
        talk.send(id, Wire.query("reset all"))
        try self.run(&talk, engine)
        #expect(talk.heard(id) == "C(RESET) Z(I)")
    }

    @Test func `statements of the last client are closed though the page has the engine`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let id = self.arrive(1, [:], &talk)
        try self.run(&talk, engine)
        talk.send(id, Wire.parse("s", "select 1"), Wire.sync)
        try self.run(&talk, engine)
        talk.pass(.milliseconds(20))
        try self.run(&talk, engine)
        #expect(talk.others.last == .release)
        talk.leave(id)
        try self.run(&talk, engine)
        #expect(talk.others.last == .release)
        let reply = try engine.call(Wire.query("select 1/count(*) from pg_prepared_statements"))
        #expect(SharedSessionTranscript.words(reply).contains("E(22012"))
    }

    @Test func `what a client sets at its start outlives an engine that fails meanwhile`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let id = self.arrive(1, ["client_encoding": "LATIN1"], &talk)
        talk.drain()
        // Up to the look at what the startup settings have become.
        while talk.session.clients[id]?.needsStartup == true || !talk.asked.contains("as material")
        {
            try self.answer(&talk, engine)
        }
        try engine.restart()
        talk.calls.removeAll()
        talk.session.faulted("trap", restarted: true, now: talk.now)
        try self.run(&talk, engine)
        let greeting = talk.session.clients[id]?.told["client_encoding"]
        #expect(greeting == "LATIN1")
    }

    @Test func `what a client sets at its start outlives a turn of the page`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let id = self.arrive(1, ["client_encoding": "LATIN1"], &talk)
        talk.drain()
        talk.session.held(now: talk.now)
        while talk.session.clients[id]?.needsStartup == true { try self.answer(&talk, engine) }
        talk.now = talk.now + .milliseconds(300)
        try self.run(&talk, engine)
        #expect(talk.others.contains(.release))
        #expect(talk.session.clients[id]?.told["client_encoding"] == "LATIN1")
    }

    @Test func `a page keeps its settings when a client with a temporary table goes`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let id = self.arrive(1, [:], &talk)
        try self.run(&talk, engine)
        talk.send(id, Wire.query("create temp table mine (a int)"))
        try self.run(&talk, engine)
        talk.pass(.milliseconds(20))
        try self.run(&talk, engine)
        #expect(talk.others.last == .release)
        _ = try engine.call(Wire.query("set work_mem to '3MB'"))
        talk.leave(id)
        try self.run(&talk, engine)
        let question = Wire.query("select 1/(current_setting('work_mem') = '3MB')::int")
        let reply = try engine.call(question)
        #expect(SharedSessionTranscript.words(reply).contains("C(SELECT 1)"))
        #expect(talk.others.last == .release)
    }

    private func answer(_ talk: inout SharedSessionTranscript, _ engine: EngineSession) throws {
        let call = try #require(talk.calls.first)
        talk.calls.removeFirst()
        talk.session.replied(try engine.call(call), now: talk.now)
        talk.session.done(now: talk.now)
        talk.drain()
    }
}

struct StatementFindingsTests {
    @Test func `a statement that was closed is named by its own name in what follows`() {
        var table = StatementTable(client: SessionClientID(rawValue: 3))
        let number = table.numberToPrepare("s")
        table.confirm(
            "s", .init(number: number, kept: nil, flags: [], effect: .none), keeping: 100)
        table.exchangeEnded()
        table.retire("s")
        #expect(table.resolve("s").number == number)
        table.forget("s")
        #expect(table.name(of: number) == "s")
    }

    @Test func `the unnamed statement has no name where Postgres gives it none`() {
        var table = StatementTable(client: SessionClientID(rawValue: 3))
        _ = table.numberToPrepare("")
        let error = Wire.error("08P01", "prepared statement \"pgs3_0\" requires 1")
        let own = Wire.error("08P01", "prepared statement \"\" requires 1")
        #expect(ErrorTranslation(table: table, plan: nil).translate(error) == own)
    }
}

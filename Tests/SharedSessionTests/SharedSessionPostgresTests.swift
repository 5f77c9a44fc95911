import NIOCore
import PostgresWire
import TestSupport
import Testing

@testable import SharedSession

/// The machine from its very start with a real Postgres as its engine.
@Suite(.serialized)
struct SharedSessionPostgresTests {
    /// Answers calls until there are none.
    func run(_ talk: inout SharedSessionTranscript, _ engine: EngineSession) throws {
        talk.drain()
        while let call = talk.calls.first {
            talk.calls.removeFirst()
            talk.session.replied(try engine.call(call), now: talk.now)
            talk.session.done(now: talk.now)
            talk.drain()
        }
    }

    func arrive(
        _ number: UInt32, _ parameters: [String: String], _ talk: inout SharedSessionTranscript
    ) -> SessionClientID {
        let id = SessionClientID(rawValue: number)
        var all = [StartupRequest.Parameter(name: "user", value: "postgres")]
        for (name, value) in parameters.sorted(by: { $0.key < $1.key }) {
            all.append(.init(name: name, value: value))
        }
        talk.session.arrived(
            id,
            SessionArrival(
                request: StartupRequest(parameters: all), cancelKey: .zero, address: nil),
            now: talk.now)
        return id
    }

    func talk() -> SharedSessionTranscript {
        var talk = SharedSessionTranscript()
        talk.session = SharedSession(limits: SessionLimits(), capabilities: EngineCapabilities())
        return talk
    }

    @Test func `settings are a client's own, and the page gets its own back`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let first = self.arrive(1, ["application_name": "one"], &talk)
        let second = self.arrive(2, ["application_name": "two", "DateStyle": "German"], &talk)
        try self.run(&talk, engine)
        #expect(talk.heard(first).hasSuffix("K Z(I)"))
        #expect(talk.heard(second).hasSuffix("K Z(I)"))
        talk.send(first, Wire.query("set search_path to one_only"))
        try self.run(&talk, engine)
        #expect(talk.heard(first) == "C(SET) Z(I)")
        let question = """
            do $$ begin if current_setting('search_path') <> '%s' or
            current_setting('application_name') <> '%a' then
            raise '% %', current_setting('search_path'), current_setting('application_name');
            end if; end $$
            """
        for (id, path, name) in [
            (second, "\"$user\", public", "two"), (first, "one_only", "one"),
            (second, "\"$user\", public", "two"),
        ] {
            let text = question.replacing("%s", with: path).replacing("%a", with: name)
            talk.send(id, Wire.query(text))
            try self.run(&talk, engine)
            #expect(talk.heard(id) == "C(DO) Z(I)")
        }
        talk.pass(.milliseconds(20))
        try self.run(&talk, engine)
        #expect(talk.others.contains(.release))
        let reply = try engine.call(
            Wire.query("select 1/(current_setting('application_name') = '')::int"))
        #expect(SharedSessionTranscript.words(reply).contains("C(SELECT 1)"))
    }

    @Test func `a temporary table keeps the session with its client until it is gone`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let first = self.arrive(1, [:], &talk)
        let second = self.arrive(2, [:], &talk)
        try self.run(&talk, engine)
        talk.send(first, Wire.query("create temp table mine (a int)"))
        try self.run(&talk, engine)
        _ = talk.heard(second)
        talk.send(second, Wire.query("select from mine"))
        try self.run(&talk, engine)
        #expect(talk.heard(second) == "")
        talk.send(first, Wire.query("drop table mine"))
        try self.run(&talk, engine)
        #expect(talk.heard(second).hasPrefix("E(42P01"))
    }

    @Test func `RESET ALL brings back what the client set at its start`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let id = self.arrive(1, ["application_name": "one"], &talk)
        try self.run(&talk, engine)
        for reset in ["reset all", "discard all"] {
            talk.send(id, Wire.query("set application_name to x"))
            try self.run(&talk, engine)
            talk.send(id, Wire.query(reset))
            try self.run(&talk, engine)
            _ = talk.heard(id)
            talk.send(
                id, Wire.query("select 1/(current_setting('application_name') = 'one')::int"))
            try self.run(&talk, engine)
            #expect(talk.heard(id).contains("C(SELECT 1)"))
        }
    }

    @Test func `a default is what the client set at its start, in a transaction, too`() throws {
        let engine = try EngineSession(TestPostgres.shared(.v15), database: "postgres")
        var talk = self.talk()
        let start = [
            "application_name": "one", "search_path": "\"$user\", \"a,b\"",
            "TimeZone": "Asia/Tokyo",
        ]
        let id = self.arrive(1, start, &talk)
        try self.run(&talk, engine)
        _ = talk.heard(id)
        let names = ["application_name", "search_path", "TimeZone"]
        let question = names.map { name in
            "select 1/(current_setting('\(name)') = '\(start[name] ?? "")')::int"
        }.joined(separator: ";")
        let changes = names.map { "set \($0) to utc" }.joined(separator: ";")
        for reset in [
            "reset application_name; reset search_path; reset timezone",
            "set application_name = default; set search_path to default; set time zone local",
            "reset all",
        ] {
            for (begin, end) in [("", ""), ("begin;", "commit;")] {
                talk.send(
                    id, Wire.query(begin + changes + ";" + reset + ";" + question + ";" + end))
                try self.run(&talk, engine)
                let heard = talk.heard(id)
                #expect(!heard.contains("E("), "\(heard)")
                #expect(heard.contains("C(SELECT 1)") && heard.hasSuffix("Z(I)"))
                #expect(!heard.contains("C(DO)"))
            }
        }
        talk.send(id, Wire.parse("", "reset timezone"), Wire.bind(""), Wire.execute, Wire.sync)
        try self.run(&talk, engine)
        #expect(talk.heard(id).contains("C(RESET)"))
    }
}

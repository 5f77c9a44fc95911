import NIOCore
import TestSupport
import Testing

/// The engine of the oracle keeps PGlite's rules, and refuses what PGlite would trap on.
@Suite(.serialized)
struct EngineSessionTests {
    private func engine(_ quirks: EngineQuirks = EngineQuirks()) throws -> EngineSession {
        try EngineSession(TestPostgres.shared(.v15), database: "postgres", quirks: quirks)
    }

    private func types(_ engine: EngineSession, _ parts: [ByteBuffer]) throws -> String {
        var reply = try engine.call(.joined(parts))
        var types = ""
        while let message = reply.readWireMessage() {
            types.unicodeScalars.append(Unicode.Scalar(message.type))
        }
        return types
    }

    private static let copy = "create temp table if not exists t (a int); copy t from stdin"
    private static let wrong = [
        FrontendMessage.parse("", "select 1/0"), FrontendMessage.bind(""),
        FrontendMessage.execute(),
    ]

    @Test func `a Query is answered to its end, with CopyFail behind it ignored`() throws {
        let query = [FrontendMessage.query("select 1"), FrontendMessage.copyFail("net")]
        #expect(try self.types(self.engine(), query) == "TDCZ")
    }

    @Test func `an exchange that ended with Sync may stand before a Query`() throws {
        let set = [
            FrontendMessage.parse("", "set work_mem to 100"), FrontendMessage.bind(""),
            FrontendMessage.execute(), FrontendMessage.sync, FrontendMessage.query("select 1"),
        ]
        #expect(try self.types(self.engine(), set) == "12CZTDCZ")
        let wrong = Self.wrong + [FrontendMessage.query("select 1")]
        #expect(throws: OracleFailure.self) { try self.types(self.engine(), wrong) }
    }

    @Test func `messages after an error have empty replies until Sync`() throws {
        let engine = try self.engine()
        #expect(try self.types(engine, Self.wrong) == "1E")
        #expect(try self.types(engine, [FrontendMessage.parse("", "select 1")]).isEmpty)
        #expect(try self.types(engine, [FrontendMessage.query("select 1")]).isEmpty)
        #expect(try self.types(engine, [FrontendMessage.sync]) == "Z")
        #expect(try self.types(engine, [FrontendMessage.query("select 1")]) == "TDCZ")
    }

    @Test func `an older engine adds a ReadyForQuery to a failure without Sync`() throws {
        let engine = try self.engine(EngineQuirks(surplusReady: true))
        #expect(try self.types(engine, Self.wrong) == "1EZ")
        #expect(try self.types(engine, [FrontendMessage.sync]) == "Z")
    }

    @Test func `a reply without Sync is complete, Flush or not`() throws {
        let engine = try self.engine()
        let parse = FrontendMessage.parse("", "select 1")
        let describe = FrontendMessage.describe(statement: "")
        #expect(try self.types(engine, [parse, describe, FrontendMessage.flush]) == "1tT")
        let close = FrontendMessage.close(statement: "")
        #expect(try self.types(engine, [close, FrontendMessage.bind("")]) == "3E")
        #expect(try self.types(engine, [FrontendMessage.sync]) == "Z")
    }

    @Test func `COPY FROM STDIN works in one call, and without its end is a failure`() throws {
        let engine = try self.engine()
        let query = FrontendMessage.query(Self.copy)
        let data = FrontendMessage.copyData("1\n2\n")
        #expect(try self.types(engine, [query, data, FrontendMessage.copyDone]) == "CGCZ")
        #expect(try self.types(engine, [query, FrontendMessage.copyFail("net")]) == "NCGEZ")
        #expect(throws: OracleFailure.self) { try engine.call(query) }
    }

    @Test func `two Queries, half a message and Terminate are failures`() throws {
        let query = FrontendMessage.query("select 1")
        let half = query.getSlice(at: 0, length: 7) ?? ByteBuffer()
        for call in [.joined([query, query]), half, FrontendMessage.terminate] {
            let engine = try self.engine()
            #expect(throws: OracleFailure.self) { try engine.call(call) }
        }
    }

    @Test func `a restart forgets the session`() throws {
        let engine = try self.engine()
        _ = try engine.call(FrontendMessage.query("begin; prepare p as select 1"))
        #expect(engine.status == UInt8(ascii: "T"))
        try engine.restart()
        #expect(engine.status == UInt8(ascii: "I"))
        #expect(try self.types(engine, [FrontendMessage.query("execute p")]) == "EZ")
    }
}

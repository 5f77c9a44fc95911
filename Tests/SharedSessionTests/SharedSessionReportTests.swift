import NIOCore
import PostgresWire
import Testing

@testable import SharedSession

/// Engines that never say what they report, as some builds of PGlite do.
struct SharedSessionReportTests {
    private static let names = ["DateStyle", "TimeZone", "server_version"]

    private func talk() -> SharedSessionTranscript {
        var talk = SharedSessionTranscript()
        talk.session.engine.reportsItself = false
        talk.session.engine.info?.reported = Self.names.map { .init(name: $0, value: "\($0)-0") }
        for name in Self.names { talk.session.engine.reported[name] = "\(name)-0" }
        return talk
    }

    private static let question = "Q(SHOW \"DateStyle\"; SHOW \"TimeZone\")"

    private func replyToReport(
        _ talk: inout SharedSessionTranscript, _ values: [String], _ status: Unicode.Scalar = "I"
    ) {
        #expect(talk.asked == Self.question)
        var reply = ByteBuffer()
        for value in values {
            let row = SessionMessage.message(.dataRow) { body in
                body.writeInteger(UInt16(1))
                body.writeInteger(UInt32(value.utf8.count))
                body.writeString(value)
            }
            reply.writeImmutableBuffer(row)
            reply.writeImmutableBuffer(Wire.complete("SHOW"))
        }
        talk.reply(reply, Wire.ready(status))
    }

    /// Parameters that a client was told, by name.
    private func told(
        _ talk: inout SharedSessionTranscript, _ id: SessionClientID
    ) -> [String: String] {
        var bytes = talk.sent.removeValue(forKey: id) ?? ByteBuffer()
        var told: [String: String] = [:]
        while let header = MessageHeader(in: bytes),
            let whole = bytes.readSlice(length: header.totalBytes)
        {
            guard header.type == .parameterStatus, let status = ParameterStatus(whole) else {
                continue
            }
            told[status.name] = status.value
        }
        return told
    }

    @Test func `a client is greeted with the values of its own start`() {
        var talk = self.talk()
        let id = talk.arrive(1, ["TimeZone": "Asia/Tokyo"])
        talk.replyToApply()
        talk.replyToLook(["TimeZone": "Asia/Tokyo"])
        self.replyToReport(&talk, ["ISO, MDY", "Asia/Tokyo"])
        let told = self.told(&talk, id)
        #expect(told["TimeZone"] == "Asia/Tokyo" && told["DateStyle"] == "ISO, MDY")
        #expect(told["server_version"] == "server_version-0")
    }

    @Test func `what a client sets is asked for and told before its ReadyForQuery`() {
        var talk = self.talk()
        let (id, other) = (talk.arrive(1), talk.arrive(2))
        for _ in 0..<2 { self.replyToReport(&talk, ["ISO", "UTC"]) }
        talk.sent = [:]
        for (text, zone) in [
            ("set timezone to 'y'", "y"), ("select set_config('timezone', 'x', false)", "x"),
        ] {
            talk.send(id, Wire.query(text))
            talk.replyBehindPreface(Wire.complete("SET").and(Wire.ready()))
            #expect(talk.heard(id) == "C(SET)")
            self.replyToReport(&talk, ["ISO", zone])
            #expect(talk.heard(id) == "S Z(I)")
        }
        talk.send(other, Wire.query("select 1"))
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(other) == "C(SELECT 1) Z(I)")
        talk.send(id, Wire.query("select 1"))
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(id) == "C(SELECT 1) Z(I)")
    }

    @Test func `what a transaction set and took back is told twice`() {
        var talk = self.talk()
        let id = talk.arrive(1)
        self.replyToReport(&talk, ["ISO", "UTC"])
        talk.sent = [:]
        talk.send(id, Wire.query("begin; set timezone to 'x'"))
        talk.reply(Wire.complete("BEGIN"), Wire.complete("SET"), Wire.ready("T"))
        self.replyToReport(&talk, ["ISO", "x"], "T")
        #expect(talk.heard(id) == "C(BEGIN) C(SET) S Z(T)")
        talk.send(id, Wire.query("selec"))
        talk.reply(Wire.error("42601", "no"), Wire.ready("E"))
        #expect(talk.heard(id) == "E(42601 no) Z(E)")
        talk.send(id, Wire.query("rollback"))
        talk.reply(Wire.complete("ROLLBACK"), Wire.ready())
        self.replyToReport(&talk, ["ISO", "UTC"])
        #expect(talk.heard(id) == "C(ROLLBACK) S Z(I)")
        #expect(talk.session.clients[id]?.told["TimeZone"] == "UTC")
        talk.send(id, Wire.query("select 1"))
        talk.reply(Wire.complete("SELECT 1"), Wire.ready())
        #expect(talk.heard(id) == "C(SELECT 1) Z(I)")
    }

    @Test func `a notice names the application of the client's start`() {
        var talk = self.talk()
        talk.session.engine.info?.reported = [.init(name: "application_name", value: "")]
        talk.session.engine.reported = ["application_name": ""]
        let id = talk.arrive(1, ["application_name": "psql"])
        talk.replyToApply()
        talk.replyToLook(["application_name": "psql"])
        talk.reply(
            SessionMessage.message(.dataRow) { body in
                body.writeInteger(UInt16(1))
                body.writeInteger(UInt32(4))
                body.writeString("psql")
            }, Wire.complete("SHOW"), Wire.ready())
        #expect(talk.session.clients[id]?.label == "\"psql\"")
    }
}

struct SettingStatementTests {
    @Test(arguments: [
        ("set timezone to default", "timezone", true), ("SET TimeZone = DEFAULT", "timezone", true),
        ("set session time zone local", "timezone", true),
        ("set names default", "client_encoding", true),
        ("set local app.\"User\" to default", "app.user", true),
        ("reset timezone", "timezone", true),
        ("set timezone to 'default'", "timezone", false), ("set x = default, y", "x", false),
        ("set search_path to default", "search_path", true), ("set session = 1", "session", false),
    ])
    func `a statement says whether it asks for the default`(
        text: String, name: String, isToDefault: Bool
    ) {
        let statement = SQLSettingStatement(ByteBuffer(string: text))
        #expect(statement?.name == name)
        #expect(statement?.isToDefault == isToDefault)
    }

    @Test func `other statements are none`() {
        for text in ["select 1", "settle", "set", "", "resettle x", "se"] {
            #expect(SQLSettingStatement(ByteBuffer(string: text)) == nil, "\(text)")
        }
    }

    @Test(arguments: [
        ("search_path", "\"$user\", public", "E'$user', E'public'"),
        ("search_path", "\"a\"\"b\",\"c,d\"", "E'a\"b', E'c,d'"), ("search_path", "", "''"),
        ("timezone", "Europe/Berlin", "E'Europe/Berlin'"), ("datestyle", "ISO, MDY", "E'ISO, MDY'"),
    ])
    func `a value is written as SET takes it`(name: String, value: String, text: String) {
        #expect(SQLSettingStatement.value(value, of: name) == text)
    }
}

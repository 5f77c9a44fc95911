import NIOCore
import PostgresWire

@testable import SharedSession

/// An engine's answers to what is asked of it behind its clients' backs.
enum InspectionRows {
    /// What it reports of itself.
    static func engine(_ reported: [String: String] = ["server_version": "17.5"]) -> ByteBuffer {
        let values = reported.sorted { $0.key < $1.key }.map { ("r", $0.key, $0.value) }
        return self.reply([("d", "", "postgres"), ("u", "", "postgres")] + values)
    }

    /// What is set in its session.
    static func session(_ settings: [String: String] = [:], isPinned: Bool = false) -> ByteBuffer {
        let values = settings.sorted { $0.key < $1.key }.map { ("s", $0.key, $0.value) }
        return self.reply(
            [("u", "", "postgres"), ("w", "f", "")] + values + (isPinned ? [("t", "", "")] : []))
    }

    private static func reply(_ rows: [(String, String, String)]) -> ByteBuffer {
        var reply = ByteBuffer()
        for (kind, name, value) in rows {
            reply.writeImmutableBuffer(self.row([kind, self.hex(name), self.hex(value)]))
        }
        reply.writeImmutableBuffer(Wire.complete("SELECT \(rows.count)"))
        reply.writeImmutableBuffer(Wire.ready())
        return reply
    }

    private static func row(_ columns: [String]) -> ByteBuffer {
        SessionMessage.message(.dataRow) { body in
            body.writeInteger(UInt16(columns.count))
            for column in columns {
                body.writeInteger(UInt32(column.utf8.count))
                body.writeString(column)
            }
        }
    }

    private static func hex(_ text: String) -> String {
        text.utf8.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}

extension ByteBuffer {
    /// This and another one behind it.
    func and(_ other: ByteBuffer) -> ByteBuffer {
        var both = self
        both.writeImmutableBuffer(other)
        return both
    }
}

extension SharedSessionTranscript {
    /// Answers the call that asks for what the engine reports.
    mutating func replyToEngineLook() { self.reply(InspectionRows.engine()) }

    /// Answers the call that asks what is set.
    mutating func replyToLook(_ settings: [String: String] = [:], isPinned: Bool = false) {
        self.reply(InspectionRows.session(settings, isPinned: isPinned))
    }

    /// Answers the call that changes settings.
    mutating func replyToApply() { self.reply(Wire.row, Wire.complete("SELECT 1"), Wire.ready()) }

    /// The SQL in front of the client's own messages in the call that waits; empty for none.
    var preface: String {
        guard self.asked.hasPrefix("P() B(,) E S "), var body = self.calls.first?.messageBody else {
            return ""
        }
        body.moveReaderIndex(forwardBy: 1)
        return body.readText()?.text ?? ""
    }

    /// Whether the call that waits begins with a change of settings.
    var hasPreface: Bool { self.preface.hasPrefix("select pg_catalog.cardinality(") }

    /// Answers a client's call, and what goes in front of it.
    mutating func replyBehindPreface(_ reply: ByteBuffer) {
        guard self.hasPreface else { return self.reply(reply) }
        self.reply(
            Wire.parsed, Wire.bound, Wire.row, Wire.complete("SELECT 1"), Wire.ready(), reply)
    }

    /// A client that was greeted, and has these settings of its start.
    mutating func greeted(
        _ number: UInt32, _ settings: [String: String]
    ) -> SessionClientID {
        let id = self.arrive(number, settings)
        while self.askedFor == "set" { self.replyToApply() }
        self.replyToLook(settings)
        self.sent[id] = nil
        return id
    }

    /// The call that waits, where it is one of the machine's own: `engine?`, `look`, `set`.
    var askedFor: String {
        let asked = self.asked
        if asked == "Q(\(SessionInspection.engineQuery))" { return "engine?" }
        if asked.hasPrefix("Q(with s as") { return "look" }
        return asked.hasPrefix("Q(select pg_catalog.cardinality(") ? "set" : asked
    }
}

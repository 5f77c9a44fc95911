import NIOCore
import PostgresWire

@testable import SharedSession

/// Answers calls as an engine in a page would, as far as these tests need it.
struct EngineDouble {
    enum Answer {
        case reply(ByteBuffer)
        /// Not now.
        case stuck
        case fault(restarted: Bool)
    }

    /// What clients ran, and what was run for them that is not a look at the session.
    private(set) var ran: [String] = []
    /// Texts that are not answered for now.
    var stuckOn: Set<String> = []
    /// Texts at which it fails outside of SQL, and whether it restarts by itself then.
    var faultsOn: [String: Bool] = [:]
    private var status = Unicode.Scalar("I")

    /// Its session is new.
    mutating func restart() { self.status = "I" }

    mutating func run(_ call: ByteBuffer) -> Answer {
        let texts = Self.texts(of: call)
        if texts.contains(where: self.stuckOn.contains) { return .stuck }
        for text in texts {
            guard let restarted = self.faultsOn[text] else { continue }
            self.ran.append(text)
            if restarted { self.restart() }
            return .fault(restarted: restarted)
        }
        var call = call
        var reply = ByteBuffer()
        while let header = MessageHeader(in: call),
            let whole = call.readSlice(length: header.totalBytes)
        {
            self.answer(header.type, whole, &reply)
        }
        return .reply(reply)
    }

    private mutating func answer(
        _ type: MessageType, _ whole: ByteBuffer, _ reply: inout ByteBuffer
    ) {
        switch type {
        case .query:
            self.query(whole, &reply)
            reply.writeImmutableBuffer(PostgresMessage.readyForQuery(self.status))
        case .parse:
            self.ran.append(Self.texts(of: whole).first ?? "")
            reply.writeImmutableBuffer(SessionMessage.message(.parseComplete) { _ in })
        case .bind: reply.writeImmutableBuffer(SessionMessage.message(.bindComplete) { _ in })
        case .describe: reply.writeImmutableBuffer(SessionMessage.message(.noData) { _ in })
        case .execute: reply.writeImmutableBuffer(PostgresMessage.commandComplete("SELECT 0"))
        case .close: reply.writeImmutableBuffer(SessionMessage.message(.closeComplete) { _ in })
        case .sync: reply.writeImmutableBuffer(PostgresMessage.readyForQuery(self.status))
        case _: break
        }
    }

    private mutating func query(_ whole: ByteBuffer, _ reply: inout ByteBuffer) {
        let text = Self.texts(of: whole).first ?? ""
        if text == SessionInspection.engineQuery {
            return reply.writeRows([
                ["d", "", "postgres"], ["u", "", "postgres"], ["r", "server_version", "17.5"],
            ])
        }
        if text.hasPrefix("with s as materialized") {
            return reply.writeRows([["u", "", "postgres"], ["w", "f", ""]])
        }
        if text != SharedSession.resetQuery { self.ran.append(text) }
        let words = text.lowercased().split(separator: " ")
        let tag = words.first.map { $0.uppercased() } ?? ""
        switch words.first {
        case "begin": self.status = "T"
        case "commit", "rollback": self.status = "I"
        case "big":
            let row = SessionMessage.message(.dataRow) { $0.writeRepeatingByte(0x78, count: 1_019) }
            for _ in 0..<(words.last.flatMap { Int($0) } ?? 0) { reply.writeImmutableBuffer(row) }
        case "wrong":
            if self.status == "T" { self.status = "E" }
            let error = PostgresError(
                severity: .error, sqlState: SQLState(rawValue: "42601"), message: "wrong")
            reply.writeImmutableBuffer(error.encoded())
            return
        case _: break
        }
        reply.writeImmutableBuffer(PostgresMessage.commandComplete(tag))
    }

    /// The SQL of a call.
    static func texts(of call: ByteBuffer) -> [String] {
        var call = call
        var texts: [String] = []
        while let header = MessageHeader(in: call),
            let whole = call.readSlice(length: header.totalBytes)
        {
            var body = whole.messageBody
            if header.type == .parse { _ = body.readNullTerminatedString() }
            if header.type == .query || header.type == .parse {
                texts.append(body.readNullTerminatedString() ?? "")
            }
        }
        return texts
    }
}

extension ByteBuffer {
    /// DataRows as the hidden looks want them: a letter, and two texts in hexadecimal.
    fileprivate mutating func writeRows(_ rows: [[String]]) {
        for row in rows {
            let values = row.enumerated().map { place, text in
                place == 0
                    ? text
                    : text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            }
            self.writeImmutableBuffer(
                SessionMessage.message(.dataRow) { body in
                    body.writeInteger(UInt16(values.count))
                    for value in values {
                        body.writeInteger(UInt32(value.utf8.count))
                        body.writeString(value)
                    }
                })
        }
        self.writeImmutableBuffer(PostgresMessage.commandComplete("SELECT \(rows.count)"))
    }
}

import NIOCore
import PostgresWire

@testable import Relay

/// Messages of Postgres, as text and bytes.
enum Wire {
    static func message(_ type: Character, _ body: [UInt8] = []) -> ByteBuffer {
        var bytes = ByteBuffer(string: String(type))
        bytes.writeInteger(UInt32(body.count + 4))
        bytes.writeBytes(body)
        return bytes
    }

    static func text(_ type: Character, _ texts: String..., then more: [UInt8] = []) -> ByteBuffer {
        self.message(type, texts.flatMap { Array($0.utf8) + [0] } + more)
    }

    static func all(_ messages: [ByteBuffer]) -> ByteBuffer {
        messages.reduce(into: ByteBuffer()) { $0.writeImmutableBuffer($1) }
    }

    static func all(_ messages: ByteBuffer...) -> ByteBuffer { self.all(messages) }

    static func row(_ values: [String]) -> ByteBuffer {
        var body = ByteBuffer()
        body.writeInteger(UInt16(values.count))
        for value in values {
            body.writeInteger(UInt32(value.utf8.count))
            body.writeString(value)
        }
        return self.message("D", Array(body.readableBytesView))
    }

    static func description(_ columns: Int) -> ByteBuffer {
        var body = ByteBuffer()
        body.writeInteger(UInt16(columns))
        for column in 0..<columns {
            body.writeString("c\(column)\0")
            body.writeBytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0])
        }
        return self.message("T", Array(body.readableBytesView))
    }

    static func error(_ state: String) -> ByteBuffer {
        self.text("E", "SERROR", "VERROR", "C\(state)", "Mno", then: [0])
    }

    /// Type and first text of every message: `T D:1 C:SELECT 1 Z:I`.
    static func read(_ bytes: ByteBuffer) -> String {
        var bytes = bytes
        var words: [String] = []
        while let type: UInt8 = bytes.readInteger(), let length: UInt32 = bytes.readInteger(),
            let body = bytes.readSlice(length: Int(length) - 4)
        {
            let letter = String(Unicode.Scalar(type))
            let text = String(decoding: body.readableBytesView.prefix { $0 != 0 }, as: UTF8.self)
            switch letter {
            case "D": words.append("D:" + String(buffer: body).dropFirst(6))
            case "E": words.append("E:" + (PostgresError.parse(body: body).sqlState.rawValue))
            case "C", "Z", "Q", "P": words.append("\(letter):\(text)")
            default: words.append(letter)
            }
        }
        return words.joined(separator: " ")
    }
}

/// An engine of that page: one message a call, and an older PGlite's ReadyForQuery behind every
/// error.
struct ScriptedEngine: Sendable {
    private(set) var status = "I"
    private(set) var ran: [String] = []
    /// How many Executes find no portal: the page ran a query of its own in front of them.
    var portalsToLose = 0
    /// An older engine answers what Postgres would skip, and every error with a ReadyForQuery.
    var isOld = true
    private var hasFailed = false

    mutating func exec(_ message: ByteBuffer) -> ByteBuffer {
        var body = message
        let type: UInt8 = body.readInteger() ?? 0
        body.moveReaderIndex(forwardBy: 4)
        let text = String(decoding: body.readableBytesView.prefix { $0 != 0 }, as: UTF8.self)
        self.ran.append(String(Unicode.Scalar(type)) + (type == 0x51 ? ":" + text : ""))
        if type == UInt8(ascii: "S") { self.hasFailed = false }
        guard !self.hasFailed || self.isOld else { return ByteBuffer() }
        switch Unicode.Scalar(type) {
        case "Q": return self.query(text)
        case "P":
            let isBad = String(buffer: body).contains("boom")
            return isBad ? self.fail("42601") : Wire.message("1")
        case "B": return Wire.message("2")
        case "D": return Wire.message("n")
        case "E":
            guard self.portalsToLose > 0 else { return Wire.text("C", "SELECT 0") }
            self.portalsToLose -= 1
            return self.fail("34000")
        case "C": return Wire.message("3")
        case "S": return self.ready
        default: return ByteBuffer()
        }
    }

    mutating func reset() { self.status = "I" }

    private var ready: ByteBuffer { Wire.message("Z", Array(self.status.utf8)) }

    private mutating func fail(_ state: String) -> ByteBuffer {
        if self.status == "T" { self.status = "E" }
        self.hasFailed = true
        return self.isOld ? Wire.all(Wire.error(state), self.ready) : Wire.error(state)
    }

    private mutating func query(_ text: String) -> ByteBuffer {
        let lower = text.lowercased()
        if lower.contains("current_database()") { return self.rows(Self.engineRows) }
        if lower.hasPrefix("with s as") { return self.rows(Self.sessionRows) }
        if lower.contains("boom") || lower.hasPrefix("do ") {
            defer { self.hasFailed = false }
            return Wire.all(self.fail("42601"), self.isOld ? ByteBuffer() : self.ready)
        }
        if lower.hasPrefix("begin") { self.status = "T" }
        if lower.hasPrefix("rollback") || lower.hasPrefix("commit") { self.status = "I" }
        guard lower.hasPrefix("select ") else {
            return Wire.all(Wire.text("C", "OK"), self.ready)
        }
        let words = lower.split(separator: " ")
        guard words.count == 3, words[1] == "large", let count = Int(words[2]) else {
            return self.rows([[String(text.dropFirst(7))]])
        }
        return self.rows([[String(repeating: "x", count: count)]])
    }

    private func rows(_ rows: [[String]]) -> ByteBuffer {
        Wire.all(
            [Wire.description(rows.first?.count ?? 0)] + rows.map(Wire.row)
                + [Wire.text("C", "SELECT \(rows.count)"), self.ready])
    }

    private static func hex(_ text: String) -> String {
        text.utf8.map { String(UInt16($0) | 0x100, radix: 16).dropFirst() }.joined()
    }

    private static let engineRows: [[String]] =
        [["d", "", Self.hex("postgres")], ["u", "", Self.hex("postgres")]]
        + [
            ("server_version", "17.5"), ("client_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
        ].map { ["r", Self.hex($0.0), Self.hex($0.1)] }

    private static let sessionRows = [["u", "", Self.hex("postgres")], ["w", Self.hex("f"), ""]]
}

/// The browser's side of database.build, by FIELD-NOTES 1: one frame at a time.
struct DoorPageDouble: Sendable {
    var engine = ScriptedEngine()
    private(set) var active: String?
    private(set) var shown: String?
    private(set) var resets = 0
    private(set) var dropped = 0

    /// Handles one frame.
    ///
    /// - Returns: The frame to answer with; nil for none.
    mutating func handle(_ frame: ByteBuffer) -> ByteBuffer? {
        var message = frame
        guard let id = message.readString(length: 16) else { return nil }
        let bytes = Array(message.readableBytesView)
        if bytes.count >= 8, Array(bytes[4..<8]) == [0, 3, 0, 0],
            message.getInteger(at: message.readerIndex, as: UInt32.self) == UInt32(bytes.count)
        {
            self.active = id
            let texts = String(decoding: bytes[8...], as: UTF8.self).split(separator: "\0")
            self.shown = texts.last.map(String.init)
            return nil
        }
        if bytes == [0x58, 0, 0, 0, 4] {
            self.active = nil
            self.shown = nil
            self.resets += 1
            self.engine.reset()
            return nil
        }
        guard self.active == id else {
            self.dropped += 1
            return nil
        }
        return Wire.all(ByteBuffer(string: id), self.engine.exec(message))
    }
}

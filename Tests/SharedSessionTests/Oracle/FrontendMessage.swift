import NIOCore

/// Encoders of what clients send, one whole message each.
///
/// Source: PostgreSQL documentation, "Message Formats".
enum FrontendMessage {
    /// What Bind carries for one parameter.
    enum Value {
        case null
        case text(String)
        case bytes([UInt8])
    }

    static func query(_ sql: String) -> ByteBuffer { self.query(bytes: Array(sql.utf8)) }

    /// A Query in the client's own encoding.
    static func query(bytes: [UInt8]) -> ByteBuffer {
        self.message("Q") { body in
            body.writeBytes(bytes)
            body.writeInteger(UInt8(0))
        }
    }

    static func parse(_ name: String, _ sql: String, types: [UInt32] = []) -> ByteBuffer {
        self.message("P") { body in
            body.writeText(name)
            body.writeText(sql)
            body.writeInteger(UInt16(types.count))
            for type in types { body.writeInteger(type) }
        }
    }

    static func bind(
        portal: String = "", _ statement: String, _ values: [Value] = [], binary: Bool = false
    ) -> ByteBuffer {
        self.message("B") { body in
            body.writeText(portal)
            body.writeText(statement)
            body.writeInteger(UInt16(0))
            body.writeInteger(UInt16(values.count))
            for value in values {
                switch value {
                case .null: body.writeInteger(Int32(-1))
                case .text(let text):
                    body.writeInteger(Int32(text.utf8.count))
                    body.writeString(text)
                case .bytes(let bytes):
                    body.writeInteger(Int32(bytes.count))
                    body.writeBytes(bytes)
                }
            }
            body.writeInteger(UInt16(1))
            body.writeInteger(UInt16(binary ? 1 : 0))
        }
    }

    static func describe(statement: String) -> ByteBuffer { self.named("D", "S", statement) }
    static func describe(portal: String) -> ByteBuffer { self.named("D", "P", portal) }
    static func close(statement: String) -> ByteBuffer { self.named("C", "S", statement) }
    static func close(portal: String) -> ByteBuffer { self.named("C", "P", portal) }

    static func execute(portal: String = "", rows: Int32 = 0) -> ByteBuffer {
        self.message("E") { body in
            body.writeText(portal)
            body.writeInteger(rows)
        }
    }

    /// FunctionCall with text arguments and a text result.
    static func functionCall(_ function: UInt32, _ arguments: [String]) -> ByteBuffer {
        self.message("F") { body in
            body.writeInteger(function)
            body.writeInteger(UInt16(0))
            body.writeInteger(UInt16(arguments.count))
            for argument in arguments {
                body.writeInteger(Int32(argument.utf8.count))
                body.writeString(argument)
            }
            body.writeInteger(UInt16(0))
        }
    }

    static func copyData(_ text: String) -> ByteBuffer {
        self.message("d") { $0.writeString(text) }
    }

    static func copyFail(_ reason: String) -> ByteBuffer {
        self.message("f") { $0.writeText(reason) }
    }

    static var copyDone: ByteBuffer { self.message("c") { _ in } }
    static var sync: ByteBuffer { self.message("S") { _ in } }
    static var flush: ByteBuffer { self.message("H") { _ in } }
    static var terminate: ByteBuffer { self.message("X") { _ in } }

    private static func named(
        _ type: Unicode.Scalar, _ kind: Unicode.Scalar, _ name: String
    ) -> ByteBuffer {
        self.message(type) { body in
            body.writeInteger(UInt8(ascii: kind))
            body.writeText(name)
        }
    }

    static func message(
        _ type: Unicode.Scalar, _ body: (inout ByteBuffer) -> Void
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt8(ascii: type))
        buffer.writeInteger(UInt32(0))
        body(&buffer)
        buffer.setInteger(UInt32(buffer.writerIndex - 1), at: 1)
        return buffer
    }
}

extension ByteBuffer {
    /// Text and a NUL.
    mutating func writeText(_ text: String) {
        self.writeString(text)
        self.writeInteger(UInt8(0))
    }

    /// Several messages behind each other.
    static func joined(_ parts: [ByteBuffer]) -> ByteBuffer {
        var all = ByteBuffer()
        for part in parts { all.writeImmutableBuffer(part) }
        return all
    }

    /// Takes one whole message off the front, or nil where it is not whole yet.
    mutating func readWireMessage() -> WireMessage? {
        guard let type = self.getInteger(at: self.readerIndex, as: UInt8.self),
            let length = self.getInteger(at: self.readerIndex + 1, as: UInt32.self),
            let whole = self.readSlice(length: Int(length) + 1)
        else { return nil }
        return WireMessage(type: type, whole: whole)
    }
}

/// A message of either side, header included.
struct WireMessage: Hashable, Sendable {
    var type: UInt8
    var whole: ByteBuffer

    /// What is behind the header.
    var body: ByteBuffer {
        self.whole.getSlice(at: self.whole.readerIndex + 5, length: self.whole.readableBytes - 5)
            ?? ByteBuffer()
    }

    func isType(_ character: Unicode.Scalar) -> Bool { self.type == UInt8(ascii: character) }

    /// The fields of an ErrorResponse or NoticeResponse.
    var errorFields: [(code: UInt8, text: String)] {
        var body = self.body
        var fields: [(code: UInt8, text: String)] = []
        while let code = body.readInteger(as: UInt8.self), code != 0 {
            fields.append((code, body.readWireText()))
        }
        return fields
    }

    func errorField(_ code: Unicode.Scalar) -> String? {
        self.errorFields.first { $0.code == UInt8(ascii: code) }?.text
    }
}

extension ByteBuffer {
    /// Takes text up to the next NUL; bytes that are not UTF-8 are written as `\xNN`.
    mutating func readWireText() -> String {
        let view = self.readableBytesView
        let end = view.firstIndex(of: 0) ?? view.endIndex
        let bytes = Array(view[view.startIndex..<end])
        self.moveReaderIndex(to: min(end + 1, self.writerIndex))
        return String(validating: bytes, as: UTF8.self) ?? WireText.escaped(bytes)
    }
}

enum WireText {
    /// Bytes as ASCII where they print and `\xNN` where not.
    static func escaped(_ bytes: some Sequence<UInt8>) -> String {
        var text = ""
        for byte in bytes {
            if (0x20..<0x7f).contains(byte) {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                text += "\\x" + String(byte, radix: 16)
            }
        }
        return text
    }
}

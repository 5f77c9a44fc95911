import NIOCore
import PostgresWire

/// Messages of the extended protocol that nobody else in the house writes or looks into.
///
/// Source: PostgreSQL documentation, "Message Formats".
extension MessageType {
    static let bind = MessageType(rawValue: UInt8(ascii: "B"))
    static let close = MessageType(rawValue: UInt8(ascii: "C"))
    static let describe = MessageType(rawValue: UInt8(ascii: "D"))
    static let execute = MessageType(rawValue: UInt8(ascii: "E"))
    static let flush = MessageType(rawValue: UInt8(ascii: "H"))
    static let parseComplete = MessageType(rawValue: UInt8(ascii: "1"))
    static let bindComplete = MessageType(rawValue: UInt8(ascii: "2"))
    static let closeComplete = MessageType(rawValue: UInt8(ascii: "3"))
    static let portalSuspended = MessageType(rawValue: UInt8(ascii: "s"))
    static let noData = MessageType(rawValue: UInt8(ascii: "n"))
    static let parameterDescription = MessageType(rawValue: UInt8(ascii: "t"))
    static let functionCallResponse = MessageType(rawValue: UInt8(ascii: "V"))
}

/// ReadyForQuery's byte: whether a transaction is open.
enum TransactionStatus: UInt8, Sendable, Hashable {
    case idle = 0x49
    case open = 0x54
    case failed = 0x45

    var scalar: Unicode.Scalar { Unicode.Scalar(self.rawValue) }
}

enum SessionMessage {
    /// A message of a type and a body.
    static func message(_ type: MessageType, _ body: (inout ByteBuffer) -> Void) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(type.rawValue)
        buffer.writeInteger(UInt32(0))
        body(&buffer)
        buffer.setInteger(UInt32(buffer.readableBytes - 1), at: 1)
        return buffer
    }

    static let sync = PostgresMessage.sync()
    static let flush = message(.flush) { _ in }

    /// Query with this text, which has no NUL.
    static func query(_ text: ByteBuffer) -> ByteBuffer {
        self.message(.query) { body in
            body.writeImmutableBuffer(text)
            body.writeInteger(UInt8(0))
        }
    }

    /// Parse: a name of ours, and all that stands behind the name (text, NUL, types).
    static func parse(_ name: String, rest: ByteBuffer) -> ByteBuffer {
        self.message(.parse) { body in
            body.writeText(name)
            body.writeImmutableBuffer(rest)
        }
    }

    /// Parse of a text without types.
    static func parse(_ name: String, text: String) -> ByteBuffer {
        self.message(.parse) { body in
            body.writeText(name)
            body.writeText(text)
            body.writeInteger(UInt16(0))
        }
    }

    /// Bind of the unnamed portal to the unnamed statement, without parameters.
    static let bindUnnamed = message(.bind) { body in
        body.writeText("")
        body.writeText("")
        body.writeRepeatingByte(0, count: 6)
    }

    /// Execute of the unnamed portal, all rows.
    static let executeUnnamed = message(.execute) { body in
        body.writeText("")
        body.writeInteger(UInt32(0))
    }

    /// Close of a statement.
    static func close(_ name: String) -> ByteBuffer {
        self.message(.close) { body in
            body.writeInteger(UInt8(ascii: "S"))
            body.writeText(name)
        }
    }

    /// Describe of a statement.
    static func describe(_ name: String) -> ByteBuffer {
        self.message(.describe) { body in
            body.writeInteger(UInt8(ascii: "S"))
            body.writeText(name)
        }
    }

    /// A NoticeResponse.
    static func notice(_ notice: PostgresError) -> ByteBuffer {
        var buffer = notice.encoded()
        buffer.setInteger(MessageType.noticeResponse.rawValue, at: buffer.readerIndex)
        return buffer
    }
}

extension ByteBuffer {
    /// Appends a text without a NUL in it, and a NUL.
    mutating func writeText(_ text: String) {
        self.writeString(text)
        self.writeInteger(UInt8(0))
    }

    /// Takes the bytes up to the next NUL and the NUL, or nil (nothing taken).
    mutating func readText() -> ByteBuffer? {
        let view = self.readableBytesView
        guard let end = view.firstIndex(of: 0) else { return nil }
        let text = self.readSlice(length: end - view.startIndex)
        self.moveReaderIndex(forwardBy: 1)
        return text
    }

    /// The bytes as text; what is no UTF-8 is replaced.
    var text: String { String(decoding: self.readableBytesView, as: UTF8.self) }

    /// The text of a message whose body is one text: CommandComplete, Query.
    var messageText: String {
        var body = self.messageBody
        return body.readText()?.text ?? ""
    }
}

/// A ParameterStatus or a NotificationResponse, read.
struct ParameterStatus: Hashable, Sendable {
    var name: String
    var value: String

    init?(_ whole: ByteBuffer) {
        var body = whole.messageBody
        guard let name = body.readText(), let value = body.readText() else { return nil }
        self.name = name.text
        self.value = value.text
    }
}

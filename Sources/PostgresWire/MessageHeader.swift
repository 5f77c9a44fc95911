package import NIOCore

/// The type byte of a message after start-up, as far as anybody here looks at it.
///
/// Source: PostgreSQL documentation, "Message Formats".
package struct MessageType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package var rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    private init(_ character: Unicode.Scalar) {
        self.rawValue = UInt8(ascii: character)
    }

    /// The character where it prints, the number where it does not.
    package var description: String {
        (0x21...0x7e).contains(self.rawValue)
            ? String(Unicode.Scalar(self.rawValue)) : "byte \(self.rawValue)"
    }

    package static let authentication = MessageType("R")
    package static let backendKeyData = MessageType("K")
    package static let commandComplete = MessageType("C")
    /// Of the client: FunctionCall, by which libpq reads and writes large objects.
    package static let functionCall = MessageType("F")
    package static let copyBothResponse = MessageType("W")
    package static let copyData = MessageType("d")
    package static let copyDone = MessageType("c")
    package static let copyFail = MessageType("f")
    package static let copyInResponse = MessageType("G")
    package static let copyOutResponse = MessageType("H")
    package static let dataRow = MessageType("D")
    package static let emptyQueryResponse = MessageType("I")
    package static let errorResponse = MessageType("E")
    package static let negotiateProtocolVersion = MessageType("v")
    package static let noticeResponse = MessageType("N")
    package static let notificationResponse = MessageType("A")
    package static let parameterStatus = MessageType("S")
    package static let parse = MessageType("P")
    package static let passwordMessage = MessageType("p")
    package static let query = MessageType("Q")
    package static let readyForQuery = MessageType("Z")
    package static let rowDescription = MessageType("T")
    /// Of the client; the same byte as the server's ``parameterStatus``.
    package static let sync = MessageType("S")
    package static let terminate = MessageType("X")
}

/// The five bytes in front of every message after start-up.
package struct MessageHeader: Hashable, Sendable {
    /// Type byte and length word together, in bytes.
    package static let encodedBytes = 5

    package var type: MessageType
    /// Bytes of the message without its type byte, the length word included: 4 or more when legal.
    /// Read as unsigned, so that what Postgres would call negative is merely too large.
    package var length: Int

    /// Bytes of the whole message.
    package var totalBytes: Int { self.length + 1 }

    /// Looks at a header `offset` bytes behind the reader index, or nil where it is not whole yet.
    package init?(in buffer: ByteBuffer, offset: Int = 0) {
        let index = buffer.readerIndex + offset
        guard
            let type = buffer.getInteger(at: index, as: UInt8.self),
            let length = buffer.getInteger(at: index + 1, as: UInt32.self)
        else { return nil }
        self.type = MessageType(rawValue: type)
        self.length = Int(length)
    }
}

extension ByteBuffer {
    /// Appends a message: type, length word, and whatever `body` writes.
    mutating func writeMessage(_ type: MessageType, _ body: (inout ByteBuffer) -> Void) {
        self.writeInteger(type.rawValue)
        self.writeLengthPrefixedPacket(body)
    }

    /// Appends a length word that counts itself, and whatever `body` writes.
    mutating func writeLengthPrefixedPacket(_ body: (inout ByteBuffer) -> Void) {
        let lengthIndex = self.writerIndex
        self.writeInteger(UInt32(0))
        body(&self)
        self.setInteger(UInt32(self.writerIndex - lengthIndex), at: lengthIndex)
    }

    /// Appends text and a NUL. A NUL inside the text would end it early, so it is left out.
    mutating func writeCString(_ text: String) {
        if text.utf8.contains(0) {
            self.writeBytes(text.utf8.lazy.filter { $0 != 0 })
        } else {
            self.writeString(text)
        }
        self.writeInteger(UInt8(0))
    }

    /// Takes the bytes up to the next NUL and the NUL, or nil (nothing taken) where there is no
    /// NUL.
    mutating func readCStringBytes() -> ByteBuffer? {
        let view = self.readableBytesView
        guard let end = view.firstIndex(of: 0) else { return nil }
        let slice = self.readSlice(length: end - view.startIndex)
        self.moveReaderIndex(forwardBy: 1)
        return slice
    }
}

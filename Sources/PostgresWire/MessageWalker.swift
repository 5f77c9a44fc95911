package import NIOCore

/// A set of message types.
package struct MessageTypes: Hashable, Sendable, ExpressibleByArrayLiteral {
    private var low: UInt64
    private var high: UInt64

    /// Every type there is.
    package static let all = MessageTypes(low: .max, high: .max)

    private init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    package init(arrayLiteral types: MessageType...) {
        self.init(low: 0, high: 0)
        for type in types { self.insert(type.rawValue) }
    }

    /// All but these.
    package func inverted() -> MessageTypes {
        MessageTypes(low: ~self.low, high: ~self.high)
    }

    /// Types are letters; a byte above 127 is in every set, so that it is looked at.
    @inline(__always)
    package func contains(_ type: UInt8) -> Bool {
        switch type {
        case 0..<64: self.low & (1 << UInt64(type)) != 0
        case 64..<128: self.high & (1 << UInt64(type - 64)) != 0
        default: true
        }
    }

    private mutating func insert(_ type: UInt8) {
        if type < 64 { self.low |= 1 << UInt64(type) } else { self.high |= 1 << UInt64(type & 63) }
    }
}

/// Finds the messages in a stream of bytes by their headers, and moves the bytes without a copy.
///
/// Each message is either *inspected*, and comes out whole, or passed on: then it comes out in runs
/// that hold the ends of messages, whole messages and beginnings, as the network cut them. A run
/// never ends inside a header.
///
/// Pure. Call ``receive(_:)``, then ``next(inspecting:maximumBytes:)`` until it says `readMore`.
/// Source: PostgreSQL documentation, "Message Formats".
package struct MessageWalker: Sendable {
    /// What came next.
    package enum Step: Equatable, Sendable {
        /// Nothing, until more is received.
        case readMore
        /// Bytes of messages that are not inspected, headers included.
        case run(ByteBuffer)
        /// One whole message, header included.
        case message(MessageType, whole: ByteBuffer)
    }

    /// Not walked yet.
    private var unread = ByteBuffer()
    /// A cut header, or an inspected message that is not whole yet.
    private var held = ByteBuffer()

    /// Bytes still to come of the message that the last run was cut in; 0 between messages.
    package private(set) var cutBytes = 0
    /// Messages whose beginnings were in runs.
    package private(set) var passedMessages: Int64 = 0

    package init() {}

    /// Whether nothing is kept here: no byte that waits for others.
    package var isEmpty: Bool { self.unread.readableBytes + self.held.readableBytes == 0 }

    /// Takes what the network delivered.
    package mutating func receive(_ bytes: ByteBuffer) {
        if self.unread.readableBytes == 0 {
            self.unread = bytes
        } else {
            self.unread.writeImmutableBuffer(bytes)
        }
    }

    /// The next step; see ``Step``.
    ///
    /// - Parameters:
    ///   - types: Messages to inspect. It may differ from call to call; a message keeps the choice
    ///     that was made at its header.
    ///   - maximumBytes: The most that an inspected message may have.
    /// - Returns: What came next; the bytes are in it.
    /// - Throws: ``MessageViolation``. The stream has then lost its place and is of no more use.
    package mutating func next(
        inspecting types: MessageTypes,
        maximumBytes: Int
    ) throws(MessageViolation) -> Step {
        if self.held.readableBytes > 0 {
            return try self.continueHeld(types, maximumBytes)
        }
        let readable = self.unread.readableBytes
        guard readable > 0 else { return .readMore }
        let end = try self.walk(types)
        if end > 0 {
            self.cutBytes = max(0, end - readable)
            return .run(self.take(min(end, readable)))
        }
        guard let header = MessageHeader(in: self.unread) else { return self.hold() }
        try Self.check(header, maximumBytes)
        guard readable >= header.totalBytes else { return self.hold() }
        return .message(header.type, whole: self.take(header.totalBytes))
    }

    /// How far from here the messages that are passed on reach, perhaps beyond what is there.
    private mutating func walk(_ types: MessageTypes) throws(MessageViolation) -> Int {
        var end = self.cutBytes
        var passed: Int64 = 0
        var bad: (type: UInt8, length: Int)?
        self.unread.withUnsafeReadableBytes { bytes in
            while end <= bytes.count - MessageHeader.encodedBytes {
                let type = bytes[end]
                guard !types.contains(type) else { return }
                let word = bytes.loadUnaligned(fromByteOffset: end + 1, as: UInt32.self)
                let length = Int(UInt32(bigEndian: word))
                guard length >= 4 else {
                    bad = (type, length)
                    return
                }
                end += length + 1
                passed += 1
            }
        }
        if let bad { throw .badLength(type: "\(MessageType(rawValue: bad.type))", bad.length) }
        self.passedMessages += passed
        return end
    }

    /// Keeps what is there, all of it the front of one message.
    private mutating func hold() -> Step {
        self.held = self.unread
        self.unread = ByteBuffer()
        return .readMore
    }

    private mutating func continueHeld(
        _ types: MessageTypes,
        _ maximumBytes: Int
    ) throws(MessageViolation) -> Step {
        // A whole header is held only where its message was to be inspected.
        let isChosen = self.held.readableBytes >= MessageHeader.encodedBytes
        self.gather(upTo: MessageHeader.encodedBytes)
        guard let header = MessageHeader(in: self.held) else { return .readMore }
        guard isChosen || types.contains(header.type.rawValue) else {
            guard header.length >= 4 else {
                throw .badLength(type: "\(header.type)", header.length)
            }
            self.passedMessages += 1
            self.cutBytes = header.totalBytes - MessageHeader.encodedBytes
            return .run(self.release())
        }
        try Self.check(header, maximumBytes)
        self.gather(upTo: header.totalBytes)
        guard self.held.readableBytes == header.totalBytes else { return .readMore }
        return .message(header.type, whole: self.release())
    }

    /// Copies from the front of what is unread, until that many bytes are held.
    private mutating func gather(upTo count: Int) {
        let missing = min(count - self.held.readableBytes, self.unread.readableBytes)
        guard missing > 0 else { return }
        self.held.writeImmutableBuffer(self.take(missing))
    }

    private mutating func release() -> ByteBuffer {
        defer { self.held = ByteBuffer() }
        return self.held
    }

    private mutating func take(_ count: Int) -> ByteBuffer {
        if count == self.unread.readableBytes {
            defer { self.unread = ByteBuffer() }
            return self.unread
        }
        return self.unread.readSlice(length: count) ?? ByteBuffer()
    }

    private static func check(
        _ header: MessageHeader,
        _ maximumBytes: Int
    ) throws(MessageViolation) {
        guard header.length >= 4 else { throw .badLength(type: "\(header.type)", header.length) }
        guard header.totalBytes <= maximumBytes else {
            throw .tooLong(type: "\(header.type)", header.length)
        }
    }
}

/// A stream of bytes that is no stream of messages.
package enum MessageViolation: Error, Hashable, Sendable {
    /// A length below 4, which no message has.
    case badLength(type: String, Int)
    /// A message that must be whole is longer than its reader takes, by its length word.
    case tooLong(type: String, Int)
}

extension ByteBuffer {
    /// What is behind the header of a whole message.
    package var messageBody: ByteBuffer {
        let start = self.readerIndex + MessageHeader.encodedBytes
        return self.getSlice(at: start, length: self.writerIndex - start) ?? ByteBuffer()
    }
}

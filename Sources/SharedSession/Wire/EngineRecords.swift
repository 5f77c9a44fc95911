package import NIOCore

/// What travels on the stream of an engine: `u8 type | u32 length | payload`, big-endian, cut
/// anywhere by the frames below.
///
/// Source: `PROTOCOL.md`, "Engine streams".
package enum EngineRecordType: UInt8, Sendable, CaseIterable {
    /// Keep the page's own queries out, and say HELD.
    case hold = 0x01
    /// More bytes of the next call.
    case data = 0x02
    /// Run what was gathered as one call.
    case run = 0x03
    /// Forget what was gathered.
    case drop = 0x04
    /// The page's own queries may run.
    case release = 0x05
    /// Restart the engine, and say RESTARTED or FAULT.
    case restart = 0x06
    /// JSON for the page.
    case event = 0x07
    /// More bytes of the reply to the call at work.
    case reply = 0x11
    /// The call is over.
    case done = 0x12
    /// What was asked for failed outside of SQL.
    case fault = 0x13
    /// A notification that came up outside of any call.
    case notify = 0x14
    /// The engine's session is new.
    case restarted = 0x15
    /// The answer to HOLD.
    case held = 0x16

    /// Whether the sandbox sends it.
    package var isOfSandbox: Bool { self.rawValue >= 0x10 }

    /// Payload bytes it may have. DATA and REPLY are passed on as they come; the rest is
    /// gathered, and bounded.
    package var payloadLengths: ClosedRange<Int> {
        switch self {
        case .data, .reply: 0...Int(UInt32.max)
        case .event, .fault: 2...EngineRecord.maximumGatheredBytes
        // A head, a process id, a channel of one letter, no payload, two zeros.
        case .notify: 12...EngineRecord.maximumGatheredBytes
        case .hold, .run, .drop, .release, .restart, .done, .restarted, .held: 0...0
        }
    }
}

/// How records are written.
package enum EngineRecord {
    /// Bytes before a payload.
    package static let headerBytes = 5
    /// The longest payload of a record other than DATA and REPLY, in bytes.
    package static let maximumGatheredBytes = 64 * 1024
}

extension ByteBuffer {
    /// Writes the head of a record whose payload of `length` bytes follows.
    package mutating func writeRecordHeader(_ type: EngineRecordType, length: Int = 0) {
        self.writeMultipleIntegers(type.rawValue, UInt32(length))
    }

    /// Writes a whole record.
    package mutating func writeRecord(_ type: EngineRecordType, _ payload: ByteBuffer) {
        self.writeRecordHeader(type, length: payload.readableBytes)
        self.writeImmutableBuffer(payload)
    }
}

/// The sandbox broke the rules of its engine's stream.
package enum EngineRecordViolation: Error, Hashable, Sendable {
    /// A length that a record of this type cannot have.
    case badLength(UInt8, Int)
    /// A record that is only sent to a sandbox.
    case wrongDirection(EngineRecordType)
    /// REPLY or DONE while no call was at work, HELD that nobody asked for.
    case unasked(EngineRecordType)
    /// A NOTIFY that is not one notification.
    case badNotification
}

/// Reads the records of a sandbox, and holds them against what it was asked.
///
///             5 bytes, REPLY                last payload byte
///     header ────────────────▶ reply(left) ───────────────────▶ header
///       │ 5 bytes, another known            whole payload
///       ├────────────────────▶ gather ───────────────────────▶ header
///       │ 5 bytes, unknown                  last payload byte
///       └────────────────────▶ skip(left) ───────────────────▶ header
///
/// A sandbox answers in the order in which it was asked. After a FAULT that answers HOLD, what it
/// says to the calls behind that HOLD is read and not told: they ran without the engine being kept.
///
/// Pure. The bytes of a REPLY come out as slices, as they come.
package struct EngineRecordDecoder: Sendable {
    /// What the sandbox said.
    package enum Event: Hashable, Sendable {
        /// Bytes of the reply to the oldest call; never empty.
        case reply(ByteBuffer)
        /// So many bytes of a reply that is void: give credit for them.
        case void(Int)
        /// The oldest call is over.
        case done
        /// What was asked for failed outside of SQL; with a call at work that call is over. The
        /// payload is JSON, and was not read.
        case fault(ByteBuffer)
        /// One NotificationResponse message.
        case notify(ByteBuffer)
        /// The engine's session is new.
        case restarted
        /// The page's own queries are kept out.
        case held
    }

    private enum Phase: Sendable {
        case header
        case reply(left: Int)
        case skip(left: Int)
        case gather(EngineRecordType, length: Int)
    }

    private var phase = Phase.header
    /// Bytes of a header or of a gathered payload that is not whole yet.
    private var unread = ByteBuffer()
    /// What was asked and is not answered, oldest first.
    private var questions: [Question] = []

    private enum Question: Sendable, Hashable {
        case hold
        case call
        /// Its answer is not told.
        case voidCall
        case restart

        var isCall: Bool { self == .call || self == .voidCall }
    }

    package init() {}

    // MARK: What was asked

    /// RUN was sent.
    package mutating func askedToRun() { self.questions.append(.call) }
    /// HOLD was sent.
    package mutating func askedToHold() { self.questions.append(.hold) }
    /// RESTART was sent.
    package mutating func askedToRestart() { self.questions.append(.restart) }

    // MARK: What comes

    /// Takes bytes until something is worth telling.
    ///
    /// - Returns: nil when `bytes` is empty and nothing is left to tell: call until then.
    /// - Throws: ``EngineRecordViolation``; end the link for good.
    package mutating func next(
        _ bytes: inout ByteBuffer
    ) throws(EngineRecordViolation) -> Event? {
        while true {
            switch self.phase {
            case .header:
                guard try self.readHeader(&bytes) else { return nil }
            case .reply(let left):
                guard left > 0 else {
                    self.phase = .header
                    continue
                }
                let count = min(left, bytes.readableBytes)
                guard count > 0, let part = bytes.readSlice(length: count) else { return nil }
                self.phase = .reply(left: left - count)
                return self.isVoid ? .void(count) : .reply(part)
            case .skip(let left):
                let count = min(left, bytes.readableBytes)
                bytes.moveReaderIndex(forwardBy: count)
                self.phase = left == count ? .header : .skip(left: left - count)
                guard left == count else { return nil }
            case .gather(let type, let length):
                guard let payload = self.take(length, from: &bytes) else { return nil }
                self.phase = .header
                if let event = try self.event(type, payload) { return event }
            }
        }
    }

    /// The next `length` bytes once all of them are there.
    private mutating func take(_ length: Int, from bytes: inout ByteBuffer) -> ByteBuffer? {
        if self.unread.readableBytes == 0, let whole = bytes.readSlice(length: length) {
            return whole
        }
        let missing = length - self.unread.readableBytes
        guard var part = bytes.readSlice(length: min(missing, bytes.readableBytes)) else {
            return nil
        }
        self.unread.writeBuffer(&part)
        guard self.unread.readableBytes == length else { return nil }
        defer { self.unread = ByteBuffer() }
        return self.unread
    }

    private mutating func readHeader(
        _ bytes: inout ByteBuffer
    ) throws(EngineRecordViolation) -> Bool {
        guard var header = self.take(EngineRecord.headerBytes, from: &bytes),
            let (number, size) = header.readMultipleIntegers(as: (UInt8, UInt32).self)
        else { return false }
        let length = Int(size)
        guard let type = EngineRecordType(rawValue: number) else {
            guard length <= EngineRecord.maximumGatheredBytes else {
                throw .badLength(number, length)
            }
            self.phase = .skip(left: length)
            return true
        }
        guard type.isOfSandbox else { throw .wrongDirection(type) }
        guard type.payloadLengths.contains(length) else { throw .badLength(number, length) }
        if type == .reply {
            guard self.questions.contains(where: \.isCall) else { throw .unasked(.reply) }
            self.phase = .reply(left: length)
        } else {
            self.phase = .gather(type, length: length)
        }
        return true
    }

    private mutating func event(
        _ type: EngineRecordType, _ payload: ByteBuffer
    ) throws(EngineRecordViolation) -> Event? {
        switch type {
        case .done:
            guard let at = self.questions.firstIndex(where: \.isCall) else {
                throw .unasked(.done)
            }
            return self.questions.remove(at: at) == .call ? .done : nil
        case .fault:
            return self.fault(payload)
        case .notify:
            guard Self.isNotification(payload) else { throw .badNotification }
            return .notify(payload)
        case .restarted:
            // Also unasked: a page may restart its engine by itself.
            self.answered(.restart)
            return .restarted
        case .held:
            guard self.answered(.hold) else { throw .unasked(.held) }
            return .held
        case .hold, .data, .run, .drop, .release, .restart, .event, .reply:
            throw .wrongDirection(type)
        }
    }

    /// A fault answers what was asked first; one that answers nothing concerns the page's own
    /// queries, and nobody here.
    private mutating func fault(_ payload: ByteBuffer) -> Event? {
        guard !self.questions.isEmpty else { return nil }
        switch self.questions.removeFirst() {
        case .voidCall: return nil
        case .call, .restart: return .fault(payload)
        case .hold:
            let behind = self.questions.firstIndex(of: .hold) ?? self.questions.endIndex
            for index in self.questions[..<behind].indices where self.questions[index].isCall {
                self.questions[index] = .voidCall
            }
            return .fault(payload)
        }
    }

    /// Whether the oldest call is not worth telling of.
    private var isVoid: Bool { self.questions.first { $0.isCall } == .voidCall }

    @discardableResult
    private mutating func answered(_ question: Question) -> Bool {
        guard let at = self.questions.firstIndex(of: question) else { return false }
        self.questions.remove(at: at)
        return true
    }

    /// `A`, its length, a process id, channel and payload as texts that end in a zero.
    private static func isNotification(_ message: ByteBuffer) -> Bool {
        var message = message
        guard message.readInteger(as: UInt8.self) == UInt8(ascii: "A"),
            let length = message.readInteger(as: UInt32.self),
            Int(length) == message.readableBytes + 4,
            message.readInteger(as: UInt32.self) != nil,
            message.readNullTerminatedString() != nil,
            message.readNullTerminatedString() != nil
        else { return false }
        return message.readableBytes == 0
    }
}

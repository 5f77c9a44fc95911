public import NIOCore

/// What a backend says from AuthenticationOk to its first ReadyForQuery.
///
///                ParameterStatus, NoticeResponse, NotificationResponse/forward
///                BackendKeyData/forward with the other key
///                ┌───┐
///                ▼   │        ReadyForQuery/finished
///     start ──▶ greeting ──────────────────────────▶ finished
///                   │         ErrorResponse/failed      ▲
///                   └───────────────────────────────────┘
/// Anything else is a violation and ends in finished.
///
/// Messages that arrive together leave together: one action may carry several. Their bytes, put end
/// to end, do not depend on how the network cut them.
///
/// Source: PostgreSQL documentation, "Message Flow", "Start-up".
public struct GreetingMachine: Sendable {
    /// Bytes that a whole greeting may have, and so the most that can wait for the rest of a
    /// message.
    ///
    /// A stock Postgres sends about 400. Login event triggers and notices of extensions add to it;
    /// 256 KiB is one initial window.
    public static let maximumGreetingBytes = 256 * 1024

    /// What to do next. What was taken is in the action.
    public enum OnReceive: Equatable, Sendable {
        /// Not a whole message yet.
        case readMore
        /// Send these whole messages on; there is more to come, so call again.
        case forward(ByteBuffer)
        /// Send these on, ReadyForQuery last. What is behind it stayed in `bytes`. The key is the
        /// backend's own that was swapped out, or nil where it gave none.
        case finished(ByteBuffer, backendKey: CancelKey?)
        /// The backend refused; the buffer is its ErrorResponse as it came.
        case failed(PostgresError, ByteBuffer)
    }

    private enum Phase {
        case greeting
        case finished
    }

    private let replacement: CancelKey
    private var backendKey: CancelKey?
    private var takenBytes = 0
    private var phase = Phase.greeting

    /// Creates a machine.
    ///
    /// - Parameter replacement: The key that goes out in place of the backend's. A relay gives the
    ///   one it minted, an agent nil: then process 0 and four zero bytes go out.
    public init(replacement: CancelKey?) {
        self.replacement = replacement ?? .zero
    }

    /// Takes whole messages off the front of `bytes`.
    ///
    /// - Throws: ``GreetingViolation`` if the backend broke the protocol. The machine is then
    ///   finished.
    public mutating func receive(
        _ bytes: inout ByteBuffer
    ) throws(GreetingViolation) -> OnReceive {
        guard self.phase == .greeting else {
            // Whatever follows belongs to the splice.
            return .readMore
        }
        do throws(GreetingViolation) {
            return try self.takeMessages(&bytes)
        } catch {
            self.phase = .finished
            throw error
        }
    }

    private mutating func takeMessages(
        _ bytes: inout ByteBuffer
    ) throws(GreetingViolation) -> OnReceive {
        var run = ByteBuffer()
        var runBytes = 0
        while true {
            let header = try self.checkedHeader(bytes, offset: runBytes)
            guard let header, bytes.readableBytes - runBytes >= header.totalBytes else {
                self.take(runBytes, from: &bytes, into: &run)
                return run.readableBytes == 0 ? .readMore : .forward(run)
            }
            switch try Content(header.type) {
            case .passedOn:
                runBytes += header.totalBytes
                self.takenBytes += header.totalBytes
            case .backendKey:
                self.take(runBytes, from: &bytes, into: &run)
                runBytes = 0
                try self.swapKey(&bytes, header, into: &run)
            case .ready:
                self.take(runBytes + header.totalBytes, from: &bytes, into: &run)
                self.phase = .finished
                return .finished(run, backendKey: self.backendKey)
            case .error:
                self.take(runBytes, from: &bytes, into: &run)
                guard run.readableBytes == 0 else { return .forward(run) }
                self.take(header.totalBytes, from: &bytes, into: &run)
                self.phase = .finished
                let body = run.getSlice(
                    at: run.readerIndex + MessageHeader.encodedBytes,
                    length: header.totalBytes - MessageHeader.encodedBytes
                )
                return .failed(PostgresError.parse(body: body ?? ByteBuffer()), run)
            }
        }
    }

    /// What a message is to the greeting.
    private enum Content {
        case passedOn
        case backendKey
        case ready
        case error

        init(_ type: MessageType) throws(GreetingViolation) {
            switch type {
            case .parameterStatus, .noticeResponse, .notificationResponse: self = .passedOn
            case .backendKeyData: self = .backendKey
            case .readyForQuery: self = .ready
            case .errorResponse: self = .error
            default: throw .unexpected("\(type)")
            }
        }
    }

    /// The next header, judged before its body is waited for; nil where it is not whole.
    private func checkedHeader(
        _ bytes: ByteBuffer,
        offset: Int
    ) throws(GreetingViolation) -> MessageHeader? {
        guard let header = MessageHeader(in: bytes, offset: offset) else { return nil }
        let content = try Content(header.type)
        let allowed: ClosedRange<Int> =
            switch content {
            case .passedOn, .error: 5...Self.maximumGreetingBytes
            case .backendKey: 12...264
            case .ready: 5...5
            }
        guard allowed.contains(header.length) else {
            throw .badLength(type: "\(header.type)", header.length)
        }
        guard self.takenBytes + header.totalBytes <= Self.maximumGreetingBytes else {
            throw .tooLong
        }
        return header
    }

    /// Moves the next bytes over: a slice where they are the first, a copy behind others.
    private func take(_ count: Int, from bytes: inout ByteBuffer, into run: inout ByteBuffer) {
        guard count > 0, var slice = bytes.readSlice(length: count) else { return }
        if run.readableBytes == 0 {
            run = slice
        } else {
            run.writeBuffer(&slice)
        }
    }

    private mutating func swapKey(
        _ bytes: inout ByteBuffer,
        _ header: MessageHeader,
        into run: inout ByteBuffer
    ) throws(GreetingViolation) {
        self.takenBytes += header.totalBytes
        guard
            var body = bytes.readSlice(length: header.totalBytes),
            body.readSlice(length: MessageHeader.encodedBytes) != nil,
            let key = CancelKey(body: body)
        else {
            throw .badLength(type: "\(header.type)", header.length)
        }
        self.backendKey = key
        self.replacement.writeBackendKeyData(into: &run)
    }
}

/// How a backend, or the agent in front of it, broke the protocol before its first ReadyForQuery.
public enum GreetingViolation: Error, Equatable, Sendable {
    /// A length that no message of this type has, in bytes without the type byte.
    case badLength(type: String, Int)
    /// More than ``GreetingMachine/maximumGreetingBytes``.
    case tooLong
    /// A message that has no place in a greeting, by its type.
    case unexpected(String)
}

import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import PostgresWire

@testable import SharedSession

/// A client that has logged in, and its socket.
final class ClientDouble {
    let channel: NIOAsyncTestingChannel
    let socket: SocketDouble
    private(set) var key: CancelKey?

    init(channel: NIOAsyncTestingChannel, socket: SocketDouble) {
        self.channel = channel
        self.socket = socket
    }

    var isClosed: Bool { !self.channel.isActive }

    func query(_ text: String) async throws { try await self.send(PostgresMessage.query(text)) }

    func send(_ messages: ByteBuffer...) async throws {
        var bytes = ByteBuffer()
        for message in messages { bytes.writeImmutableBuffer(message) }
        try await self.channel.writeInbound(bytes)
    }

    /// As the socket's own reading asks for more.
    func askToRead() async throws {
        let channel = self.channel
        try await channel.testingEventLoop.executeInContext { channel.pipeline.read() }
    }

    /// Closes its socket without a word.
    func vanish() async throws { try await self.channel.close().get() }

    /// Its socket takes nothing more, or again.
    func stick(_ isStuck: Bool) async throws {
        let (socket, channel) = (self.socket, self.channel)
        try await channel.testingEventLoop.executeInContext { socket.stick(isStuck, channel) }
    }

    /// What it was sent since the last time, as words: `C(SELECT) Z(I)`. ParameterStatus is left
    /// out, rows are counted.
    func heard() async throws -> String {
        var bytes = ByteBuffer()
        while let part = try await self.channel.readOutbound(as: ByteBuffer.self) {
            bytes.writeImmutableBuffer(part)
        }
        var words: [String] = []
        var rows = 0
        while let header = MessageHeader(in: bytes),
            let whole = bytes.readSlice(length: header.totalBytes)
        {
            if header.type == .dataRow {
                rows += 1
            } else if rows > 0 {
                words.append("D*\(rows)")
                rows = 0
            }
            self.word(header.type, whole.messageBody).map { words.append($0) }
        }
        if bytes.readableBytes > 0 { words.append("+\(bytes.readableBytes)") }
        return words.joined(separator: " ")
    }

    private func word(_ type: MessageType, _ body: ByteBuffer) -> String? {
        var body = body
        switch type {
        case .parameterStatus, .dataRow: return nil
        case .readyForQuery: return "Z(\(String(buffer: body)))"
        case .commandComplete: return "C(\(body.readNullTerminatedString() ?? ""))"
        case .backendKeyData:
            let processID: Int32 = body.readInteger() ?? 0
            self.key = CancelKey(processID: processID, secret: Array(body.readableBytesView))
            return "K"
        case .errorResponse, .noticeResponse:
            let error = PostgresError.parse(body: body)
            let severity = error.severity == .fatal ? "!" : ""
            return "\(type)\(severity)(\(error.sqlState) \(error.message))"
        case .notificationResponse:
            let sender: Int32 = body.readInteger() ?? 0
            return "A(\(sender) \(body.readNullTerminatedString() ?? ""))"
        case _: return "\(type)"
        }
    }
}

/// Stands before a client's handlers as its socket would: what it does not take waits, with its
/// promise.
final class SocketDouble: ChannelOutboundHandler, Sendable {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Where a real socket stops being writable, by default of the event loops.
    private static let highWaterBytes = 64 * 1024

    private struct State {
        var isStuck = false
        var waiting: [(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)] = []
        var waitingBytes = 0
        var reads = 0
    }

    private let state = NIOLockedValueBox(State())

    /// Bytes that were written and not taken.
    var waitingBytes: Int { self.state.withLockedValue { $0.waitingBytes } }
    /// How often more was asked for.
    var reads: Int { self.state.withLockedValue { $0.reads } }

    /// A socket that is closed takes nothing any more.
    func handlerRemoved(context: ChannelHandlerContext) {
        let waiting = self.state.withLockedValue { state in
            defer { (state.waiting, state.waitingBytes) = ([], 0) }
            return state.waiting
        }
        for (_, promise) in waiting { promise?.fail(ChannelError.ioOnClosedChannel) }
    }

    func read(context: ChannelHandlerContext) {
        self.state.withLockedValue { $0.reads += 1 }
        context.read()
    }

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        let bytes = Self.unwrapOutboundIn(data)
        let isFull = self.state.withLockedValue { state -> Bool? in
            guard state.isStuck else { return nil }
            state.waiting.append((bytes, promise))
            state.waitingBytes += bytes.readableBytes
            return state.waitingBytes > Self.highWaterBytes
        }
        guard let isFull else { return context.write(data, promise: promise) }
        guard isFull, let channel = context.channel as? NIOAsyncTestingChannel, channel.isWritable
        else { return }
        channel.isWritable = false
        // A socket tells that behind the write, not in it.
        context.eventLoop.execute { channel.pipeline.fireChannelWritabilityChanged() }
    }

    func stick(_ isStuck: Bool, _ channel: NIOAsyncTestingChannel) {
        let waiting = self.state.withLockedValue { state in
            state.isStuck = isStuck
            defer { if !isStuck { (state.waiting, state.waitingBytes) = ([], 0) } }
            return isStuck ? [] : state.waiting
        }
        guard !isStuck, let context = try? channel.pipeline.syncOperations.context(handler: self)
        else { return }
        for (bytes, promise) in waiting {
            context.write(Self.wrapOutboundOut(bytes), promise: promise)
        }
        context.flush()
        guard !channel.isWritable else { return }
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
    }
}

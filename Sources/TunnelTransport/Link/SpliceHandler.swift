package import NIOCore
package import TunnelWire

/// The last handler of a client's or backend's channel: moves its bytes to a stream and back.
///
/// Nothing is parsed here but the heads of messages of a client (``ClientRest``). While a
/// connection greets, a ``Stage`` looks at one direction; it is dropped as soon as it says so.
///
/// - The source is paused while the stream's queue is full: `read` waits.
/// - Credit is returned when the far socket has taken the bytes: a promise every
///   ``promiseEveryBytes``, none for a small answer.
/// - EOF of the far socket becomes FIN, FIN becomes EOF; RESET closes.
package final class SpliceHandler: ChannelDuplexHandler, StreamPort {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// What a stage made of some bytes.
    package enum StageResult {
        /// Pass these on, keep looking.
        case pass(ByteBuffer)
        /// Pass these on; from now on nobody looks.
        case last(ByteBuffer)
        /// Pass nothing on: the stage has ended this connection by itself.
        case ended
    }

    /// Looks at the bytes of one direction while a connection greets.
    package typealias Stage = (ByteBuffer) -> StageResult

    /// What became of a port, for who made it.
    package enum Event: Hashable, Sendable {
        /// OPEN_OK came.
        case accepted
        /// The stream was reset by the peer, or with its link.
        case reset(StreamReset)
        /// The channel is closed; told once, last.
        case closed
    }

    /// Which side's socket this is: they end differently.
    package enum Side: Sendable {
        /// A client of the relay: when its backend ends, it is closed.
        case client
        /// A backend of the agent: when its client ends, it is half-closed and may finish.
        case backend
    }

    /// Bytes between two promises. Small against the smallest window, so that credit always
    /// comes back, and large against one answer, so that most writes need no promise.
    package static let promiseEveryBytes = 16 * 1024
    /// How long one direction may outlive the other before the stream is reset.
    package static let lingerTimeout = TimeAmount.seconds(30)

    /// Bytes that are dropped for a far socket that is gone, before the stream is reset.
    private static let maximumDiscardedBytes = 256 * 1024

    private let side: Side
    private let sink: any StreamSink
    /// The stream; set as soon as it is open, which for a client is after the handler exists.
    package var handle: StreamHandle?
    package var inboundStage: Stage?
    package var deliveryStage: Stage?
    package var onEvent: ((Event) -> Void)?

    private var context: ChannelHandlerContext?
    private var isSourcePaused = false
    private var isReadWanted = false
    private var unpromisedBytes = 0
    private var discardedBytes = 0
    /// Promises of writes that the far socket has not taken yet.
    private var writesUnderWay = 0
    /// The stream has ended: close once the far socket has taken everything.
    private var closesAfterWrites = false
    /// Of a client: whether it may be ended without cutting anything in the middle.
    private var rest = ClientRest()
    /// Bytes came or went since the last ``takeActivity()``.
    private var isActive = false
    /// Told whenever bytes were delivered and the client is at rest; nil while nobody asks.
    package var onRest: (() -> Void)?
    /// The far socket sent its EOF, and FIN is on its way.
    private var isInputOver = false
    private var isClosed = false
    private var lingerTimer: Scheduled<Void>?

    package init(side: Side, sink: any StreamSink) {
        self.side = side
        self.sink = sink
    }

    package func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    package func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    // MARK: From the far socket to the stream

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Self.unwrapInboundIn(data)
        if self.inboundStage != nil { return self.stageInbound(bytes) }
        self.sendToStream(bytes)
    }

    private func sendToStream(_ bytes: ByteBuffer) {
        guard let handle, !self.isInputOver else { return }
        if self.side == .client {
            self.isActive = true
            self.rest.sent(bytes)
        }
        if !self.sink.send(handle, bytes) { self.isSourcePaused = true }
    }

    /// Bytes that were read before this handler stood in the pipeline.
    package func inject(_ bytes: ByteBuffer) {
        if bytes.readableBytes > 0 { self.sendToStream(bytes) }
    }

    /// As ``inject(_:)``, for bytes that the inbound stage must see first.
    package func injectStaged(_ bytes: ByteBuffer) {
        if bytes.readableBytes > 0 { self.stageInbound(bytes) }
    }

    private func stageInbound(_ bytes: ByteBuffer) {
        switch self.inboundStage?(bytes) {
        case .pass(let passed):
            if passed.readableBytes > 0 { self.sendToStream(passed) }
        case .last(let passed):
            self.inboundStage = nil
            if passed.readableBytes > 0 { self.sendToStream(passed) }
        case .ended, nil:
            self.inboundStage = nil
            self.isInputOver = true
        }
    }

    package func read(context: ChannelHandlerContext) {
        if self.isSourcePaused {
            self.isReadWanted = true
        } else {
            context.read()
        }
    }

    package func resumeSource() {
        self.isSourcePaused = false
        guard self.isReadWanted else { return }
        self.isReadWanted = false
        self.context?.read()
    }

    /// The stream's queue is full. Only for a stream on another event loop, which answers late.
    package func pauseSource() { self.isSourcePaused = true }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { self.inputOver() }
        context.fireUserInboundEventTriggered(event)
    }

    package func channelInactive(context: ChannelHandlerContext) {
        self.inputOver()
        self.close()
        context.fireChannelInactive()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A reset or an unclean TLS shutdown: psql that was killed. The bytes before it count.
        self.inputOver()
        context.close(promise: nil)
    }

    private func inputOver() {
        guard !self.isInputOver else { return }
        self.isInputOver = true
        guard let handle else { return }
        self.sink.finish(handle)
        switch self.side {
        case .client: self.lingerThenReset()
        case .backend:
            // Postgres closes both directions at once.
            self.stopLingering()
            self.context?.close(promise: nil)
        }
    }

    // MARK: From the stream to the far socket

    package func deliver(_ bytes: ByteBuffer) {
        if self.deliveryStage != nil { return self.stageDelivery(bytes) }
        if self.side == .client {
            self.isActive = true
            self.rest.delivered(bytes)
        }
        self.write(bytes, consuming: bytes.readableBytes)
    }

    /// Whether a message of the relay's own may follow what was delivered.
    package var isBetweenMessages: Bool { self.rest.isBetweenMessages }

    /// Whether the client is between queries, outside of a transaction, and nothing of it is under
    /// way in either direction.
    ///
    /// Also what waits for the client's socket is under way: ask after ``settle()``.
    package var isAtRest: Bool {
        self.rest.isAtRest && !self.isInputOver && !self.isClosed && self.isTaken
    }

    /// Whether the far socket is known to have taken everything.
    private var isTaken: Bool { self.writesUnderWay == 0 && self.unpromisedBytes == 0 }

    /// Learns whether the far socket has taken everything. Small answers are written without a
    /// promise, so somebody who wants to know must ask.
    package func settle() {
        guard let context, let handle, !self.isClosed, self.unpromisedBytes > 0 else { return }
        self.writePromised(ByteBuffer(), of: handle)
        context.flush()
    }

    /// Whether the client has asked for anything yet.
    package var hasAsked: Bool { self.rest.hasAsked }

    /// Whether bytes came or went since this was asked last.
    package func takeActivity() -> Bool {
        defer { self.isActive = false }
        return self.isActive
    }

    private func stageDelivery(_ bytes: ByteBuffer) {
        let count = bytes.readableBytes
        switch self.deliveryStage?(bytes) {
        case .pass(let passed):
            self.write(passed, consuming: count)
        case .last(let passed):
            self.deliveryStage = nil
            self.rest.greeted(passed)
            self.write(passed, consuming: count)
        case .ended, nil:
            // What still comes must not follow what the stage said last.
            self.deliveryStage = { _ in .ended }
        }
    }

    /// Writes bytes that stand for `count` bytes of the stream.
    private func write(_ bytes: ByteBuffer, consuming count: Int) {
        guard let handle else { return }
        guard let context, !self.isClosed else {
            return self.discard(count, of: handle)
        }
        self.unpromisedBytes += count
        guard self.unpromisedBytes >= Self.promiseEveryBytes else {
            return context.write(Self.wrapOutboundOut(bytes), promise: nil)
        }
        self.writePromised(bytes, of: handle)
    }

    /// Writes bytes whose arrival in the far socket gives credit back, theirs and of all before.
    private func writePromised(_ bytes: ByteBuffer, of handle: StreamHandle) {
        guard let context else { return }
        let taken = self.unpromisedBytes
        self.unpromisedBytes = 0
        let promise = context.eventLoop.makePromise(of: Void.self)
        self.writesUnderWay += 1
        promise.futureResult.assumeIsolated().whenComplete { _ in
            self.writesUnderWay -= 1
            self.sink.consumed(handle, bytes: taken)
            self.isActive = true
            if self.closesAfterWrites, self.writesUnderWay == 0 { self.closeNow() }
            if let onRest = self.onRest, self.isAtRest { onRest() }
        }
        context.write(Self.wrapOutboundOut(bytes), promise: promise)
    }

    /// Nobody reads any more. A little is let through, since a last answer may cross with a
    /// Terminate; more than that is a result that would be produced for nobody.
    private func discard(_ count: Int, of handle: StreamHandle) {
        self.discardedBytes += count
        self.sink.consumed(handle, bytes: count)
        guard self.discardedBytes > Self.maximumDiscardedBytes else { return }
        self.handle = nil
        self.stopLingering()
        self.sink.reset(handle, StreamReset(.closed))
    }

    package func flush() {
        self.context?.flush()
        guard self.onRest != nil, self.rest.isAtRest else { return }
        self.settle()
        if let onRest, self.isAtRest { onRest() }
    }

    package func deliverEnd() {
        switch self.side {
        case .client:
            self.stopLingering()
            self.closeAfterWrites()
        case .backend:
            self.context?.flush()
            self.context?.close(mode: .output, promise: nil)
            self.lingerThenReset()
        }
    }

    package func deliverReset(_ reset: StreamReset) {
        self.isInputOver = true
        self.handle = nil
        self.stopLingering()
        self.onEvent?(.reset(reset))
        self.closeNow()
    }

    /// This side gives the stream up.
    package func abandon(_ handle: StreamHandle, _ reset: StreamReset) {
        self.sink.reset(handle, reset)
    }

    package func accepted(_ payload: ByteBuffer) { self.onEvent?(.accepted) }

    /// Writes a last message for the client, then closes.
    package func writeLast(_ bytes: ByteBuffer) {
        self.context?.write(Self.wrapOutboundOut(bytes), promise: nil)
    }

    /// Ends a client from this side, at rest: it reads `bytes` last, and its backend sees it go.
    package func leave(saying bytes: ByteBuffer) {
        guard !self.isInputOver, !self.isClosed else { return }
        self.onRest = nil
        self.inputOver()
        // What still comes must not follow what was said last.
        self.deliveryStage = { _ in .ended }
        self.writeLast(bytes)
        self.closeAfterWrites()
    }

    /// Closing drops what waits in the socket, so a slow client is given time for the rest.
    private func closeAfterWrites() {
        guard let context else { return self.closeNow() }
        if let handle, self.unpromisedBytes > 0 { self.writePromised(ByteBuffer(), of: handle) }
        context.flush()
        // The flush may have been all it took.
        guard self.writesUnderWay > 0 else { return self.closeNow() }
        self.closesAfterWrites = true
        let isolated = context.eventLoop.assumeIsolated()
        self.lingerTimer = isolated.scheduleTask(in: Self.lingerTimeout) { self.closeNow() }
    }

    private func closeNow() {
        self.closesAfterWrites = false
        self.stopLingering()
        guard let context else { return }
        context.flush()
        context.close(promise: nil)
    }

    // MARK: The end

    /// The other direction may go on for a while: an answer that nobody waits for is cut off.
    private func lingerThenReset() {
        guard self.lingerTimer == nil, let context, let handle else { return }
        let isolated = context.eventLoop.assumeIsolated()
        self.lingerTimer = isolated.scheduleTask(in: Self.lingerTimeout) {
            self.sink.reset(handle, StreamReset(.closed))
            self.context?.close(promise: nil)
        }
    }

    private func stopLingering() {
        self.lingerTimer?.cancel()
        self.lingerTimer = nil
    }

    private func close() {
        guard !self.isClosed else { return }
        self.isClosed = true
        let tell = self.onEvent
        self.onEvent = nil
        tell?(.closed)
    }
}

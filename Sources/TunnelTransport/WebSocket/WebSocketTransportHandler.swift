package import NIOCore

/// Turns a connection behind its WebSocket handshake into a plain stream of `ByteBuffer`s.
///
/// It is the whole codec: raw bytes of the connection on one side (no frame encoder or decoder of
/// NIO in front of it), the payload of binary messages on the other. Every written `ByteBuffer`
/// becomes one binary message. Pings are answered, and so is a close, which is then fired inbound
/// as a ``WebSocketClosedByPeer`` event. A violation closes with its code and is fired as an error.
///
/// Bound to its channel's event loop.
package final class WebSocketTransportHandler: ChannelDuplexHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// How long the peer may take to answer a close before the connection is closed under it.
    package static let closeTimeout = TimeAmount.seconds(2)

    /// The longest payload that is copied to stand behind its header in one buffer, in bytes.
    ///
    /// NIOSSL makes at least one TLS record of each write, and a record holds at most 16 KiB: up to
    /// there a copy is cheaper than a record for the header alone. (A masked payload is copied
    /// anyway.)
    static let maximumCopiedBytes = 16 * 1024

    private enum Phase {
        case open
        /// A close frame was sent; the peer's answer or the timer closes the connection.
        case closing(Scheduled<Void>)
        case closed
    }

    private let role: WebSocketRole
    private var phase = Phase.open
    private var reader: WebSocketReader
    private var unread = ByteBuffer()
    private var random = SystemRandomNumberGenerator()
    private var context: ChannelHandlerContext?
    /// The last ping that came while the channel was not writable: a peer that never reads its
    /// pongs must not grow the channel's buffer. RFC 6455, 5.5.3 asks to answer the latest only.
    private var owedPong: ByteBuffer?
    private var needsFlush = false

    /// Creates the handler of one end.
    ///
    /// - Parameters:
    ///   - role: The agent is the client, the relay is the server.
    ///   - limits: What the peer may send.
    package init(role: WebSocketRole, limits: WebSocketLimits = .stream) {
        self.role = role
        self.reader = WebSocketReader(role: role, limits: limits)
    }

    /// Asks for a sign of life, which is fired inbound as ``WebSocketPong``. On the event loop.
    package func ping() {
        guard case .open = self.phase, let context = self.context else { return }
        self.send(.ping, ByteBuffer(), context: context, promise: nil)
        context.flush()
    }

    /// Says goodbye: sends a close frame, drops what still arrives, and closes the channel when the
    /// peer has answered or after ``closeTimeout``. On the event loop; a second call does nothing.
    package func closeWith(code: WebSocketClose.Code, reason: String) {
        guard case .open = self.phase, let context = self.context else { return }
        self.beginClosing(WebSocketClose(code: code, reason: reason), context: context)
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        self.becomeClosed()
        self.context = nil
    }

    package func channelInactive(context: ChannelHandlerContext) {
        self.becomeClosed()
        context.fireChannelInactive()
    }

    // MARK: Inbound

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        if self.unread.readableBytes == 0 {
            self.unread = bytes
        } else {
            self.unread.writeBuffer(&bytes)
        }
        do {
            while try self.perform(self.reader.receive(&self.unread), context: context) {}
        } catch {
            let close = WebSocketClose(code: error.closeCode, reason: error.message)
            self.fail(error, close: close, context: context)
        }
        // What is left is a part of a header. A buffer keeps the bytes that were read from it, and
        // would grow with every byte of the connection if it were appended to for ever.
        self.unread =
            self.unread.readableBytes == 0
            ? ByteBuffer() : ByteBuffer(bytes: self.unread.readableBytesView)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        if self.needsFlush {
            self.needsFlush = false
            context.flush()
        }
        if case .closing = self.phase {
            // Nobody behind us reads any more, and the peer's answer must still come in.
            context.read()
        }
        context.fireChannelReadComplete()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, case .open = self.phase, let pong = self.owedPong {
            self.owedPong = nil
            self.send(.pong, pong, context: context, promise: nil)
            context.flush()
        }
        context.fireChannelWritabilityChanged()
    }

    /// Returns whether the next frame may be read straight away.
    private func perform(
        _ action: WebSocketReader.OnReceive,
        context: ChannelHandlerContext
    ) -> Bool {
        switch (action, self.phase) {
        case (.readMore, _):
            return false
        case (.payload(let payload), .open):
            context.fireChannelRead(Self.wrapInboundOut(payload))
            return true
        case (.messageEnd, .open):
            context.fireUserInboundEventTriggered(WebSocketMessageEnd())
            return true
        case (.pong, .open):
            context.fireUserInboundEventTriggered(WebSocketPong())
            return true
        case (.ping(let payload), .open):
            self.answerPing(payload, context: context)
            return true
        case (.close(let close), .open):
            self.answerClose(close, context: context)
            return true
        case (.close, .closing):
            self.becomeClosed()
            context.close(promise: nil)
            return true
        case (.pong, .closing), (.pong, .closed), (.payload, .closing), (.payload, .closed),
            (.messageEnd, .closing), (.messageEnd, .closed), (.ping, .closing),
            (.ping, .closed), (.close, .closed):
            // Between our goodbye and the peer's answer its frames still arrive; nobody wants them.
            return true
        }
    }

    private func answerPing(_ payload: ByteBuffer, context: ChannelHandlerContext) {
        guard context.channel.isWritable else {
            self.owedPong = payload
            return
        }
        self.send(.pong, payload, context: context, promise: nil)
        self.needsFlush = true
    }

    private func answerClose(_ close: WebSocketClose?, context: ChannelHandlerContext) {
        self.becomeClosed()
        self.sendClose(close, context: context)
        context.flush()
        context.fireUserInboundEventTriggered(WebSocketClosedByPeer(close: close))
        context.close(promise: nil)
    }

    private func fail(
        _ violation: WebSocketViolation,
        close: WebSocketClose,
        context: ChannelHandlerContext
    ) {
        switch self.phase {
        case .open:
            self.beginClosing(close, context: context)
            context.fireErrorCaught(violation)
        case .closing:
            // It will not answer our close any more.
            self.becomeClosed()
            context.close(promise: nil)
        case .closed:
            break
        }
    }

    private func beginClosing(_ close: WebSocketClose, context: ChannelHandlerContext) {
        let timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.closeTimeout) {
            context.close(promise: nil)
        }
        self.phase = .closing(timer)
        self.owedPong = nil
        self.sendClose(close, context: context)
        context.flush()
        context.read()
    }

    private func becomeClosed() {
        if case .closing(let timer) = self.phase {
            timer.cancel()
        }
        self.phase = .closed
        self.owedPong = nil
    }

    // MARK: Outbound

    package func write(
        context: ChannelHandlerContext,
        data: NIOAny,
        promise: EventLoopPromise<Void>?
    ) {
        guard case .open = self.phase else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        self.send(.binary, Self.unwrapOutboundIn(data), context: context, promise: promise)
    }

    package func close(
        context: ChannelHandlerContext,
        mode: CloseMode,
        promise: EventLoopPromise<Void>?
    ) {
        switch (self.phase, mode) {
        case (.open, .all):
            self.becomeClosed()
            self.sendClose(WebSocketClose(code: .normal, reason: ""), context: context)
            context.flush()
            context.close(mode: .all, promise: promise)
        case (.open, .output):
            // WebSocket has no half-close: after the close frame neither side says anything.
            self.beginClosing(WebSocketClose(code: .normal, reason: ""), context: context)
            promise?.succeed()
        case (.open, .input), (.closing, _), (.closed, _):
            context.close(mode: mode, promise: promise)
        }
    }

    private func sendClose(_ close: WebSocketClose?, context: ChannelHandlerContext) {
        var payload = ByteBuffer()
        if let close {
            payload.writeInteger(close.code)
            payload.writeString(close.reasonThatFits)
        }
        self.send(.close, payload, context: context, promise: nil)
    }

    /// Writes one message. Beyond the longest frame it becomes several frames of one message.
    private func send(
        _ opcode: WebSocketOpcode,
        _ payload: ByteBuffer,
        context: ChannelHandlerContext,
        promise: EventLoopPromise<Void>?
    ) {
        var rest = payload
        var opcode = opcode
        let limit = WebSocketFrameHeader.maximumPayloadBytes
        while rest.readableBytes > limit, let part = rest.readSlice(length: limit) {
            self.sendFrame(opcode, part, isFinal: false, context: context, promise: nil)
            opcode = .continuation
        }
        self.sendFrame(opcode, rest, isFinal: true, context: context, promise: promise)
    }

    private func sendFrame(
        _ opcode: WebSocketOpcode,
        _ payload: ByteBuffer,
        isFinal: Bool,
        context: ChannelHandlerContext,
        promise: EventLoopPromise<Void>?
    ) {
        var header = WebSocketFrameHeader(
            isFinal: isFinal, opcode: opcode, maskKey: nil, payloadBytes: payload.readableBytes)
        let copiesPayload: Bool
        switch self.role {
        case .client:
            header.maskKey = UInt32.random(in: .min ... .max, using: &self.random)
            copiesPayload = true
        case .server:
            copiesPayload = payload.readableBytes <= Self.maximumCopiedBytes
        }
        let capacity =
            WebSocketFrameHeader.maximumBytes + (copiesPayload ? payload.readableBytes : 0)
        var frame = context.channel.allocator.buffer(capacity: capacity)
        header.write(into: &frame)
        if let key = header.maskKey {
            var mask = WebSocketMask(key: key)
            frame.writeMasked(payload, mask: &mask)
        } else if copiesPayload {
            frame.writeImmutableBuffer(payload)
        } else {
            context.write(Self.wrapOutboundOut(frame), promise: nil)
            context.write(Self.wrapOutboundOut(payload), promise: promise)
            return
        }
        context.write(Self.wrapOutboundOut(frame), promise: promise)
    }
}

/// Fired inbound behind the payload of a message, by a handler that was asked to tell.
package struct WebSocketMessageEnd: Sendable, Hashable {}

/// Fired inbound when the peer answered a ping.
package struct WebSocketPong: Sendable, Hashable {}

/// Fired inbound when the peer closed the WebSocket, before the channel becomes inactive.
package struct WebSocketClosedByPeer: Sendable, Hashable {
    /// What the peer gave as the reason, nil if nothing.
    package var close: WebSocketClose?
}

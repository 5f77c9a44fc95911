import NIOCore
import PostgresWire
import SharedSession

/// The last handler of a client whose session is shared: moves its bytes to the session's machine
/// and back. It decides nothing.
///
/// Lives on the client's event loop; the machine may live on another.
///
/// - Credit for bytes of the engine goes back once the socket has taken them: at once for small
///   answers to a socket that takes more, by the promise of a write for everything else. So what
///   waits for a client that does not read is bounded by the engine's window.
/// - While the machine has paused the client, `read` waits.
final class SessionClientHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Bytes of one write that get a promise of their own.
    private static let promiseEveryBytes = 16 * 1024
    /// Bytes that are written before they are flushed, at most: a TLS record. NIOSSL encrypts what
    /// a flush finds into one buffer, which it keeps as long as the connection lives: a large reply
    /// at once left 128 KiB with every client.
    private static let flushEveryBytes = 16 * 1024
    /// How long a client that is being closed may take to read what was sent before.
    private static let lingerTimeout = TimeAmount.seconds(30)
    /// Bytes that may wait for a client that reads nothing. Replies are bounded by the engine's
    /// window (1 MiB); this is for notifications, which need no credit.
    private static let maximumWaitingBytes = 4 * 1024 * 1024

    let id: SessionClientID
    private let way: SessionWay
    private let onEnd: () -> Void
    private var context: ChannelHandlerContext?
    /// The end of the login: it goes out with what follows it.
    private var loginReply: ByteBuffer?
    private var isPaused = false
    private var isReadWanted = false
    private var isClosing = false
    private var isEnded = false
    /// Written since the last promise: bytes, and the credit they stand for.
    private var unpromisedBytes = 0
    private var unpromisedCredit = 0
    /// Written since the last flush.
    private var unflushedBytes = 0
    /// Under promises that were not kept yet: bytes, and the credit they stand for.
    private var waitingBytes = 0
    private var waitingCredit = 0

    /// - Parameters:
    ///   - id: The client's number.
    ///   - way: The way to the machine.
    ///   - loginReply: What the client has not been sent of its login.
    ///   - onEnd: Called once, when the client is gone.
    init(
        id: SessionClientID, way: SessionWay, loginReply: ByteBuffer, onEnd: @escaping () -> Void
    ) {
        self.id = id
        self.way = way
        self.loginReply = loginReply
        self.onEnd = onEnd
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    // MARK: From the client

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isClosing else { return }
        self.way.received(Self.unwrapInboundIn(data), from: self.id)
    }

    func read(context: ChannelHandlerContext) {
        if self.isPaused {
            self.isReadWanted = true
        } else {
            context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.way.stalled(self.id, !context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.ended()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A reset or an unclean TLS shutdown: psql that was killed.
        context.close(promise: nil)
    }

    /// The client is gone. Also called where it was before this handler stood.
    func ended() {
        guard !self.isEnded else { return }
        self.isEnded = true
        self.isClosing = true
        self.giveBackAll()
        self.way.left(self.id)
        self.onEnd()
    }

    // MARK: To the client

    /// Performs what the machine decided. On the client's event loop.
    func perform(_ order: SessionOrder) {
        switch order {
        case .write(let bytes, let credit): self.write(bytes, credit: credit)
        case .pause: self.isPaused = true
        case .resume: self.resume()
        case .close: self.closeAfterWrites()
        case .flush: self.flush()
        }
    }

    private func resume() {
        self.isPaused = false
        guard self.isReadWanted else { return }
        self.isReadWanted = false
        self.context?.read()
    }

    private func write(_ bytes: ByteBuffer, credit: Int) {
        guard let context, !self.isEnded else { return self.giveBack(credit) }
        var bytes = bytes
        if var all = self.loginReply {
            self.loginReply = nil
            all.writeImmutableBuffer(bytes)
            bytes = all
        }
        self.unpromisedBytes += bytes.readableBytes
        self.unpromisedCredit += credit
        if self.unpromisedBytes >= Self.promiseEveryBytes {
            self.writePromised(bytes, context)
        } else {
            self.pass(bytes, context, promise: nil)
        }
    }

    /// Hands bytes on in parts, each but the last one flushed.
    private func pass(
        _ bytes: ByteBuffer, _ context: ChannelHandlerContext, promise: EventLoopPromise<Void>?
    ) {
        var rest = bytes
        if self.unflushedBytes + rest.readableBytes > Self.flushEveryBytes {
            self.unflushedBytes = 0
            context.flush()
        }
        while rest.readableBytes > Self.flushEveryBytes,
            let part = rest.readSlice(length: Self.flushEveryBytes)
        {
            context.writeAndFlush(Self.wrapOutboundOut(part), promise: nil)
        }
        self.unflushedBytes += rest.readableBytes
        context.write(Self.wrapOutboundOut(rest), promise: promise)
    }

    /// Writes bytes whose arrival in the socket gives credit back, theirs and of all before.
    private func writePromised(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        let (count, credit) = (self.unpromisedBytes, self.unpromisedCredit)
        (self.unpromisedBytes, self.unpromisedCredit) = (0, 0)
        self.waitingBytes += count
        self.waitingCredit += credit
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in
            self.waitingBytes -= count
            // All of it was given back when the client was closed.
            guard self.waitingCredit > 0 else { return }
            self.waitingCredit -= credit
            self.giveBack(credit)
        }
        self.pass(bytes, context, promise: promise)
        if self.waitingBytes > Self.maximumWaitingBytes { context.close(promise: nil) }
    }

    private func flush() {
        guard let context, !self.isEnded else { return }
        self.unflushedBytes = 0
        context.flush()
        guard self.unpromisedBytes > 0 else { return }
        if context.channel.isWritable {
            // What waits is below the socket's own mark.
            self.giveBack(self.unpromisedCredit)
            (self.unpromisedBytes, self.unpromisedCredit) = (0, 0)
        } else {
            self.writePromised(ByteBuffer(), context)
            context.flush()
        }
    }

    private func giveBack(_ credit: Int) {
        if credit > 0 { self.way.credit(credit) }
    }

    private func giveBackAll() {
        self.giveBack(self.unpromisedCredit + self.waitingCredit)
        (self.unpromisedCredit, self.waitingCredit) = (0, 0)
    }

    /// Closing drops what waits in the socket, so a slow client is given time for the rest. The
    /// others are not: what it has not read keeps nothing from them.
    private func closeAfterWrites() {
        guard let context, !self.isClosing else { return }
        self.isClosing = true
        self.giveBackAll()
        let rest = self.loginReply ?? ByteBuffer()
        self.loginReply = nil
        let loop = context.eventLoop
        let written = loop.makePromise(of: Void.self)
        context.writeAndFlush(Self.wrapOutboundOut(rest), promise: written)
        let timer = loop.assumeIsolated().scheduleTask(in: Self.lingerTimeout) {
            self.context?.close(promise: nil)
        }
        written.futureResult.assumeIsolated().whenComplete { _ in
            timer.cancel()
            self.context?.close(promise: nil)
        }
    }
}

/// What the machine wants of one client.
enum SessionOrder: Sendable {
    /// Bytes, and how many of the engine's they stand for.
    case write(ByteBuffer, credit: Int)
    case pause
    case resume
    /// Behind what was written.
    case close
    /// What was written leaves.
    case flush
}

/// The way from a client's event loop to the machine's: a call where they are the same, a hop
/// where they are not.
struct SessionWay: Sendable {
    let shell: NIOLoopBound<SessionShell>
    let loop: any EventLoop
    let isHere: Bool

    private func tell(_ what: @escaping @Sendable (SessionShell) -> Void) {
        self.loop.execute { what(self.shell.value) }
    }

    func received(_ bytes: ByteBuffer, from id: SessionClientID) {
        guard !self.isHere else { return self.shell.value.received(bytes, from: id) }
        self.tell { $0.received(bytes, from: id) }
    }

    func stalled(_ id: SessionClientID, _ isStalled: Bool) {
        guard !self.isHere else { return self.shell.value.stalled(id, isStalled) }
        self.tell { $0.stalled(id, isStalled) }
    }

    func left(_ id: SessionClientID) {
        guard !self.isHere else { return self.shell.value.left(id) }
        self.tell { $0.left(id) }
    }

    func credit(_ bytes: Int) {
        guard !self.isHere else { return self.shell.value.credit(bytes) }
        self.tell { $0.credit(bytes) }
    }
}

import NIOCore
import TunnelTransport
import TunnelWire

/// Says HELLO or RESUME on a fresh connection, and puts the link's handler in its place once
/// the relay has answered.
final class AgentHandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The relay's answer, as the link's owner must know it.
    enum Answer: Sendable {
        case welcomed(HelloOK)
        case resumed(ResumeOK)
    }

    /// From the first frame to the answer. A claim waits for the relay's disk.
    static let timeout = TimeAmount.seconds(10)

    private var machine: AgentHandshake
    /// The question left before the upgrade was answered.
    private let hasAsked: Bool
    private let promise: EventLoopPromise<Answer>
    /// Makes the link's handler for the answer; nil means that the connection is not wanted.
    private let makeHandler: (Answer) -> LinkHandler?
    /// Attaches the link to its handler, once that is in the pipeline.
    private let attach: (Answer, LinkHandler) throws -> Void
    private var context: ChannelHandlerContext?
    private var unread = ByteBuffer()
    private var isOver = false
    private var deadline: Scheduled<Void>?

    init(
        machine: AgentHandshake, hasAsked: Bool, promise: EventLoopPromise<Answer>,
        makeHandler: @escaping (Answer) -> LinkHandler?,
        attach: @escaping (Answer, LinkHandler) throws -> Void
    ) {
        self.machine = machine
        self.hasAsked = hasAsked
        self.promise = promise
        self.makeHandler = makeHandler
        self.attach = attach
    }

    // MARK: Starting

    private static let timedOut = LinkError(
        code: "handshake_timeout", message: "the relay did not answer in time", retry: true)
    private static let closed = LinkError(
        code: "closed", message: "the relay closed the connection", retry: true)

    /// Whether that error is none of the relay's, but stands for its silence.
    static func isSilence(_ error: LinkError) -> Bool {
        error == Self.timedOut || error == Self.closed
    }

    /// Whether a relay has answered, be it no; else nobody has, or something that is none.
    static func isAnswer(_ result: Result<Answer, any Error>) -> Bool {
        switch result {
        case .success: true
        case .failure(let error): (error as? LinkError).map { !Self.isSilence($0) } ?? false
        }
    }

    /// Talks on a connection that was dialled. On its event loop.
    ///
    /// - Parameters:
    ///   - machine: What to say.
    ///   - dialed: Where.
    ///   - makeHandler: Makes the link's handler for the answer; nil: the connection is not wanted.
    ///   - attach: Attaches the link to its handler, once that is in the pipeline.
    /// - Returns: the relay's answer; a ``TunnelWire/LinkError`` if it is no.
    static func start(
        _ machine: AgentHandshake, on dialed: DialedTunnel,
        makeHandler: @escaping (Answer) -> LinkHandler?,
        attach: @escaping (Answer, LinkHandler) throws -> Void
    ) -> EventLoopFuture<Answer> {
        let promise = dialed.channel.eventLoop.makePromise(of: Answer.self)
        guard dialed.channel.isActive else {
            // Closed already: no handler would hear of it. What counts is a no that came before.
            promise.fail((try? machine.refusal(in: dialed.early)) ?? Self.closed)
            return promise.futureResult
        }
        let handler = AgentHandshakeHandler(
            machine: machine, hasAsked: dialed.hasOpened, promise: promise,
            makeHandler: makeHandler, attach: attach)
        do {
            let options = dialed.channel.syncOptions
            try options?.setOption(
                .writeBufferWaterMark, value: .init(low: 64 * 1024, high: 128 * 1024))
            try options?.setOption(.maxMessagesPerRead, value: 1)
            try dialed.channel.pipeline.syncOperations.addHandler(handler)
            if dialed.early.readableBytes > 0 { handler.inject(dialed.early) }
            try options?.setOption(.autoRead, value: true)
        } catch {
            promise.fail(error)
            dialed.channel.close(promise: nil)
        }
        return promise.futureResult
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if !self.hasAsked {
            context.writeAndFlush(Self.wrapOutboundOut(self.machine.start()), promise: nil)
        }
        self.deadline = context.eventLoop.assumeIsolated().scheduleTask(in: Self.timeout) {
            guard !self.isOver else { return }
            self.isOver = true
            self.promise.fail(Self.timedOut)
            // The relay must not hear the question later: nobody waits for the answer.
            TunnelSocket.abort(context.channel)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        self.deadline?.cancel()
    }

    /// Bytes that were read before this handler stood in the pipeline.
    func inject(_ bytes: ByteBuffer) {
        if let context { self.receive(bytes, context: context) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.receive(Self.unwrapInboundIn(data), context: context)
    }

    private func receive(_ bytes: ByteBuffer, context: ChannelHandlerContext) {
        guard !self.isOver else { return }
        self.unread.writeImmutableBuffer(bytes)
        do {
            switch try self.machine.receive(&self.unread) {
            case .readMore: self.unread.discardReadBytes()
            case .welcomed(let ok):
                guard ok.isPlausible else { throw LinkViolation.badPayload(.helloOK) }
                self.finish(.welcomed(ok), context: context)
            case .resumed(let ok): self.finish(.resumed(ok), context: context)
            case .refused(let error): self.fail(error, context: context)
            }
        } catch {
            self.fail(error, context: context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.fail(Self.closed, context: context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.fail(error, context: context)
    }

    private func finish(_ answer: Answer, context: ChannelHandlerContext) {
        self.isOver = true
        self.deadline?.cancel()
        do {
            try self.handOver(answer, context: context)
            self.promise.succeed(answer)
        } catch {
            self.giveUp(error, context: context)
        }
    }

    private func handOver(_ answer: Answer, context: ChannelHandlerContext) throws {
        guard let handler = self.makeHandler(answer) else { return context.close(promise: nil) }
        let operations = context.pipeline.syncOperations
        try operations.addHandler(handler, position: .after(self))
        try self.attach(answer, handler)
        if self.unread.readableBytes > 0 {
            context.fireChannelRead(Self.wrapInboundOut(self.unread))
            context.fireChannelReadComplete()
        }
        operations.removeHandler(context: context, promise: nil)
    }

    private func fail(_ error: any Error, context: ChannelHandlerContext) {
        guard !self.isOver else { return }
        self.isOver = true
        self.deadline?.cancel()
        self.giveUp(error, context: context)
    }

    private func giveUp(_ error: any Error, context: ChannelHandlerContext) {
        self.promise.fail(error)
        if let violation = error as? LinkViolation {
            let frame = LinkError(violation).frame
            context.writeAndFlush(Self.wrapOutboundOut(frame), promise: nil)
        }
        context.close(promise: nil)
    }
}

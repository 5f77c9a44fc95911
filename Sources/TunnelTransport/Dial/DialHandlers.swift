import NIOCore
import NIOHTTP1
import NIOSSL
import NIOTLS

/// Waits for the TLS handshake to end.
final class TLSWaitHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let promise: EventLoopPromise<Void>

    init(promise: EventLoopPromise<Void>) {
        self.promise = promise
    }

    func handlerAdded(context: ChannelHandlerContext) {
        context.read()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event {
            self.promise.succeed()
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.promise.fail(DialReason.error(ofTLS: error))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.fail(DialReason.hungUp)
        context.fireChannelInactive()
    }
}

/// Sends one request and waits for its whole answer, reading no more than it must.
///
/// Stands behind `HTTPRequestEncoder` and the decoder of responses. What the decoder lets through
/// after the answer is passed on untouched.
///
/// Bytes of another protocol may travel right behind the request, for a peer that will speak it.
final class AskHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let request: HTTPRequestHead
    private let behind: ByteBuffer?
    private let promise: EventLoopPromise<HTTPAnswer>
    private var answer: HTTPAnswer?
    private var isWhole = false

    init(
        request: HTTPRequestHead, behind: ByteBuffer? = nil, promise: EventLoopPromise<HTTPAnswer>
    ) {
        self.request = request
        self.behind = behind
        self.promise = promise
    }

    func handlerAdded(context: ChannelHandlerContext) {
        context.write(Self.wrapOutboundOut(.head(self.request)), promise: nil)
        if let behind = self.behind {
            // A GET without Content-Length has no body: the encoder passes these bytes on bare.
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(behind))), promise: nil)
        }
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isWhole else {
            context.fireChannelRead(data)
            return
        }
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            self.answer = HTTPAnswer(head: head)
        case .body(var part):
            let room = HTTPAnswer.maximumBodyBytes - (self.answer?.body.readableBytes ?? 0)
            if let kept = part.readSlice(length: min(room, part.readableBytes)) {
                self.answer?.body.writeImmutableBuffer(kept)
            }
            if room <= part.readableBytes {
                // A page without end. The status says enough.
                self.isWhole = true
            }
        case .end:
            self.isWhole = true
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if self.isWhole, let answer = self.answer {
            // Only now: what came in the same packet has been passed on, and nothing more is read.
            self.promise.succeed(answer)
        } else {
            context.read()
        }
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if self.isWhole, let answer = self.answer {
            self.promise.succeed(answer)
        } else {
            self.promise.fail(DialError.notARelay(reason: DialReason.sentence(ofAnswer: error)))
        }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let answer = self.answer {
            self.promise.succeed(answer)
        } else {
            self.promise.fail(DialError.notARelay(reason: DialReason.noAnswer))
        }
        context.fireChannelInactive()
    }

    /// Nothing more will come.
    ///
    /// - Returns: Whether the whole answer had come by then.
    fileprivate func end() -> Bool {
        guard self.isWhole, let answer = self.answer else { return false }
        self.promise.succeed(answer)
        return true
    }
}

/// Keeps the end of a connection from the decoder behind it once an answer is whole: at an end the
/// decoder drops what came behind the answer, which may be the tunnel's own last word.
final class LateEndHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let asking: AskHandler

    init(asking: AskHandler) { self.asking = asking }

    func channelInactive(context: ChannelHandlerContext) {
        if !self.asking.end() { context.fireChannelInactive() }
    }
}

/// Keeps what came behind the answer until somebody takes the channel over.
final class EarlyBytesHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private(set) var bytes = ByteBuffer()
    private(set) var error: (any Error)?

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.bytes.writeImmutableBuffer(Self.unwrapInboundIn(data))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.error = error
    }
}

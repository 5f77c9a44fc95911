import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Answers what is not HTTP, or is too much of it, before the connection is closed.
final class ParseErrorHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private var isAnswering = false

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let violation = error as? HTTPParserError else {
            context.fireErrorCaught(error)
            return
        }
        // The decoder closes the connection right after this, so the answer goes out now.
        if !self.isAnswering {
            self.isAnswering = true
            let isTooLarge = violation == .headerOverflow
            self.answer(APIError(isTooLarge ? .headersTooLarge : .badRequest), context: context)
        }
        context.fireErrorCaught(error)
    }

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        switch Self.unwrapOutboundIn(data) {
        case .head(let head): self.isAnswering = !head.isInformational
        case .body: break
        case .end: self.isAnswering = false
        }
        context.write(data, promise: promise)
    }

    private func answer(_ error: APIError, context: ChannelHandlerContext) {
        for part in error.closingParts {
            context.write(Self.wrapOutboundOut(part), promise: nil)
        }
        context.flush()
    }
}

extension APIError {
    /// The whole answer of a connection that is closed behind it.
    var closingParts: [HTTPServerResponsePart] {
        let body = ByteBuffer(string: self.json)
        var head = HTTPResponseHead(
            version: .http1_1,
            status: HTTPResponseStatus(statusCode: self.status.code),
            headers: [
                "Connection": "close", "Content-Type": "application/json",
                "Content-Length": "\(body.readableBytes)",
            ])
        if self.code == .unauthorized {
            head.headers.add(name: "WWW-Authenticate", value: "Bearer")
        }
        return [.head(head), .body(.byteBuffer(body)), .end(nil)]
    }
}

extension HTTPResponseHead {
    fileprivate var isInformational: Bool { (100..<200).contains(self.status.code) }
}

/// Bounds the body of a request, in bytes and in time.
final class RequestBodyGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundOut = HTTPResponsePart

    private let maximumBytes: Int
    private let timeout: TimeAmount
    private var bytes = 0
    private var isOver = false
    private var deadline: Scheduled<Void>?

    init(maximumBytes: Int, timeout: TimeAmount) {
        self.maximumBytes = maximumBytes
        self.timeout = timeout
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isOver else { return }
        switch Self.unwrapInboundIn(data) {
        case .head:
            self.bytes = 0
            self.deadline = context.eventLoop.assumeIsolated().scheduleTask(in: self.timeout) {
                self.refuse(APIError(.requestTimeout), context: context)
            }
        case .body(let part):
            self.bytes += part.readableBytes
            guard self.bytes <= self.maximumBytes else {
                self.refuse(APIError(.bodyTooLarge), context: context)
                return
            }
        case .end:
            self.stopClock()
        }
        context.fireChannelRead(data)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.stopClock()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.stopClock()
    }

    /// Says why and closes. A route may have begun its own answer: then the connection just ends.
    private func refuse(_ error: APIError, context: ChannelHandlerContext) {
        self.isOver = true
        self.stopClock()
        let body = ByteBuffer(string: error.json)
        let head = HTTPResponse(
            status: error.status,
            headerFields: [
                .connection: "close", .contentType: "application/json",
                .contentLength: "\(body.readableBytes)",
            ])
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(Self.wrapOutboundOut(.body(body)), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        context.close(promise: nil)
    }

    private func stopClock() {
        self.deadline?.cancel()
        self.deadline = nil
    }
}

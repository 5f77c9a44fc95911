import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A request, as the test's API hears it.
struct Heard: Sendable {
    var method: String
    /// Without the query.
    var path: String
    var query: String
    var token: String?
    var body: Data

    /// One key of a body of JSON, dotted.
    func string(_ key: String) -> String? {
        var value = try? JSONSerialization.jsonObject(with: self.body)
        for part in key.split(separator: ".") {
            value = (value as? [String: Any])?[String(part)]
        }
        return value as? String
    }
}

/// What the API does with a request.
enum Said: Sendable {
    case answer(Int, String, headers: [String: String] = [:])
    /// The connection ends without a word.
    case cut
    /// Half of an answer, then the end.
    case half(String)
    /// No answer ever.
    case silence
}

/// A JSON API on a free loopback port.
final class APIServer: Sendable {
    private let channel: any Channel
    let url: String

    private init(channel: any Channel) {
        self.channel = channel
        self.url = "http://127.0.0.1:\(channel.localAddress?.port ?? 0)"
    }

    /// Runs `body` while `answer` answers every request. It is called on an event loop.
    static func with<Result: Sendable>(
        _ answer: @escaping @Sendable (Heard) -> Said,
        _ body: (APIServer) async throws -> Result
    ) async throws -> Result {
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Handler(answer))
                }
            }
        let channel = try await bootstrap.bind(host: "127.0.0.1", port: 0).get()
        let result: Swift.Result<Result, any Error>
        do {
            result = .success(try await body(APIServer(channel: channel)))
        } catch {
            result = .failure(error)
        }
        try await channel.close()
        return try result.get()
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let answer: @Sendable (Heard) -> Said
        private var head: HTTPRequestHead?
        private var body = Data()

        init(_ answer: @escaping @Sendable (Heard) -> Said) {
            self.answer = answer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch Self.unwrapInboundIn(data) {
            case .head(let head): self.head = head
            case .body(let bytes): self.body.append(contentsOf: bytes.readableBytesView)
            case .end:
                guard let head = self.head else { return }
                let parts = head.uri.split(separator: "?", maxSplits: 1)
                let heard = Heard(
                    method: head.method.rawValue, path: parts.first.map(String.init) ?? "",
                    query: parts.count > 1 ? String(parts[1]) : "",
                    token: head.headers.first(name: "Authorization"), body: self.body)
                self.body = Data()
                self.perform(self.answer(heard), context: context)
            }
        }

        private func perform(_ said: Said, context: ChannelHandlerContext) {
            switch said {
            case .answer(let status, let text, let headers):
                self.write(status, text, text.utf8.count, headers, context: context)
                context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
            case .half(let text):
                self.write(200, text, text.utf8.count * 2, [:], context: context)
                context.flush()
                context.close(promise: nil)
            case .cut: context.close(promise: nil)
            case .silence: break
            }
        }

        private func write(
            _ status: Int, _ text: String, _ length: Int, _ headers: [String: String],
            context: ChannelHandlerContext
        ) {
            var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status))
            head.headers.add(name: "Content-Length", value: String(length))
            for (name, value) in headers { head.headers.add(name: name, value: value) }
            context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
            let body = ByteBuffer(string: text)
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
    }
}

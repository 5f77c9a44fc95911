import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import PostgresWire
import Relay
import SharePolicy
import ShareStore
import Testing
import TunnelTransport

/// A connection whose bytes a test reads when it likes.
final class DoorSocket: Sendable {
    struct Closed: Error {}

    private final class Inbox: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = ByteBuffer

        var bytes = ByteBuffer()
        var isClosed = false
        var waiter: EventLoopPromise<Void>?

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = Self.unwrapInboundIn(data)
            self.bytes.writeBuffer(&bytes)
            self.wake()
        }

        func channelInactive(context: ChannelHandlerContext) {
            self.isClosed = true
            self.wake()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }

        func wake() {
            let waiter = self.waiter
            self.waiter = nil
            waiter?.succeed()
        }
    }

    let channel: any Channel
    private let inbox: NIOLoopBound<Inbox>

    private init(_ channel: any Channel, _ inbox: NIOLoopBound<Inbox>) {
        self.channel = channel
        self.inbox = inbox
    }

    static func connect(_ address: String, tls: NIOSSLContext? = nil) async throws -> DoorSocket {
        let parts = address.split(separator: ":")
        let port = try #require(parts.last.flatMap { Int($0) })
        return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLClientHandler(context: tls, serverHostname: "localhost"))
                    }
                    let inbox = Inbox()
                    try channel.pipeline.syncOperations.addHandler(inbox)
                    return DoorSocket(channel, NIOLoopBound(inbox, eventLoop: channel.eventLoop))
                }
            }
    }

    func send(_ bytes: ByteBuffer) { self.channel.writeAndFlush(bytes, promise: nil) }

    /// Waits until `parse` finds what it wants in the bytes that came; what it takes is gone.
    func read<Found: Sendable>(
        _ parse: @escaping @Sendable (inout ByteBuffer) throws -> Found?
    ) async throws -> Found {
        let loop = self.channel.eventLoop
        while true {
            // Nothing may come between the look and the beginning of the wait.
            let found = try await loop.flatSubmit { () -> EventLoopFuture<Found?> in
                let inbox = self.inbox.value
                do {
                    if let found = try parse(&inbox.bytes) {
                        return loop.makeSucceededFuture(found)
                    }
                } catch {
                    return loop.makeFailedFuture(error)
                }
                guard !inbox.isClosed else { return loop.makeFailedFuture(Closed()) }
                let waiter = loop.makePromise(of: Void.self)
                inbox.waiter = waiter
                return waiter.futureResult.map { nil }
            }.get()
            if let found { return found }
        }
    }

    /// Everything until the other side closes.
    func readToEnd() async throws -> ByteBuffer {
        let all = NIOLockedValueBox(ByteBuffer())
        do {
            _ = try await self.read { bytes -> Bool? in
                _ = all.withLockedValue { $0.writeImmutableBuffer(bytes) }
                bytes.clear()
                return nil
            }
        } catch is Closed {}
        return all.withLockedValue { $0 }
    }

    /// Puts other handlers in the place of the inbox.
    func replaceInbox(
        _ add: @escaping @Sendable (any Channel) throws -> Void
    ) async throws {
        try await self.channel.eventLoop.submit {
            try add(self.channel)
            let inbox = self.inbox.value
            let rest = inbox.bytes
            self.channel.pipeline.syncOperations.removeHandler(inbox, promise: nil)
            guard rest.readableBytes > 0 else { return }
            self.channel.pipeline.fireChannelRead(rest)
        }.get()
    }

    func close() { self.channel.close(promise: nil) }
}

/// A client of a share.
struct DoorClient: Sendable {
    let socket: DoorSocket

    /// Logs in.
    ///
    /// - Throws: What the login failed with.
    static func logIn(
        _ relay: DoorRelay, user: String, password: String, database: String = "postgres"
    ) async throws -> DoorClient {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(relay.caFile))
        tls.applicationProtocols = ["postgresql"]
        let socket = try await DoorSocket.connect(
            relay.postgres, tls: try NIOSSLContext(configuration: tls))
        let machine = NIOLockedValueBox(
            ClientLoginMachine(
                startup: [
                    .init(name: "user", value: user), .init(name: "database", value: database),
                ],
                credentials: .init(user: user, password: Secret(password)), channelBinding: nil))
        socket.send(machine.withLockedValue { $0.start() })
        while true {
            let action = try await socket.read { bytes -> ClientLoginMachine.OnReceive? in
                var random = SystemRandomNumberGenerator()
                let action = machine.withLockedValue { $0.receive(&bytes, using: &random) }
                return action == .readMore ? nil : action
            }
            switch action {
            case .send(let message): socket.send(message)
            case .failed(let failure): throw failure
            case .readMore: break
            case .authenticated:
                let client = DoorClient(socket: socket)
                _ = try await client.answer()
                return client
            }
        }
    }

    static func logIn(_ relay: DoorRelay, _ login: MadePassword) async throws -> DoorClient {
        try await self.logIn(
            relay, user: login.user, password: login.password, database: login.database)
    }

    /// Sends messages and reads to the next ReadyForQuery.
    func ask(_ messages: ByteBuffer...) async throws -> String {
        self.socket.send(Wire.all(messages))
        return try await self.answer()
    }

    /// What comes up to the next ReadyForQuery, or to the end of the connection.
    func answer() async throws -> String {
        let all = NIOLockedValueBox(ByteBuffer())
        do {
            return try await self.socket.read { bytes -> String? in
                while let type: UInt8 = bytes.getInteger(at: bytes.readerIndex),
                    let length: UInt32 = bytes.getInteger(at: bytes.readerIndex + 1),
                    let message = bytes.readSlice(length: Int(length) + 1)
                {
                    _ = all.withLockedValue { $0.writeImmutableBuffer(message) }
                    if type == UInt8(ascii: "Z") { return all.withLockedValue { Wire.read($0) } }
                }
                return nil
            }
        } catch is DoorSocket.Closed {
            return all.withLockedValue { Wire.read($0) } + " closed"
        }
    }

    /// Says goodbye and waits until the relay has heard it.
    func leave() async throws {
        self.socket.send(PostgresMessage.terminate())
        _ = try await self.socket.readToEnd()
    }
}

/// A page of database.build, connected.
final class DoorPage: Sendable {
    struct State: Sendable {
        var page = DoorPageDouble()
        /// The page handles no frame from the one on that holds this.
        var freezesAt: String?
        var isFrozen = false
        var close: WebSocketClose?
    }

    let state = NIOLockedValueBox(State())
    private let socket: DoorSocket
    private let webSocket: NIOLoopBound<WebSocketTransportHandler>

    private init(_ socket: DoorSocket) {
        self.socket = socket
        self.webSocket = NIOLoopBound(
            WebSocketTransportHandler(role: .client, limits: .messages(atMost: 1 << 26)),
            eventLoop: socket.channel.eventLoop)
    }

    /// Connects as the page does.
    ///
    /// - Throws: ``Refused`` with the relay's answer.
    static func connect(_ relay: DoorRelay, id: String, token: String) async throws -> DoorPage {
        // A page escapes what it puts into a URL.
        let escaped = token.replacing("_", with: "%5F")
        let (socket, head) = try await self.upgrade(
            relay, host: id + ".localhost:1", "token=" + escaped)
        guard head.hasPrefix("HTTP/1.1 101 ") else { throw Refused(head: head) }
        #expect(!head.lowercased().contains("sec-websocket-protocol"))
        let page = try await socket.channel.eventLoop.submit { DoorPage(socket) }.get()
        try await socket.replaceInbox { channel in
            try channel.pipeline.syncOperations.addHandlers([
                page.webSocket.value, Frames(page),
            ])
        }
        return page
    }

    struct Refused: Error { let head: String }

    /// Asks as a page does, and hangs up.
    ///
    /// - Returns: The head of the answer.
    static func ask(_ relay: DoorRelay, host: String, _ query: String) async throws -> String {
        let (socket, head) = try await self.upgrade(relay, host: host, query)
        socket.close()
        return head
    }

    private static func upgrade(
        _ relay: DoorRelay, host: String, _ query: String
    ) async throws -> (socket: DoorSocket, head: String) {
        let socket = try await DoorSocket.connect(relay.http)
        socket.send(
            ByteBuffer(
                string: """
                    GET /?\(query) HTTP/1.1\r
                    Host: \(host)\r
                    Connection: Upgrade\r
                    Upgrade: websocket\r
                    Sec-WebSocket-Version: 13\r
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
                    Origin: https://database.build\r
                    \r\n
                    """))
        let head = try await socket.read { bytes -> String? in
            let text = String(buffer: bytes)
            guard let end = text.range(of: "\r\n\r\n") else { return nil }
            bytes.moveReaderIndex(forwardBy: text[..<end.upperBound].utf8.count)
            return String(text[..<end.lowerBound])
        }
        return (socket, head)
    }

    private final class Frames: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let page: DoorPage
        private var message = ByteBuffer()

        init(_ page: DoorPage) { self.page = page }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = Self.unwrapInboundIn(data)
            self.message.writeBuffer(&bytes)
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            switch event {
            case is WebSocketMessageEnd:
                let frame = self.message
                self.message = ByteBuffer()
                let answer = self.page.state.withLockedValue { state -> ByteBuffer? in
                    if let text = state.freezesAt, String(buffer: frame).contains(text) {
                        state.isFrozen = true
                    }
                    return state.isFrozen ? nil : state.page.handle(frame)
                }
                if let answer {
                    context.writeAndFlush(Self.wrapOutboundOut(answer), promise: nil)
                }
            case let closed as WebSocketClosedByPeer:
                self.page.state.withLockedValue { $0.close = closed.close }
            default: context.fireUserInboundEventTriggered(event)
            }
        }
    }

    var page: DoorPageDouble { self.state.withLockedValue { $0.page } }

    /// Sends one frame of its own.
    func send(_ frame: ByteBuffer) { self.socket.send(frame) }

    /// Says goodbye as a tab that is loaded anew, or as a person who stops sharing.
    func leave(_ code: WebSocketClose.Code) async throws {
        try await self.socket.channel.eventLoop.submit {
            self.webSocket.value.closeWith(code: code, reason: "")
        }.get()
        try await self.socket.channel.closeFuture.get()
    }

    /// The network is gone.
    func cut() async throws {
        try await self.socket.channel.eventLoop.submit {
            // Below the WebSocket, so that nothing is said.
            let context = try self.socket.channel.pipeline.syncOperations
                .context(handler: self.webSocket.value)
            context.close(promise: nil)
        }.get()
    }

    /// What the relay gave as the reason, once it has closed.
    func closed() async throws -> WebSocketClose? {
        try await self.socket.channel.closeFuture.get()
        return self.state.withLockedValue { $0.close }
    }
}

/// A relay with its doors open while a test runs.
struct DoorRelay: Sendable {
    let postgres: String
    let http: String
    let caFile: String
    let store: SQLiteShareStore
    /// Everything that was logged, at any level.
    let log: NIOLockedValueBox<[String]>

    /// Runs a relay, then `body`; then looks for secrets in its log.
    static func with(
        secrets: NIOLockedValueBox<[String]> = NIOLockedValueBox([]),
        change: (inout RelayConfiguration) throws -> Void = { _ in },
        _ body: @escaping @Sendable (DoorRelay) async throws -> Void
    ) async throws {
        try await withFolder { folder in
            var configuration = RelayConfiguration(stateFolder: folder)
            configuration.postgresPort = 0
            configuration.httpsPort = 0
            configuration.httpHost = "127.0.0.1"
            configuration.eventLoops = 2
            try change(&configuration)
            let log = NIOLockedValueBox<[String]>([])
            let logger = Logger(label: "test") { _ in LogToList(lines: log) }
            let (stream, announced) = AsyncStream.makeStream(of: RelayAddresses.self)
            let relay = Relay(configuration: configuration, logger: logger) { addresses in
                announced.yield(addresses)
                announced.finish()
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await relay.run() }
                var iterator = stream.makeAsyncIterator()
                let addresses = try #require(await iterator.next())
                try await body(
                    DoorRelay(
                        postgres: addresses.postgres, http: try #require(addresses.http),
                        caFile: try #require(addresses.caFile),
                        store: try SQLiteShareStore(folder: folder), log: log))
                group.cancelAll()
            }
            for secret in secrets.withLockedValue({ $0 }) {
                #expect(!log.withLockedValue { $0 }.contains { $0.contains(secret) })
            }
        }
    }

    func token(_ name: String) async throws -> String {
        let owner = try #require(OwnerID(tokenName: name))
        return try await self.store.createToken(owner, now: Date()).reveal
    }

    /// Asks the HTTP API.
    func api(
        _ method: String, _ path: String, token: String
    ) async throws -> (status: Int, head: String, body: String) {
        let socket = try await DoorSocket.connect(self.http)
        socket.send(
            ByteBuffer(
                string: """
                    \(method) \(path) HTTP/1.1\r
                    Host: localhost\r
                    Authorization: Bearer \(token)\r
                    Connection: close\r
                    Content-Length: 0\r
                    \r\n
                    """))
        let text = String(buffer: try await socket.readToEnd())
        let end = try #require(text.range(of: "\r\n\r\n"))
        let head = String(text[..<end.lowerBound]).lowercased()
        let status = try #require(Int(head.split(separator: " ")[1]))
        return (status, head, String(text[end.upperBound...]))
    }

    /// Makes a password for a share.
    func password(of id: String, token: String) async throws -> MadePassword {
        let answer = try await self.api("POST", "/v1/shares/\(id)/password", token: token)
        #expect(answer.status == 200, "\(answer.body)")
        return try APIJSON.decode(MadePassword.self, from: Data(answer.body.utf8))
    }

    /// A page that shares, and how to log in to it.
    func share(
        id: String, token: String
    ) async throws -> (page: DoorPage, login: MadePassword) {
        let page = try await DoorPage.connect(self, id: id, token: token)
        try await self.until { try await self.store.share(Self.id(id)) != nil }
        return (page, try await self.password(of: id, token: token))
    }

    /// Whether the API says that a share has its page.
    func isOnline(_ id: String, _ token: String) async throws -> Bool {
        try await self.api("GET", "/v1/shares/\(id)", token: token).body
            .contains(#""state":"online""#)
    }

    static func id(_ text: String) throws -> ShareID { try #require(ShareID(rawValue: text)) }

    /// Waits for something that another task brings about.
    func until(_ isSo: () async throws -> Bool) async throws {
        while try await !isSo() {
            try Task.checkCancellation()
            await Task.yield()
        }
    }
}

/// Keeps every line with all its metadata.
private struct LogToList: LogHandler {
    let lines: NIOLockedValueBox<[String]>
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let more = event.metadata.map { "\($0)" } ?? ""
        self.lines.withLockedValue { $0.append("\(event.message) \(self.metadata) \(more)") }
    }
}

import NIOCore
import NIOPosix
import NIOSSL
import PostgresClient
import PostgresWire
import TestSupport
import Testing

/// A session that a ``DatabaseConnector`` opened, as the tests talk to it.
final class Session: Sendable {
    let backend: Backend
    /// From behind AuthenticationOk through the first ReadyForQuery.
    let greeting: ByteBuffer
    private let collector: NIOLoopBound<Collector>

    static func open(
        _ connector: DatabaseConnector,
        _ parameters: [String: String] = [:],
        database: String? = nil
    ) async throws -> Session {
        let request = BackendRequest(
            parameters: parameters.sorted { $0.key < $1.key }
                .map { .init(name: $0.key, value: $0.value) },
            database: database
        )
        let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
        return try await connector.connect(request, on: eventLoop).flatMap { backend in
            let collector = Collector(backend.early)
            let bound = NIOLoopBound(collector, eventLoop: eventLoop)
            return eventLoop.makeCompletedFuture {
                try backend.channel.pipeline.syncOperations.addHandler(collector)
                try backend.channel.syncOptions?.setOption(.autoRead, value: true)
            }.flatMap { bound.value.reply(on: eventLoop) }.map { greeting in
                Session(backend, greeting, bound)
            }
        }.get()
    }

    private init(
        _ backend: Backend,
        _ greeting: ByteBuffer,
        _ collector: NIOLoopBound<Collector>
    ) {
        self.backend = backend
        self.greeting = greeting
        self.collector = collector
    }

    deinit {
        self.backend.channel.close(promise: nil)
    }

    /// Sends a query; everything through the next ReadyForQuery.
    func query(_ sql: String) async throws -> ByteBuffer {
        let eventLoop = self.backend.channel.eventLoop
        return try await eventLoop.flatSubmit {
            self.backend.channel.writeAndFlush(PostgresMessage.query(sql), promise: nil)
            return self.collector.value.reply(on: eventLoop)
        }.get()
    }

    /// The SQLSTATE of the first error of a query, or nil.
    func failure(_ sql: String) async throws -> String? {
        Self.messages(try await self.query(sql)).first { $0.type == UInt8(ascii: "E") }
            .map { PostgresError.parse(body: $0.body).sqlState.rawValue }
    }

    /// The first column of the first row of a query, or nil.
    func value(_ sql: String) async throws -> String? {
        let row = Self.messages(try await self.query(sql)).first { $0.type == UInt8(ascii: "D") }
        guard var body = row?.body, body.readInteger(as: UInt16.self) != nil,
            let length = body.readInteger(as: Int32.self), length >= 0
        else { return nil }
        return body.readString(length: Int(length))
    }

    /// The backend's own key.
    var key: CancelKey? {
        var body = Self.messages(self.greeting).first { $0.type == UInt8(ascii: "K") }?.body
        guard let processID = body?.readInteger(as: Int32.self), let rest = body else { return nil }
        return CancelKey(processID: processID, secret: Array(rest.readableBytesView))
    }

    static func messages(_ bytes: ByteBuffer) -> [(type: UInt8, body: ByteBuffer)] {
        var bytes = bytes
        var messages: [(type: UInt8, body: ByteBuffer)] = []
        while let type = bytes.readInteger(as: UInt8.self),
            let length = bytes.readInteger(as: UInt32.self),
            let body = bytes.readSlice(length: Int(length) - 4)
        {
            messages.append((type, body))
        }
        return messages
    }
}

/// Gathers bytes until a reply is whole.
final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var bytes: ByteBuffer
    private var waiting: EventLoopPromise<ByteBuffer>?

    init(_ early: ByteBuffer) {
        self.bytes = early
    }

    func reply(on eventLoop: any EventLoop) -> EventLoopFuture<ByteBuffer> {
        let promise = eventLoop.makePromise(of: ByteBuffer.self)
        self.waiting = promise
        self.finish(closed: false)
        return promise.futureResult
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var arrived = Self.unwrapInboundIn(data)
        self.bytes.writeBuffer(&arrived)
        self.finish(closed: false)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.finish(closed: true)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func finish(closed: Bool) {
        let end = Session.messages(self.bytes).last?.type
        guard closed || end == UInt8(ascii: "Z"), let waiting = self.waiting else { return }
        self.waiting = nil
        waiting.succeed(self.bytes)
        self.bytes.clear()
    }
}

extension TestPostgres {
    /// What a connector needs, without asking libpq.
    func target(
        user: String = "postgres",
        password: String? = TestPostgres.password,
        tls: DatabaseTLSSettings? = nil,
        database: String = "postgres"
    ) -> DatabaseTarget {
        DatabaseTarget(
            endpoint: tls == nil
                ? .unixSocket(path: self.socketPath)
                : .tcp(host: "localhost", address: "127.0.0.1", port: self.port),
            user: user,
            password: password.map(Secret.init),
            database: database,
            tls: tls ?? DatabaseTLSSettings(mode: .disable)
        )
    }

    func connector(
        user: String = "postgres",
        password: String? = TestPostgres.password,
        tls: DatabaseTLSSettings? = nil,
        database: String = "postgres"
    ) throws -> DatabaseConnector {
        try DatabaseConnector(
            self.target(user: user, password: password, tls: tls, database: database))
    }
}

/// Runs `body`, which must fail with a ``BackendFailure``.
func failure(_ body: () async throws -> Void) async -> BackendFailure? {
    do {
        try await body()
        return nil
    } catch {
        return error as? BackendFailure
    }
}

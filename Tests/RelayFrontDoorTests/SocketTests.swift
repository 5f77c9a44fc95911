import NIOCore
import NIOPosix
import NIOSSL
import PostgresWire
import SharePolicy
import Testing

@testable import Relay

/// What only real sockets show: resets, half-close, threads.
struct SocketTests {
    /// Gathers what arrives until the other side closes.
    private final class Gatherer: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private var bytes = ByteBuffer()
        private let ended: EventLoopPromise<ByteBuffer>

        init(_ ended: EventLoopPromise<ByteBuffer>) {
            self.ended = ended
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.bytes.writeImmutableBuffer(Self.unwrapInboundIn(data))
        }

        func channelInactive(context: ChannelHandlerContext) {
            self.ended.succeed(self.bytes)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            self.ended.fail(error)
            context.close(promise: nil)
        }
    }

    /// Sends bytes to a fresh door and returns all that it answers, until it closes.
    private func answer(_ fixture: Fixture, to bytes: ByteBuffer) async throws -> ByteBuffer {
        let services = fixture.services
        let group = MultiThreadedEventLoopGroup.singleton
        let door = FrontDoor(
            group: group,
            configuration: services.configuration,
            directory: services.directory,
            cancels: services.cancels,
            admission: services.admission,
            tls: services.tls,
            metrics: services.metrics,
            logger: services.logger
        )
        let server = try await door.start()
        let ended = group.next().makePromise(of: ByteBuffer.self)
        let client = try await ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Gatherer(ended))
                }
            }
            .connect(to: try #require(server.localAddress)).get()
        // The door may close before the last of it is written.
        client.writeAndFlush(bytes, promise: nil)
        let answer = try await ended.futureResult.get()
        try await server.close()
        return answer
    }

    /// Closing a socket with bytes unread resets it, and the reason would be lost.
    @Test func `the sentence arrives although the client sent more than was read`() async throws {
        var bytes = ByteBuffer(integer: UInt32(10_001))
        bytes.writeRepeatingByte(0x41, count: 60_000)
        let answer = try await self.answer(try Fixture(), to: bytes)

        #expect(answer == Refusal.Reason.protocolViolation.postgresError.encoded())
    }

    @Test func `a client that stops talking is closed at the deadline`() async throws {
        var limits = AdmissionLimits()
        limits.handshakeTimeout = .milliseconds(50)
        let fixture = try Fixture(limits: limits) { _, configuration in
            configuration.closeTimeout = .milliseconds(50)
        }
        let answer = try await self.answer(fixture, to: ByteBuffer(bytes: [0, 0]))

        #expect(answer == Refusal.Reason.handshakeTimeout.postgresError.encoded())
    }
}

import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing
import TunnelTransport

@testable import Relay

/// A page's WebSocket, with a clock that the test moves.
struct DoorPageTests {
    private final class Stage {
        let loop = EmbeddedEventLoop()
        let channel: EmbeddedChannel
        let link: DatabaseBuildLink
        let ends = NIOLockedValueBox(0)

        init() throws {
            let webSocket = WebSocketTransportHandler(role: .server, limits: .messages(atMost: 64))
            let handler = PageHandler(webSocket: webSocket, metrics: RelayMetrics())
            self.channel = EmbeddedChannel(handlers: [webSocket, handler], loop: self.loop)
            self.link = DatabaseBuildLink(loop: self.loop, grace: .seconds(60)) { [ends] in
                ends.withLockedValue { $0 += 1 }
            }
            try self.channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
            #expect(handler.serve(NIOLoopBound(self.link, eventLoop: self.loop), on: self.loop))
            self.link.flush()
        }

        /// Opcodes of the frames that were sent since the last look.
        func sent() throws -> [UInt8] {
            var opcodes: [UInt8] = []
            while var bytes = try self.channel.readOutbound(as: ByteBuffer.self) {
                while let first: UInt8 = bytes.readInteger(),
                    let length: UInt8 = bytes.readInteger()
                {
                    opcodes.append(first & 0x0F)
                    bytes.moveReaderIndex(forwardBy: min(Int(length), bytes.readableBytes))
                }
            }
            return opcodes
        }

        /// A frame of a browser: masked, with nothing to mask.
        func hear(_ opcode: UInt8, _ payload: [UInt8] = []) throws {
            try self.channel.writeInbound(
                ByteBuffer(
                    bytes: [0x80 | opcode, 0x80 | UInt8(payload.count), 0, 0, 0, 0] + payload))
        }

        var isOver: Bool { self.ends.withLockedValue { $0 } == 1 }
    }

    @Test func `a page that answers pings is never given up`() throws {
        let stage = try Stage()
        #expect(try stage.sent() == [2])
        for _ in 0..<20 {
            stage.loop.advanceTime(by: .seconds(15))
            #expect(try stage.sent().contains(9))
            try stage.hear(10)
        }
        #expect(stage.channel.isActive)
    }

    @Test func `a page that is silent is given up, and waited for`() throws {
        let stage = try Stage()
        stage.loop.advanceTime(by: .seconds(24))
        #expect(stage.channel.isActive)
        stage.loop.advanceTime(by: .seconds(1))
        #expect(!stage.channel.isActive)
        #expect(!stage.isOver)
        stage.loop.advanceTime(by: .seconds(59))
        #expect(!stage.isOver)
        stage.loop.advanceTime(by: .seconds(1))
        #expect(stage.isOver)
    }

    /// Opcode 8; the codes of RFC 6455, 7.4.1: going away, normal, none.
    @Test(arguments: [([0x03, 0xE9], true), ([0x03, 0xE8], false), ([], false)])
    func `only a page that says it goes away is waited for`(
        code: [UInt8], isWaitedFor: Bool
    ) throws {
        let stage = try Stage()
        try stage.hear(8, code)
        #expect(stage.isOver != isWaitedFor)
        stage.loop.advanceTime(by: .seconds(60))
        #expect(stage.isOver)
    }

    @Test func `text is no message of that page`() throws {
        let stage = try Stage()
        #expect(try stage.sent() == [2])
        try? stage.hear(1, Array("hello".utf8))
        #expect(try stage.sent() == [8])
        #expect(stage.isOver)
    }
}

import NIOCore
import NIOEmbedded
import NIOWebSocket
import Testing

@testable import TunnelTransport

struct WebSocketTransportHandlerTests {
    private typealias Script = [(
        fin: Bool, opcode: NIOWebSocket.WebSocketOpcode, payload: [UInt8]
    )]

    /// The oracle: NIO's own encoder, with or without a mask.
    private static func frames(
        _ frames: Script,
        mask: Bool
    ) throws -> ByteBuffer {
        let channel = EmbeddedChannel(handler: WebSocketFrameEncoder())
        var bytes = ByteBuffer()
        for (index, frame) in frames.enumerated() {
            let key = UInt8(truncatingIfNeeded: index &* 37 &+ 11)
            try channel.writeOutbound(
                WebSocketFrame(
                    fin: frame.fin, opcode: frame.opcode,
                    maskKey: mask ? [key, key ^ 0xFF, 3, 0xC1] : nil,
                    data: ByteBuffer(bytes: frame.payload)))
            while var part = try channel.readOutbound(as: ByteBuffer.self) {
                bytes.writeBuffer(&part)
            }
        }
        _ = try channel.finish()
        return bytes
    }

    private static func channel(_ role: WebSocketRole) throws -> EmbeddedChannel {
        let channel = EmbeddedChannel(handler: WebSocketTransportHandler(role: role))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return channel
    }

    private static func inbound(_ channel: EmbeddedChannel) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let part = try channel.readInbound(as: ByteBuffer.self) {
            bytes += part.readableBytesView
        }
        return bytes
    }

    private static func outbound(_ channel: EmbeddedChannel) throws -> ByteBuffer {
        var bytes = ByteBuffer()
        while var part = try channel.readOutbound(as: ByteBuffer.self) {
            bytes.writeBuffer(&part)
        }
        return bytes
    }

    /// The oracle of the other direction: NIO's own decoder.
    private static func decode(_ bytes: ByteBuffer) throws -> [WebSocketFrame] {
        let decoder = ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: 1 << 25))
        let channel = EmbeddedChannel(handler: decoder)
        try channel.writeInbound(bytes)
        var frames: [WebSocketFrame] = []
        while let frame = try channel.readInbound(as: WebSocketFrame.self) {
            frames.append(frame)
        }
        _ = try channel.finish()
        return frames
    }

    @Test(arguments: [WebSocketRole.client, .server])
    func `the payload is the same however the network cuts it`(role: WebSocketRole) throws {
        let payloads: [[UInt8]] = [0, 1, 7, 125, 126, 300].map { count in
            (0..<count).map { UInt8($0 & 0xFF) }
        }
        var script: Script = payloads.map { (true, .binary, $0) }
        script += [
            (false, .binary, [1, 2, 3]), (true, .ping, [9]), (false, .continuation, []),
            (true, .continuation, [4, 5]),
        ]
        let bytes = try Self.frames(script, mask: role == .server)
        let expected = Array(payloads.joined()) + [1, 2, 3, 4, 5]

        for cut in 0...bytes.readableBytes {
            let channel = try Self.channel(role)
            var rest = bytes
            let first = rest.readSlice(length: cut)
            try channel.writeInbound(try #require(first))
            try channel.writeInbound(rest)
            #expect(try Self.inbound(channel) == expected, "cut at \(cut)")
            _ = try channel.finish()
        }
        let channel = try Self.channel(role)
        for byte in bytes.readableBytesView {
            try channel.writeInbound(ByteBuffer(bytes: [byte]))
        }
        #expect(try Self.inbound(channel) == expected)
    }

    @Test(arguments: [0, 1, 125, 126, 16_384, 16_385, 65_535, 65_536, 100_001])
    func `what is written is what NIO's decoder reads`(count: Int) throws {
        for role in [WebSocketRole.client, .server] {
            let channel = try Self.channel(role)
            let payload = ByteBuffer(bytes: (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) })
            try channel.writeOutbound(payload)
            let frames = try Self.decode(Self.outbound(channel))

            let frame = try #require(frames.first)
            #expect(frames.count == 1 && frame.fin && frame.opcode == .binary)
            #expect((frame.maskKey != nil) == (role == .client))
            #expect(frame.unmaskedData == payload)
        }
    }

    @Test func `part of a payload is passed on before the rest has come`() throws {
        let bytes = try Self.frames([(true, .binary, Array(repeating: 7, count: 1000))], mask: true)
        let channel = try Self.channel(.server)
        try channel.writeInbound(try #require(bytes.getSlice(at: 0, length: 8 + 10)))
        #expect(try Self.inbound(channel) == Array(repeating: 7, count: 10))
    }

    @Test(arguments: 0..<16)
    func `masks meet their bytes at every offset`(offset: Int) {
        let plain = (0..<100).map { UInt8($0) }
        let key: [UInt8] = [0xDE, 0xAD, 0xBE, 0xEF]
        var mask = WebSocketMask(key: 0xDEAD_BEEF)
        let first = ByteBuffer(bytes: plain[..<offset]).masked(with: &mask)
        let second = ByteBuffer(bytes: plain[offset...]).masked(with: &mask)
        let expected = plain.enumerated().map { $0.element ^ key[$0.offset % 4] }
        #expect(Array(first.readableBytesView) + Array(second.readableBytesView) == expected)
    }

    private static let violations: [(bytes: [UInt8], violation: WebSocketViolation, code: UInt16)] =
        [
            ([0xC2, 0x80, 0, 0, 0, 0], .reservedBits, 1002),
            ([0x83], .reservedOpcode(3), 1002),
            ([0x82, 0x00], .unmaskedFrame, 1002),
            ([0x09, 0x80], .fragmentedControlFrame, 1002),
            ([0x89, 0xFE], .controlFrameTooLong, 1002),
            ([0x82, 0xFE, 0, 125], .longLength(125), 1002),
            ([0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], .longLength(65535), 1002),
            ([0x82, 0xFF, 0, 0, 0, 0, 1, 0, 0, 1], .frameTooLong(16_777_217), 1009),
            ([0x82, 0xFF, 0xFF] + Array(repeating: 0xFF, count: 7), .frameTooLong(.max), 1009),
            ([0x80, 0x80, 0, 0, 0, 0], .continuationOfNothing, 1002),
            ([0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0], .messageInsideMessage, 1002),
            ([0x81, 0x80, 0, 0, 0, 0], .textMessage, 1003),
            ([0x88, 0x81, 0, 0, 0, 0, 3], .badCloseCode, 1002),
            ([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xED], .badCloseCode, 1002),
            ([0x88, 0x83, 0, 0, 0, 0, 0x03, 0xE8, 0xFF], .badCloseReason, 1007),
        ]

    @Test(arguments: 0..<15)
    func `a violation is told to both sides and closes the channel`(row: Int) throws {
        let (bytes, violation, code) = Self.violations[row]
        let channel = try Self.channel(.server)
        #expect(throws: violation) { try channel.writeInbound(ByteBuffer(bytes: bytes)) }

        let frame = try #require(try Self.decode(Self.outbound(channel)).first)
        var payload = frame.unmaskedData
        #expect(frame.opcode == .connectionClose)
        #expect(payload.readInteger(as: UInt16.self) == code)
        #expect(payload.readString(length: payload.readableBytes) == violation.message)

        try channel.writeInbound(ByteBuffer(bytes: [0x82, 0x81, 0, 0, 0, 0, 1]))
        #expect(try Self.inbound(channel).isEmpty)
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: WebSocketTransportHandler.closeTimeout)
        #expect(!channel.isActive)
    }

    @Test func `a client refuses masked frames`() throws {
        let channel = try Self.channel(.client)
        #expect(throws: WebSocketViolation.maskedFrame) {
            try channel.writeInbound(ByteBuffer(bytes: [0x82, 0x80]))
        }
    }

    @Test func `a ping is answered with its payload`() throws {
        let channel = try Self.channel(.server)
        try channel.writeInbound(Self.frames([(true, .ping, [1, 2, 3])], mask: true))
        let frame = try #require(try Self.decode(Self.outbound(channel)).first)
        #expect(frame.opcode == .pong)
        #expect(frame.unmaskedData == ByteBuffer(bytes: [1, 2, 3]))
    }

    @Test func `pings that outrun the socket are answered once, the last one`() throws {
        let channel = try Self.channel(.server)
        channel.isWritable = false
        try channel.writeInbound(
            Self.frames([(true, .ping, [1]), (true, .ping, [2])], mask: true))
        #expect(try Self.outbound(channel).readableBytes == 0)
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        let frames = try Self.decode(Self.outbound(channel))
        #expect(frames.map(\.unmaskedData) == [ByteBuffer(bytes: [2])])
    }

    @Test func `a close is answered with its code and closes the channel`() throws {
        let channel = try Self.channel(.server)
        let goodbye: [UInt8] = [0x03, 0xE9, 0x62, 0x79, 0x65]
        try channel.writeInbound(Self.frames([(true, .connectionClose, goodbye)], mask: true))
        let frame = try #require(try Self.decode(Self.outbound(channel)).first)
        #expect(frame.opcode == .connectionClose)
        #expect(frame.unmaskedData == ByteBuffer(bytes: goodbye))
        #expect(!channel.isActive)
    }

    @Test func `our close waits for the peer's answer`() throws {
        let channel = try Self.channel(.server)
        let handler = try channel.pipeline.syncOperations.handler(
            type: WebSocketTransportHandler.self)
        handler.closeWith(
            code: .policyViolation, reason: String(repeating: "é", count: 100))
        handler.closeWith(code: .normal, reason: "twice")

        let frames = try Self.decode(Self.outbound(channel))
        var payload = try #require(frames.first).unmaskedData
        #expect(frames.count == 1)
        #expect(payload.readInteger(as: UInt16.self) == 1008)
        #expect(
            payload.readString(length: payload.readableBytes) == String(repeating: "é", count: 61))
        #expect(throws: ChannelError.ioOnClosedChannel) {
            try channel.writeOutbound(ByteBuffer(bytes: [1]))
        }
        #expect(channel.isActive)
        try channel.writeInbound(Self.frames([(true, .connectionClose, [0x03, 0xF0])], mask: true))
        #expect(!channel.isActive)
    }

    @Test func `the example of the RFC gives the RFC's answer`() {
        let accept = WebSocketHandshake.accept(key: "dGhlIHNhbXBsZSBub25jZQ==")
        #expect(accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }
}

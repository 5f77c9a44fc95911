import NIOCore
import NIOEmbedded
import NIOSSL
import Testing

@testable import Relay

struct ClientHelloTests {
    /// What NIOSSL sends first.
    private func hello(serverName: String?, protocols: [String]) throws -> ByteBuffer {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.applicationProtocols = protocols
        let handler = try NIOSSLClientHandler(
            context: NIOSSLContext(configuration: tls), serverHostname: serverName)
        let channel = EmbeddedChannel(handler: handler)
        channel.connect(to: try SocketAddress(unixDomainSocketPath: "/x"), promise: nil)
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        let bytes = try channel.readOutbound(as: ByteBuffer.self)
        return try #require(bytes)
    }

    @Test func `server name and protocols are read from a real ClientHello`() throws {
        let named = try self.hello(serverName: "blue.share.test", protocols: ["postgresql"])
        let bare = try self.hello(serverName: nil, protocols: [])

        let found = ClientHello(serverName: "blue.share.test", offersProtocols: true)
        #expect(ClientHello.peek(named) == .found(found))
        #expect(ClientHello.peek(bare) == .found(ClientHello()))
    }

    @Test func `every cut of a ClientHello is incomplete`() throws {
        let whole = try self.hello(serverName: "blue.share.test", protocols: ["postgresql"])
        for count in 0..<whole.readableBytes {
            let part = try #require(whole.getSlice(at: whole.readerIndex, length: count))
            #expect(ClientHello.peek(part) == .incomplete)
        }
    }

    @Test(arguments: [
        [0x16, 3, 1, 0, 0], [0x16, 3, 1, 0xFF, 0xFF], [0x17, 3, 1, 0, 4, 1, 0, 0, 0], [0x53],
        [0x16, 3, 1, 0, 4, 1, 0xFF, 0xFF, 0xFF], [0x16, 3, 1, 0, 4, 2, 0, 0, 0],
    ])
    func `what is no ClientHello is left to TLS`(bytes: [UInt8]) {
        #expect(ClientHello.peek(ByteBuffer(bytes: bytes)) == .unreadable)
    }

    /// No length inside may make the reader run over the end.
    @Test(arguments: UInt64(0)..<300)
    func `a damaged ClientHello never traps`(seed: UInt64) throws {
        var bytes = try self.hello(serverName: "blue.share.test", protocols: ["postgresql"])
        var random = SeededGenerator(seed: seed)
        for _ in 0..<8 {
            let index = Int.random(in: 0..<bytes.readableBytes, using: &random)
            bytes.setInteger(random.byte(), at: bytes.readerIndex + index)
        }
        if case .found(let hello) = ClientHello.peek(bytes) {
            #expect((hello.serverName?.utf8.count ?? 0) <= 255)
        }
    }
}

import NIOCore
import NIOPosix

/// How a session's socket is set up.
enum SessionChannel {
    /// Bytes that may wait in a socket before its source is not read any further, and how few are
    /// left when it is again. Two reads of ``readBytes``.
    static let writeMark = ChannelOptions.Types.WriteBufferWaterMark(
        low: 128 * 1024, high: 512 * 1024)

    /// The most that one read takes.
    static let readBytes = 256 * 1024

    /// A silent network is noticed after 30 s and three more tries, 10 s apart: the defaults of
    /// systems are two hours.
    private static let keepalive: [(option: Int32, seconds: Int32)] = {
        #if os(Linux)
            [(4, 30), (5, 10), (6, 3)]  // TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT
        #else
            [(0x10, 30), (0x101, 10), (0x102, 3)]  // TCP_KEEPALIVE, _KEEPINTVL, _KEEPCNT
        #endif
    }()

    /// Call on the channel's event loop.
    static func configure(_ channel: any Channel, _ endpoint: DatabaseTarget.Endpoint) throws {
        guard let options = channel.syncOptions else { return }
        try options.setOption(.writeBufferWaterMark, value: self.writeMark)
        try options.setOption(
            .recvAllocator,
            value: AdaptiveRecvByteBufferAllocator(
                minimum: 4096, initial: 16 * 1024, maximum: self.readBytes))
        switch endpoint {
        case .unixSocket:
            break
        case .tcp:
            for (option, seconds) in self.keepalive {
                let name = ChannelOptions.Types.SocketOption(
                    level: .tcp, name: .init(rawValue: option))
                try options.setOption(name, value: Int(seconds))
            }
        }
    }
}

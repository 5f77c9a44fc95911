package import NIOCore
import NIOSSL

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The socket options of a tunnel's TCP connection, at both ends.
package enum TunnelSocket {
    /// Unsent bytes that the kernel may hold: more would stand between a bulk COPY and a one-row
    /// answer. Source: `ARCHITECTURE.md`, "Invariants": a slow client stops nobody else.
    static let notSentLowWaterBytes = 128 * 1024
    /// Milliseconds that sent bytes may stay unacknowledged. The tunnel's keepalive is as long.
    static let userTimeoutMilliseconds = 25_000
    /// Idle seconds before the first keepalive probe, between probes, and how many.
    static let keepalive: (idle: Int, interval: Int, count: Int) = (15, 5, 3)

    /// The longest wait before lost bytes are sent again. Linux goes up to two minutes: a network
    /// that was away for 20 s would be back for 20 more before the connection noticed.
    static let longestRetransmissionMilliseconds = 1_000

    /// Sets them as far as the platform knows them; none is needed for the tunnel to work.
    package static func tune(_ channel: any Channel) {
        Self.set(.init(level: .tcp, name: .tcp_nodelay), 1, on: channel)
        Self.set(.init(level: .socket, name: .so_keepalive), 1, on: channel)
        #if os(Linux)
            let idle = NIOBSDSocket.Option(rawValue: TCP_KEEPIDLE)
            Self.set(.init(level: .tcp, name: idle), Self.keepalive.idle, on: channel)
            let interval = NIOBSDSocket.Option(rawValue: TCP_KEEPINTVL)
            Self.set(.init(level: .tcp, name: interval), Self.keepalive.interval, on: channel)
            let count = NIOBSDSocket.Option(rawValue: TCP_KEEPCNT)
            Self.set(.init(level: .tcp, name: count), Self.keepalive.count, on: channel)
            let timeout = NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT)
            Self.set(.init(level: .tcp, name: timeout), Self.userTimeoutMilliseconds, on: channel)
            // TCP_RTO_MAX_MS of linux/tcp.h, since Linux 6.15.
            let longest = NIOBSDSocket.Option(rawValue: 44)
            Self.set(
                .init(level: .tcp, name: longest), Self.longestRetransmissionMilliseconds,
                on: channel)
            // TCP_THIN_LINEAR_TIMEOUTS of linux/tcp.h: where little is on its way (a query), six
            // waits as long as the first before they double. Not under BBR: the kernel wants a
            // slow-start threshold for it, and BBR sets none.
            let linear = NIOBSDSocket.Option(rawValue: 16)
            Self.set(.init(level: .tcp, name: linear), 1, on: channel)
            // TCP_NOTSENT_LOWAT of linux/tcp.h; glibc's netinet/tcp.h does not have it everywhere.
            let lowWater = NIOBSDSocket.Option(rawValue: 25)
            Self.set(.init(level: .tcp, name: lowWater), Self.notSentLowWaterBytes, on: channel)
        #endif
    }

    /// Closes at once, with a reset, past TLS's goodbye: what the peer has not got by now it will
    /// never get, also if the network comes back. On the channel's event loop.
    package static func abort(_ channel: any Channel) {
        if let provider = channel as? any SocketOptionProvider {
            provider.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in }
        }
        let tls = try? channel.pipeline.syncOperations.context(
            handlerType: NIOSSLClientHandler.self)
        if let tls { tls.close(promise: nil) } else { channel.close(promise: nil) }
    }

    private static func set(
        _ option: ChannelOptions.Types.SocketOption,
        _ value: Int,
        on channel: any Channel
    ) {
        try? channel.syncOptions?.setOption(option, value: value)
    }
}

import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Finds out peers that are gone without a word.
enum HalfOpenPeers {
    /// Sets an accepted socket up, at either door.
    static func setOptions(_ channel: any Channel) throws {
        guard let options = channel.syncOptions else { return }
        try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
        try options.setOption(.socketOption(.so_keepalive), value: 1)
        #if os(Linux)
            // Half-open clients are found after 60 s of silence and three probes. No
            // TCP_USER_TIMEOUT: it also ends a client that is there but reads nothing for that
            // long (a result in a pager), because its closed window counts as unacknowledged.
            // Source: Linux, `tcp_probe_timer` in net/ipv4/tcp_timer.c.
            try options.setOption(.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: 60)
            try options.setOption(.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: 10)
            try options.setOption(.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: 3)
        #endif
    }
}

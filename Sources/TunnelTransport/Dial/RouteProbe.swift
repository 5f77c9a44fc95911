package import NIOCore
package import TunnelWire

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Asks the system which way it would take, by connecting a datagram socket: no packet is sent.
package enum RouteProbe {
    /// The route to `remote`, as it is now.
    package static func route(to remote: SocketAddress) -> LinkWatch.Route {
        let family: CInt
        switch remote {
        case .v4: family = AF_INET
        case .v6: family = AF_INET6
        case .unixDomainSocket: return .unknown
        }
        #if canImport(Glibc)
            let kind = CInt(SOCK_DGRAM.rawValue)
        #else
            let kind = SOCK_DGRAM
        #endif
        let descriptor = socket(family, kind, 0)
        guard descriptor >= 0 else { return .unknown }
        defer { close(descriptor) }
        let connected = remote.withSockAddr { address, size in
            connect(descriptor, address, socklen_t(size))
        }
        guard connected == 0 else {
            switch errno {
            case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL: return .none
            default: return .unknown
            }
        }
        return Self.address(of: descriptor, family).map { .from($0) } ?? .unknown
    }

    /// What a connection uses, if the system would make the same choice again; policies may treat
    /// TCP in another way, and then there is nothing to compare.
    package static func route(of channel: any Channel) -> LinkWatch.Route {
        guard let remote = channel.remoteAddress, let local = channel.localAddress?.ipAddress,
            Self.route(to: remote) == .from(local)
        else { return .unknown }
        return .from(local)
    }

    /// Read as bytes: which module has the fields of these structures depends on the platform.
    private static func address(of descriptor: CInt, _ family: CInt) -> String? {
        let room = MemoryLayout<sockaddr_storage>.size
        return withUnsafeTemporaryAllocation(byteCount: room, alignment: 8) { bytes in
            guard let base = bytes.baseAddress else { return nil }
            var size = socklen_t(room)
            let address = base.bindMemory(to: sockaddr.self, capacity: 1)
            guard getsockname(descriptor, address, &size) == 0 else { return nil }
            // Behind family and port, and for IPv6 behind the flow label.
            let offset = family == AF_INET ? 4 : 8
            var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
            guard inet_ntop(family, base + offset, &text, socklen_t(text.count)) != nil else {
                return nil
            }
            return String(
                decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }
}

import Dispatch
import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Whether a host takes TCP connections from this machine: a host that is IPv6 only does not
/// where there is no IPv6.
///
/// By the system's resolver and sockets on a thread of its own, since both block.
public enum Reachability {
    /// Milliseconds that one address gets to answer.
    static let timeoutMilliseconds: Int32 = 5_000
    /// Addresses of a host that are tried.
    static let maximumAddresses = 4

    /// Resolves the host and connects to the first address that answers.
    ///
    /// - Parameters:
    ///   - host: A name or an address.
    ///   - port: 1...65535.
    /// - Returns: Whether one did.
    public static func probe(host: String, port: Int) async -> Bool {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(returning: self.connects(host: host, port: port))
            }
        }
    }

    private static func connects(host: String, port: Int) -> Bool {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_protocol = Int32(IPPROTO_TCP)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0, let list else { return false }
        defer { freeaddrinfo(list) }
        var next: UnsafeMutablePointer<addrinfo>? = list
        for _ in 0..<Self.maximumAddresses {
            guard let address = next?.pointee else { return false }
            if self.connects(address) { return true }
            next = address.ai_next
        }
        return false
    }

    private static func connects(_ address: addrinfo) -> Bool {
        let descriptor = socket(address.ai_family, address.ai_socktype, address.ai_protocol)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        let flags = fcntl(descriptor, F_GETFL)
        guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 else { return false }
        if connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 { return true }
        guard errno == EINPROGRESS else { return false }
        var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&waiting, 1, Self.timeoutMilliseconds) == 1 else { return false }
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        let asked = getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
        return asked == 0 && error == 0
    }
}

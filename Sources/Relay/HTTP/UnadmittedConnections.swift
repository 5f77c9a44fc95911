import NIOCore
import Synchronization

/// Counts the connections that have not shown a token yet, in total and by where they come from.
final class UnadmittedConnections: Sendable {
    private struct State {
        var total = 0
        var byOrigin: [[UInt8]: Int] = [:]
    }

    private let maximum: Int
    private let maximumPerOrigin: Int
    private let state = Mutex(State())

    init(maximum: Int, maximumPerOrigin: Int) {
        self.maximum = maximum
        self.maximumPerOrigin = maximumPerOrigin
    }

    /// Counts one more, unless there are too many. Every true is followed by one ``left(_:)``.
    func entered(_ address: SocketAddress?) -> Bool {
        let origin = Self.origin(of: address)
        return self.state.withLock { state in
            guard state.total < self.maximum else { return false }
            if let origin {
                let count = state.byOrigin[origin, default: 0]
                guard count < self.maximumPerOrigin else { return false }
                state.byOrigin[origin] = count + 1
            }
            state.total += 1
            return true
        }
    }

    /// One of them was admitted or went away.
    func left(_ address: SocketAddress?) {
        let origin = Self.origin(of: address)
        self.state.withLock { state in
            state.total -= 1
            guard let origin, let count = state.byOrigin[origin] else { return }
            state.byOrigin[origin] = count > 1 ? count - 1 : nil
        }
    }

    /// How many there are now.
    var count: Int { self.state.withLock { $0.total } }

    /// The IPv4 address, or the network part of the IPv6 address; nil for loopback and sockets
    /// without an address.
    static func origin(of address: SocketAddress?) -> [UInt8]? {
        switch address {
        case .v4(let v4):
            // Behind family and port. Source: ip(7).
            let origin = withUnsafeBytes(of: v4.address) { [UInt8]($0.dropFirst(4).prefix(4)) }
            return origin.first == 127 ? nil : origin
        case .v6(let v6):
            // Behind family, port and flow. Source: ipv6(7).
            let whole = withUnsafeBytes(of: v6.address) { [UInt8]($0.dropFirst(8).prefix(16)) }
            return Self.origin(ofIPv6: whole)
        case .unixDomainSocket, .none:
            return nil
        }
    }

    private static func origin(ofIPv6 whole: [UInt8]) -> [UInt8]? {
        let mapped = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]
        if whole.starts(with: mapped) {
            let v4 = Array(whole.dropFirst(mapped.count))
            return v4.first == 127 ? nil : v4
        }
        let loopback = [UInt8](repeating: 0, count: 15) + [1]
        // One customer gets a /64 at least, so that is what counts as one.
        return whole == loopback ? nil : Array(whole.prefix(8))
    }
}

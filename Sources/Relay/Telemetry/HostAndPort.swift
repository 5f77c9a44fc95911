import NIOCore

extension SocketAddress {
    /// `127.0.0.1:5432`, `[::1]:5432`: as settings spell it.
    var hostAndPort: String {
        guard let host = self.ipAddress, let port = self.port else { return "\(self)" }
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

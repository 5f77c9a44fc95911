import NIOConcurrencyHelpers

/// The live tunnels, by id and by the sessions of their links.
final class TunnelRegistry: Sendable {
    private struct State {
        var tunnels: [String: RelayTunnel] = [:]
        var sessions: [String: RelayTunnel] = [:]
        var isStopping = false
    }

    private let state = NIOLockedValueBox(State())

    func insert(_ tunnel: RelayTunnel) {
        self.state.withLockedValue { $0.tunnels[tunnel.id] = tunnel }
    }

    func insert(session: String, of tunnel: RelayTunnel) {
        self.state.withLockedValue { $0.sessions[session] = tunnel }
    }

    func remove(session: String) {
        _ = self.state.withLockedValue { $0.sessions.removeValue(forKey: session) }
    }

    func remove(_ tunnel: RelayTunnel) {
        _ = self.state.withLockedValue { $0.tunnels.removeValue(forKey: tunnel.id) }
    }

    func tunnel(id: String) -> RelayTunnel? { self.state.withLockedValue { $0.tunnels[id] } }

    func tunnel(session: String) -> RelayTunnel? {
        self.state.withLockedValue { $0.sessions[session] }
    }

    var all: [RelayTunnel] { self.state.withLockedValue { Array($0.tunnels.values) } }

    /// No new tunnels from here on.
    func stop() { self.state.withLockedValue { $0.isStopping = true } }
    var isStopping: Bool { self.state.withLockedValue { $0.isStopping } }
}

/// How the bytes of a link travel inside its connection to the relay.
package enum TunnelTransportKind: Sendable, Hashable {
    /// The connection itself, after `Upgrade: pgshare/1`.
    case raw
    /// Binary WebSocket messages, subprotocol `pgshare.v1`.
    case webSocket
}

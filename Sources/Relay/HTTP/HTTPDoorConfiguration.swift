package import NIOCore
package import SharePolicy

/// Where the HTTPS door stands and what a stranger may use of it.
package struct HTTPDoorConfiguration: Hashable, Sendable {
    /// The host to listen on: a name or an address.
    package var host: String
    /// The port to listen on; 0 picks a free one.
    package var port: Int
    /// Proxies that say in a PROXY header where a client is; from nobody else is one read.
    package var proxies = TrustedProxies()
    /// What a stranger may use.
    package var limits = HTTPDoorLimits()
    /// Whether a second relay of this user may listen on the same port, to take over.
    package var sharesPort = false

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }
}

/// The bounds of the HTTPS door. All of them hold before anybody has shown a token.
package struct HTTPDoorLimits: Hashable, Sendable {
    /// Connections at once, tunnels included; above it the door stops accepting until one closes.
    package var maximumConnections = 20_000
    /// Connections at once that are not tunnels. Where they are all taken, a newcomer gets the
    /// place of the oldest one of an address that has more than its own.
    package var maximumUnadmitted = 4_096
    /// Of these, from one address (IPv6: from one /64). Loopback is exempt: a reverse proxy on this
    /// machine makes all the world come from there.
    package var maximumUnadmittedPerAddress = 128
    /// Bytes of a request line and its headers, and of each header.
    ///
    /// A token and a WebSocket handshake need less than 1 KiB; proxies add some of their own.
    package var maximumHeaderBytes = 16 * 1024
    /// Headers of a request.
    package var maximumHeaderCount = 64
    /// Bytes of a request body. No address of version 1 reads one.
    package var maximumBodyBytes = 16 * 1024
    /// Time from accept to a whole request, its TLS handshake and token look-up included
    /// (`ARCHITECTURE.md`, "Invariants": one deadline). After that a request has as long again for
    /// each body.
    package var handshakeTimeout = TimeAmount.seconds(10)
    /// How long a connection that was answered may stay without a new request.
    package var idleTimeout = Duration.seconds(60)

    package init() {}
}

extension RelayConfiguration {
    /// The limits of the HTTPS door: strangers get as much there as at the front door.
    var httpLimits: HTTPDoorLimits {
        var limits = HTTPDoorLimits()
        limits.maximumUnadmitted = self.admission.maximumPending
        limits.maximumUnadmittedPerAddress = min(
            limits.maximumUnadmittedPerAddress, self.admission.maximumPending)
        limits.handshakeTimeout = TimeAmount(self.admission.handshakeTimeout)
        return limits
    }
}

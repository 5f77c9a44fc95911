import NIOCore
import SharePolicy
import SharedSession
import TunnelWire

/// What the relay grants to tunnels. Each default says why.
struct TunnelConfiguration: Sendable {
    /// The domain below which shares have host names. Where it has no wildcard DNS (`localhost`),
    /// clients carry the share in their user name.
    var domain = "localhost"
    /// The host and port that clients connect to, as HELLO_OK tells them.
    var postgresPort = 15_432
    /// Links a tunnel should have: one for each event loop of the relay.
    var links = 1
    /// How long a cut link waits to be resumed. Long enough for a laptop that changes networks.
    var grace = TimeAmount.seconds(30)
    /// How long that of a browser waits: tabs are frozen and laptops sleep for longer.
    var browserGrace = TimeAmount.seconds(60)
    /// From accept to HELLO or RESUME.
    var handshakeTimeout = TimeAmount.seconds(10)
    /// How long a share lasts that asks for nothing: a working day.
    var defaultExpirySeconds = 8 * 3_600
    /// The longest a share may ask for: 90 days. Longer-lived things deserve a look now and then.
    var maximumExpirySeconds = 90 * 24 * 3_600
    /// Streams, windows and replay of each link.
    var limits = LinkLimits()
    /// The same for browsers.
    var browserLimits = LinkLimits.browser
    /// How long clients may keep and await a browser's one session. A share may ask for other
    /// times.
    var session = SessionLimits()
    /// Whether every database in a browser takes one client at a time.
    var exclusive = false

    /// Whether `ID.DOMAIN` leads to this relay.
    var hasWildcard: Bool {
        let last = self.domain.split(separator: ".").last ?? ""
        let isAddress = last.allSatisfy(\.isNumber) || self.domain.contains(":")
        return self.domain.contains(".") && last != "localhost" && !isAddress
    }

    /// What HELLO asked of the share's one session; nil for a share with a backend a client.
    func sessionLimits(_ request: Hello.ShareRequest) -> SessionLimits? {
        guard request.sessions != nil else { return nil }
        var limits = self.session
        if let wait = request.waitSeconds { limits.waitTimeout = Self.time(wait) }
        if let idle = request.idleSeconds { limits.idleTimeout = Self.time(idle) }
        return limits
    }

    /// Seconds that a stranger wrote, within what is served.
    private static func time(_ seconds: Double) -> TimeAmount {
        .milliseconds(Int64(min(max(seconds, 1), 3_600) * 1_000))
    }

    /// The host that clients of a share connect to.
    func clientHost(of share: Share) -> String {
        self.hasWildcard ? "\(share.label).\(self.domain)" : self.domain
    }

    /// The user that they log in as: where the host does not name the share, the user does.
    func clientLogin(of share: Share) -> String {
        self.hasWildcard ? share.user : "\(share.user).\(share.label)"
    }
}

extension Share {
    /// What addresses call it: the name, or the id where it has none.
    fileprivate var label: String { self.name?.rawValue ?? self.id.rawValue }
}

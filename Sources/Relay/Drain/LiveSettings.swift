import NIOConcurrencyHelpers
import SharedSession

/// The settings that a running relay may be given anew. What began before goes on as it began.
final class LiveSettings: Sendable {
    private let configuration: NIOLockedValueBox<RelayConfiguration>

    init(_ configuration: RelayConfiguration) {
        self.configuration = NIOLockedValueBox(configuration)
    }

    var current: RelayConfiguration { self.configuration.withLockedValue { $0 } }

    /// Takes what may change while the relay runs; the rest stays as it is.
    func apply(_ new: RelayConfiguration) {
        self.configuration.withLockedValue { $0.takeRunTimeSettings(of: new) }
    }

    /// What tunnels that come now are granted.
    func tune(_ tunnels: inout TunnelConfiguration) {
        let current = self.current
        tunnels.browserGrace = current.browserGrace
        tunnels.session.waitTimeout = current.sessionWait
        tunnels.session.idleTimeout = current.sessionIdle
        tunnels.session.noticeAfter = current.sessionNotice
    }

    /// How long clients that come now may stay.
    var clientLimits: ClientLimits {
        self.configuration.withLockedValue {
            ClientLimits(idle: $0.clientIdle, lifetime: $0.clientLifetime)
        }
    }
}

import NIOConcurrencyHelpers

/// The settings that a running relay may be given anew. What began before goes on as it began.
final class LiveSettings: Sendable {
    private let configuration: NIOLockedValueBox<RelayConfiguration>

    init(_ configuration: RelayConfiguration) {
        self.configuration = NIOLockedValueBox(configuration)
    }

    var current: RelayConfiguration { self.configuration.withLockedValue { $0 } }

    /// How long clients that come now may stay.
    var clientLimits: ClientLimits {
        self.configuration.withLockedValue {
            ClientLimits(idle: $0.clientIdle, lifetime: $0.clientLifetime)
        }
    }
}

public import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
public import ServiceLifecycle

/// The public server: the front door, the tunnel door, and what they share.
public final class Relay: Service {
    private let configuration: RelayConfiguration
    private let logger: Logger
    private let onListening: @Sendable (RelayAddresses) -> Void
    private let control: RelayControl
    private let house = NIOLockedValueBox<RelayHouse?>(nil)

    /// Creates a relay; ``run()`` starts it.
    ///
    /// - Parameters:
    ///   - configuration: What to serve, and where.
    ///   - logger: For everything that happens.
    ///   - onListening: Called once, when both doors accept.
    public init(
        configuration: RelayConfiguration, logger: Logger,
        onListening: @escaping @Sendable (RelayAddresses) -> Void
    ) {
        self.configuration = configuration
        self.logger = logger
        self.onListening = onListening
        self.control = RelayControl(doors: configuration.httpHost == nil ? 1 : 2)
    }

    /// Serves until the relay was told to end and has drained, or its task is cancelled.
    ///
    /// - Throws: ``RelayError`` if the relay cannot start.
    public func run() async throws {
        let group = MultiThreadedEventLoopGroup(
            numberOfThreads: max(1, self.configuration.eventLoops))
        let result: Result<Void, any Error>
        do {
            let house = try await RelayHouse(
                self.configuration, group: group, self.control, self.logger)
            self.house.withLockedValue { $0 = house }
            try await house.run(onListening: self.onListening)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        self.house.withLockedValue { $0 = nil }
        await Self.settle(group)
        try result.get()
    }

    /// Steps from the end of a tunnel to the last byte for its clients: the link's event loop, the
    /// client's, and what TLS writes behind it.
    private static let settlingRounds = 4

    /// Lets the goodbyes leave. The event loops stay as long as the process, as NIO's own do: what
    /// Hummingbird lets go of after its server has ended still counts on them.
    private static func settle(_ group: MultiThreadedEventLoopGroup) async {
        for _ in 0..<Self.settlingRounds {
            for loop in group.makeIterator() { try? await loop.submit {}.get() }
        }
    }

    /// A signal asks the relay to end. The first one drains: nobody is let in any more, and every
    /// client is ended where nothing is cut, up to ``RelayConfiguration/drainTimeout``. A second
    /// one stops at once.
    public func stop() async {
        let end = await self.control.signalled()
        if end == .now { self.logger.info("told again to stop: nobody is waited for") }
    }

    /// Serves the certificate that its files hold now. A running relay looks by itself every
    /// second; who has just replaced it need not wait.
    public func reloadCertificate() {
        self.house.withLockedValue { $0 }?.tls.reloadIfChanged()
    }

    /// Takes what may change while the relay runs: how long a drain lasts, how long clients may
    /// stay, and the times of browsers' sessions. What began before goes on as it began.
    public func apply(_ configuration: RelayConfiguration) {
        self.house.withLockedValue { $0 }?.live.apply(configuration)
    }
}

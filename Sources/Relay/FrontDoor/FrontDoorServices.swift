import Logging
import NIOCore
import NIOPosix
import SharePolicy
import Synchronization

/// What every connection of the front door shares.
final class FrontDoorServices: Sendable {
    let configuration: FrontDoorConfiguration
    let directory: ShareDirectory
    let cancels: CancelDirectory
    let admission: AdmissionGate
    let tls: TLSContextBox
    let metrics: RelayMetrics
    let logger: Logger
    /// Where PBKDF2 runs.
    let threads: NIOThreadPool

    private let stopping = Atomic(false)

    init(
        configuration: FrontDoorConfiguration,
        directory: ShareDirectory,
        cancels: CancelDirectory,
        admission: AdmissionGate,
        tls: TLSContextBox,
        metrics: RelayMetrics,
        logger: Logger,
        threads: NIOThreadPool
    ) {
        self.configuration = configuration
        self.directory = directory
        self.cancels = cancels
        self.admission = admission
        self.tls = tls
        self.metrics = metrics
        self.logger = logger
        self.threads = threads
    }

    /// Whether the relay shuts down: who has not logged in yet is refused.
    var isStopping: Bool { self.stopping.load(ordering: .relaxed) }

    func stop() {
        self.stopping.store(true, ordering: .relaxed)
    }

    /// Puts the first handler on a connection that was just accepted, or turns it away.
    ///
    /// - Parameters:
    ///   - channel: The connection.
    ///   - purpose: What its port is for.
    ///   - proxies: Who says in front of a connection whom it is for.
    /// - Throws: ``TurnedAway``, or what the pipeline throws; close the channel then.
    func welcome(
        _ channel: any Channel, for purpose: ListeningPurpose = .clients,
        behind proxies: TrustedProxies
    ) throws {
        let address = channel.remoteAddress
        let visit = Visit(self, address: address, now: channel.eventLoop.now)
        let isProxy = proxies.contains(address?.ipAddress)
        guard visit.arrived(channel, isProxy: isProxy) else {
            visit.turnedAway()
            throw TurnedAway()
        }
        self.metrics.clientsOpen.increment()
        let operations = channel.pipeline.syncOperations
        switch purpose {
        case .clients: try operations.addHandler(StartupHandler(visit))
        case .cancelRequests: try operations.addHandler(CancelPortHandler(visit))
        }
        guard isProxy else { return }
        let header = ProxyHeaderHandler { finding, context in
            visit.found(finding, context: context)
        }
        try operations.addHandler(header, position: .first)
    }
}

/// Whom a port of the front door is for.
enum ListeningPurpose: Sendable {
    /// Postgres clients, who log in or cancel.
    case clients
    /// Relays of this machine, which hand cancel requests on.
    case cancelRequests
}

/// There are too many sockets that have not logged in.
struct TurnedAway: Error {}

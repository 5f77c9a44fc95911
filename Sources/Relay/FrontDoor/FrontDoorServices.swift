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
    /// - Throws: ``TurnedAway``, or what the pipeline throws; close the channel then.
    func welcome(_ channel: any Channel) throws {
        let address = channel.remoteAddress
        let visit = Visit(self, address: address, now: channel.eventLoop.now)
        switch self.admission.accepted(from: visit.source) {
        case .refuse(let reason):
            // In silence: an answer to each would be work that strangers can ask for.
            self.metrics.refusals.add(reason)
            self.logger.log(
                .debug, "a socket was turned away",
                [.reason: reason.rawValue, .address: visit.addressText])
            throw TurnedAway()
        case .proceed:
            self.metrics.clientsOpen.increment()
            visit.arrived(channel)
            try channel.pipeline.syncOperations.addHandler(StartupHandler(visit))
        }
    }
}

/// There are too many sockets that have not logged in.
struct TurnedAway: Error {}

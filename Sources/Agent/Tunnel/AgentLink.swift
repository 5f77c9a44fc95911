import Foundation
import NIOCore
import PostgresClient
import PostgresWire
import TunnelTransport
import TunnelWire

/// The agent's side of one link: serves what the relay opens. Lives on the link's event loop.
final class AgentLink: LinkDelegate {
    /// What the task that keeps the link must know.
    enum Signal: Sendable {
        /// Its clients wait; nothing was heard for that long.
        case lost(silence: TimeAmount)
        /// It goes on.
        case resumed
        /// It did not come back within the grace.
        case expired
        case goesAway
        case ended(LinkError?)
    }

    private struct Session {
        var key: CancelKey?
        var isEncrypted: Bool
    }

    private let service: AgentService
    private let signals: AsyncStream<Signal>.Continuation
    private var sessions: [StreamHandle: Session] = [:]
    /// Brings the link back. Gone with it.
    var keeper: LinkKeeper?

    init(service: AgentService, signals: AsyncStream<Signal>.Continuation) {
        self.service = service
        self.signals = signals
    }

    // MARK: LinkDelegate

    func link(_ link: Link, opened handle: StreamHandle, _ open: Open) {
        switch open.kind {
        case .session: self.serve(handle, open, on: link)
        case .cancel: self.cancel(handle, open, on: link)
        case .engine:
            // Only a sandbox that said it has one session is asked for it.
            link.reset(
                handle,
                StreamReset(
                    .refused, sqlState: "0A000", text: "an agent has a backend for each client"))
        }
    }

    func linkGoesAway(_ link: Link) { self.signals.yield(.goesAway) }
    func linkHeard(_ link: Link) {}
    func linkDisconnected(_ link: Link, reason: LinkLoss) {
        self.keeper?.disconnected(reason)
    }

    func linkEnded(_ link: Link, error: LinkError?) {
        self.keeper?.ended()
        self.keeper = nil
        self.signals.yield(.ended(error))
        self.signals.finish()
    }

    // MARK: Sessions

    private func serve(_ handle: StreamHandle, _ open: Open, on link: Link) {
        let stream = BackendStream(
            handle: handle, link: link, open: open, service: self.service,
            onKey: { key, isEncrypted in
                self.sessions[handle] = Session(key: key, isEncrypted: isEncrypted)
            },
            onEnd: { self.sessions[handle] = nil })
        stream.start()
    }

    // MARK: Cancel

    /// How often a cancel looks whether the query it is for has arrived.
    private static let cancelPoll = TimeAmount.milliseconds(5)
    /// How long it does so. A client that asked gives up by then.
    private static let cancelPatience = TimeAmount.seconds(10)

    private func cancel(_ handle: StreamHandle, _ open: Open, on link: Link) {
        let deadline = NIODeadline.now() + Self.cancelPatience
        self.cancel(handle, open, on: link, until: deadline)
    }

    /// Control frames overtake data: the query to cancel may still be on its way.
    private func cancel(
        _ handle: StreamHandle, _ open: Open, on link: Link, until deadline: NIODeadline
    ) {
        guard link.machine.contains(handle) else { return }
        guard let target = open.stream.flatMap({ link.machine.find($0) }),
            let session = self.sessions[target], let key = session.key,
            let offsets = link.machine.offsets(of: target), NIODeadline.now() < deadline
        else { return link.reset(handle, StreamReset(.closed)) }
        guard offsets.received >= open.after ?? 0 else {
            link.eventLoop.assumeIsolated().scheduleTask(in: Self.cancelPoll) {
                self.cancel(handle, open, on: link, until: deadline)
            }
            return
        }
        let done = self.service.connector.cancel(
            key, isEncrypted: session.isEncrypted, on: link.eventLoop)
        done.assumeIsolated().whenComplete { result in
            switch result {
            case .success: link.accept(handle)
            case .failure: link.reset(handle, StreamReset(.unreachable, sqlState: "57P03"))
            }
        }
    }
}

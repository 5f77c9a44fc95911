import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import SharePolicy

/// A door's ``PendingSockets``, behind its lock, with the way to close each of them. It decides
/// nothing of its own.
final class PendingGate: Sendable {
    private struct State {
        var sockets: PendingSockets
        var closers: [PendingSockets.Ticket: @Sendable () -> Void] = [:]
    }

    private let state: NIOLockedValueBox<State>
    private let displaced: Counter

    /// Creates a gate that has let nobody in.
    ///
    /// - Parameters:
    ///   - sockets: An empty set.
    ///   - displaced: Counts the sockets that made room for others.
    init(_ sockets: PendingSockets, displaced: Counter = Counter()) {
        self.state = NIOLockedValueBox(State(sockets: sockets))
        self.displaced = displaced
    }

    /// Sockets that have shown nothing yet.
    var count: Int { self.state.withLockedValue { $0.sockets.count } }

    /// A socket was accepted.
    ///
    /// - Parameters:
    ///   - peer: Whose it is.
    ///   - now: The time.
    ///   - close: Closes it where another gets its place. Called on any thread, once.
    /// - Returns: Its ticket, for ``left(_:)``; nil where it is turned away.
    func accepted(
        from peer: PendingSockets.Peer, now: NIODeadline, close: @escaping @Sendable () -> Void
    ) -> PendingSockets.Ticket? {
        self.settle(close) { $0.accepted(from: peer, now: now) }
    }

    /// A proxy has named the client of a socket.
    ///
    /// - Returns: Whether it may stay; else it does not count any more.
    func identified(
        _ ticket: PendingSockets.Ticket, as peer: PendingSockets.Peer, now: NIODeadline
    ) -> Bool {
        let close = self.state.withLockedValue { $0.closers.removeValue(forKey: ticket) }
        guard let close else { return false }
        return self.settle(close) { $0.identified(ticket, as: peer, now: now) } != nil
    }

    /// A socket is a stranger's no more, or is closed. To say so twice changes nothing.
    func left(_ ticket: PendingSockets.Ticket) {
        let close = self.state.withLockedValue { state in
            state.sockets.closed(ticket)
            return state.closers.removeValue(forKey: ticket)
        }
        // Freed outside of the lock: it may hold the last reference to a connection.
        withExtendedLifetime(close) {}
    }

    private func settle(
        _ close: @escaping @Sendable () -> Void,
        _ verb: (inout PendingSockets) -> PendingSockets.OnAccept
    ) -> PendingSockets.Ticket? {
        let (ticket, loser) =
            self.state.withLockedValue { state in
                switch verb(&state.sockets) {
                case .proceed(let ticket):
                    state.closers[ticket] = close
                    return (ticket, nil)
                case .displace(let ticket, let victim):
                    state.closers[ticket] = close
                    return (ticket, state.closers.removeValue(forKey: victim))
                case .refuse:
                    return (nil, nil)
                }
            } as (PendingSockets.Ticket?, (@Sendable () -> Void)?)
        if let loser {
            self.displaced.add()
            loser()
        }
        return ticket
    }
}

extension Channel {
    /// Closes at once, on the channel's event loop, without TLS's goodbye: whoever is thrown out
    /// must not keep his socket by leaving that unanswered.
    func closeAbruptly() {
        let tls = try? self.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self)
        if let tls {
            tls.close(promise: nil)
        } else {
            self.close(promise: nil)
        }
    }
}

import Foundation
import NIOConcurrencyHelpers
import NIOCore
import TunnelWire

/// What all links of an agent share: who may come in, the way to the database, who is told.
final class AgentService: Sendable {
    let connector: DatabaseConnector
    let policy: AgentPolicy
    private let onEvent: @Sendable (AgentEvent) -> Void
    private let state = NIOLockedValueBox(State())

    private struct State {
        var clients = 0
        var expiresAt = Date.distantFuture
    }

    init(
        connector: DatabaseConnector, policy: AgentPolicy,
        onEvent: @escaping @Sendable (AgentEvent) -> Void
    ) {
        self.connector = connector
        self.policy = policy
        self.onEvent = onEvent
    }

    func tell(_ event: AgentEvent) { self.onEvent(event) }

    /// The share ends then; the agent keeps to it even if the relay does not.
    func expire(at date: Date) { self.state.withLockedValue { $0.expiresAt = date } }

    /// Decides on a client, and counts it if it is served: ``release()`` it once.
    func admit(_ open: Open) -> AgentPolicy.Decision {
        self.state.withLockedValue { state in
            let decision = self.policy.decide(
                open, clients: state.clients, isOver: state.expiresAt <= Date())
            if case .serve = decision { state.clients += 1 }
            return decision
        }
    }

    func release() { self.state.withLockedValue { $0.clients -= 1 } }
}

import Foundation
import NIOConcurrencyHelpers
import NIOCore
import PostgresClient
import PostgresWire
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
        var farewells: [Int: EventLoopFuture<Void>] = [:]
        var lastFarewell = 0
        var outage = AgentOutage()
    }

    /// How long an agent that stops waits for the cancels it has sent: Postgres takes one in
    /// milliseconds, and a person who pressed Ctrl-C waits.
    private static let farewellTimeout = TimeAmount.seconds(2)

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

    // MARK: Outages

    /// A link is away, and nothing was heard on it for so long.
    func lost(_ session: String, link: Int, silence: TimeAmount) {
        let since = Date(timeIntervalSinceNow: -Double(silence.nanoseconds) / 1_000_000_000)
        let (isFirst, clients) = self.state.withLockedValue { state in
            (
                state.outage.lost(session, since: since, clients: state.clients), state.clients
            )
        }
        if isFirst { self.tell(.tunnelLost(link: link, since: since, clients: clients)) }
    }

    func resumed(_ session: String, link: Int) {
        let seconds = self.state.withLockedValue { $0.outage.resumed(session, now: Date()) }
        if let seconds { self.tell(.resumed(link: link, seconds: seconds)) }
    }

    func expired(_ session: String, link: Int) {
        let over = self.state.withLockedValue { $0.outage.expired(session, now: Date()) }
        guard let over else { return }
        self.tell(.tunnelExpired(link: link, seconds: over.seconds, clients: over.clients))
    }

    func ended(_ session: String) {
        self.state.withLockedValue { $0.outage.ended(session) }
    }

    // MARK: Farewells

    /// Cancels what a session does that nobody waits for any more. Its socket is closed already,
    /// so there is no next query that this could hit.
    func cancelAbandoned(_ key: CancelKey, isEncrypted: Bool, on loop: any EventLoop) {
        let done = self.connector.cancel(key, isEncrypted: isEncrypted, on: loop)
        let number = self.state.withLockedValue { state in
            state.lastFarewell += 1
            state.farewells[state.lastFarewell] = done
            return state.lastFarewell
        }
        done.whenComplete { _ in self.state.withLockedValue { $0.farewells[number] = nil } }
    }

    /// Waits until the cancels of abandoned sessions have reached Postgres, for a while.
    func settle(on loop: any EventLoop) async {
        let waiting = self.state.withLockedValue { Array($0.farewells.values) }
        guard !waiting.isEmpty else { return }
        let timer = loop.scheduleTask(in: Self.farewellTimeout) {}
        EventLoopFuture.andAllComplete(waiting, on: loop).whenComplete { _ in timer.cancel() }
        // Fails when it was cancelled: all are done.
        try? await timer.futureResult.get()
    }
}

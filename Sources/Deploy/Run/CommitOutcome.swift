import NIOCore
import PostgresClient

/// What became of a COMMIT whose answer was lost. The ledger's row is part of the transaction, so
/// that a new session can tell.
struct CommitOutcome: Sendable {
    /// How often the target is asked, ``pause`` apart: a minute, for a network that comes back.
    static let attempts = 30
    static let pause = Duration.seconds(2)

    private let deployment: Deployment

    init(_ deployment: Deployment) {
        self.deployment = deployment
    }

    /// Returns if the deploy is there.
    ///
    /// - Throws: ``DeployFailure`` with ``RunFailed/TargetState/untouched`` if it is not, and with
    ///   ``RunFailed/TargetState/unknown`` if the target does not answer.
    func settle(_ failure: SQLFailure) async throws(DeployFailure) {
        self.deployment.observer(
            .notice(
                RunNotice(
                    "the connection broke while the target committed; asking it what became of it",
                    isWarning: true)))
        for attempt in 0..<Self.attempts {
            if attempt > 0 {
                do {
                    try await Task.sleep(for: Self.pause)
                } catch {
                    break
                }
            }
            switch await self.ask() {
            case .committed: return
            case .absent:
                throw DeployFailure(failure, at: "committing at the target")
            case .undecided, nil: continue
            }
        }
        throw DeployFailure(
            "the connection broke while the target committed, and the target does not answer",
            hint: "It is complete or as before: pgshare deploy again will tell.",
            target: .unknown)
    }

    private func ask() async -> DeploymentOutcome? {
        let deployment = self.deployment
        do {
            let session = try await DeploySession.open(
                deployment.connectors.target, deployment.request.target,
                on: deployment.connectors.eventLoop)
            let outcome = try? await Ledger.outcome(
                session, deploymentID: deployment.request.id)
            await session.close()
            return outcome
        } catch {
            return nil
        }
    }
}

import NIOConcurrencyHelpers
import PostgresClient
import PostgresWire

/// What a restoring program said and was told: its steps for the person, and its first error in
/// the server's own words.
final class RestoreLog: Sendable {
    private struct State {
        var statement: String?
        var error: PostgresError?
        var failed: String?
    }

    private let state = NIOLockedValueBox(State())

    /// For the door.
    var door: DoorObserver {
        DoorObserver(
            statement: { text in
                self.state.withLockedValue { $0.statement = text.beginning }
            },
            error: { error in
                self.state.withLockedValue { state in
                    guard state.error == nil else { return }
                    state.error = error
                    state.failed = state.statement
                }
            })
    }

    /// For the program's own lines.
    func observer(
        _ phase: DeployPhase, _ observer: @escaping DeployObserver
    ) -> ToolProcess.Observer {
        { message in
            switch message.kind {
            case .progress: observer(.step(PhaseStep(phase, message.text)))
            case .warning: observer(.notice(RunNotice(message.text, isWarning: true)))
            case .error, .other: break
            }
        }
    }

    /// The server's error where there was one: the program's own says less.
    func failure(instead error: any Error) -> any Error {
        let (server, statement) = self.state.withLockedValue { ($0.error, $0.failed) }
        guard let server, !(error is CancellationError) else { return error }
        var failure = DeployFailure(SQLFailure(.server(server)), at: "the target")
        if let statement {
            let line = statement.split(whereSeparator: \.isNewline).first ?? ""
            failure.message += "; while it ran: \(line.prefix(200))"
        }
        return failure
    }
}

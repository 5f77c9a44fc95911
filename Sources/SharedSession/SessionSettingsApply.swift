package import PostgresWire

extension SessionInspection {
    /// Simple Queries that take the session from one client's settings to another's; none if they
    /// are equal. Each is one statement, so an error leaves what was before.
    package static func applyStatement(
        from: SessionSettings, to: SessionSettings
    ) -> [String] {
        []
    }

    /// What a client's startup packet sets: its `options` first, then its parameters, each a
    /// setting's name and value in the order in which Postgres applies them.
    package static func startupSettings(_ request: StartupRequest) -> [Parameter] {
        []
    }

    /// What a client is told at its start, as far as that is known without asking the engine.
    ///
    /// - Parameters:
    ///   - reported: What the engine reports (``Engine/reported``).
    ///   - startup: What the client sets (``startupSettings(_:)``).
    package static func greetingParameters(
        reported: [Parameter], startup: [Parameter]
    ) -> [Parameter] {
        reported
    }
}

/// Neon, by its API. Its protocol is ``NeonMachine``'s table.
public struct NeonProvider: CloudProvider {
    private let settings: ProviderSettings
    private let http: ProviderHTTP

    /// Creates a provider; nothing is sent yet.
    public init(_ settings: ProviderSettings) {
        self.settings = settings
        self.http = ProviderHTTP(
            base: settings.baseURL, dialect: .bearer(settings.token), limits: settings.limits,
            clock: settings.clock)
    }

    /// What preparing would do; see ``CloudProvider``.
    public func survey(
        _ request: ProviderRequest
    ) async throws(ProviderFailure) -> ProviderSurvey {
        let machine = NeonMachine(request, goal: .survey, limits: self.settings.limits)
        let shell = ProviderShell(
            self.http, self.settings, journal: SurveyJournal(), progress: { _ in })
        return try await shell.survey(machine)
    }

    /// Finds, adopts or creates the project and the branch; see ``CloudProvider``.
    public func prepare(
        _ request: ProviderRequest, journal: any ProviderJournal,
        progress: @escaping @Sendable (String) -> Void
    ) async throws(ProviderFailure) -> ProviderDatabase {
        let machine = NeonMachine(request, goal: .prepare, limits: self.settings.limits)
        let shell = ProviderShell(self.http, self.settings, journal: journal, progress: progress)
        return try await shell.prepare(machine)
    }

    /// Nothing was lent.
    public func release(_ database: ProviderDatabase) async {}
}

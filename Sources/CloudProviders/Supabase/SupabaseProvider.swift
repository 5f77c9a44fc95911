/// Supabase, by its management API. Its protocol is ``SupabaseMachine``'s table.
public struct SupabaseProvider: CloudProvider {
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
        let machine = SupabaseMachine(request, goal: .survey, limits: self.settings.limits)
        let shell = ProviderShell(
            self.http, self.settings, journal: SurveyJournal(), progress: { _ in })
        return try await shell.survey(machine)
    }

    /// Finds, adopts or creates the project; see ``CloudProvider``.
    public func prepare(
        _ request: ProviderRequest, journal: any ProviderJournal,
        progress: @escaping @Sendable (String) -> Void
    ) async throws(ProviderFailure) -> ProviderDatabase {
        let goal = SupabaseMachine.Goal.prepare(newPassword: .random())
        let machine = SupabaseMachine(request, goal: goal, limits: self.settings.limits)
        let shell = ProviderShell(
            self.http, self.settings, journal: journal, progress: progress)
        return try await shell.prepare(machine)
    }

    /// Deletes the temporary login role, if one was made.
    public func release(_ database: ProviderDatabase) async {
        guard database.passwordSeconds != nil, let ref = database.project.id,
            SupabaseStatus.isReference(ref)
        else { return }
        // It expires by itself within minutes, so a failure is no news.
        try? await self.http.send(SupabaseCalls.deleteLoginRoles(ref), read: { _ in })
    }
}

extension Ledger {
    /// Begins a deployment that moves nothing: rows go into tables that are there.
    ///
    /// - Returns: The schemas that exist; nothing was set aside.
    static func begin(
        _ session: any SQLSession, deploymentID: String
    ) async throws(LedgerFailure) -> SetAsideReport {
        let ledger = LedgerSession(session: session)
        var aside = SettingAside(
            session: ledger, deploymentID: deploymentID, keeps: false,
            survey: try await ledger.survey())
        try await aside.begin()
        return aside.report
    }
}

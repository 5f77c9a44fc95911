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
        if let live = aside.survey.records.live {
            // They stay, and are the new deployment's from now on, as the tables are.
            try await ledger.run([
                """
                insert into pgshare.deployed_large_object (deployment, loid)
                select \(SQLText.literal(deploymentID)), loid
                from pgshare.deployed_large_object where deployment = \(SQLText.literal(live.id))
                """
            ])
        }
        return aside.report
    }
}

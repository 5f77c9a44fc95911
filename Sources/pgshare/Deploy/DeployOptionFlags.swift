import ArgumentParser
import Deploy

/// The flags of `pgshare deploy` that say how, and what they come to.
struct DeployOptionFlags: ParsableArguments {
    @Flag(help: "Definitions, no rows.")
    var schemaOnly = false
    @Flag(help: "Rows, into tables that the target already has.")
    var dataOnly = false
    @Option(help: "A schema to deploy; * and ? stand for letters. Repeat for more.")
    var schema: [String] = []
    @Option(help: "A schema to leave out. Repeat for more.")
    var excludeSchema: [String] = []
    @Option(help: "A table to deploy, as schema.table. Repeat for more.")
    var table: [String] = []
    @Option(help: "What is compared before it counts: none, counts or full (default).")
    var verify: String?
    @Option(help: "auto, in-place (one transaction) or swap (a second database, renamed).")
    var method: String?
    @Option(help: "Tables copied at once with the method swap, 1 to 16.")
    var jobs: Int?
    @Option(help: "Owners and grants: auto, keep or leave-out.")
    var ownership: String?
    @Flag(help: "Replace objects of the same name that no deploy made.")
    var replace = false
    @Flag(help: "Do not keep the state before for a rollback.")
    var noKeep = false
    @Flag(help: "Leave out ANALYZE at the end.")
    var noAnalyze = false

    /// Flag, environment, file, default.
    func options(_ settings: Settings) async throws -> DeployOptions {
        let schemaOnly = try await settings.bool(.schemaOnly, flag: self.schemaOnly)
        let dataOnly = try await settings.bool(.dataOnly, flag: self.dataOnly)
        guard !(schemaOnly && dataOnly) else {
            throw ValidationError("--schema-only and --data-only leave nothing to deploy")
        }
        let jobs = try await settings.int(.jobs, flag: self.jobs)
        guard jobs.map(DeployOptions.allowedJobs.contains) ?? true else {
            throw SettingsError.unusableValue(
                .jobs, expected: "a number from 1 to \(DeployOptions.allowedJobs.upperBound)")
        }
        return DeployOptions(
            content: schemaOnly ? .schemaOnly : dataOnly ? .dataOnly : .all,
            schemas: try await settings.strings(.schema, flag: self.schema),
            excludedSchemas: try await settings.strings(
                .excludeSchema, flag: self.excludeSchema),
            tables: try await settings.strings(.table, flag: self.table),
            verify: try await settings.choice(
                .verify, flag: self.verify, of: DeployOptions.VerifyLevel.self) ?? .full,
            method: try await settings.choice(
                .method, flag: self.method, of: DeployOptions.Method.self) ?? .auto,
            jobs: jobs,
            ownership: try await settings.choice(
                .ownership, flag: self.ownership, of: DeployOptions.Ownership.self) ?? .auto,
            replaceForeign: try await settings.bool(.replace, flag: self.replace),
            keepsPrevious: try await !settings.bool(.noKeep, flag: self.noKeep),
            analyzes: try await !settings.bool(.noAnalyze, flag: self.noAnalyze))
    }
}

/// Decides what a deploy will do. Pure: what is known goes in, a plan comes out.
public enum Planner {
    /// Bytes of rows from which a swap with several lanes is quicker than one transaction.
    ///
    /// Below it, making and renaming a database costs more than the lanes save.
    public static let swapThresholdBytes: Int64 = 256 * 1024 * 1024

    /// Lanes where the user names none: each is a connection at both ends.
    public static let defaultJobs = 4

    /// What pg_dump is to look at, before there is a table of contents.
    public static func selection(
        options: DeployOptions,
        source: DatabaseFacts,
        provider: ProviderProfile
    ) -> DumpSelection {
        Selection(options: options, source: source, provider: provider).dumped
    }

    /// The plan.
    public static func plan(_ input: PlanInput) -> DeployPlan {
        let context = PlanContext(input)
        var plan = DeployPlan(
            source: Self.side(input.sourceEnd, input.source),
            target: Self.side(input.targetEnd, input.target),
            tools: input.tools, options: input.options)
        plan.target.provider = input.provider.name
        plan.method = context.method.chosen
        plan.jobs = context.method.jobs
        plan.keepsOwnership = context.ownership.isKept
        plan.selection = context.selection.dumped
        plan.rules = context.rules
        plan.schemas = context.selection.schemas
        plan.tables = context.tables
        plan.sequences = context.sequences
        plan.materializedViews = context.materializedViews
        plan.largeObjects = context.largeObjects
        plan.extensions = context.extensions
        plan.leftOut = context.leftOut
        plan.removed = context.removed.map(\.title)
        plan.foreign = context.foreign.map(\.title)
        plan.replaced = input.options.replaceForeign ? context.inTheWay.map(\.key) : []
        plan.lastDeployment = context.lastDeployment
        plan.findings = context.findings
        return plan
    }

    private static func side(_ end: PlanInput.End, _ facts: DatabaseFacts) -> DeployPlan.Side {
        DeployPlan.Side(
            description: end.description,
            serverVersion: facts.server.version,
            serverVersionText: facts.server.versionText,
            database: facts.server.database,
            bytes: facts.server.bytes,
            role: facts.role.name,
            provider: facts.server.provider
        )
    }
}

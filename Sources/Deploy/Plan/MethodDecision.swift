/// In place or by a swap, and with how many lanes.
struct MethodDecision {
    /// What is done.
    var chosen: DeployPlan.Method
    /// Lanes.
    var jobs: Int
    /// Lanes that were asked for; nil if as many are used, or none were.
    var reducedFrom: Int?
    /// What speaks against a swap, each a sentence without a full stop.
    var objections: [String]

    init(_ input: PlanInput, _ selection: Selection, foreign: [DeployedObject], bytes: Int64) {
        let objections = Self.objections(input, selection, foreign)
        let wanted = input.options.jobs ?? min(Planner.defaultJobs, max(input.cores, 1))
        let free = min(
            input.source.server.freeConnections - 1, input.target.server.freeConnections - 1)
        let lanes = max(1, min(wanted, free, DeployOptions.allowedJobs.upperBound))
        self.objections = objections
        switch input.options.method {
        case .inPlace:
            self.chosen = .inPlace
        case .swap:
            self.chosen = .swap
        case .auto:
            let pays = bytes >= Planner.swapThresholdBytes && lanes > 1
            self.chosen = pays && objections.isEmpty ? .swap : .inPlace
        }
        self.jobs = self.chosen == .swap ? lanes : 1
        self.reducedFrom = input.options.jobs.flatMap { [jobs] in $0 > jobs ? $0 : nil }
    }

    private static func objections(
        _ input: PlanInput,
        _ selection: Selection,
        _ foreign: [DeployedObject]
    ) -> [String] {
        let target = input.target
        let role = target.role
        let mayRename = role.isSuperuser || (role.canCreateDatabases && role.ownsDatabase)
        let managed = target.objects.contains {
            $0.kind == .schema && input.provider.excludedSchemas.contains($0.identity)
        }
        let checks: [(holds: Bool, objection: String)] = [
            (
                input.options.content == .all && !selection.isPartial,
                "only a part of the source is deployed"
            ),
            (input.provider.allowsSwap, "\(input.provider.name) does not allow a new database"),
            (mayRename, "\(role.name) may not create and rename databases there"),
            (foreign.isEmpty && !managed, "the target holds what no deploy made"),
            (!target.server.otherDatabases.isEmpty, "there is no other database to rename it from"),
            (
                target.server.acceptsSecondConnection && target.server.freeConnections > 0,
                "the target takes no second connection"
            ),
            (input.source.server.acceptsSecondConnection, "the source takes one connection only"),
            (
                target.server.otherSessions == 0,
                "others are connected to \(target.server.database)"
            ),
        ]
        return checks.filter { !$0.holds }.map(\.objection)
    }
}

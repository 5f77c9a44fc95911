/// Whether owners and grants of the source come along, and what speaks against it.
struct OwnershipDecision {
    /// Whether they do.
    var isKept: Bool
    /// Roles that own or were granted something, and that the target lacks.
    var missingRoles: [String]
    /// Owners for whom our role in the target may not act.
    var foreignOwners: [String]
    /// Objects with grants to others than their owners' roles; they lose them if nothing is kept.
    var granted: [RoleUse]

    init(_ input: PlanInput, _ selection: Selection) {
        let uses = input.source.roleUses.filter { selection.contains(schema: $0.schema) }
        let roles = Set(uses.map(\.role))
        let owners = Set(uses.filter { $0.reason == .owner }.map(\.role))
        let role = input.target.role
        self.missingRoles = roles.subtracting(input.target.roles).sorted()
        self.foreignOwners =
            role.isSuperuser
            ? [] : owners.intersection(input.target.roles).subtracting(role.memberOf).sorted()
        self.granted = uses.filter { $0.reason == .grant }
        switch input.options.ownership {
        case .keep:
            self.isKept = true
        case .leaveOut:
            self.isKept = false
        case .auto:
            self.isKept =
                !input.provider.leavesOutOwnership && self.missingRoles.isEmpty
                && self.foreignOwners.isEmpty
        }
    }
}

extension PlanContext {
    static func rules(
        _ input: PlanInput,
        _ ledger: LedgerState,
        _ selection: Selection,
        _ ownership: OwnershipDecision,
        _ outside: OutsideNeeds
    ) -> RestoreRules {
        let role = input.target.role
        let leaving = Set(ledger.objects.filter { $0.kind == .schema }.compactMap(\.name))
            .subtracting(ledger.stays.filter { $0.kind == .schema }.compactMap(\.name))
        let schemas = Set(input.target.schemas.map(\.name)).subtracting(leaving)
        return RestoreRules(
            excludedSchemas: Set(selection.excludedSchemas),
            existingSchemas: schemas.union(["public"]),
            excludedExtensions: self.excludedExtensions(input),
            missingLanguages: self.missingLanguages(input),
            leavesOutOwnership: !ownership.isKept,
            targetRoles: role.isSuperuser ? input.target.roles : role.memberOf,
            leavesOutExtensionComments: !role.isSuperuser,
            leavesOutEventTriggers: true,
            leavesOutPublications: !role.isSuperuser || input.provider.name != "generic",
            leavesOutSubscriptions: true,
            labelProviders: Set(
                input.target.securityLabels.compactMap { $0.split(separator: " ").first }
                    .map(String.init)),
            leavesOutLargeObjects: !selection.includesLargeObjects,
            excludedEntries: outside.excludedEntries
        )
    }

    /// Whether CREATE EXTENSION would work for our role in the target.
    static func canCreate(_ name: String, _ input: PlanInput) -> Bool {
        guard let available = input.target.availableExtensions[name] else { return false }
        let role = input.target.role
        return role.isSuperuser || input.provider.allowsExtensions
            || (!available.needsSuperuser && role.canCreateInDatabase)
    }

    /// What the target's provider, or the source's, sets up by itself, unless the target has it;
    /// and languages that cannot be had.
    private static func excludedExtensions(_ input: PlanInput) -> [String: String] {
        let own = ProviderProfile.named(input.source.server.provider) ?? .generic
        let managed = input.provider.excludedExtensions.union(own.excludedExtensions)
        let installed = Set(input.target.extensions.map(\.name))
        var reasons: [String: String] = [:]
        for found in input.source.extensions where !installed.contains(found.name) {
            if managed.contains(found.name) {
                reasons[found.name] = "the provider sets it up, or does not offer it"
            } else if self.isLanguage(found.name), !self.canCreate(found.name, input) {
                reasons[found.name] = "the target lacks the language \(found.name)"
            }
        }
        return reasons
    }

    /// Procedural languages are extensions of the same name.
    ///
    /// Source: PostgreSQL documentation, "Procedural Languages", and the extensions of others.
    static func isLanguage(_ name: String) -> Bool {
        let known: Set = [
            "plperl", "plperlu", "plpython3u", "pltcl", "pltclu", "plv8", "plcoffee", "plls",
            "pljava", "plr", "plrust", "pllua", "plluau", "plsh", "pltsql",
        ]
        return known.contains(name)
    }

    private static func missingLanguages(_ input: PlanInput) -> Set<String> {
        let used = Set(
            input.contents.entries.compactMap { entry in
                ["FUNCTION", "PROCEDURE"].contains(entry.kind) ? entry.language : nil
            })
        let coming = input.source.extensions.map(\.name)
            .filter { self.isLanguage($0) && self.canCreate($0, input) }
        // Made by hand, with handlers of the source's own: superusers only.
        let handmade = input.contents.entries.filter {
            $0.kind == "PROCEDURAL LANGUAGE" && input.target.role.isSuperuser
        }.map(\.tag)
        return used.subtracting(input.target.languages).subtracting(coming).subtracting(handmade)
    }
}

/// What of the deployed schemas needs something that is not deployed with it.
struct OutsideNeeds {
    /// Foreign keys to tables that the target has; they are checked against its rows.
    var keptForeignKeys: [ForeignKeyFacts] = []
    /// Foreign keys that stay out.
    var lostForeignKeys: [ForeignKeyFacts] = []
    /// Triggers whose function the target lacks: they stay out.
    var lostTriggers: [TriggerFacts] = []
    /// Triggers of tables that are not deployed, with a function that is.
    var triggersElsewhere: [TriggerFacts] = []
    /// Everything else that the target would have to have, and lacks.
    var missing: [Dependency] = []
    /// Entries that stay out for it, by number, with the reason.
    var excludedEntries: [Int: String] = [:]

    init(_ input: PlanInput, _ selection: Selection) {
        guard input.options.content != .dataOnly else { return }
        let there = Set(input.target.objects.map(\.identity))
        let tables = Dictionary(
            grouping: input.source.relations, by: { [$0.schema, $0.name] })
        func isDeployed(_ schema: String, _ table: String) -> Bool {
            tables[[schema, table]]?.contains(where: selection.contains) ?? false
        }
        for key in input.source.foreignKeys where isDeployed(key.schema, key.table) {
            guard !isDeployed(key.referencedSchema, key.referencedTable) else { continue }
            if Self.canHold(key, input) {
                self.keptForeignKeys.append(key)
            } else {
                self.lostForeignKeys.append(key)
            }
        }
        for trigger in input.source.triggers {
            let hasTable = isDeployed(trigger.schema, trigger.table)
            let hasFunction =
                selection.relations == nil && selection.contains(schema: trigger.functionSchema)
                && trigger.functionExtension == nil
            let findsFunction =
                trigger.functionSchema == "pg_catalog" || trigger.functionExtension != nil
                || there.contains(trigger.function)
            if hasTable, !hasFunction, !findsFunction { self.lostTriggers.append(trigger) }
            if !hasTable, hasFunction { self.triggersElsewhere.append(trigger) }
        }
        self.missing = Self.missing(input, selection, there)
        self.excludedEntries = self.entries(input.contents)
    }

    /// Whether the target has the table, and rows in it where there are rows to point to it.
    private static func canHold(_ key: ForeignKeyFacts, _ input: PlanInput) -> Bool {
        let referenced = input.target.relations.first {
            $0.schema == key.referencedSchema && $0.name == key.referencedTable
        }
        let own = input.source.relations.first { $0.schema == key.schema && $0.name == key.table }
        guard let referenced else { return false }
        return !referenced.isEmpty || own?.isEmpty == true || input.options.content == .schemaOnly
    }

    private static func missing(
        _ input: PlanInput,
        _ selection: Selection,
        _ there: Set<String>
    ) -> [Dependency] {
        let named = selection.relations.map { Set($0.map(\.identity)) }
        let relations = Set(input.target.relations.map(\.identity))
        return input.source.dependencies.filter { need in
            guard need.neededExtension == nil, !need.neededSchema.isEmpty,
                !need.neededSchema.hasPrefix("pg_"), selection.contains(schema: need.schema),
                !(need.kind == "trigger" && need.neededKind == "function"),
                !(need.kind == "table constraint" && need.neededKind.hasSuffix("table"))
            else { return false }
            guard !there.contains(need.needed), !relations.contains(need.needed) else {
                return false
            }
            guard let named else { return !selection.contains(schema: need.neededSchema) }
            // pg_dump adds the sequences that the columns of a named table own.
            return named.contains(need.host) && !named.contains(need.needed)
                && need.neededKind != "sequence"
        }
    }

    private func entries(_ contents: TableOfContents) -> [Int: String] {
        var reasons: [String: String] = [:]
        for key in self.lostForeignKeys {
            reasons["FK CONSTRAINT \(key.schema) \(key.table) \(key.name)"] =
                "\(key.referencedSchema).\(key.referencedTable) is not deployed"
        }
        for trigger in self.lostTriggers {
            reasons["TRIGGER \(trigger.schema) \(trigger.table) \(trigger.name)"] =
                "\(trigger.function) is not deployed"
        }
        guard !reasons.isEmpty else { return [:] }
        return contents.entries.reduce(into: [:]) { found, entry in
            found[entry.dumpID] = reasons["\(entry.kind) \(entry.schema ?? "") \(entry.tag)"]
        }
    }
}

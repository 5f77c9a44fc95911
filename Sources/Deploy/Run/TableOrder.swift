/// The order in which rows go into tables whose foreign keys are already there.
enum TableOrder {
    /// What others refer to comes before them. Within a circle the order stays as it was: then the
    /// target's constraints decide.
    static func referencedFirst(
        _ tables: [PlannedTable], _ keys: [ForeignKeyFacts]
    ) -> [PlannedTable] {
        struct Name: Hashable {
            var schema: String
            var table: String
        }
        var needs: [Name: Set<Name>] = [:]
        for key in keys {
            let name = Name(schema: key.schema, table: key.table)
            let needed = Name(schema: key.referencedSchema, table: key.referencedTable)
            if name != needed { needs[name, default: []].insert(needed) }
        }
        var rest = tables
        var ordered: [PlannedTable] = []
        while !rest.isEmpty {
            let waiting = Set(rest.map { Name(schema: $0.schema, table: $0.name) })
            let ready = rest.filter {
                needs[Name(schema: $0.schema, table: $0.name)]?.isDisjoint(with: waiting) ?? true
            }
            guard !ready.isEmpty else { return ordered + rest }
            ordered += ready
            let done = Set(ready)
            rest.removeAll { done.contains($0) }
        }
        return ordered
    }
}

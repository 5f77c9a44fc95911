/// Which schemas and tables of the source are meant, before anything is read of them.
struct Selection {
    /// Schemas that are deployed, sorted.
    var schemas: [String]
    /// Schemas that a provider looks after.
    var providerSchemas: [String]
    /// Schemas that the user does not want.
    var unwantedSchemas: [String]
    /// Tables (and views, sequences) that the user named; nil if none were.
    var relations: [RelationFacts]?
    /// Schemas of pgshare, if the source was once a target.
    var ownSchemas: [String]
    /// Patterns that match nothing.
    var idlePatterns: [String]
    /// Whether schemas or tables were named, so that large objects, extensions and whatever else
    /// is in no schema stays out.
    var isPartial: Bool

    private var content: DeployOptions.Content
    private var selected: Set<String>
    private var named: Set<String>

    init(options: DeployOptions, source: DatabaseFacts, provider: ProviderProfile) {
        let own = ProviderProfile.named(source.server.provider) ?? .generic
        let managed = provider.excludedSchemas.union(own.excludedSchemas)
        let unwanted = options.excludedSchemas.map(NamePattern.init)
        let wanted = options.schemas.map(NamePattern.init)
        let tables = options.tables.map(NamePattern.init)
        let names = source.schemas.map(\.name).sorted()

        self.providerSchemas = names.filter(managed.contains)
        self.unwantedSchemas = names.filter { name in
            unwanted.contains { $0.matches(schema: name) } && !managed.contains(name)
        }
        let out = managed.union(self.unwantedSchemas)
        let relations = source.relations.filter { relation in
            !out.contains(relation.schema)
                && tables.contains { $0.matches(schema: relation.schema, table: relation.name) }
        }
        let holding = Set(relations.map(\.schema))
        self.schemas = names.filter { name in
            guard !out.contains(name) else { return false }
            guard tables.isEmpty else { return holding.contains(name) }
            return wanted.isEmpty || wanted.contains { $0.matches(schema: name) }
        }
        self.relations = tables.isEmpty ? nil : relations
        self.isPartial = !(tables.isEmpty && wanted.isEmpty)
        self.idlePatterns =
            zip(options.schemas, wanted).filter { _, pattern in
                !names.contains { !out.contains($0) && pattern.matches(schema: $0) }
            }.map(\.0)
            + zip(options.tables, tables).filter { _, pattern in
                !relations.contains { pattern.matches(schema: $0.schema, table: $0.name) }
            }.map(\.0)
        self.ownSchemas = source.ownSchemas
        self.content = options.content
        self.selected = Set(self.schemas)
        self.named = Set(relations.map(\.identity))
    }

    /// As pg_dump is told.
    var dumped: DumpSelection {
        DumpSelection(
            schemas: self.isPartial && self.relations == nil ? self.schemas : [],
            excludedSchemas: self.isPartial ? [] : self.excludedSchemas,
            tables: (self.relations ?? []).map { .init(schema: $0.schema, name: $0.name) },
            includesLargeObjects: self.includesLargeObjects
        )
    }

    /// Every schema that stays out of a deploy of the whole.
    var excludedSchemas: [String] {
        self.providerSchemas + self.unwantedSchemas + self.ownSchemas
    }

    /// Large objects belong to no schema: they come with the whole database only.
    var includesLargeObjects: Bool { !self.isPartial && self.content == .all }

    /// Whether what is in this schema is meant; what is in none comes with the whole database.
    func contains(schema: String?) -> Bool {
        guard let schema, !schema.isEmpty else { return !self.isPartial }
        return self.selected.contains(schema)
    }

    /// Whether this relation is meant.
    func contains(_ relation: RelationFacts) -> Bool {
        self.contains(schema: relation.schema)
            && (self.relations == nil || self.named.contains(relation.identity))
    }
}

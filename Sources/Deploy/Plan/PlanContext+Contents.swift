extension PlanContext {
    /// Tables whose rows are copied, the largest first.
    var tables: [PlannedTable] { Self.tables(self.input, self.selection, self.split) }

    static func tables(
        _ input: PlanInput,
        _ selection: Selection,
        _ split: TableOfContents.Split
    ) -> [PlannedTable] {
        guard input.options.content != .schemaOnly else { return [] }
        let missing = Self.missing(split)
        return input.source.relations.filter { relation in
            relation.kind == .table && selection.contains(relation)
                && !missing.contains(.init(schema: relation.schema, name: relation.name))
                && Self.hasRowsOfItsOwn(relation, input)
        }.map { relation in
            PlannedTable(
                schema: relation.schema, name: relation.name, columns: relation.columns,
                copyFilter: relation.configurationFilter.flatMap { $0.isEmpty ? nil : $0 },
                bytes: relation.bytes, estimatedRows: relation.estimatedRows)
        }.sorted { ($1.bytes, $0.schema, $0.name) < ($0.bytes, $1.schema, $1.name) }
    }

    /// An extension's rows come with it, unless it says that they are the user's. A standby cannot
    /// read what is not in the WAL.
    private static func hasRowsOfItsOwn(_ relation: RelationFacts, _ input: PlanInput) -> Bool {
        guard !(relation.isUnlogged && input.source.server.isInRecovery) else { return false }
        return relation.extensionName == nil || relation.configurationFilter != nil
    }

    /// Relations that are left out one by one.
    private static func missing(_ split: TableOfContents.Split) -> Set<DumpSelection.Table> {
        let kinds: Set = ["TABLE", "SEQUENCE", "MATERIALIZED VIEW", "FOREIGN TABLE", "VIEW"]
        return Set(
            split.leftOut.filter { kinds.contains($0.entry.kind) && !$0.isThere }
                .map { DumpSelection.Table(schema: $0.entry.schema ?? "", name: $0.entry.tag) })
    }

    /// Sequences whose position is set.
    var sequences: [PlannedSequence] {
        guard self.options.content != .schemaOnly else { return [] }
        return self.relations(.sequence)
            .filter { $0.extensionName == nil || $0.configurationFilter != nil }
            .map { PlannedSequence(schema: $0.schema, name: $0.name) }
    }

    /// Identities of materialized views that are filled.
    var materializedViews: [String] {
        guard self.options.content == .all else { return [] }
        return self.relations(.materializedView)
            .filter { $0.isPopulated && $0.extensionName == nil }.map(\.identity)
    }

    private func relations(_ kind: RelationFacts.Kind) -> [RelationFacts] {
        let missing = Self.missing(self.split)
        return self.source.relations.filter {
            $0.kind == kind && self.selection.contains($0)
                && !missing.contains(.init(schema: $0.schema, name: $0.name))
        }
    }

    var largeObjects: LargeObjectFacts {
        self.selection.includesLargeObjects ? self.source.largeObjects : LargeObjectFacts()
    }

    /// Extensions that come with the whole database.
    var extensions: [PlannedExtension] {
        guard !self.selection.isPartial, self.options.content != .dataOnly else { return [] }
        return self.source.extensions
            .filter { self.rules.excludedExtensions[$0.name] == nil && $0.name != "plpgsql" }
            .map { found in
                let there = self.target.extensions.first { $0.name == found.name }
                return PlannedExtension(
                    name: found.name, schema: found.schema, sourceVersion: found.version,
                    targetVersion: there?.version
                        ?? self.target.availableExtensions[found.name]?.defaultVersion,
                    isInstalled: there != nil)
            }
    }

    /// Every entry that is not deployed: of the table of contents, and of what pg_dump was told
    /// not to look at or never looks at.
    var leftOut: [LeftOut] {
        guard self.options.content != .dataOnly else { return [] }
        let entries = self.split.leftOut.filter { !$0.isThere }.map { left in
            LeftOut(
                kind: left.entry.kind.lowercased(),
                identity: left.entry.schema.map { "\($0).\(left.entry.tag)" } ?? left.entry.tag,
                reason: left.reason)
        }
        return entries + self.leftOutSchemas
            + self.source.invalidIndexes.filter { self.selection.contains(schema: $0.schema) }.map {
                LeftOut(kind: "index", identity: $0.identity, reason: "it is not valid")
            }
    }

    private var leftOutSchemas: [LeftOut] {
        guard !self.selection.isPartial else { return [] }
        let reasons =
            self.selection.providerSchemas.map {
                ($0, "the provider looks after the schema \($0)")
            }
            + self.selection.unwantedSchemas.map {
                ($0, "the schema \($0) is excluded")
            }
        return reasons.flatMap { schema, reason in
            [LeftOut(kind: "schema", identity: schema, reason: reason)]
                + self.source.objects.filter { $0.schema == schema }.map {
                    LeftOut(kind: $0.kind.rawValue, identity: $0.identity, reason: reason)
                }
        }
    }
}

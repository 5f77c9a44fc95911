extension PlanContext {
    /// Whether there is anything to deploy.
    var aboutSelection: [Finding] {
        let idle = self.selection.idlePatterns
        let nothing =
            idle.isEmpty && self.tables.isEmpty && self.deployed.isEmpty
            && self.largeObjects.count == 0
        if nothing, self.ledger.live == nil, !self.foreign.isEmpty {
            return [
                Finding(
                    .blocking, .nothingSelected,
                    "the source holds nothing to deploy, and the target does",
                    fix: "Are SOURCE and TARGET the wrong way round?")
            ]
        }
        if nothing {
            return [
                Finding(
                    .warning, .nothingSelected,
                    "the source holds nothing to deploy: no object and no row")
            ]
        }
        return Self.found(
            .blocking, .nothingSelected, idle,
            { "nothing at the source has these names: \($0)" },
            fix: "Names count letter by letter; * and ? are wildcards, and a table may be given "
                + "as schema.table.")
    }

    /// What stays at the source, kind by kind; each entry is in the plan.
    var aboutLeftOut: [Finding] {
        guard !self.selection.isPartial, self.options.content != .dataOnly else { return [] }
        let rules = self.rules
        return self.aboutProviderSchemas
            + Self.found(
                .warning, .eventTriggerLeftOut,
                rules.leavesOutEventTriggers ? self.source.eventTriggers : [],
                { "event triggers are left out, they act on all of the target: \($0)" },
                fix: "Create them in the target, if they are meant for all that is in it.")
            + Self.found(
                .warning, .publicationLeftOut,
                rules.leavesOutPublications ? self.source.publications : [],
                { "publications are left out: \($0)" },
                fix: "Create them in the target, if it is to be replicated from.")
            + Self.found(
                .warning, .subscriptionLeftOut, self.source.subscriptions,
                { "subscriptions are left out, two databases must not take one stream: \($0)" },
                fix: "Create them in the target once the source no longer has them.")
            + Self.found(
                .warning, .securityLabelLeftOut, self.lostLabels,
                { "security labels are left out, the target lacks who provides them: \($0)" })
            + Self.found(
                .warning, .defaultPrivilegesLeftOut, self.lostDefaultPrivileges,
                { "default privileges are left out: \($0)" },
                fix: "Set them in the target by ALTER DEFAULT PRIVILEGES.")
    }

    private var lostLabels: [String] {
        self.source.securityLabels.filter { label in
            !self.rules.labelProviders.contains { label.hasPrefix($0 + " on ") }
        }
    }

    private var lostDefaultPrivileges: [String] {
        self.source.defaultPrivileges.filter { entry in
            self.rules.leavesOutOwnership
                || self.rules.targetRoles.map { !$0.contains(entry.role) } ?? false
        }.map { entry in
            let place = entry.schema.map { " in \($0)" } ?? ""
            return "on \(entry.objects)\(place) for \(entry.role)"
        }
    }

    /// To the same provider they are there already; to another one, tables may be somebody's own.
    private var aboutProviderSchemas: [Finding] {
        let schemas = self.selection.providerSchemas
        let isSame = self.source.server.provider == self.provider.name
        return Self.found(
            isSame ? .info : .warning, .providerSchemaLeftOut, schemas,
            { "schemas that the provider looks after are left out, with all in them: \($0)" },
            fix: isSame
                ? nil
                : "If they are your own: ALTER SCHEMA … RENAME TO …; at the source.")
    }

    /// What reaches out of what is deployed.
    var aboutOutside: [Finding] {
        let kept = self.outside.keptForeignKeys
        let lost = self.outside.lostForeignKeys
        let names = { (key: ForeignKeyFacts) in "\(key.name) on \(key.schema).\(key.table)" }
        return Self.found(
            .warning, .foreignKeyOutside, kept.map(names),
            {
                "foreign keys lead to tables not deployed; the target's rows must fit: \($0)"
            })
            + Self.found(
                .warning, .foreignKeyOutside, lost.map(names),
                { "foreign keys to tables that are not deployed are left out: \($0)" },
                fix: "Afterwards, once the rows are there:\n" + Phrase.sql(lost.map(Self.add)))
            + self.aboutTriggersOutside
            + Self.found(
                .blocking, .needsOutside,
                self.outside.missing.map { "\($0.kind) \($0.identity)" }.uniqued,
                { _ in
                    "objects need others that are neither deployed nor in the target: "
                        + Phrase.list(
                            self.outside.missing.map { "\($0.identity) needs \($0.needed)" })
                },
                fix: "Deploy what they need, too, or create it in the target.")
            + self.aboutLost
    }

    private static func add(_ key: ForeignKeyFacts) -> String {
        "ALTER TABLE \(SQLText.identifier(key.schema, key.table)) ADD CONSTRAINT "
            + "\(SQLText.identifier(key.name)) \(key.definition);"
    }

    private var aboutTriggersOutside: [Finding] {
        let name = { (trigger: TriggerFacts) in
            "\(trigger.name) on \(trigger.schema).\(trigger.table)"
        }
        let lost = self.outside.lostTriggers
        let elsewhere = self.selection.isPartial ? [] : self.outside.triggersElsewhere
        return Self.found(
            .warning, .triggerOutside, lost.map(name),
            { "triggers are left out, their functions are not deployed: \($0)" },
            fix: "Afterwards, once the functions are there:\n"
                + Phrase.sql(lost.map { $0.definition + ";" }))
            + Self.found(
                .warning, .triggerOutside, elsewhere.map(name),
                { "triggers of tables that are not deployed call functions that are: \($0)" },
                fix: "Afterwards, if the target has the tables:\n"
                    + Phrase.sql(elsewhere.map { $0.definition + ";" }))
    }

    /// What is left out because of an extension that is, and must not be.
    private var aboutLost: [Finding] {
        let roots = self.split.leftOut.filter {
            $0.entry.kind == "EXTENSION" && !Self.isLanguage($0.entry.tag)
        }.map(\.entry.dumpID)
        let lost = self.leftOutNeeding(Set(roots)).filter(\.holdsData).map(\.identity)
        return Self.found(
            .blocking, .needsOutside, lost,
            { "what must not be left out needs an extension that is: \($0)" },
            fix: "Drop it at the source, or name its schema with --exclude-schema.")
    }

    /// What is particular about tables and what belongs to them.
    var aboutTables: [Finding] {
        let chosen = self.source.relations.filter { self.selection.contains($0) }
        let hasRows = self.options.content != .schemaOnly
        let unlogged = chosen.filter { $0.isUnlogged && $0.kind == .table }.map(\.identity)
        let isStandby = self.source.server.isInRecovery && hasRows
        let generated = chosen.filter { !$0.generatedColumns.isEmpty && $0.kind == .table }
        return Self.found(
            isStandby ? .warning : .info, .unloggedTable, unlogged,
            {
                isStandby
                    ? "a standby has no rows of unlogged tables; they arrive empty: \($0)"
                    : "unlogged tables stay unlogged, a crash of the target empties them: \($0)"
            })
            + Self.found(
                .warning, .foreignTable, chosen.filter { $0.kind == .foreignTable }.map(\.identity),
                { "rows of foreign tables stay where they are: \($0)" },
                fix: "The target must reach their servers, and user mappings may need passwords.")
            + Self.found(
                .info, .generatedColumns, hasRows ? generated.map(\.identity) : [],
                { "generated columns are computed anew by the target: \($0)" })
            + self.aboutConstraints + self.aboutLargeObjects
            + Self.found(
                .info, .tablespaceLeftOut, self.source.tablespaces.values.flatMap { $0 }.sorted(),
                { "everything goes into the target's default tablespace: \($0)" })
    }

    private var aboutConstraints: [Finding] {
        guard self.options.content != .dataOnly else { return [] }
        let invalid = self.located(self.source.invalidIndexes)
        return Self.found(
            .warning, .invalidIndexLeftOut, invalid,
            { "indexes that are not valid at the source are left out: \($0)" },
            fix: "At the source, before:\n"
                + Phrase.sql(invalid.map { "REINDEX INDEX CONCURRENTLY \($0);" }))
            + Self.found(
                .info, .unvalidatedConstraint, self.located(self.source.unvalidatedConstraints),
                { "constraints that were never validated stay so: \($0)" })
    }

    private func located(_ objects: [LocatedObject]) -> [String] {
        objects.filter { self.selection.contains(schema: $0.schema) }.map(\.identity)
    }

    private var aboutLargeObjects: [Finding] {
        let found = self.source.largeObjects
        guard found.count > 0, self.options.content != .schemaOnly else { return [] }
        let count = Phrase.count(found.count, "large object")
        guard self.options.content != .dataOnly else {
            return [
                Finding(
                    .warning, .largeObjects, "\(count) stay out: they come with definitions only")
            ]
        }
        guard self.selection.isPartial else {
            guard self.source.server.acceptsSecondConnection else {
                return [
                    Finding(
                        .blocking, .largeObjects,
                        "\(count) cannot be read: that takes a second connection, and the source "
                            + "takes one",
                        fix: "Store them in columns of type bytea, or remove them by lo_unlink.")
                ]
            }
            return [
                Finding(
                    .info, .largeObjects,
                    "\(count) of \(Phrase.bytes(found.bytes)) come along, with their numbers")
            ]
        }
        return [
            Finding(
                .warning, .largeObjects,
                "\(count) stay out: they belong to no schema, and come with a whole database only")
        ]
    }
}

extension Array where Element: Hashable {
    /// Without repetitions, in the order of the first.
    var uniqued: [Element] {
        var seen: Set<Element> = []
        return self.filter { seen.insert($0).inserted }
    }
}

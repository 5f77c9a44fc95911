/// The DDL that moves and drops objects, by kind. Names come from the server, quoted by it.
enum ObjectSQL {
    /// How an object gets out of the way.
    enum Way {
        /// ALTER … SET SCHEMA.
        case schemaChange
        /// ALTER … RENAME.
        case renaming
        /// Dropped, with the statement that makes it anew in the ledger, unless it belongs to
        /// something that is moved.
        case savedStatement
        /// Not at all: it stays.
        case none
    }

    static func way(_ kind: ObjectKind) -> Way {
        switch kind {
        case .table, .view, .materializedView, .sequence, .foreignTable, .type, .function,
            .procedure, .aggregate, .operator, .operatorClass, .operatorFamily, .collation,
            .conversion, .statistics, .textSearchConfiguration, .textSearchDictionary,
            .textSearchParser, .textSearchTemplate:
            .schemaChange
        case .schema, .language, .foreignDataWrapper, .server, .publication: .renaming
        case .userMapping, .cast, .transform, .defaultPrivileges: .savedStatement
        case .extension, .accessMethod, .subscription, .eventTrigger: .none
        }
    }

    /// Whether DDL names it with types, so that it must be moved before they are.
    static func isNamedByTypes(_ kind: ObjectKind) -> Bool {
        switch kind {
        case .function, .procedure, .aggregate, .operator: true
        case .table, .view, .materializedView, .sequence, .foreignTable, .type, .operatorClass,
            .operatorFamily, .collation, .conversion, .statistics, .textSearchConfiguration,
            .textSearchDictionary, .textSearchParser, .textSearchTemplate, .schema, .extension,
            .language, .foreignDataWrapper, .server, .userMapping, .cast, .transform,
            .defaultPrivileges, .accessMethod, .publication, .subscription, .eventTrigger:
            false
        }
    }

    /// Moves an object into a schema.
    static func move(_ entry: Catalog.Entry, to schema: String) -> String {
        let target = SQLText.identifier(schema)
        return "alter \(self.noun(entry.object.kind)) \(entry.ddlName) set schema \(target)"
    }

    /// Gives an object without a schema, or a schema, another name.
    static func rename(_ entry: Catalog.Entry, to name: String) -> String {
        let target = SQLText.identifier(name)
        return "alter \(self.noun(entry.object.kind)) \(entry.ddlName) rename to \(target)"
    }

    /// Drops objects of one kind. Default privileges have no DROP: ``Setting`` takes them back.
    static func drop(_ entries: [Catalog.Entry], cascades: Bool = false) -> [String] {
        guard let kind = entries.first?.object.kind, kind != .defaultPrivileges else { return [] }
        let names = entries.map(\.ddlName)
        let noun = self.noun(kind)
        if cascades { return names.map { "drop \(noun) if exists \($0) cascade" } }
        switch kind {
        case .table, .view, .materializedView, .sequence, .foreignTable, .type, .function,
            .procedure, .aggregate, .operator, .collation, .conversion, .statistics, .schema,
            .extension, .foreignDataWrapper, .server, .publication:
            return ["drop \(noun) \(names.joined(separator: ", ")) restrict"]
        case .operatorClass, .operatorFamily, .textSearchConfiguration, .textSearchDictionary,
            .textSearchParser, .textSearchTemplate, .language, .cast, .transform, .accessMethod,
            .eventTrigger:
            return names.map { "drop \(noun) \($0) restrict" }
        case .userMapping, .subscription:
            return names.map { "drop \(noun) \($0)" }
        case .defaultPrivileges:
            return []
        }
    }

    private static func noun(_ kind: ObjectKind) -> String {
        switch kind {
        case .function, .aggregate: "routine"
        case .statistics: "statistics"
        case .foreignDataWrapper: "foreign data wrapper"
        case .table, .view, .materializedView, .sequence, .foreignTable, .type, .procedure,
            .operator, .operatorClass, .operatorFamily, .collation, .conversion,
            .textSearchConfiguration, .textSearchDictionary, .textSearchParser,
            .textSearchTemplate, .schema, .extension, .language, .server, .userMapping, .cast,
            .transform, .defaultPrivileges, .accessMethod, .publication, .subscription,
            .eventTrigger:
            kind.rawValue
        }
    }
}

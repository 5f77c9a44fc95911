extension TableOfContents {
    /// An entry that is not restored.
    public struct LeftOutEntry: Codable, Hashable, Sendable {
        /// The entry.
        public var entry: Entry
        /// Why, in one sentence without a full stop.
        public var reason: String
        /// Whether nothing is lost: the target has the same already.
        public var isThere: Bool

        /// Creates it.
        public init(entry: Entry, reason: String, isThere: Bool = false) {
            self.entry = entry
            self.reason = reason
            self.isThere = isThere
        }
    }

    /// What is restored and what is not.
    public struct Split: Codable, Hashable, Sendable {
        /// In the order of the archive.
        public var kept: [Entry]
        /// In the order of the archive.
        public var leftOut: [LeftOutEntry]
    }

    /// Divides the entries. What needs an entry that is left out is left out with it, unless the
    /// target has that one already.
    public func split(by rules: RestoreRules) -> Split {
        var reasons: [Int: Exclusion] = [:]
        for entry in self.entries {
            reasons[entry.dumpID] = rules.exclusion(of: entry)
        }
        self.spread(&reasons)
        var split = Split(kept: [], leftOut: [])
        for entry in self.entries {
            if let exclusion = reasons[entry.dumpID] {
                split.leftOut.append(
                    LeftOutEntry(
                        entry: entry, reason: exclusion.reason, isThere: exclusion.isThere))
            } else {
                split.kept.append(entry)
            }
        }
        return split
    }

    /// From every entry that will be missing to all that need it.
    private func spread(_ reasons: inout [Int: Exclusion]) {
        var dependents: [Int: [Entry]] = [:]
        for entry in self.entries {
            for dependency in entry.dependencies {
                dependents[dependency, default: []].append(entry)
            }
        }
        var missing = self.entries.filter { reasons[$0.dumpID]?.isThere == false }
        while let entry = missing.popLast() {
            for dependent in dependents[entry.dumpID] ?? [] where reasons[dependent.dumpID] == nil {
                reasons[dependent.dumpID] = Exclusion(
                    "it needs \(entry.identity), which is left out")
                missing.append(dependent)
            }
        }
    }

    /// Why an entry is left out.
    struct Exclusion: Hashable {
        var reason: String
        /// The target has the same already; what needs it can be restored.
        var isThere: Bool

        init(_ reason: String, isThere: Bool = false) {
            self.reason = reason
            self.isThere = isThere
        }
    }
}

extension RestoreRules {
    /// What the rules say about an entry by itself; nil keeps it.
    func exclusion(of entry: TableOfContents.Entry) -> TableOfContents.Exclusion? {
        if let reason = self.excludedEntries[entry.dumpID] { return .init(reason) }
        if let schema = entry.schema, self.excludedSchemas.contains(schema) {
            return .init("the schema \(schema) is excluded")
        }
        if entry.isAboutDatabase {
            return entry.kind == "DATABASE"
                ? .init("the target is a database already", isThere: true)
                : .init("settings, comments and privileges of the database itself stay its own")
        }
        switch entry.kind {
        case "SCHEMA":
            return self.schemaExclusion(entry.tag)
        case "EXTENSION":
            return self.excludedExtensions[entry.tag].map { .init($0) }
        case "ACCESS METHOD", "TRANSFORM":
            return self.existing(entry)
        case "PROCEDURAL LANGUAGE":
            return self.missingLanguages.contains(entry.tag)
                ? .init("the target lacks the language \(entry.tag)") : nil
        case "FUNCTION", "PROCEDURE":
            return self.languageExclusion(entry)
        case "COMMENT":
            return self.leavesOutExtensionComments && entry.tag.hasPrefix("EXTENSION ")
                ? .init("only the owner of an extension may comment on it") : nil
        case "ACL":
            return self.leavesOutOwnership
                ? .init("privileges are those that the target gives") : nil
        case "DEFAULT ACL":
            return self.defaultPrivilegesExclusion(entry)
        case "EVENT TRIGGER":
            return self.leavesOutEventTriggers
                ? .init("an event trigger acts on all of the target") : nil
        case "PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA":
            return self.leavesOutPublications ? .init("publications are not deployed") : nil
        case "SUBSCRIPTION", "SUBSCRIPTION TABLE":
            return self.leavesOutSubscriptions
                ? .init("two databases must not take the same stream of changes") : nil
        case "SECURITY LABEL":
            return self.labelExclusion(entry)
        case "BLOB", "BLOB METADATA", "BLOBS":
            return self.leavesOutLargeObjects ? .init("large objects are not deployed") : nil
        default:
            return nil
        }
    }

    /// Kind and name as the ledger has them: `transform for integer language sql`.
    private func existing(_ entry: TableOfContents.Entry) -> TableOfContents.Exclusion? {
        var name = entry.tag
        if entry.kind == "TRANSFORM" {
            name = name.replacing("TRANSFORM ", with: "", maxReplacements: 1)
                .replacing("FOR ", with: "for ", maxReplacements: 1)
                .replacing(" LANGUAGE ", with: " language ", maxReplacements: 1)
        }
        let title = "\(entry.kind.lowercased()) \(name)"
        guard self.existingObjects.contains(title) else { return nil }
        return .init("the target has it already", isThere: true)
    }

    private func schemaExclusion(_ name: String) -> TableOfContents.Exclusion? {
        if self.excludedSchemas.contains(name) {
            return .init("the schema \(name) is excluded")
        }
        guard self.existingSchemas.contains(name) else { return nil }
        return .init("the target has the schema \(name) already", isThere: true)
    }

    private func languageExclusion(
        _ entry: TableOfContents.Entry
    ) -> TableOfContents.Exclusion? {
        guard let language = entry.language, self.missingLanguages.contains(language) else {
            return nil
        }
        return .init("the target lacks the language \(language)")
    }

    private func defaultPrivilegesExclusion(
        _ entry: TableOfContents.Entry
    ) -> TableOfContents.Exclusion? {
        if self.leavesOutOwnership { return .init("privileges are those that the target gives") }
        guard let roles = self.targetRoles, !roles.contains(entry.owner) else { return nil }
        return .init("the target lacks the role \(entry.owner), whose default privileges these are")
    }

    private func labelExclusion(_ entry: TableOfContents.Entry) -> TableOfContents.Exclusion? {
        guard !self.labelProviders.contains(where: entry.isLabelled(by:)) else { return nil }
        return .init("the target has not loaded what provides the security label")
    }
}

extension TableOfContents.Entry {
    /// The language of a function, from the second line of its definition.
    ///
    /// Source: `dumpFunc` of pg_dump, which writes the name, the arguments and the result, then
    /// a line break and `    LANGUAGE name`.
    public var language: String? {
        let start = "\n    LANGUAGE "
        guard let range = self.definition.firstRange(of: start) else { return nil }
        let rest = self.definition[range.upperBound...]
        guard rest.first == "\"" else {
            return String(rest.prefix { !$0.isWhitespace && $0 != ";" })
        }
        // A quoted name; a language with a quote in its name is nobody's.
        return rest.dropFirst().split(separator: "\"", maxSplits: 1).first.map(String.init)
    }

    /// Whether a `SECURITY LABEL` entry is of this provider.
    func isLabelled(by provider: String) -> Bool {
        [provider, SQLText.identifier(provider)].contains {
            self.definition.hasPrefix("SECURITY LABEL FOR \($0) ON ")
        }
    }
}

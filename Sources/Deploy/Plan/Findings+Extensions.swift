extension PlanContext {
    /// Name, version and schema of every extension.
    var aboutExtensions: [Finding] {
        guard self.options.content != .dataOnly else { return [] }
        let needed = self.source.extensions.filter { found in
            found.name != "plpgsql" && self.rules.excludedExtensions[found.name] == nil
                && (!self.selection.isPartial || self.isUsedBySelection(found.name))
        }
        return needed.flatMap(self.about) + self.aboutLeftOutExtensions
    }

    private func isUsedBySelection(_ name: String) -> Bool {
        self.source.dependencies.contains {
            $0.neededExtension == name && self.selection.contains(schema: $0.schema)
        }
    }

    private func about(_ found: ExtensionFacts) -> [Finding] {
        if let there = self.target.extensions.first(where: { $0.name == found.name }) {
            return self.aboutSchema(of: found, there) + self.aboutVersion(of: found, there)
        }
        guard let available = self.target.availableExtensions[found.name] else {
            return [self.missing(found)]
        }
        guard !self.selection.isPartial else {
            return [
                Finding(
                    .blocking, .extensionMissing,
                    "the chosen tables need the extension \(found.name), which the target does "
                        + "not have; with chosen schemas or tables, extensions do not come along",
                    fix: Self.create(found), objects: [found.name])
            ]
        }
        guard Self.canCreate(found.name, self.input) else {
            return [
                Finding(
                    .blocking, .extensionNotAllowed,
                    "\(self.target.role.name) may not create the extension \(found.name) in the "
                        + "target",
                    fix: "As a superuser there: \(Self.create(found))", objects: [found.name])
            ]
        }
        return [self.created(found, available)]
    }

    private static func create(_ found: ExtensionFacts) -> String {
        let schema = SQLText.identifier(found.schema)
        return "CREATE SCHEMA IF NOT EXISTS \(schema); "
            + "CREATE EXTENSION \(SQLText.identifier(found.name)) WITH SCHEMA \(schema);"
    }

    private func missing(_ found: ExtensionFacts) -> Finding {
        let fix =
            switch self.provider.name {
            case "generic":
                "Install its package on the target's machine, or DROP EXTENSION "
                    + "\(SQLText.identifier(found.name)); at the source if nothing needs it."
            case let name:
                "\(name) does not offer it: DROP EXTENSION \(SQLText.identifier(found.name)); at "
                    + "the source if nothing needs it, or choose another target."
            }
        return Finding(
            .blocking, .extensionMissing,
            "the target does not have the extension \(found.name) \(found.version), installed or "
                + "to install",
            fix: fix, objects: [found.name])
    }

    private func created(_ found: ExtensionFacts, _ available: AvailableExtension) -> Finding {
        guard ExtensionVersion(available.defaultVersion) < ExtensionVersion(found.version) else {
            return Finding(
                .info, .extensionCreated,
                "the extension \(found.name) \(available.defaultVersion) is created in the schema "
                    + found.schema,
                objects: [found.name])
        }
        return Finding(
            .warning, .extensionOlder,
            "the extension \(found.name) will be \(available.defaultVersion) in the target, older "
                + "than the source's \(found.version)",
            fix: "Upgrade its package on the target's machine.", objects: [found.name])
    }

    private func aboutSchema(
        of found: ExtensionFacts,
        _ there: ExtensionFacts
    ) -> [Finding] {
        guard found.schema != there.schema else { return [] }
        let name = SQLText.identifier(found.name)
        let move = { "ALTER EXTENSION \(name) SET SCHEMA \(SQLText.identifier($0));" }
        let fix =
            there.isRelocatable
            ? "In the target: \(move(found.schema)) Or at the source: \(move(there.schema))"
            : "In the target, if nothing there needs it: DROP EXTENSION \(name); "
                + Self.create(found)
        return [
            Finding(
                found.isUsed ? .blocking : .warning, .extensionOtherSchema,
                "the extension \(found.name) is in the schema \(there.schema) of the target and "
                    + "in \(found.schema) of the source"
                    + (found.isUsed ? ": what uses it would not find it" : ""),
                fix: fix, objects: [found.name])
        ]
    }

    private func aboutVersion(
        of found: ExtensionFacts,
        _ there: ExtensionFacts
    ) -> [Finding] {
        guard ExtensionVersion(there.version) < ExtensionVersion(found.version) else { return [] }
        let newer = (self.target.availableExtensions[found.name]?.versions ?? [])
            .filter { !(ExtensionVersion($0) < ExtensionVersion(found.version)) }
            .min { ExtensionVersion($0) < ExtensionVersion($1) }
        let update = newer.map {
            "ALTER EXTENSION \(SQLText.identifier(found.name)) UPDATE TO \(SQLText.literal($0));"
        }
        return [
            Finding(
                .warning, .extensionOlder,
                "the extension \(found.name) is \(there.version) in the target, older than the "
                    + "source's \(found.version)",
                fix: update ?? "Upgrade its package on the target's machine.",
                objects: [found.name])
        ]
    }

    private var aboutLeftOutExtensions: [Finding] {
        guard !self.selection.isPartial else { return [] }
        let out = self.rules.excludedExtensions.keys.filter { !Self.isLanguage($0) }.sorted()
        let comments = self.split.leftOut.filter {
            $0.entry.kind == "COMMENT" && $0.entry.tag.hasPrefix("EXTENSION ")
        }
        return Self.found(
            .warning, .extensionLeftOut, out,
            { "extensions that the provider sets up, or does not offer, are left out: \($0)" })
            + Self.found(
                .info, .extensionCommentLeftOut, comments.map(\.entry.tag),
                { "comments on extensions are left out, only a superuser may set them: \($0)" })
    }

    /// Functions in languages that the target lacks, and what needs them.
    var aboutLanguages: [Finding] {
        let lost = self.split.leftOut.filter { left in
            left.entry.language.map(self.rules.missingLanguages.contains) ?? false
        }
        let extensions = self.split.leftOut.filter {
            $0.entry.kind == "EXTENSION" && Self.isLanguage($0.entry.tag)
        }
        guard !lost.isEmpty || !extensions.isEmpty else { return [] }
        let languages = self.rules.missingLanguages.union(extensions.map(\.entry.tag)).sorted()
        let roots = Set((lost + extensions).map(\.entry.dumpID))
        let needing = self.leftOutNeeding(roots)
        let names = lost.map { "\($0.entry.schema ?? "").\($0.entry.tag)" }
        let with = needing.isEmpty ? "" : ", and with them \(Phrase.list(needing.map(\.identity)))"
        let left = Finding(
            .warning, .languageMissing,
            "\(self.target.role.name) cannot use \(Phrase.list(languages)) in the target: "
                + (names.isEmpty
                    ? "the language is left out"
                    : "functions in it are left out: \(Phrase.list(names))")
                + with,
            fix: "Install it there: "
                + languages.map { "CREATE EXTENSION \(SQLText.identifier($0));" }
                .joined(separator: " "),
            objects: names + needing.map(\.identity))
        let holding = needing.filter(\.holdsData).map(\.identity)
        return [left]
            + Self.found(
                .blocking, .languageNeeded, holding,
                {
                    "what must not be left out needs a function in \(Phrase.list(languages)): \($0)"
                },
                fix: "Install the language in the target, or drop what needs it at the source.")
    }

    /// Entries that are left out because one of these is.
    func leftOutNeeding(_ roots: Set<Int>) -> [TableOfContents.Entry] {
        let left = self.split.leftOut.filter { !$0.isThere }.map(\.entry)
        var reached = roots
        var grows = true
        while grows {
            grows = false
            for entry in left where !reached.contains(entry.dumpID) {
                guard entry.dependencies.contains(where: reached.contains) else { continue }
                reached.insert(entry.dumpID)
                grows = true
            }
        }
        let kinds: Set = ["ACL", "COMMENT", "SECURITY LABEL"]
        return left.filter {
            reached.contains($0.dumpID) && !roots.contains($0.dumpID) && !kinds.contains($0.kind)
        }
    }
}

extension TableOfContents.Entry {
    /// Whether leaving it out loses rows, or lets rows in that the source would refuse.
    var holdsData: Bool {
        let harmless: Set = [
            "FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY",
            "CAST", "TRANSFORM", "TRIGGER", "EVENT TRIGGER", "VIEW", "MATERIALIZED VIEW",
            "MATERIALIZED VIEW DATA", "ACL", "COMMENT", "SECURITY LABEL", "EXTENSION",
            "PROCEDURAL LANGUAGE", "STATISTICS", "DEFAULT ACL", "PUBLICATION",
            "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "TEXT SEARCH CONFIGURATION",
            "TEXT SEARCH DICTIONARY",
        ]
        return !harmless.contains(self.kind)
    }
}

/// A version of an extension, as text that its author chose: numbers are compared as numbers.
struct ExtensionVersion: Comparable {
    private var parts: [Int]

    init(_ text: String) {
        self.parts = text.split { !$0.isNumber }.map { Int($0) ?? 0 }
    }

    static func == (left: Self, right: Self) -> Bool { left.parts == right.parts }

    static func < (left: Self, right: Self) -> Bool {
        left.parts.lexicographicallyPrecedes(right.parts)
    }
}

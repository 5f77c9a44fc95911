extension PlanContext {
    /// What a person should know, the gravest first.
    var findings: [Finding] {
        let parts: [[Finding]] = [
            self.aboutIdentity, self.aboutPoolers, self.aboutStates, self.aboutVersions,
            self.aboutText, self.aboutExtensions, self.aboutLanguages, self.aboutRoles,
            self.aboutRights, self.aboutRowSecurity, self.aboutTarget, self.aboutExistingTables,
            self.aboutSelection, self.aboutLeftOut, self.aboutOutside, self.aboutTables,
            self.aboutMethod, self.aboutSessions, self.aboutSizes,
        ]
        let all = parts.flatMap { $0 }
        return Finding.Severity.allCases.sorted(by: >).flatMap { severity in
            all.filter { $0.severity == severity }
        }
    }

    /// One finding, or none where it is about no object.
    static func found(
        _ severity: Finding.Severity,
        _ code: Finding.Code,
        _ objects: [String],
        _ sentence: (_ names: String) -> String,
        fix: String? = nil
    ) -> [Finding] {
        guard !objects.isEmpty else { return [] }
        return [
            Finding(severity, code, sentence(Phrase.list(objects)), fix: fix, objects: objects)
        ]
    }
}

/// How findings count and list.
enum Phrase {
    /// `a, b, c and 4 more`.
    static func list(_ names: [String]) -> String {
        let shown = 3
        guard names.count > shown + 1 else { return names.joined(separator: ", ") }
        return names.prefix(shown).joined(separator: ", ") + " and \(names.count - shown) more"
    }

    /// `1 table`, `3 tables`.
    static func count(_ number: some BinaryInteger, _ noun: String) -> String {
        number == 1 ? "1 \(noun)" : "\(number) \(noun)s"
    }

    /// `1.5 GB`, in powers of 1024 as Postgres's `pg_size_pretty`.
    static func bytes(_ bytes: Int64) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var value = Double(bytes)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        let tenths = (value * 10).rounded() / 10
        let isWhole = unit == 0 || tenths >= 100 || tenths == tenths.rounded()
        return (isWhole ? "\(Int64(tenths.rounded()))" : "\(tenths)") + " " + units[unit]
    }

    /// Statements, one a line.
    static func sql(_ statements: some Sequence<String>) -> String {
        statements.joined(separator: "\n")
    }
}

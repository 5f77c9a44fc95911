/// Reads inventories of both sides and compares them.
struct ObjectReader: Sendable {
    let source: any SQLSession
    let target: any SQLSession

    /// What was found.
    struct Findings: Sendable {
        var count = 0
        var mismatches: [Mismatch] = []
        var unknown: Set<ObjectComparison.Key> = []
        /// Definitions that the two versions write differently, so that only names were compared.
        var notComparable: [String] = []
    }

    /// Compares every kind of object.
    ///
    /// - Parameters:
    ///   - kept: The entries that were restored.
    ///   - leftOut: The entries that were not.
    ///   - grants: Whether owners and grants were restored.
    /// - Returns: What differs.
    /// - Throws: ``SQLFailure`` of whichever side failed.
    func compare(
        kept: [TableOfContents.Entry],
        leftOut: [TableOfContents.Entry],
        grants: Bool
    ) async throws(SQLFailure) -> Findings {
        var comparison = ObjectComparison(kept: Self.keys(kept), leftOut: Self.keys(leftOut))
        var findings = Findings()
        let here = ObjectQuery.all(version: self.source.serverVersion, grants: grants)
        let there = ObjectQuery.all(version: self.target.serverVersion, grants: grants)
        for (query, other) in zip(here, there) {
            let (rows, others) = try await InParallel.both(
                { () async throws(SQLFailure) in try await Self.rows(self.source, query) },
                { () async throws(SQLFailure) in try await Self.rows(self.target, other) })
            let outcome = comparison.compare(source: rows, target: others, isPart: query.isPart)
            findings.mismatches += outcome.mismatches
            try await self.look(at: outcome.different, query, other, &findings)
        }
        findings.count = comparison.count
        findings.unknown = comparison.unknown.filter {
            !Self.withoutInventory.contains($0.catalogue)
        }
        return findings
    }

    /// pg_database; pg_attrdef, which is part of the column; the others are in the remarks.
    private static let withoutInventory: Set<UInt32> = [826, 1262, 2604, 2613, 2995, 6100]

    /// Definitions that are asked for in one statement.
    private static let definitionsAQuery = 100

    private static func keys(_ entries: [TableOfContents.Entry]) -> Set<ObjectComparison.Key> {
        Set(entries.map { .init(catalogue: $0.catalogOID, oid: $0.oid) })
    }

    private static func rows(
        _ session: any SQLSession, _ query: ObjectQuery
    ) async throws(SQLFailure) -> [ObjectComparison.Row] {
        try await session.rows(query.inventory).compactMap { .init($0) }
    }

    /// Compares definitions that are not written alike.
    private func look(
        at identities: [String],
        _ query: ObjectQuery,
        _ other: ObjectQuery,
        _ findings: inout Findings
    ) async throws(SQLFailure) {
        let sameMajor = self.source.serverVersion / 10_000 == self.target.serverVersion / 10_000
        var rest = identities[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Self.definitionsAQuery))
            rest = rest.dropFirst(batch.count)
            let here = try await Self.definitions(self.source, query, batch)
            let there = try await Self.definitions(self.target, other, batch)
            for identity in batch {
                let texts = (here[identity] ?? "", there[identity] ?? "")
                switch Self.verdict(texts.0, texts.1, sameMajor: sameMajor) {
                case .equal: continue
                case .notComparable: findings.notComparable.append(identity)
                case .different:
                    findings.mismatches.append(
                        Mismatch(
                            .definition, identity,
                            "\(identity) has another definition at the target"))
                }
            }
        }
    }

    /// What two definitions are to each other.
    enum Verdict: Hashable, Sendable {
        case equal
        case different
        /// They hold a query, and another version of the server writes it in its own way.
        case notComparable
    }

    /// Compares two definitions that are not written alike; see ``ObjectQuery`` for their form.
    static func verdict(_ here: String, _ there: String, sameMajor: Bool) -> Verdict {
        let one = here.split(separator: "\u{1}", maxSplits: 1).map { String($0) }
        let other = there.split(separator: "\u{1}", maxSplits: 1).map { String($0) }
        let canonical = one.map(DefinitionText.canonical)
        let canonicalOther = other.map(DefinitionText.canonical)
        if canonical == canonicalOther { return .equal }
        let hold = [one, other].allSatisfy { $0.count == 2 && $0[1].contains("SELECT") }
        return !sameMajor && hold && canonical[0] == canonicalOther[0] ? .notComparable : .different
    }

    private static func definitions(
        _ session: any SQLSession, _ query: ObjectQuery, _ identities: [String]
    ) async throws(SQLFailure) -> [String: String] {
        let rows = try await session.rows(query.definitions(identities))
        let pairs = rows.compactMap { row -> (String, String)? in
            guard row.count == 2, let identity = row[0] else { return nil }
            return (identity, row[1] ?? "")
        }
        return Dictionary(pairs, uniquingKeysWith: { first, _ in first })
    }
}

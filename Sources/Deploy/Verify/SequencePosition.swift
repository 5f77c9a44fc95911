/// Where a sequence stands.
public struct SequencePosition: Codable, Hashable, Sendable {
    /// The schema's name.
    public var schema: String
    /// The sequence's name.
    public var name: String
    /// The value it gave last, or gives first.
    public var lastValue: Int64
    /// Whether it gave ``lastValue`` already.
    public var isCalled: Bool

    /// Creates a position.
    public init(schema: String, name: String, lastValue: Int64, isCalled: Bool) {
        self.schema = schema
        self.name = name
        self.lastValue = lastValue
        self.isCalled = isCalled
    }

    /// `schema.name`.
    public var text: String { "\(self.schema).\(self.name)" }

    /// The next value, for people.
    var stand: String { self.isCalled ? "after \(self.lastValue)" : "before \(self.lastValue)" }
}

/// Reads and compares positions of sequences.
public enum SequencePositions {
    /// Reads the positions of those of `sequences` that exist and may be read.
    ///
    /// Positions are in no snapshot: a source that is written moves on. So they are read once, set
    /// at the target, and the target is compared with what was read.
    ///
    /// - Throws: ``SQLFailure``, only of the session's own: what could fail is left out.
    public static func read(
        _ session: any SQLSession,
        _ sequences: [PlannedSequence]
    ) async throws(SQLFailure) -> [SequencePosition] {
        var found: [SequencePosition] = []
        var rest = sequences[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Self.sequencesAQuery))
            rest = rest.dropFirst(batch.count)
            let present = try await session.rows(self.presence(batch)).compactMap(self.name)
            guard !present.isEmpty else { continue }
            found += try await session.rows(self.positions(present)).compactMap(self.position)
        }
        return found
    }

    /// What of `expected` the target does not hold.
    static func compare(
        expected: [SequencePosition],
        target: [SequencePosition]
    ) -> [Mismatch] {
        let there = Dictionary(
            target.map { ([$0.schema, $0.name], $0) }, uniquingKeysWith: { first, _ in first })
        return expected.compactMap { sequence in
            guard let other = there[[sequence.schema, sequence.name]] else {
                return Mismatch(
                    .sequence, sequence.text,
                    "sequence \(sequence.text) is missing at the target, or cannot be read there")
            }
            guard other != sequence else { return nil }
            return Mismatch(
                .sequence, sequence.text,
                "sequence \(sequence.text) stands \(sequence.stand) at the source and "
                    + "\(other.stand) at the target")
        }
    }

    /// A UNION of more branches costs the server's planner much memory.
    private static let sequencesAQuery = 200

    private static func presence(_ sequences: [PlannedSequence]) -> String {
        """
        select n.nspname, c.relname from unnest(\(SQLText.array(sequences.map(\.schema))),
            \(SQLText.array(sequences.map(\.name)))) as w(schema, name)
        join pg_catalog.pg_namespace n on n.nspname = w.schema
        join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
        where c.relkind = 'S' and pg_catalog.has_schema_privilege(n.oid, 'usage')
            and pg_catalog.has_sequence_privilege(c.oid, 'select')
        """
    }

    private static func positions(_ sequences: [PlannedSequence]) -> String {
        sequences.map { sequence in
            """
            select \(SQLText.literal(sequence.schema)), \(SQLText.literal(sequence.name)), \
            last_value, is_called from \(SQLText.identifier(sequence.schema, sequence.name))
            """
        }.joined(separator: " union all ")
    }

    private static func name(_ row: [String?]) -> PlannedSequence? {
        guard row.count == 2, let schema = row[0], let name = row[1] else { return nil }
        return PlannedSequence(schema: schema, name: name)
    }

    private static func position(_ row: [String?]) -> SequencePosition? {
        guard row.count == 4, let schema = row[0], let name = row[1],
            let last = row[2].flatMap({ Int64($0) }), let called = row[3]
        else { return nil }
        return SequencePosition(
            schema: schema, name: name, lastValue: last, isCalled: called == "t")
    }
}

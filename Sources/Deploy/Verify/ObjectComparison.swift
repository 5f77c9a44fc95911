/// Compares inventories of two databases, kind by kind. Pure.
///
/// What counts is what the archive's kept entries made: objects that have an entry, and what has
/// none but is part of one that has. Other objects of the target are somebody else's.
struct ObjectComparison: Sendable {
    /// The OID of a catalogue and that of an object in it.
    struct Key: Hashable, Sendable {
        var catalogue: UInt32
        var oid: UInt32

        static let none = Key(catalogue: 0, oid: 0)
    }

    /// One object of one side.
    struct Row: Hashable, Sendable {
        var key: Key
        /// What it is part of, or ``Key/none``.
        var parent: Key
        /// An index that cannot be used, a constraint that was not checked.
        var isBroken: Bool
        /// Kind and name: `index public.film_title`.
        var identity: String
        /// A hash of all that defines it.
        var hash: String

        /// Reads a row of ``ObjectQuery/inventory``.
        init?(_ row: [String?]) {
            let numbers = row.prefix(4).compactMap { $0.flatMap { UInt32($0) } }
            guard row.count == 7, numbers.count == 4, let identity = row[5] else { return nil }
            self.key = Key(catalogue: numbers[0], oid: numbers[1])
            self.parent = Key(catalogue: numbers[2], oid: numbers[3])
            self.isBroken = row[4] == "t"
            self.identity = identity
            self.hash = row[6] ?? ""
        }

        init(
            _ identity: String, key: Key, parent: Key = .none, hash: String, isBroken: Bool = false
        ) {
            self.key = key
            self.parent = parent
            self.isBroken = isBroken
            self.identity = identity
            self.hash = hash
        }
    }

    /// What one kind's inventories say.
    struct Outcome: Hashable, Sendable {
        var mismatches: [Mismatch] = []
        /// Identities whose definitions differ as they are written.
        var different: [String] = []
    }

    /// Objects compared so far.
    private(set) var count = 0
    private var accepted: Set<Key>
    private let leftOut: Set<Key>
    private var unseen: Set<Key>
    private var acceptedAtTarget: Set<Key> = []

    /// Begins with the entries that were kept and left out; those that are no object of their own
    /// have the OID 0.
    init(kept: Set<Key>, leftOut: Set<Key>) {
        self.accepted = kept.filter { $0.catalogue != 0 }
        self.leftOut = leftOut
        self.unseen = self.accepted
    }

    /// Kept entries that no row of the source's inventories told of.
    var unknown: Set<Key> { self.unseen }

    /// Compares one kind.
    mutating func compare(source: [Row], target: [Row], isPart: Bool) -> Outcome {
        var outcome = Outcome()
        let there = Dictionary(target.map { ($0.identity, $0) }, uniquingKeysWith: { a, _ in a })
        for row in source {
            self.unseen.remove(row.key)
            guard self.isInScope(row) else { continue }
            self.accepted.insert(row.key)
            self.count += 1
            guard let other = there[row.identity] else {
                outcome.mismatches.append(
                    Mismatch(
                        .objectMissing, row.identity, "\(row.identity) is missing at the target"))
                continue
            }
            self.acceptedAtTarget.insert(other.key)
            if let mismatch = Self.broken(row, other) { outcome.mismatches.append(mismatch) }
            if other.hash != row.hash { outcome.different.append(row.identity) }
        }
        if isPart { outcome.mismatches += self.surplus(source, target) }
        return outcome
    }

    private func isInScope(_ row: Row) -> Bool {
        if self.accepted.contains(row.key) { return true }
        return !self.leftOut.contains(row.key) && self.accepted.contains(row.parent)
    }

    private func surplus(_ source: [Row], _ target: [Row]) -> [Mismatch] {
        let known = Set(source.map(\.identity))
        return target.filter {
            self.acceptedAtTarget.contains($0.parent) && !known.contains($0.identity)
        }.map {
            Mismatch(.surplus, $0.identity, "\($0.identity) is at the target only")
        }
    }

    private static func broken(_ row: Row, _ other: Row) -> Mismatch? {
        guard other.isBroken, !row.isBroken else { return nil }
        return row.identity.hasPrefix("index")
            ? Mismatch(
                .invalidIndex, row.identity, "\(row.identity) is invalid at the target: rebuild it")
            : Mismatch(
                .unvalidatedConstraint, row.identity,
                "\(row.identity) was not validated at the target, but is at the source")
    }
}

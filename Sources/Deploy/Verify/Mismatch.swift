/// One thing that is not at the target as it is at the source.
public struct Mismatch: Codable, Hashable, Sendable {
    /// What differs: a closed list, stable in JSON.
    public enum Kind: String, Codable, Hashable, Sendable, CaseIterable {
        /// A table is missing at one side.
        case tableMissing = "table-missing"
        /// A table has other columns, or columns of other types.
        case columns
        /// A table cannot be read, so nothing is known of it.
        case unreadable
        /// A table has more or fewer rows.
        case rows
        /// A table has as many rows, but other values in them.
        case contents
        /// A sequence stands elsewhere, or is missing.
        case sequence
        /// An object is missing.
        case objectMissing = "object-missing"
        /// An object has another definition.
        case definition
        /// A deployed table carries something that the source's does not.
        case surplus
        /// An index cannot be used.
        case invalidIndex = "invalid-index"
        /// A constraint that holds at the source was not checked.
        case unvalidatedConstraint = "unvalidated-constraint"
        /// Large objects are missing or differ.
        case largeObjects = "large-objects"
    }

    /// What differs.
    public var kind: Kind
    /// Which object: `public.film`, `INDEX public.film_title`.
    public var object: String
    /// What a person reads. Holds names, counts and integer keys; never other values.
    public var sentence: String

    /// Creates a mismatch.
    public init(_ kind: Kind, _ object: String, _ sentence: String) {
        self.kind = kind
        self.object = object
        self.sentence = sentence
    }
}

/// What verifying found.
public struct VerificationReport: Codable, Hashable, Sendable {
    /// Every table that was compared, by name, with the source's figures.
    public var tables: [TableSum]
    /// Objects whose definitions were compared.
    public var objects: Int
    /// Kept entries of the archive of which the source's catalogue told nothing, so that nothing
    /// was compared.
    public var unknownEntries: [String]
    /// Sequences whose positions were compared.
    public var sequences: Int
    /// The source's large objects; nil when they were not compared.
    public var largeObjects: LargeObjectSum?
    /// What is not compared, and why: sentences.
    public var remarks: [String]
    /// What differs; empty when the target is what the source is.
    public var mismatches: [Mismatch]
    /// How long it took.
    public var seconds: Double

    /// Creates a report of nothing.
    public init() {
        self.tables = []
        self.objects = 0
        self.unknownEntries = []
        self.sequences = 0
        self.remarks = []
        self.mismatches = []
        self.seconds = 0
    }

    /// Whether the target is what the source is.
    public var isEqual: Bool { self.mismatches.isEmpty }
}

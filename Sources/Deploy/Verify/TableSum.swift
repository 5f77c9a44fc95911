/// What was counted of a table's rows.
public struct TableSum: Codable, Hashable, Sendable {
    /// `schema.name`.
    public var table: String
    /// Rows.
    public var rows: Int64
    /// The sum of the rows' 64-bit hashes, in decimal; nil when rows were only counted. "0" for an
    /// empty table.
    public var checksum: String?

    /// Creates a sum.
    public init(table: String, rows: Int64, checksum: String?) {
        self.table = table
        self.rows = rows
        self.checksum = checksum
    }
}

/// A side of a deploy.
public enum VerifiedSide: String, Codable, Hashable, Sendable {
    /// Where the data comes from.
    case source
    /// Where it went.
    case target
}

/// How far verifying is.
public struct VerificationStep: Hashable, Sendable {
    /// Whose rows were read.
    public var side: VerifiedSide
    /// `schema.name`.
    public var table: String
    /// Bytes of the table that this step has read, as they lie on disk.
    public var bytes: Int64
    /// Bytes of all tables of this side.
    public var totalBytes: Int64
}

/// Part of a table: pages from `first` up to, but without, `end`; nil: to its end.
struct PageRange: Hashable, Sendable {
    var first: Int64
    var end: Int64?

    /// The condition, in terms of `ctid`.
    var condition: String {
        let low = "ctid >= '(\(self.first),0)'::tid"
        return self.end.map { "\(low) and ctid < '(\($0),0)'::tid" } ?? low
    }

    /// Parts of about a gibibyte, so that a large table shows progress and can be given up.
    ///
    /// The sums of the parts add up to the table's, whatever the pages of the other side hold. The
    /// last part is open: the table may have grown, by rows the snapshot does not see.
    static func parts(pages: Int64, bytes: Int64) -> [PageRange?] {
        guard pages > 0, bytes > 2 * Self.partBytes else { return [nil] }
        let step = max(1, pages / (bytes / Self.partBytes))
        let starts = stride(from: Int64(0), to: pages, by: Int64.Stride(step))
        return starts.map { start in
            PageRange(first: start, end: start + step < pages ? start + step : nil)
        }
    }

    private static let partBytes: Int64 = 1 << 30
}

/// Adds the server's sums, which outgrow 64 bits: decimal text plus decimal text.
struct WideSum: Hashable, Sendable {
    private(set) var value: Int128 = 0

    /// Adds what the server wrote; NULL is the sum of no rows.
    ///
    /// - Returns: Whether it was legible.
    mutating func add(_ text: String?) -> Bool {
        guard let text else { return true }
        guard let term = Int128(text) else { return false }
        let (sum, overflow) = self.value.addingReportingOverflow(term)
        self.value = sum
        return !overflow
    }
}

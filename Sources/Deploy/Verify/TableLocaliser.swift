/// Finds where two tables differ: the lowest key, by halving ranges of keys, and the columns.
struct TableLocaliser: Sendable {
    let source: any SQLSession
    let target: any SQLSession
    let checksum: ChecksumSQL

    /// Keys from `low` to `high`, both included.
    struct KeyRange: Hashable, Sendable {
        var low: Int64
        var high: Int64

        /// The power of two of the ranges that this one is cut into, at most about 256 of them.
        var shift: Int {
            var shift = 0
            while (self.high >> shift) - (self.low >> shift) >= 256 { shift += 1 }
            return shift
        }

        /// The part of this range whose keys, shifted, are `bucket`.
        func part(_ bucket: Int64, shift: Int) -> KeyRange {
            let start = bucket << shift
            let end = start | ((1 << shift) - 1)
            return KeyRange(low: max(self.low, start), high: min(self.high, end))
        }
    }

    /// What a person is told: ``rows with "id" from 12 to 15 differ in "name"``.
    func find(_ job: TableReader.Job) async throws(SQLFailure) -> String? {
        guard let key = job.shape.integerKey, job.columns.contains(where: { $0.name == key }) else {
            return try await self.columns(job, nil).map { "the difference is in \($0)" }
        }
        let name = "r." + SQLText.identifier(key)
        guard var range = try await self.whole(job, name) else { return nil }
        var parts: Int?
        while range.low < range.high {
            let shift = range.shift
            let statement = self.buckets(job, name, range, shift)
            let here = try await self.source.rows(statement)
            let there = try await self.target.rows(statement)
            let different = Self.different(here, there)
            guard let first = different.first else { return nil }
            if parts == nil, shift > 0, different.count > 1 { parts = different.count }
            range = range.part(first, shift: shift)
        }
        let condition = "\(name) between \(range.low) and \(range.high)"
        let columns = try await self.columns(job, condition)
        let more = parts.map { ", and \($0) ranges of keys differ" } ?? ""
        return "the first is the row with \(SQLText.identifier(key)) = \(range.low)"
            + (columns.map { ", in \($0)" } ?? "") + more
    }

    /// The buckets that are not alike, in order.
    static func different(_ here: [[String?]], _ there: [[String?]]) -> [Int64] {
        func table(_ rows: [[String?]]) -> [Int64: [String?]] {
            let pairs = rows.compactMap { row in
                row.first?.flatMap { Int64($0) }.map { ($0, Array(row.dropFirst())) }
            }
            return Dictionary(pairs, uniquingKeysWith: { first, _ in first })
        }
        let one = table(here)
        let other = table(there)
        return Set(one.keys).union(other.keys).filter { one[$0] != other[$0] }.sorted()
    }

    /// From the smallest key of either side to the largest.
    private func whole(
        _ job: TableReader.Job,
        _ key: String
    ) async throws(SQLFailure) -> KeyRange? {
        let statement =
            "select pg_catalog.min(\(key)), pg_catalog.max(\(key)) from \(job.table.rows)"
        let answers = try await self.source.rows(statement) + self.target.rows(statement)
        let keys = answers.flatMap { $0 }.compactMap { $0.flatMap { Int64($0) } }
        guard let low = keys.min(), let high = keys.max() else { return nil }
        // Half of the 64-bit range: the difference of two keys must not overflow.
        guard !high.subtractingReportingOverflow(low).overflow else { return nil }
        return KeyRange(low: low, high: high)
    }

    private func buckets(
        _ job: TableReader.Job, _ key: String, _ range: KeyRange, _ shift: Int
    ) -> String {
        """
        select \(key)::bigint >> \(shift), pg_catalog.count(*), \
        pg_catalog.sum(\(self.checksum.row(job.columns))) from \(job.table.rows) \
        where \(key) between \(range.low) and \(range.high) group by 1
        """
    }

    /// The columns whose sums differ, or nil if there are none (then rows are missing).
    private func columns(
        _ job: TableReader.Job,
        _ condition: String?
    ) async throws(SQLFailure) -> String? {
        let count =
            "select pg_catalog.count(*) from \(job.table.rows)"
            + (condition.map { " where \($0)" } ?? "")
        guard !job.columns.isEmpty,
            try await self.source.rows(count) == self.target.rows(count)
        else { return nil }
        let statement = self.checksum.columnSums(job.table, job.columns, where: condition)
        let here = try await self.source.rows(statement).first ?? []
        let there = try await self.target.rows(statement).first ?? []
        let names = zip(job.columns, zip(here, there)).filter { $0.1.0 != $0.1.1 }.map {
            SQLText.identifier($0.0.name)
        }
        guard !names.isEmpty else { return nil }
        return (names.count == 1 ? "column " : "columns ") + names.joined(separator: ", ")
    }
}

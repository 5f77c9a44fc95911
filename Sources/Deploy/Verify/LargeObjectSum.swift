/// What was counted of large objects.
public struct LargeObjectSum: Codable, Hashable, Sendable {
    /// How many.
    public var count: Int64
    /// Bytes of all of them, holes included.
    public var bytes: Int64
    /// The sum of hashes of their parts, in decimal; nil when contents were not read.
    public var checksum: String?

    /// Creates a sum.
    public init(count: Int64 = 0, bytes: Int64 = 0, checksum: String? = nil) {
        self.count = count
        self.bytes = bytes
        self.checksum = checksum
    }
}

/// Compares the source's large objects with those of the same numbers at the target.
struct LargeObjectReader: Sendable {
    let source: any SQLSession
    let target: any SQLSession
    /// Nil: objects are counted and measured only.
    let checksum: ChecksumSQL?

    /// What the source has, and what of it the target lacks.
    func compare() async throws(SQLFailure) -> (LargeObjectSum, [Mismatch]) {
        var total = LargeObjectSum(checksum: self.checksum == nil ? nil : "0")
        var sum = WideSum()
        var mismatches: [Mismatch] = []
        var last = "0"
        while true {
            let page = try await self.source.rows(Self.page(after: last)).compactMap { $0.first }
            let numbers = page.compactMap { $0 }.filter { UInt32($0) != nil }
            guard let end = numbers.last else { break }
            let here = try await self.sum(self.source, numbers)
            let there = try await self.sum(self.target, numbers)
            total.count += here.count
            total.bytes += here.bytes
            _ = sum.add(here.checksum)
            if here != there { mismatches.append(Self.mismatch(numbers[0], end, here, there)) }
            last = end
        }
        if self.checksum != nil { total.checksum = "\(sum.value)" }
        return (total, mismatches)
    }

    private static func mismatch(
        _ first: String, _ last: String, _ here: LargeObjectSum, _ there: LargeObjectSum
    ) -> Mismatch {
        let place = "large objects \(first) to \(last)"
        let sentence =
            if here.count != there.count {
                "\(here.count) readable at the source, \(there.count) at the target"
            } else if here.bytes != there.bytes {
                "\(here.bytes) bytes at the source, \(there.bytes) at the target"
            } else {
                "their contents differ"
            }
        return Mismatch(.largeObjects, place, "\(place): \(sentence)")
    }

    /// Memory, here and in the statements, is bounded by a page of numbers.
    private static let numbersAPage = 10_000

    private static func page(after last: String) -> String {
        """
        select oid from pg_catalog.pg_largeobject_metadata where oid > \(last)::oid
        order by oid limit \(self.numbersAPage)
        """
    }

    private func sum(
        _ session: any SQLSession,
        _ numbers: [String]
    ) async throws(SQLFailure) -> LargeObjectSum {
        let row = try await session.rows(self.query(numbers)).first ?? []
        guard row.count == 4, let count = row[0].flatMap({ Int64($0) }),
            let bytes = row[1].flatMap({ Int64($0) })
        else { throw SQLFailure(sqlState: nil, message: "a large object's sum is not legible") }
        return LargeObjectSum(count: count, bytes: bytes, checksum: row[2])
    }

    /// Count, bytes, sum, and what closing returned. 262144 is INV_READ, and the size of a part.
    ///
    /// By the functions, not the table: that one is the superuser's, and its pages have holes that
    /// a restore fills. What may not be read is left out, as trying would end the transaction.
    func query(_ numbers: [String]) -> String {
        """
        select pg_catalog.count(*), coalesce(pg_catalog.sum(s.size), 0),
            \(self.contents), pg_catalog.sum(pg_catalog.lo_close(o.fd))
        from (select m.oid, pg_catalog.lo_open(m.oid, 262144) as fd
            from pg_catalog.pg_largeobject_metadata m
            where m.oid = any(array[\(numbers.joined(separator: ", "))]::oid[])
            and (pg_catalog.pg_has_role(m.lomowner, 'usage') or exists (
                select from pg_catalog.aclexplode(m.lomacl) a
                where a.privilege_type = 'SELECT'
                and case when a.grantee = 0 then true
                    else pg_catalog.pg_has_role(a.grantee, 'usage') end))
            order by m.oid offset 0) o
        cross join lateral (select pg_catalog.lo_lseek64(o.fd, 0, 2) as size offset 0) s
        """
    }

    private var contents: String {
        guard let checksum = self.checksum else { return "null" }
        let part = "pg_catalog.lo_get(o.oid, g.start, 262144)"
        let number = "pg_catalog.int8send(o.oid::bigint) || pg_catalog.int8send(g.start)"
        let digest = "pg_catalog.substr(pg_catalog.sha256(\(number) || \(part)), 1, 8)"
        let hash =
            checksum.portable
            ? "('x' || pg_catalog.encode(\(digest), 'hex'))::bit(64)::bigint"
            : "pg_catalog.hash_record_extended(row(o.oid, g.start, \(part)), 3)"
        return """
            pg_catalog.sum((select pg_catalog.sum(\(hash))
                from pg_catalog.generate_series(0, s.size - 1, 262144) g(start)))
            """
    }
}

import Testing

@testable import Deploy

struct VerifyPureTests {
    static let alike: [(String, String)] = [
        ("(a = 'x'::text)", "a = 'x'"),
        (
            "((a)::text = ANY ((ARRAY['x'::character varying, 'y'::character varying])::text[]))",
            "(a)::text = ANY (ARRAY[('x'::character varying)::text, "
                + "('y'::character varying)::text])"
        ),
        ("x::numeric(10,2) + 1", "x + 1"),
        ("x::timestamp(3) without time zone", "x"),
        ("x::timestamp with time zone AND y", "x AND y"),
        ("x::\"Odd \"\"type\".\"b c\"[] = 1", "x=1"),
        ("x::public.mood[][]", "x"),
        ("x::double precision*2", "x * 2"),
        ("a\n   AND\tb", "a AND b"),
    ]

    @Test(arguments: alike)
    func `parentheses, casts and white space do not count in a definition`(
        one: String, other: String
    ) {
        #expect(DefinitionText.canonical(one) == DefinitionText.canonical(other))
    }

    static let different: [(String, String)] = [
        ("'a b'", "'ab'"), ("'(x)'", "'x'"), ("'x::text'", "'x'"), ("\"a b\"", "\"ab\""),
        ("'it''s'", "'its'"), ("a > 1", "a > 2"), ("a AND b", "a OR b"), ("'", ""), ("::", "a"),
    ]

    @Test(arguments: different)
    func `texts, quoted names and everything else count`(one: String, other: String) {
        #expect(DefinitionText.canonical(one) != DefinitionText.canonical(other))
    }

    @Test func `queries of two versions are not comparable, the rest of a definition is`() {
        func verdict(_ one: String, _ other: String, _ sameMajor: Bool) -> ObjectReader.Verdict {
            ObjectReader.verdict(one, other, sameMajor: sameMajor)
        }
        #expect(verdict("v\n\u{1}\nSELECT t.a", "v\n\u{1}\nSELECT a", false) == .notComparable)
        #expect(verdict("v\n\u{1}\nSELECT t.a", "v\n\u{1}\nSELECT a", true) == .different)
        #expect(verdict("v\n\u{1}\nSELECT a", "w\n\u{1}\nSELECT a", false) == .different)
        #expect(verdict("v\n\u{1}\n(a > 1)", "v\n\u{1}\n(a > 2)", false) == .different)
        #expect(verdict("SELECT 1", "SELECT 2", false) == .different)
        #expect(verdict("v\n\u{1}\n(SELECT a)", "v\n\u{1}\n SELECT  a", true) == .equal)
    }

    @Test func `a large table is read in parts that cover every page once`() {
        #expect(PageRange.parts(pages: 0, bytes: 1 << 40) == [nil])
        #expect(PageRange.parts(pages: 1_000, bytes: 8_192_000) == [nil])
        let parts = PageRange.parts(pages: 1_000_003, bytes: 8_192_024_576)
        #expect(parts.count >= 7)
        #expect(parts.first??.first == 0)
        #expect(parts.last??.end == .some(nil))
        for (part, next) in zip(parts, parts.dropFirst()) { #expect(part?.end == next?.first) }
        #expect(
            PageRange(first: 3, end: 5).condition == "ctid >= '(3,0)'::tid and ctid < '(5,0)'::tid")
        // A table whose values are all out of line has few pages and many bytes.
        #expect(PageRange.parts(pages: 3, bytes: 1 << 40).count == 3)
    }

    @Test func `sums beyond 64 bits add up, and what is no number is refused`() {
        var sum = WideSum()
        let read = ["9223372036854775807000", "-1", nil].map { sum.add($0) }
        #expect(read == [true, true, true])
        #expect("\(sum.value)" == "9223372036854775806999")
        let refused = ["1.5", "", "NaN"].map { sum.add($0) }
        #expect(refused == [false, false, false])
    }

    static let ranges: [(Int64, Int64)] = [
        (0, 0), (1, 10_000_000), (-5, 5), (-(1 << 62), (1 << 62) - 1), (Int64.max - 300, .max),
        (.min, .min + 1_000),
    ]

    @Test(arguments: ranges)
    func `ranges of keys are cut into at most 256 parts that end at single keys`(
        low: Int64, high: Int64
    ) {
        for wanted in [low, high, low / 2 + high / 2] {
            var range = TableLocaliser.KeyRange(low: low, high: high)
            var rounds = 0
            while range.low < range.high, rounds < 10 {
                let shift = range.shift
                #expect((range.high >> shift) - (range.low >> shift) < 256)
                range = range.part(wanted >> shift, shift: shift)
                #expect(range.low <= wanted && wanted <= range.high)
                rounds += 1
            }
            #expect(range == TableLocaliser.KeyRange(low: wanted, high: wanted))
        }
    }

    @Test func `buckets that one side lacks, or that are not alike, are different`() {
        let here = [["1", "5", "77"], ["2", "5", "78"], ["4", "1", "1"]]
        let there = [["2", "5", "79"], ["1", "5", "77"], ["7", "1", "1"]]
        #expect(TableLocaliser.different(here, there) == [2, 4, 7])
        #expect(TableLocaliser.different(here, here.reversed()) == [])
    }

    @Test func `a column's hash depends on its place, and wide tables do not nest deep`() {
        func column(_ name: String, _ type: UInt32) -> ColumnShape {
            ColumnShape(name: name, type: "?", baseType: type, isGenerated: false)
        }
        let sql = ChecksumSQL()
        #expect(sql.row([]) == "1::bigint")
        #expect(sql.row([column("a\"b", 23)]).contains("r.\"a\"\"b\""))
        #expect(
            sql.row([column("a", 23), column("b", 25)])
                != sql.row([column("b", 25), column("a", 23)]))
        let wide = sql.row((0..<1_600).map { column("c\($0)", 25) })
        let depths = wide.reduce(into: (depth: 0, most: 0)) { state, character in
            state.depth += character == "(" ? 1 : character == ")" ? -1 : 0
            state.most = max(state.most, state.depth)
        }
        #expect(depths.depth == 0)
        #expect(depths.most < 20)
    }

    @Test func `a sequence that is missing or stands elsewhere is told`() {
        let one = SequencePosition(schema: "s", name: "a", lastValue: 3, isCalled: true)
        var other = one
        other.isCalled = false
        #expect(SequencePositions.compare(expected: [one], target: [one]) == [])
        let moved = SequencePositions.compare(expected: [one], target: [other])
        #expect(
            moved.map(\.sentence) == [
                "sequence s.a stands after 3 at the source and before 3 at the target"
            ])
        #expect(SequencePositions.compare(expected: [one], target: []).map(\.kind) == [.sequence])
    }
}

/// What counts as an object of the deploy.
struct VerifyComparisonTests {
    typealias Key = ObjectComparison.Key
    typealias Row = ObjectComparison.Row

    static let table = Key(catalogue: 1259, oid: 20_000)
    static let otherTable = Key(catalogue: 1259, oid: 20_001)
    static let constraint = Key(catalogue: 2606, oid: 20_002)

    @Test func `objects without an entry are nobody's, parts of kept ones are ours`() {
        var comparison = ObjectComparison(
            kept: [Self.table, Key(catalogue: 0, oid: 7)], leftOut: [])
        let tables = [
            Row("table a", key: Self.table, hash: "1"),
            Row("table b", key: Self.otherTable, hash: "2"),
        ]
        let there = [Row("table a", key: Key(catalogue: 1259, oid: 9), hash: "1")]
        let nothing = comparison.compare(source: tables, target: there, isPart: false)
        #expect(nothing == .init())
        let parts = [Row("check c on a", key: Self.constraint, parent: Self.table, hash: "3")]
        let missing = comparison.compare(source: parts, target: [], isPart: true)
        #expect(missing.mismatches.map(\.sentence) == ["check c on a is missing at the target"])
        #expect(comparison.count == 2)
        #expect(comparison.unknown == [])
    }

    @Test func `a part that was left out is not missed`() {
        var comparison = ObjectComparison(kept: [Self.table], leftOut: [Self.constraint])
        let tables = [Row("table a", key: Self.table, hash: "1")]
        _ = comparison.compare(source: tables, target: tables, isPart: false)
        let parts = [Row("fk on a", key: Self.constraint, parent: Self.table, hash: "3")]
        let nothing = comparison.compare(source: parts, target: [], isPart: true)
        #expect(nothing == .init())
    }

    @Test func `an entry of which no catalogue tells is reported`() {
        var comparison = ObjectComparison(kept: [Self.table], leftOut: [])
        _ = comparison.compare(source: [], target: [], isPart: false)
        #expect(comparison.unknown == [Self.table])
    }

    @Test func `a part at the target alone is surplus on our table and no matter on another`() {
        var comparison = ObjectComparison(kept: [Self.table], leftOut: [])
        let here = [Row("table a", key: Self.table, hash: "1")]
        let there = here + [Row("table x", key: Self.otherTable, hash: "1")]
        _ = comparison.compare(source: here, target: there, isPart: false)
        let parts = [
            Row("index i", key: Key(catalogue: 1259, oid: 1), parent: Self.table, hash: ""),
            Row("index j", key: Key(catalogue: 1259, oid: 2), parent: Self.otherTable, hash: ""),
        ]
        let outcome = comparison.compare(source: [], target: parts, isPart: true)
        #expect(outcome.mismatches.map(\.sentence) == ["index i is at the target only"])
    }

    @Test func `what is broken at the target alone is told, and definitions that differ are named`()
    {
        var comparison = ObjectComparison(kept: [Self.table, Self.constraint], leftOut: [])
        let here = [
            Row("index i", key: Self.table, hash: "1"),
            Row("check c", key: Self.constraint, hash: "1"),
        ]
        let there = [
            Row("index i", key: Self.table, hash: "1", isBroken: true),
            Row("check c", key: Self.constraint, hash: "2", isBroken: true),
        ]
        let outcome = comparison.compare(source: here, target: there, isPart: false)
        #expect(outcome.mismatches.map(\.kind) == [.invalidIndex, .unvalidatedConstraint])
        #expect(outcome.different == ["check c"])
    }
}

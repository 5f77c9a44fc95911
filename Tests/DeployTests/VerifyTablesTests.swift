import Deploy
import Foundation
import TestSupport
import Testing

/// Real servers: what differs is found, and what does not is not.
@Suite(.serialized) struct VerifyTablesTests {
    /// Every pair of versions, and each version with itself.
    static let pairs: [[TestPostgres.Version]] = TestPostgres.Version.available.flatMap { one in
        TestPostgres.Version.available.map { [one, $0] }
    }

    @Test(arguments: pairs)
    func `equal tables of every type have equal sums whatever the versions`(
        versions: [TestPostgres.Version]
    ) async throws {
        let pair = try VerifyPair(versions[0], versions[1])
        try pair.both(Self.everyType)
        let report = try await pair.verify(Self.tables)
        #expect(report.mismatches == [])
        #expect(report.tables.map(\.rows) == [5, 0, 3, 2, 3])
        #expect(report.tables.allSatisfy { $0.checksum != nil })
    }

    /// One value of each type, changed at the target.
    static let changes = [
        "a_bool = not a_bool", "a_bytea = a_bytea || '\\x00'", "an_int8 = an_int8 + 1",
        "an_int2 = an_int2 + 1", "an_int4 = an_int4 + 1", "an_oid = 17", "a_float4 = '-0'",
        "a_float8 = 'nan'", "a_float8 = '-0'", "a_time = a_time + interval '1 us'",
        "a_timestamp = a_timestamp + interval '1 us'", "a_timestamptz = 'infinity'",
        "a_numeric = a_numeric * 1.0", "a_numeric = 'nan'", "a_uuid = gen_random_uuid()",
        "a_text = a_text || ' '", "a_text = ''", "a_text = null", "a_varchar = upper(a_varchar)",
        "a_date = a_date + 1", "an_interval = '24 hours'", "a_timetz = '03:04:05+01'",
        "a_json = '{\"a\": 1}'", "a_jsonb = '{\"a\": 1.00}'",
        "a_point = point(1, 2.0000000000000004)", "a_box = box(point(0, 0), point(1, 1))",
        "a_range = '[1,4]'", "an_array = '{1,null,3}'", "texts = '{a,\"b \"}'",
        "an_enum = 'sad'", "a_pair = row(1, null)", "an_email = 'c@d'", "a_money = 3.01",
        "a_vector = 'a:2'", "a_bit = b'101'", "an_inet = '10.0.0.2/8'", "a_class = 'pg_type'",
        "a_name = 'other'", "a_letter = 'y'",
    ]

    @Test func `a changed value of any type is found, and its column named`() async throws {
        let versions = TestPostgres.Version.available
        let pair = try VerifyPair(try #require(versions.first), try #require(versions.last))
        try pair.both(Self.everyType)
        for change in Self.changes {
            let report = try await pair.verify(
                Self.tables, after: "update public.every set \(change) where id = 3")
            let column = change.prefix { $0 != " " }
            try #require(report.mismatches.count == 1, "\(change)")
            #expect(report.mismatches[0].kind == .contents)
            #expect(report.mismatches[0].object == "public.every")
            let sentence = report.mismatches[0].sentence
            #expect(sentence.contains("\"id\" = 3, in column"), "\(change): \(sentence)")
            #expect(sentence.contains("\"\(column)\""), "\(change): \(sentence)")
        }
    }

    /// Types that not every build of Postgres has.
    @Test func `XML and text of a collation that takes A for a are compared byte by byte`()
        async throws
    {
        let pair = try VerifyPair(.v15, .v15)
        try pair.both(
            """
            create collation folded (provider = icu, locale = 'und-u-ks-level2',
                deterministic = false);
            create table t (id int primary key, x xml, t text collate folded);
            insert into t values (1, '<a/>', 'abc'), (2, null, null)
            """)
        let tables = [VerifiedTable(schema: "public", name: "t")]
        #expect(try await pair.verify(tables).mismatches == [])
        for change in ["x = '<a></a>'", "t = 'ABC'"] {
            let report = try await pair.verify(
                tables, after: "update public.t set \(change) where id = 1")
            #expect(report.mismatches.map(\.kind) == [.contents], "\(change)")
        }
    }

    static let tables = [
        VerifiedTable(schema: "public", name: "every"),
        VerifiedTable(schema: "public", name: "no columns"),
        VerifiedTable(schema: "public", name: "parent"),
        VerifiedTable(schema: "public", name: "child"),
        VerifiedTable(schema: "public", name: "leaf", filter: "where k < 4"),
    ]

    /// Two values of a type swapped, values at the edges, and NULLs.
    static let everyType = """
        create type mood as enum ('sad', 'ok');
        create type pair as (a int, b text);
        create domain email as text check (value like '%@%');
        create domain deep as email;
        create table every (id bigint primary key, a_bool bool, a_bytea bytea, an_int8 int8,
            an_int2 int2, an_int4 int4, an_oid oid, a_float4 float4, a_float8 float8, a_time time,
            a_timestamp timestamp, a_timestamptz timestamptz, a_numeric numeric, a_uuid uuid,
            a_text text, a_varchar varchar(20), a_char char(6), a_date date,
            an_interval interval, a_timetz timetz, a_json json, a_jsonb jsonb,
            a_point point, a_box box, a_range int4range, an_array int[], texts text[],
            an_enum mood, a_pair pair, an_email deep, a_money money, a_vector tsvector,
            a_bit varbit, an_inet inet, a_class regclass, a_name name, a_letter "char",
            doubled int generated always as (an_int4 * 2) stored);
        insert into every select g, g % 2 = 0, '\\x00ff'::bytea, -g, g, g, g + 10, 0, 0,
            '03:04:05.6', '2026-01-02 03:04:05.6', '2026-01-02 03:04:05.6+00', 1.0,
            '6f1c5f0e-6a0b-4a53-9a3b-3f0f7a1c2d3e', 'ä"ö\\ü', 'abc', 'x ', '2026-01-02', '1 day',
            '03:04:05+00', '{"a":1}', '{"a": 1.0}', point(1, 2), box(point(0,0),point(2,1)),
            '[1,3]', '{1,2,3}', '{a,b}', 'ok', row(1, 'x "y"')::pair, 'a@b', 3, 'a:1', b'10',
            '10.0.0.1/8', 'pg_class', 'name', 'x'
        from generate_series(1, 3) g;
        insert into every (id, a_timestamp, a_timestamptz, a_date, a_numeric, a_float8)
            values (4, '-infinity', 'infinity', 'infinity', 'nan', 'infinity');
        insert into every (id) values (5);
        create table "no columns" ();
        create table parent (k int, t text);
        create table child () inherits (parent);
        insert into parent values (1, 'a'), (2, 'b'), (3, null);
        insert into child values (1, 'c'), (2, 'd');
        create table whole (k int, t text) partition by range (k);
        create table leaf partition of whole for values from (1) to (10);
        insert into whole select g, g from generate_series(1, 9) g;
        """
}

import Deploy
import Foundation
import TestSupport
import Testing

/// Real dumps and restores: what a restore changes in how a definition is written is no difference,
/// and every planted difference is one.
@Suite(.serialized) struct VerifyObjectsTests {
    static let pairs: [[TestPostgres.Version]] = TestPostgres.Version.available.flatMap { one in
        TestPostgres.Version.available.filter { one.rawValue <= $0.rawValue }.map { [one, $0] }
    }

    @Test(arguments: pairs)
    func `a restored database of every kind of object has no difference`(
        versions: [TestPostgres.Version]
    ) async throws {
        let pair = try VerifyPair(versions[0], versions[1])
        try pair.source(Self.schema)
        var scope = Verifier.Scope()
        scope.kept = try pair.deploy().entries
        scope.grants = true
        scope.largeObjects = true
        let report = try await pair.verify(scope)
        #expect(report.mismatches.map(\.sentence) == [])
        #expect(report.unknownEntries == [])
        #expect(report.objects > 100)
        #expect(report.largeObjects?.count == 2)
        #expect(report.largeObjects?.bytes == 600_003)
        #expect(report.remarks.count == (versions[0] == versions[1] ? 1 : report.remarks.count))
    }

    /// The test databases, rows and all, restored by a superuser.
    ///
    /// pg_restore says that nobody can take a security label; its status is 1 then.
    @Test(arguments: ["everything", "pagila", "chinook", "extensions"])
    func `a restored test database has no difference`(database: String) async throws {
        let pair = try VerifyPair(.v15, .v15)
        try pair.source(file: "Tests/EndToEnd/databases/\(database).sql")
        var scope = Verifier.Scope()
        scope.kept = try pair.deploy(allows: [0, 1]).entries
        scope.tables = try await pair.tables()
        scope.grants = true
        scope.largeObjects = true
        let report = try await pair.verify(scope)
        #expect(report.mismatches.map(\.sentence) == [])
        #expect(report.unknownEntries == [])
        #expect(report.tables.count == scope.tables.count)
        #expect(report.tables.contains { $0.rows > 0 })
    }

    /// A statement, and how the sentence begins that tells of it.
    static let changes: [(change: String, kind: Mismatch.Kind, sentence: String)] = [
        ("drop index film_title", .objectMissing, "index public.film_title is missing"),
        ("drop view v_film_names", .objectMissing, "view public.v_film_names is missing"),
        (
            "create or replace view v_film as select id, title || '!' as title from film",
            .definition,
            "view public.v_film has another"
        ),
        (
            "create or replace function f(a int) returns int language sql as 'select a + 2'",
            .definition, "function public.f(integer) has another"
        ),
        ("alter function f(int) security definer", .definition, "function public.f(integer) has"),
        ("drop function f(int)", .objectMissing, "function public.f(integer) is missing"),
        (
            "alter table film drop constraint film_rate", .objectMissing,
            "table constraint film_rate on public.film is missing"
        ),
        (
            "alter table film drop constraint film_rate; "
                + "alter table film add constraint film_rate check (rate > 1) not valid",
            .definition, "table constraint film_rate on public.film has another"
        ),
        (
            "alter table film drop constraint film_rate; "
                + "alter table film add constraint film_rate check (rate > 0) not valid",
            .unvalidatedConstraint, "table constraint film_rate on public.film was not validated"
        ),
        (
            "update pg_index set indisvalid = false where indexrelid = 'film_title'::regclass",
            .invalidIndex, "index public.film_title is invalid"
        ),
        ("alter table film disable trigger film_touch", .definition, "trigger film_touch on"),
        ("drop trigger film_touch on film", .objectMissing, "trigger film_touch on public.film is"),
        ("drop policy mine on film", .objectMissing, "policy mine on public.film is missing"),
        ("alter policy mine on film using (id > 2)", .definition, "policy mine on public.film has"),
        ("alter table film disable row level security", .definition, "table public.film has"),
        ("drop rule quiet on log", .objectMissing, "rule quiet on public.log is missing"),
        (
            "alter table film alter title drop not null", .definition,
            "table column public.film.title has another"
        ),
        (
            "alter table film alter rate set default 4", .definition,
            "table column public.film.rate has another"
        ),
        ("alter table film add surplus int", .surplus, "table column public.film.surplus is at"),
        ("create index surplus on film (rate)", .surplus, "index public.surplus is at the target"),
        ("alter type mood add value 'new'", .definition, "type public.mood has another"),
        (
            "alter domain email drop constraint email_check", .objectMissing,
            "domain constraint email_check on public.email is missing"
        ),
        ("drop operator === (int, int)", .objectMissing, "operator public.===(integer,integer)"),
        ("drop aggregate total(int)", .objectMissing, "aggregate public.total(integer) is missing"),
        ("comment on table film is 'other'", .definition, "comment on table public.film has"),
        (
            "comment on column film.title is null", .objectMissing,
            "comment on table column public.film.title is missing"
        ),
        ("revoke select on film from trusty", .definition, "owner and grants of table public.film"),
        (
            "revoke all (title) on log2 from trusty", .objectMissing,
            "grants of table column public.log2.title is missing"
        ),
        (
            "alter table log owner to trusty", .definition,
            "owner and grants of table public.log has"
        ),
        ("alter sequence loose increment 3", .definition, "sequence public.loose has another"),
        ("drop statistics film_stats", .objectMissing, "statistics object public.film_stats"),
        (
            "alter text search configuration plain drop mapping for word", .definition,
            "text search configuration public.plain has"
        ),
        ("drop schema \"Odd schema\" cascade", .objectMissing, "schema \"Odd schema\" is missing"),
        ("select lo_unlink(4711)", .largeObjects, "large objects 4711 to 4712: 2 readable"),
        ("select lo_put(4712, 299999, 'xxx')", .largeObjects, "large objects 4711 to 4712: 600003"),
        ("select lo_put(4712, 299998, 'y')", .largeObjects, "large objects 4711 to 4712: their"),
    ]

    @Test func `every planted difference is found and told`() async throws {
        let version = try #require(TestPostgres.Version.available.last)
        let pair = try VerifyPair(version, version)
        try pair.source(Self.schema)
        var scope = Verifier.Scope()
        scope.kept = try pair.deploy().entries
        scope.grants = true
        scope.largeObjects = true
        for (change, kind, sentence) in Self.changes {
            let report = try await pair.verify(
                scope, after: "set search_path = public; " + change)
            let found = report.mismatches.filter { $0.kind == kind }.map(\.sentence)
            #expect(
                found.contains { $0.hasPrefix(sentence) },
                "\(change): \(report.mismatches.map(\.sentence))")
        }
    }

    @Test func `what was left out, and what is somebody else's, is no difference`() async throws {
        let pair = try VerifyPair(.v15, .v15)
        try pair.source(
            "create table a (id int primary key); create table b (a int references a); "
                + "create function g() returns int language sql as 'select 1'")
        let entries = try pair.deploy().entries
        try pair.target(
            "alter table b drop constraint b_a_fkey; drop function g(); create table c (i int)")
        var scope = Verifier.Scope()
        scope.kept = entries.filter { !["FK CONSTRAINT", "FUNCTION"].contains($0.kind) }
        scope.leftOut = entries.filter { ["FK CONSTRAINT", "FUNCTION"].contains($0.kind) }
        #expect(try await pair.verify(scope).mismatches.map(\.sentence) == [])
        scope.kept = entries
        scope.leftOut = []
        #expect(try await pair.verify(scope).mismatches.map(\.sentence).count == 2)
    }

    static let schema = #"""
        create type mood as enum ('sad', 'it''s ok');
        create type pair as (a int, b text);
        create type span as range (subtype = float8, subtype_diff = float8mi);
        create domain email as varchar(80) default 'a@b' not null
            constraint email_check check (value in ('a@b', 'c@d') or value ~ '@');
        create sequence loose increment 2;
        create collation plain_c from "C";
        create schema "Odd schema";
        create table "Odd schema"."T .""x" ("Ä b" int primary key, c mood default 'sad');
        create function touch() returns trigger language plpgsql as 'begin return new; end';
        create function f(a int) returns int language sql as 'select a + 1';
        create function g(a int default 3, variadic b text[] default array['x']) returns setof int
            language sql stable cost 7 rows 9 set search_path = public, pg_temp as 'select 1';
        create function h(a int) returns int language sql immutable
            begin atomic select a + 1 where a > 0; end;
        create procedure p(inout a int) language plpgsql as 'begin a := 1; end';
        create aggregate total(int) (sfunc = int4pl, stype = int, initcond = '0');
        create operator === (leftarg = int, rightarg = int, function = int4eq, commutator = ===);
        create cast (pair as text) with inout as assignment;
        create text search configuration plain (parser = default);
        alter text search configuration plain add mapping for word, asciiword with simple;
        create text search dictionary short (template = simple, stopwords = english);
        create table film (id int generated always as identity primary key,
            title text not null collate plain_c, kind varchar(10) check (kind in ('a', 'b')),
            rate numeric(4,2) default 4.99 constraint film_rate check (rate > 0),
            twice int generated always as (char_length(title) * 2) stored, m mood, e email, s span,
            tags text[] default array['x'::varchar, 'y'],
            at timestamptz default now() - interval '1 day',
            exclude using gist (s with &&), unique (title, kind) deferrable initially deferred)
            with (fillfactor = 90);
        alter table film add constraint later check (rate < 100) not valid;
        create index film_title on film (lower(title), (rate + 1) desc nulls last)
            where kind in ('a', 'b');
        create statistics film_stats (dependencies) on title, kind from film;
        alter table film alter title set statistics 500;
        alter table film alter title set storage external;
        create trigger film_touch before update of title on film for each row
            when (old.title is distinct from new.title and old.kind in ('a', 'b'))
            execute function touch();
        alter table film enable row level security;
        alter table film force row level security;
        create policy mine on film for select to trusty, postgres
            using (kind in ('a', 'b') and id in (select id from film));
        create table log (id serial primary key, film int references film on delete cascade);
        create rule quiet as on delete to log do instead nothing;
        create unlogged table log2 (like film including all);
        create view v_film as select id, title from film where kind in ('a', 'b');
        create view v_film_names with (security_barrier) as select f.title as name, l.id
            from v_film f left join log l on l.film = f.id where f.title = any (array['a', 'b']);
        create materialized view m_film as select kind, count(*) from film group by kind;
        create index on m_film (kind);
        create table parted (id int, k text, primary key (id, k)) partition by list (k);
        create table parted_a partition of parted for values in ('a', 'b');
        create table parted_rest partition of parted default partition by hash (id);
        create table parted_0 partition of parted_rest for values with (modulus 1, remainder 0);
        create index on parted (k);
        create table links (id int, k text, foreign key (id, k) references parted);
        create trigger parted_touch before insert on parted for each row execute function touch();
        create table base (a int not null, b text default 'x');
        create table derived (c int, check (c > a)) inherits (base);
        alter table base add late int;
        create foreign data wrapper nowhere;
        create server there foreign data wrapper nowhere options (host 'x');
        create user mapping for trusty server there options (password 'secret');
        create foreign table far (a int options (x 'y'), b text) server there options (t 'far');
        create function et_f() returns event_trigger language plpgsql as 'begin end';
        create event trigger et on ddl_command_start execute function et_f();
        create publication pub for table film, log;
        comment on table film is 'films, "quoted" and it''s fine';
        comment on column film.title is 'title';
        comment on function f(int) is 'f';
        comment on constraint film_rate on film is 'positive';
        comment on index film_title is 'i';
        comment on type mood is 'm';
        grant select, insert on film to trusty;
        grant select (title) on log2 to trusty;
        grant usage on schema "Odd schema" to public;
        revoke execute on function f(int) from public;
        alter default privileges grant select on tables to trusty;
        select lo_from_bytea(4711, convert_to(repeat('ab', 150001), 'UTF8') || '\x00');
        select lo_from_bytea(4712, convert_to(repeat('x', 300000), 'UTF8'));
        """#
}

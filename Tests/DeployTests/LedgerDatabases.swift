/// Databases as scripts, for tests of the ledger.
enum LedgerDatabases {
    /// What others have in the target before anything is deployed.
    static let others = """
        create schema theirs;
        create table theirs.customers (id int primary key, name text);
        insert into theirs.customers values (1, 'Ada'), (2, 'Bob');
        create view theirs.names as select name from theirs.customers;
        create table public.notes (id serial primary key, body text);
        insert into public.notes (body) values ('mine');
        create function public.their_function() returns int language sql as 'select 1';
        comment on schema public is 'as it was';
        alter default privileges in schema public grant select on tables to scram;
        grant usage on schema theirs to trusty;
        grant select, references on theirs.customers to trusty;
        """

    /// All that a role without superuser can make. `generation` changes some of it.
    static func ordinary(_ generation: Int) -> String {
        let extra = generation % 2 == 1 ? "odd" : "even"
        return """
            create schema app;
            comment on schema app is 'generation \(generation)';
            grant usage on schema app to scram;
            create schema "Odd ""Schema.ü";
            create schema only_\(extra);
            create table only_\(extra).t (i int);
            create table public.only_\(extra) (i int);
            create sequence public.only_\(extra)_seq start \(generation);
            create type public.mood as enum ('sad', 'ok', 'generation \(generation)');
            create domain public.positive as int default 1 constraint above check (value > 0);
            create type app.pair as (a int, b public.mood);
            create type app.span as range (subtype = float8);
            create table public.parent (
                id int generated always as identity primary key,
                mood public.mood default 'ok', n public.positive, s app.span,
                twice int generated always as (n * 2) stored, p app.pair);
            insert into public.parent (n, s, p)
                select i, app.span(i, i + 1), row(i, 'sad')::app.pair
                from generate_series(1, \(generation * 3)) i;
            comment on table public.parent is 'parents of generation \(generation)';
            comment on column public.parent.mood is 'of a parent';
            create index parent_mood on public.parent (mood) where n > 0;
            create statistics public.parent_stats (dependencies) on n, mood from public.parent;
            grant select (id, mood) on public.parent to scram;
            grant select on public.parent to scram with grant option;
            create table app.child (extra text) inherits (public.parent);
            create table app.detail (
                id serial primary key, parent int references public.parent (id) on delete cascade
                    deferrable initially deferred, customer int, unique (parent, customer));
            insert into app.detail (parent, customer) select id, 1 from public.parent;
            set constraints all immediate;
            alter table app.detail add constraint of_theirs foreign key (customer)
                references theirs.customers on delete restrict;
            comment on constraint of_theirs on app.detail is 'of others';
            alter table app.detail add constraint later check (customer > 0) not valid;
            create table app.parted (d int, k text) partition by range (d);
            create table public.parted_1 partition of app.parted for values from (0) to (10);
            create table "Odd ""Schema.ü"."Part.2" partition of app.parted
                for values from (10) to (20);
            create index on app.parted (k);
            insert into app.parted select i, 'k' || i from generate_series(1, 19) i;
            create table "Odd ""Schema.ü"."Table of ü" ("a b" int default
                nextval('public.only_\(extra)_seq'), "c.d" text);
            insert into "Odd ""Schema.ü"."Table of ü" ("c.d") values ('x'), (E'tab\\t');
            create unlogged table public.fast (i int);
            create function public.next_mood(public.mood) returns public.mood language sql
                as 'select ''ok''::public.mood';
            create function public.next_mood(public.positive, app.pair default null)
                returns setof public.parent language sql stable
                as 'select * from public.parent';
            create function app.touch() returns trigger language plpgsql
                as 'begin return new; end';
            create procedure app.work(in a int, out b int, inout c public.mood) language plpgsql
                as 'begin b := \(generation); end';
            create procedure app.work(variadic a int[]) language plpgsql as 'begin end';
            create function app.whole(i int) returns int
                begin atomic select i + \(generation) from public.parent limit 1; end;
            create function app.concat_mood(text, public.mood) returns text language sql
                immutable as 'select $1 || $2::text';
            create aggregate app.moods(public.mood) (sfunc = app.concat_mood, stype = text,
                initcond = '');
            create aggregate public.hits(*) (sfunc = int8inc, stype = int8, initcond = '0');
            create operator public.|+| (leftarg = text, rightarg = public.mood,
                function = app.concat_mood);
            create view public.parents as select id, mood, app.whole(id) w from public.parent;
            create view app.grand_parents with (security_barrier) as
                select p.id, 'x'::text operator(public.|+|) p.mood as m from public.parents p;
            create rule quiet as on insert to public.parents do instead nothing;
            create materialized view public.summary as
                select mood, count(*) from public.parent group by mood;
            create unique index on public.summary (mood);
            create trigger touched before update on public.parent for each row
                execute function app.touch();
            create trigger touched_detail after insert on app.detail for each statement
                execute function app.touch();
            alter table public.parent enable row level security;
            create policy own on public.parent for select to scram using (n > 0);
            create collation public.german (provider = libc, locale = 'C');
            create table public.sorted (t text collate public.german);
            create text search configuration public.words (copy = pg_catalog.simple);
            create text search dictionary app.dictionary (template = pg_catalog.simple);
            alter text search configuration public.words alter mapping for asciiword
                with app.dictionary;
            create conversion public.from_latin for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
            create sequence app.free increment 5 start \(generation);
            select nextval('app.free');
            create table public.circle_a (id int primary key, other int);
            create table public.circle_b (id int primary key, other int references public.circle_a);
            alter table public.circle_a add foreign key (other) references public.circle_b;
            insert into public.circle_a values (1, null);
            create cast (app.pair as public.mood) with inout;
            comment on cast (app.pair as public.mood) is 'generation \(generation)';
            alter default privileges in schema app grant execute on functions to scram;
            alter default privileges in schema public grant usage on types to scram;
            alter default privileges revoke execute on functions from public;
            alter default privileges grant update on sequences to scram with grant option;
            """
                + Self.largeObjects(generation)
    }

    /// With the OIDs that pg_restore would give them again.
    private static func largeObjects(_ generation: Int) -> String {
        """
        select lo_from_bytea(70001, decode(repeat('\(generation)a', 300000), 'hex'));
        select lo_create(\(70010 + generation % 2));
        comment on large object 70001 is 'generation \(generation)';
        grant select on large object 70001 to scram;
        """
    }

    /// What only superusers make.
    static func super_(_ generation: Int) -> String {
        let method =
            "create access method own_heap type table handler heap_tableam_handler;"
        return """
            \(generation == 1 ? method : "")
            create extension if not exists citext with schema public;
            create schema if not exists extra;
            create extension if not exists hstore with schema extra;
            create table public.with_extension (c public.citext, h extra.hstore) using own_heap;
            insert into public.with_extension values ('A', 'a=>1');
            create language own_language handler plpgsql_call_handler
                inline plpgsql_inline_handler validator plpgsql_validator;
            create function public.in_own_language() returns int language own_language
                as 'begin return \(generation); end';
            create foreign data wrapper own_wrapper;
            create server "own server" foreign data wrapper own_wrapper options (host 'x');
            create user mapping for scram server "own server" options ("user" 'u', password 'p');
            create foreign table public.far (i int) server "own server";
            create type public.base;
            create function public.base_in(cstring) returns public.base language internal
                immutable strict as 'int4in';
            create function public.base_out(public.base) returns cstring language internal
                immutable strict as 'int4out';
            create type public.base (input = public.base_in, output = public.base_out,
                like = int4);
            create function public.base_lt(public.base, public.base) returns bool
                language internal immutable strict as 'int4lt';
            create function public.base_cmp(public.base, public.base) returns int
                language internal immutable strict as 'btint4cmp';
            create operator public.< (leftarg = public.base, rightarg = public.base,
                function = public.base_lt);
            create operator family public.base_family using btree;
            create operator class public.base_class default for type public.base using btree
                family public.base_family as operator 1 public.<, function 1 public.base_cmp;
            create table public.of_base (b public.base);
            insert into public.of_base values ('\(generation)');
            create index on public.of_base (b);
            create cast (public.base as int) without function as implicit;
            create function public.to_circle(text) returns circle language sql immutable
                as 'select circle(point(0, 0), $1::float8)';
            create cast (text as circle) with function public.to_circle(text) as assignment;
            comment on cast (text as circle) is 'generation \(generation)';
            create text search template public.own_template (lexize = dsimple_lexize);
            create text search parser public.own_parser (start = prsd_start,
                gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype);
            create publication own_publication for table public.of_base;
            comment on schema public is 'generation \(generation)';
            grant create on schema public to scram;
            alter schema theirs owner to scram;
            """
    }
}

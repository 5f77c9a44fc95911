-- Names that break what pastes them together.

create schema "Schema with ""quotes"", blanks. dots; and ünïcödé";
create schema "public.app";
create schema "a
b";
create schema "$user";
create schema "Robert'); drop table app.people;--";

set search_path = "Schema with ""quotes"", blanks. dots; and ünïcödé", pg_catalog;

create type "Type ""T""" as enum ('A.b', 'c"d', 'e''f');
create domain "Domain, x" as "Type ""T""" check (value <> 'c"d');
create table "table" (
    "select" integer generated always as identity primary key,
    "SELECT" "Type ""T""" default 'e''f',
    "a.b" "Domain, x"[],
    "a""b" text constraint "check ""it""" check ("a""b" <> '";--'),
    "a'b" text default '$$',
    "a\b" text,
    "$1" integer,
    "%s" integer,
    " leading and trailing " integer,
    "new
line" integer,
    "größe €" numeric,
    "👾" integer,
    "-- x" integer generated always as ("$1" + 1) stored
);
comment on table "table" is 'A table called "table"';
comment on column "table"."new
line" is 'The name has two lines';
insert into "table" ("a.b", "a""b", "$1", "%s", "👾", "new
line", "größe €")
    values ('{A.b,"e''f"}', 'x', 1, 2, 3, 4, 5.5), (null, null, null, null, null, null, null);
create index "index on ""table""" on "table" ("new
line", ("größe €" * 2));
create table "Table" (id integer references "table" ("select"), "a b c" text,
    constraint "Foreign. Key" foreign key (id) references "table" deferrable);
insert into "Table" values (1, 'x'), (2, null);
create sequence "Sequence ""s""";
select nextval('"Sequence ""s"""');
create function "Function ""f"" ;"("Arg ""x""" "table", inout "out" integer default 1)
    language sql as $$ select "out" + coalesce(("Arg ""x""")."$1", 0) $$;
create procedure "Procedure" ("a b" integer) language sql as '';
create view "View ""v""" as select "a""b" as "col ""1""", "👾" as "👾👾" from "table";
create rule "Rule ""r""" as on delete to "View ""v""" do instead nothing;
create function "trigger f"() returns trigger language plpgsql as 'begin return new; end';
create trigger "Trigger ""t""" before insert on "table" execute function "trigger f"('it''s "x"');
create policy "Policy ""p""" on "table" to "everything Rölle ""x"".y" using ("a""b" = 'x');
create statistics "Statistics ""s""" on "a""b", "%s" from "table";
create aggregate "Aggregate ""a"""(integer) (sfunc = int4pl, stype = integer, initcond = '0');
create text search configuration "Search ""c""" (copy = pg_catalog.simple);
create collation "Collation ""c""" from "C";
grant select ("a""b", "$1") on "table" to "everything Rölle ""x"".y";

create table abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk (
    abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk serial primary key
);
insert into abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk default values;
create table "ü23456789ü123456789ü123456789ü123456789ü123456789ü1234567" (a integer unique);

reset search_path;

create table "public.app"."public.app" ("public.app" integer primary key);
insert into "public.app"."public.app" values (1);
create table "a
b"."c
d" ("e
f" integer primary key, "g" serial);
insert into "a
b"."c
d" values (1), (2);
create view "a
b"."v
w" as select * from "a
b"."c
d";
create table "$user"."*" ("?" integer);
create table "Robert'); drop table app.people;--"."x'; --" (a integer);
insert into "Robert'); drop table app.people;--"."x'; --" values (1);
-- The same names in two schemas.
create table public.people (id integer primary key, in_public boolean default true);
insert into public.people values (1), (2), (3);

-- Domains, enums, composite types, ranges, base types, a shell type, collations, conversions.

create domain app.email as text
    constraint has_at check (value like '%@%') default 'nobody@example.com';
comment on domain app.email is 'An address';
comment on constraint has_at on domain app.email is 'Roughly';
create domain app.small_email as app.email not null check (length(value) < 100);
create domain app.positive as integer check (value > 0);
-- A rule that was added later and is not checked for what is there.
alter domain app.positive add constraint below_million check (value < 1000000) not valid;

create type app.mood as enum ('sad', 'it''s "ok"', 'happy', '', 'größer');
alter type app.mood add value 'meh' before 'happy';
comment on type app.mood is 'How it goes';
create type app.no_labels as enum ();

create type app.address as (
    street text collate "C", "House Number" integer, tags text[], mood app.mood
);
comment on column app.address."House Number" is 'May be null';
create type app.nested as (home app.address, others app.address[]);
create type app.nothing as ();

create function app.distance(a double precision, b double precision)
    returns double precision immutable strict language sql return a - b;
create type app.span as range (
    subtype = double precision, subtype_diff = app.distance,
    multirange_type_name = app.many_spans
);
-- A range with a canonical function exists as a shell first.
create type app.text_span as range (subtype = text, collation = "C");

-- A base type on the functions of integer.
create type app.count;
create function app.count_in(cstring) returns app.count
    immutable strict parallel safe language internal as 'int4in';
create function app.count_out(app.count) returns cstring
    immutable strict parallel safe language internal as 'int4out';
create function app.count_recv(internal) returns app.count
    immutable strict parallel safe language internal as 'int4recv';
create function app.count_send(app.count) returns bytea
    immutable strict parallel safe language internal as 'int4send';
create type app.count (
    input = app.count_in, output = app.count_out, receive = app.count_recv,
    send = app.count_send, internallength = 4, passedbyvalue, alignment = int4,
    default = '7', category = 'N', delimiter = ';'
);
create type app.only_a_shell;

create collation app.plain (provider = libc, lc_collate = 'C', lc_ctype = 'C');
comment on collation app.plain is 'By bytes';
\if :has_icu
create collation app.german (provider = icu, locale = 'de-u-co-phonebk');
create collation app.no_case (
    provider = icu, locale = 'und-u-ks-level2', deterministic = false
);
\endif

create conversion app.latin for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;
create default conversion app.latin_default for 'LATIN2' to 'UTF8' from iso8859_to_utf8;
comment on conversion app.latin is 'As the server has it';

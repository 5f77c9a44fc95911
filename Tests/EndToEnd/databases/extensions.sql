-- Extensions and what is made of their types: Postgres 15 with PostGIS; elsewhere what there is.
--
--   psql -X -v ON_ERROR_STOP=1 -d EMPTY -f extensions.sql          as a superuser
--
-- Two are in a schema of their own, two in public. The tables of an extension that is not
-- available are left out (pgcrypto and PostGIS are not everywhere).

\set ON_ERROR_STOP 1
\pset tuples_only on
\o /dev/null
set client_min_messages = error;
set client_encoding = 'UTF8';

select
    exists (select from pg_available_extensions where name = 'pgcrypto') as has_pgcrypto,
    exists (select from pg_available_extensions where name = 'postgis') as has_postgis
\gset

create schema shop;
create schema extensions;
create schema "other Extensions";

-- hstore: a type with operators, indexes and a cast.
create extension hstore schema extensions;
comment on extension hstore is 'A comment of ours';
create table shop.settings (
    id integer generated always as identity primary key,
    options extensions.hstore not null default ''::extensions.hstore
);
insert into shop.settings (options)
    select extensions.hstore(array['k', i::text, 'odd "key"', null]) from generate_series(1, 500) i;
create index settings_options on shop.settings using gin (options);
create index settings_k on shop.settings ((options operator(extensions.->) 'k'));
create view shop.setting_keys as select id, extensions.akeys(options) as keys from shop.settings;

-- citext: comparison decides what is unique.
create extension citext schema "other Extensions";
create domain shop.login as "other Extensions".citext
    check (value operator("other Extensions".~) '^[a-z]'::"other Extensions".citext);
create table shop.users (
    login shop.login primary key,
    display "other Extensions".citext unique,
    follows shop.login references shop.users
);
insert into shop.users select 'User' || i, 'Größe ' || i from generate_series(1, 300) i;
update shop.users set follows = 'uSeR1' where login <> 'user1';

-- btree_gist: an exclusion constraint over integers.
create extension btree_gist;
create table shop.bookings (
    room integer, during tsrange, exclude using gist (room with =, during with &&)
);
insert into shop.bookings
    select i % 10, tsrange('2024-01-01'::timestamp + i * interval '1 h',
        '2024-01-01'::timestamp + (i + 1) * interval '1 h')
    from generate_series(1, 200) i;

-- pg_trgm and unaccent: an operator class and a dictionary of text search.
create extension pg_trgm;
create extension unaccent;
create index users_display on shop.users using gin ((display::text) gin_trgm_ops);
create text search configuration shop.no_accents (copy = pg_catalog.simple);
alter text search configuration shop.no_accents alter mapping for word, asciiword
    with unaccent, simple;

\if :has_pgcrypto
create extension pgcrypto schema extensions;
create table shop.secrets (
    id uuid primary key default gen_random_uuid(),
    password text not null default extensions.crypt('secret', extensions.gen_salt('bf', 4)),
    sealed bytea
);
insert into shop.secrets (sealed)
    select extensions.pgp_sym_encrypt('row ' || i, 'key') from generate_series(1, 20) i;
create function shop.is_password(text, text) returns boolean language sql
    as 'select $1 = extensions.crypt($2, $1)';
\endif

\if :has_postgis
create extension postgis;
-- A row of ours in a table of the extension, which pg_dump takes along.
insert into spatial_ref_sys (srid, auth_name, auth_srid, srtext, proj4text)
    values (998999, 'pgshare', 998999, 'LOCAL_CS["ours"]', '+proj=merc +ellps=WGS84');
create table shop.places (
    id integer generated always as identity primary key,
    name text,
    at geometry(Point, 4326) not null,
    area geometry(MultiPolygon, 4326),
    way geography(LineString),
    box box2d generated always as (box2d(at)) stored
);
insert into shop.places (name, at, area, way)
    select 'place ' || i, st_setsrid(st_makepoint(i % 180, i % 90), 4326),
        st_multi(st_setsrid(st_makeenvelope(i % 100, 0, i % 100 + 1, 1), 4326)),
        st_geogfromtext(format('LINESTRING(%s 0, %s 1)', i % 100, i % 100 + 1))
    from generate_series(1, 1000) i;
create index places_at on shop.places using gist (at);
create index places_area on shop.places using spgist (area);
create index places_way on shop.places using gist (way);
create materialized view shop.near as
    select id,
        st_distance(at::geography, st_setsrid(st_makepoint(0, 0), 4326)::geography) as metres
    from shop.places where st_dwithin(at, st_setsrid(st_makepoint(0, 0), 4326), 50);
create function shop.nearest(geometry, integer default 3) returns setof shop.places
    language sql stable as 'select * from shop.places order by at <-> $1 limit $2';
\endif

analyze;

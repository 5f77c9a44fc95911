-- Rows by the gigabyte, for Postgres 15 and later. Everything is the same on every run.
--
--   psql -X -v ON_ERROR_STOP=1 -v rows=10000000 -v megabytes=1024 \
--       -v values_mb=200 -v huge_mb=200 -d EMPTY -f big.sql
--
-- :rows       of the table `events` (10,000,000: about 1.2 GB with its indexes; 100,000)
-- :megabytes  of rows in the four tables `blocks_n`, which compress badly (1024; 16)
-- :values_mb  of `values_large`, whose values have 8 MB and more each (200; 16)
-- :huge_mb    of the one text value of the table `value_huge` (200; 16)
-- The second number is the default: quick enough for every test run.

\set ON_ERROR_STOP 1
\pset tuples_only on
\o /dev/null
\if :{?rows} \else \set rows 100000 \endif
\if :{?megabytes} \else \set megabytes 16 \endif
\if :{?values_mb} \else \set values_mb 16 \endif
\if :{?huge_mb} \else \set huge_mb 16 \endif
set client_min_messages = error;
set client_encoding = 'UTF8';
set synchronous_commit = off;
set maintenance_work_mem = '256MB';

-- Many small rows.
create table events (
    id bigint not null, at timestamptz not null, kind smallint not null, amount numeric(10, 2),
    note text
);
insert into events
    select i, '2024-01-01 00:00+00'::timestamptz + i * interval '1 s', i % 7,
        (i::bigint * 7919 % 1000000) / 100.0, case when i % 10 > 0 then 'note ' || i end
    from generate_series(1, :rows) i;
alter table events add primary key (id);
create index events_at on events (at);

-- Rows of 8 KB that neither Postgres nor a link can compress, in four tables of equal size.
create function noise(seed bigint, chunks integer) returns bytea
    language sql immutable parallel safe as $$
    select string_agg(sha256(int8send(seed * 1000003 + n)), '' order by n)
    from generate_series(1, chunks) n
$$;
create table blocks_1 (id bigint generated always as identity primary key, body bytea not null);
alter table blocks_1 alter column body set storage external;
create table blocks_2 (like blocks_1 including all);
create table blocks_3 (like blocks_1 including all);
create table blocks_4 (like blocks_1 including all);
insert into blocks_1 (body) select noise(i, 256) from generate_series(1, :megabytes * 32) i;
insert into blocks_2 (body) select body from blocks_1 order by id;
insert into blocks_3 (body) select body from blocks_1 order by id;
insert into blocks_4 (body) select body from blocks_1 order by id desc;

-- Values that are large, binary and text, and one that is huge.
create table values_large (id integer primary key, body bytea, words text);
alter table values_large alter column body set storage external;
alter table values_large alter column words set storage external;
insert into values_large (id, body)
    select i, (select string_agg(noise(i * 1024 + n, 1024), '' order by n)
        from generate_series(1, 256) n)
    from generate_series(1, greatest(:values_mb / 16, 1)) i;
insert into values_large (id, words)
    select id + 100000, encode(body, 'base64') from values_large where body is not null;
create table value_huge (id integer primary key, words text);
alter table value_huge alter column words set storage external;
insert into value_huge
    select 1, string_agg(line, '') from (
        select repeat(encode(sha256(int8send(n)), 'hex'), 16384) as line
        from generate_series(1, :huge_mb) n
    ) lines;

analyze;

-- What Postgres 16, 17 and 18 have and 15 has not.

create schema newer;
\if :is_16
create table newer.compressed (a text storage external compression pglz, b text);
insert into newer.compressed values (repeat('a', 10000), 'b');
\endif
\if :is_17
create collation newer.builtin (provider = builtin, locale = 'C.UTF-8');
create table newer.identity_parts (
    id bigint generated always as identity, at date, primary key (id, at)
) partition by range (at);
create table newer.identity_parts_1 partition of newer.identity_parts
    for values from ('2024-01-01') to ('2025-01-01');
insert into newer.identity_parts (at) values ('2024-05-05'), ('2024-06-06');
grant maintain on newer.identity_parts to everything_writer;
create function newer.on_login() returns event_trigger language plpgsql as 'begin end';
create event trigger everything_login on login execute function newer.on_login();
alter event trigger everything_login disable;
create table newer.statistics (a integer);
alter table newer.statistics alter column a set statistics default;
\endif
\if :is_18
create table newer.virtual (
    a integer constraint a_there not null,
    b integer,
    doubled integer generated always as (a * 2) virtual,
    constraint b_there not null b no inherit
);
insert into newer.virtual values (1, 2), (3, 4);
create table newer.not_enforced (
    a integer constraint small check (a < 3) not enforced,
    b integer constraint far references app.empty not enforced
);
insert into newer.not_enforced values (100, 100);
create table newer.later (a integer);
insert into newer.later values (null), (1);
alter table newer.later add constraint later_there not null a not valid;
create table newer.bookings (
    room int4range, during daterange, primary key (room, during without overlaps)
);
insert into newer.bookings
    values ('[1,2)', '[2024-01-01,2024-01-02)'), ('[1,2)', '[2024-01-02,2024-01-03)');
create table newer.stays (
    room int4range, during daterange,
    foreign key (room, period during) references newer.bookings (room, period during)
);
insert into newer.stays values ('[1,2)', '[2024-01-01,2024-01-03)');
alter default privileges for role everything_owner
    grant select on large objects to everything_reader;
create publication everything_generated for table newer.virtual (a, b)
    with (publish_generated_columns = stored);
\endif

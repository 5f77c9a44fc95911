-- Views on views, in circles with functions and keys, and what is stored of them.

create view app.adults as
    select id, name, mood, born from app.people where born < '2008-01-01'
    with cascaded check option;
alter view app.adults alter column mood set default 'happy';
comment on view app.adults is 'People';
comment on column app.adults.name is 'Of the view';
create view app.happy_adults with (security_barrier) as
    select * from app.adults where mood = 'happy' with local check option;
create view app.as_invoker with (security_invoker = true) as select * from app.happy_adults;
create recursive view app.countdown (n) as
    values (5) union all select n - 1 from countdown where n > 0;
create view app.all_kinds as
    select p.name, e.kind, count(*) filter (where e.id > 0) as n,
        row_number() over (partition by e.kind order by p.name) as r,
        (select array_agg(t) from unnest(p.tags) with ordinality as u (t, o)) as tags,
        p.data -> 'a' as data, ('x' collate "C") as c, (p.address)."House Number" as house
    from app.people p
        left join lateral (select * from app.events where id = p.id) e on true
    group by p.id, e.kind
    having count(*) > 0
    union all
    select 'it''s', null, 0, 0, null, null, '', null;
-- Needs the primary key: the view is made before it as a dummy, and again behind it.
create view app.by_key as select id, name, max(born) as born from app.people group by id;
create view app.on_by_key as select *, 'x'::text as x from app.by_key;
-- A circle: a function that takes a row of the view, and a view that calls it.
create view app.circle as select 1 as a, null::integer as b;
create function app.of_circle(app.circle) returns integer language sql as 'select $1.a';
create or replace view app.circle as
    select 1 as a, app.of_circle(row (1, 2)::app.circle) as b;

create materialized view app.summary as
    select kind, count(*) as n from app.events group by kind with data;
create unique index summary_kind on app.summary (kind);
create materialized view app.summary_of_summary with (fillfactor = 60) as
    select sum(n) as total from app.summary;
create materialized view app.not_filled as select * from app.by_key with no data;
comment on materialized view app.summary is 'Filled';
create view app.on_summary as select * from app.summary where n > 1;
create materialized view app.on_functions as select * from app.numbers(10);
create index on_functions_square on app.on_functions (square) where n > 2;

-- Rules.
create table app.rule_log (what text, at timestamptz default now());
create rule log_insert as on insert to app.parents
    do also insert into app.rule_log values ('insert');
create rule no_delete as on delete to app.empty do instead nothing;
create rule write_through as on update to app.by_key
    do instead update app.people set name = new.name where id = old.id returning id, name, born;
create rule conditional as on update to app.empty where new.id < 0 do instead nothing;
comment on rule log_insert on app.parents is 'Also';
alter table app.empty disable rule conditional;
alter table app.parents enable always rule log_insert;

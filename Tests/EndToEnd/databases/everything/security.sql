-- Owners, privileges, default privileges, row security, labels, publications, subscriptions.

grant create on schema app to everything_owner with grant option;
grant select on all tables in schema app to everything_reader;
grant select (id, name), update (mood, "char"), references (id) on app.people to everything_writer;
grant all on app.orders to everything_writer with grant option;
set role everything_owner;
grant insert on app.people to everything_reader;
reset role;
revoke update on app.people from everything_owner;
grant trigger on app.orders to public;
grant usage on sequence app.free_numbers to everything_writer;
grant usage on type app.mood to everything_reader;
revoke usage on type app.email from public;
grant execute on procedure app.clean(integer, interval) to everything_writer;
revoke all on language everything_lang from public;
grant usage on language everything_lang to everything_owner;
alter view app.adults owner to everything_reader;
alter type app.mood owner to everything_owner;
alter sequence app.never_called owner to "everything Rölle ""x"".y";
grant select on app.events to everything_owner;
alter materialized view app.summary owner to everything_owner;
alter text search configuration app.search owner to everything_owner;
grant select on app.summary to public;
revoke all on schema public from public;
grant usage on schema public to public;

alter default privileges grant select on tables to everything_reader;
alter default privileges in schema app grant execute on functions to everything_writer;
alter default privileges for role everything_owner revoke execute on functions from public;
alter default privileges for role everything_owner in schema app
    grant usage on sequences to everything_reader with grant option;
alter default privileges for role everything_owner grant usage on types to everything_writer;
alter default privileges for role everything_owner grant create on schemas to everything_reader;

alter table app.orders enable row level security;
alter table app.orders force row level security;
create policy own_orders on app.orders as permissive for select
    to everything_reader, everything_writer
    using (person_id = 10 or current_user = 'everything_owner');
create policy small_orders on app.orders as restrictive for update to everything_writer
    using (amount < 10) with check (amount < 20);
create policy new_orders on app.orders for insert with check (code is not null);
create policy no_roles on app.orders for delete using (false);
comment on policy own_orders on app.orders is 'Own';
alter table app.documents enable row level security;

create publication everything_all for all tables with (publish = 'insert, update');
create publication everything_some for table
    app.orders (id, amount, person_id) where (amount > 10), only app.parents, app.events
    with (publish_via_partition_root = true);
create publication everything_schema for tables in schema audit, "public.app", table app.floats;
create publication everything_nothing;
comment on publication everything_some is 'Some columns, some rows';
create subscription everything_stream
    connection 'host=elsewhere.example dbname=x password=never-show-sub-secret-4711'
    publication far with (connect = false);
comment on subscription everything_stream is 'Never connected';

-- No provider is loaded; see everything.sql.
set allow_system_table_mods = on;
insert into pg_seclabel (objoid, classoid, objsubid, provider, label) values
    ('app.people'::regclass, 'pg_class'::regclass, 0, 'dummy', 'it''s secret'),
    ('app.people'::regclass, 'pg_class'::regclass, 1, 'odd provider', 'top'),
    ('app.mood'::regtype, 'pg_type'::regclass, 0, 'dummy', 'classified'),
    ('app.add_tax(numeric, numeric)'::regprocedure, 'pg_proc'::regclass, 0, 'dummy', 'open');
reset allow_system_table_mods;

-- One database with every kind of object that pg_dump knows, for Postgres 15 to 18.
--
--   psql -X -v ON_ERROR_STOP=1 -d EMPTY -f everything.sql          as a superuser
--
-- The kinds are those of pg_dump's own list (`DumpableObjectType` in pg_dump.h). What a version
-- lacks is behind \if; what a build lacks (PL/Python, ICU) as well. Not here, because pg_dump does
-- not dump them: tablespaces, roles (made where they are missing), settings of parameters.
--
-- Security labels: no label provider comes with Debian or with the wheels, so the labels are
-- written into the catalogue; pg_dump dumps them, and no target can take them.

\set ON_ERROR_STOP 1
\pset tuples_only on
\o /dev/null
set client_min_messages = error;
set client_encoding = 'UTF8';

select current_setting('server_version_num')::int >= 160000 as is_16,
    current_setting('server_version_num')::int >= 170000 as is_17,
    current_setting('server_version_num')::int >= 180000 as is_18,
    exists (select from pg_available_extensions where name = 'plpython3u') as has_python,
    (select count(*) > 50 from pg_collation where collprovider = 'i') as has_icu
\gset

\ir everything/roles.sql
\ir everything/types.sql
\ir everything/functions.sql
\ir everything/operators.sql
\ir everything/tables.sql
\ir everything/partitions.sql
\ir everything/names.sql
\ir everything/views.sql
\ir everything/constraints.sql
\ir everything/triggers.sql
\ir everything/search.sql
\ir everything/foreign.sql
\ir everything/security.sql
\ir everything/large_objects.sql
\ir everything/newer.sql
\ir everything/database.sql

analyze;

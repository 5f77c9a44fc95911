-- Foreign data without a handler: it is dumped like any other and can never be read.

create function app.no_options(text[], oid) returns void language sql as '';
create foreign data wrapper everything_fdw options (debug 'true', "Odd name" 'it''s');
comment on foreign data wrapper everything_fdw is 'No handler';
create server everything_server type 'kind' version '1.0' foreign data wrapper everything_fdw
    options (host 'elsewhere.example', "a b" 'c''d');
comment on server everything_server is 'Nowhere';
create user mapping for public server everything_server;
create user mapping for everything_owner server everything_server
    options ("user" 'me', password 'never show fdw-secret-4711');
create foreign table app.far_away (
    id integer options (column_name 'ID') not null, name text default 'x', check (id > 0) no inherit
) server everything_server options (table_name 'T"1"');
comment on foreign table app.far_away is 'Cannot be read';
alter foreign table app.far_away alter column name set statistics 10;
grant usage on foreign data wrapper everything_fdw to everything_owner;
grant usage on foreign server everything_server to everything_reader with grant option;
grant select on app.far_away to everything_reader;

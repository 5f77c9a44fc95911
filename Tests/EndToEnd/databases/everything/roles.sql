-- Roles belong to the server: they are made once, and a target may lack them.

select not exists (select from pg_roles where rolname = 'everything_owner') as is_missing \gset
\if :is_missing
create role everything_owner;
create role everything_reader;
create role everything_writer;
create role "everything Rölle ""x"".y";
\endif

create schema app;
create schema audit authorization everything_owner;
grant usage on schema app to everything_owner, everything_reader, everything_writer;
comment on schema app is 'Where most of it is';
comment on schema audit is E'It''s a "comment"\nof two lines with a \\ and ü';

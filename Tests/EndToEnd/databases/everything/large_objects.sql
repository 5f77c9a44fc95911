-- Large objects: with comments, owners and privileges; one is empty, one is of several pages.

select lo_create(4711001), lo_create(4711002), lo_create(4711003), lo_create(4711004);
select lo_put(4711001, 0, 'small'), lo_put(4711002, 0, decode(repeat('00ff5c', 100000), 'hex'));
-- A hole: what was never written is zeroes.
select lo_put(4711003, 300000, 'behind a hole');
comment on large object 4711001 is 'It''s "small"';
alter large object 4711002 owner to everything_owner;
grant select on large object 4711001 to everything_reader;
grant update on large object 4711003 to public;
create table app.attachments (id integer primary key, content oid);
insert into app.attachments values (1, 4711001), (2, 4711002), (3, 4711003), (4, 4711004);

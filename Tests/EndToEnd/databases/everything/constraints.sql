-- Constraints of every kind, in circles, deferred and not checked.

create table app.orders (
    id integer primary key,
    person_id bigint not null constraint order_person references app.people on delete restrict,
    parent_id integer references app.orders on update cascade on delete set null,
    amount numeric check (amount >= 0) no inherit,
    code text,
    during tstzrange,
    constraint code_once unique (code) deferrable initially deferred,
    constraint no_overlap exclude using gist (during with &&) where (amount > 0)
        deferrable initially immediate,
    constraint odd exclude using btree (((amount * 2)) with =) with (fillfactor = 80)
);
insert into app.orders
    select i, 10 + 5 * (i % 6), nullif(i - 1, 0), i, 'c' || i,
        tstzrange('2020-01-01 00:00+00'::timestamptz + i * interval '1 day',
            '2020-01-02 00:00+00'::timestamptz + i * interval '1 day')
    from generate_series(1, 100) i;
-- Rows that break what is not checked.
alter table app.orders add constraint not_checked check (amount < 50) not valid;
create table app.order_lines (
    order_id integer, line integer, product integer, tenant integer,
    primary key (order_id, line)
);
insert into app.order_lines select 1 + i % 200, i, i % 7, i % 3 from generate_series(1, 400) i;
alter table app.order_lines add constraint line_order foreign key (order_id)
    references app.orders deferrable initially deferred not valid;
comment on constraint not_checked on app.orders is 'Half of them';

create table app.products (
    tenant integer, id integer, name text, primary key (tenant, id) include (name)
);
insert into app.products
    select t, p, 'p' || p from generate_series(0, 2) t, generate_series(0, 6) p;
alter table app.order_lines add constraint line_product foreign key (tenant, product)
    references app.products match full on delete set null (product);

create table app.chicken (id integer primary key, egg integer not null);
create table app.egg (id integer primary key, chicken integer not null references app.chicken);
alter table app.chicken add constraint first_egg foreign key (egg) references app.egg
    deferrable initially deferred;
begin;
insert into app.chicken values (1, 1), (2, 2);
insert into app.egg values (1, 2), (2, 1);
commit;
create unique index products_name on app.products (name, tenant, id);
alter table app.products add constraint name_once unique using index products_name;
alter table app.products alter column name set not null;

-- Functions, procedures, aggregates, languages, casts, transforms.

create function app.add_tax(price numeric, rate numeric default 0.19) returns numeric
    language sql immutable strict parallel safe cost 5
    return round(price * (1 + rate), 2);
comment on function app.add_tax(numeric, numeric) is 'Germany';

create function app.quoted() returns text language sql as
    $f$ select $$it's a 'string' with \ and "quotes" and $1$$::text $f$;

create function app.several(
    in a integer, inout b text default 'x''y', out c app.mood, variadic d integer[] default '{}'
) returns record language plpgsql stable as $$
begin
    -- A comment with ; and 'quotes'.
    b := b || a || coalesce(array_length(d, 1), 0);
    c := 'happy';
end $$;

create function app.numbers(until integer) returns table (n integer, square bigint)
    language sql rows 10 as $$ select i, i::bigint * i from generate_series(1, until) i $$;
create function app.moods() returns setof app.mood
    language sql begin atomic select unnest(enum_range(null::app.mood)); end;
create function app.any_first(anyarray) returns anyelement
    language sql immutable as 'select $1[1]';
create function app.any_first(anycompatiblearray, anycompatible) returns anycompatible
    language sql immutable as 'select coalesce($1[1], $2)';

create function app.admin_only(secret text) returns boolean
    language plpgsql security definer leakproof parallel restricted
    set search_path = app, pg_temp
    set work_mem = '8MB'
    set "app.setting" = 'it''s'
as $$ begin return secret = current_setting('app.setting'); end $$;
alter function app.admin_only(text) owner to everything_owner;
revoke all on function app.admin_only(text) from public;
grant execute on function app.admin_only(text) to everything_reader with grant option;

create function app.my_row_number() returns bigint
    window immutable strict language internal as 'window_row_number';

create procedure app.clean(inout removed integer, keep interval default '1 day')
    language plpgsql as $$ begin removed := 0; end $$;
comment on procedure app.clean(integer, interval) is 'Does nothing';
create procedure app.clean() language sql as '';

create aggregate app.total(numeric) (
    sfunc = numeric_add, stype = numeric, initcond = '0', combinefunc = numeric_add,
    parallel = safe, msfunc = numeric_add, minvfunc = numeric_sub, mstype = numeric,
    minitcond = '0'
);
comment on aggregate app.total(numeric) is 'sum, but 0 of nothing';
create aggregate app.joined(text, text) (
    sfunc = string_agg_transfn, stype = internal, finalfunc = string_agg_finalfn
);
create aggregate app.middle(double precision order by double precision) (
    sfunc = ordered_set_transition, stype = internal, finalfunc = percentile_cont_float8_final
);
create function app.keep_first(anyelement, anyelement) returns anyelement
    immutable strict language sql as 'select $1';
create aggregate app.first_of(anyelement) (sfunc = app.keep_first, stype = anyelement);

-- pg_dump dumps a language only with functions that are no extension's.
create function app.lang_call() returns language_handler
    language c as '$libdir/plpgsql', 'plpgsql_call_handler';
create function app.lang_inline(internal) returns void
    language c strict as '$libdir/plpgsql', 'plpgsql_inline_handler';
create function app.lang_validator(oid) returns void
    language c strict as '$libdir/plpgsql', 'plpgsql_validator';
create trusted language everything_lang handler app.lang_call
    inline app.lang_inline validator app.lang_validator;
comment on language everything_lang is 'PL/pgSQL under another name';
create function app.in_other_language() returns integer
    language everything_lang as 'begin return 1; end';

create function app.mood_number(app.mood) returns integer
    immutable strict language sql return case $1 when 'happy' then 1 else 0 end;
create cast (app.mood as integer) with function app.mood_number(app.mood) as assignment;
comment on cast (app.mood as integer) is 'Happiness';
create cast (app.count as integer) without function as implicit;
create cast (app.address as bytea) with inout;
-- The functions do not fit and are never called.
create transform for integer language sql (
    from sql with function prsd_lextype(internal),
    to sql with function int4recv(internal)
);

\if :has_python
create extension plpython3u schema pg_catalog;
comment on extension plpython3u is 'Needs a superuser';
create function app.in_python(a integer, b text) returns text
    language plpython3u immutable as $$
return b * a if a else "it's"
$$;
create table app.python_default (id integer, word text default app.in_python(2, 'x'));
insert into app.python_default (id) values (1), (2);
create view app.python_view as select app.in_python(3, 'ab') as word;
\endif

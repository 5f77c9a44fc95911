-- Triggers of every kind, and event triggers.

create table app.trigger_log (id serial primary key, what text);
create function app.log_row() returns trigger language plpgsql as $$
begin
    insert into app.trigger_log (what) values (tg_op || ' ' || tg_when || ' ' || tg_argv[0]);
    return coalesce(new, old);
end $$;
create function app.log_rows() returns trigger language plpgsql as $$
begin
    insert into app.trigger_log (what) select 'changed ' || count(*) from new_rows;
    return null;
end $$;

create trigger before_row before insert or update of amount, code on app.orders for each row
    when (new.amount > 1000) execute function app.log_row('a''b');
create trigger after_rows after update on app.orders
    referencing old table as old_rows new table as new_rows
    for each statement execute function app.log_rows();
create constraint trigger deferred after insert on app.order_lines from app.orders
    deferrable initially deferred for each row execute function app.log_row('late');
create trigger truncated before truncate on app.orders execute function app.log_row('all');
create trigger instead_of instead of insert on app.by_key for each row
    execute function app.log_row('view');
create trigger on_partitions after insert on app.events for each row
    execute function app.log_row('part');
create trigger of_one_partition before update on app.events_2024 for each row
    execute function app.log_row('one');
create trigger quiet before delete on app.orders for each row execute function app.log_row('q');
create trigger always_on before delete on app.orders for each row execute function app.log_row('a');
create trigger on_replica before delete on app.orders for each row
    execute function app.log_row('r');
alter table app.orders disable trigger quiet;
alter table app.orders enable always trigger always_on;
alter table app.orders enable replica trigger on_replica;
alter table app.events_2024 disable trigger on_partitions;
comment on trigger before_row on app.orders is 'Rarely';

create function app.watch_ddl() returns event_trigger language plpgsql as $$
begin
    -- Says nothing; a deploy must not depend on it.
    perform 1;
end $$;
create event trigger everything_watch on ddl_command_end when tag in ('CREATE TABLE', 'DROP TABLE')
    execute function app.watch_ddl();
create event trigger everything_drop on sql_drop execute function app.watch_ddl();
create event trigger "everything Off" on ddl_command_start execute function app.watch_ddl();
alter event trigger "everything Off" disable;
comment on event trigger everything_watch is 'Sees tables';

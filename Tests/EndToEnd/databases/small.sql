-- A shop of two tables, a view, a function and a sequence, for the tests that are not about objects.
-- Copying into a target stops at an item named 'slow': whoever tests what happens meanwhile has
-- time to do so. Its name is checked in the source, too, where nothing of pgshare writes.

\set ON_ERROR_STOP 1
CREATE SCHEMA shop;
CREATE FUNCTION shop.take_time(name text) RETURNS boolean LANGUAGE plpgsql AS $$
begin
    if name = 'slow' and current_setting('application_name') like 'pgshare%' then
        perform pg_sleep(30);
    end if;
    return true;
end $$;
CREATE TABLE shop.items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (shop.take_time(name)),
    price numeric(10, 2)
);
CREATE TABLE shop.orders (
    id serial PRIMARY KEY, item bigint NOT NULL REFERENCES shop.items, amount integer DEFAULT 1
);
INSERT INTO shop.items (name, price) SELECT 'item ' || i, i / 10.0 FROM generate_series(1, 500) i;
INSERT INTO shop.orders (item) SELECT 1 + i % 500 FROM generate_series(1, 1000) i;
CREATE INDEX items_price ON shop.items (price);
CREATE VIEW shop.sold AS
    SELECT name, sum(amount) AS amount FROM shop.items i JOIN shop.orders o ON o.item = i.id
    GROUP BY name;
CREATE SEQUENCE shop.tickets;
SELECT setval('shop.tickets', 4711);
CREATE TABLE public.notes (id integer PRIMARY KEY, note text);
INSERT INTO public.notes VALUES (1, 'first'), (2, NULL);
ANALYZE;

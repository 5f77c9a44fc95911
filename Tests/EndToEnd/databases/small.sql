-- A shop of two tables, a view, a function and a sequence, for the tests that are not about objects.
-- Copying into a target stops for 30 s at an item named 'slow' ('slowish': 2 s): whoever tests what
-- happens meanwhile has time to do so. In the source the name is checked, too, but not by pgshare.

\set ON_ERROR_STOP 1
CREATE SCHEMA shop;
CREATE FUNCTION shop.take_time(name text) RETURNS boolean LANGUAGE plpgsql AS $$
begin
    if name like 'slow%' and current_setting('application_name') like 'pgshare%' then
        perform pg_sleep(case name when 'slow' then 30 else 2 end);
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

/// The sample database of `pgshare demo deploy`: a shop, with some of everything.
enum DemoShop {
    /// Its name, on both servers.
    static let database = "shop"

    /// 2,000 customers, 500 products, 10,000 orders and 30,000 lines of them.
    static let create = """
        CREATE SCHEMA shop;
        CREATE TYPE shop.state AS ENUM ('placed', 'paid', 'sent');
        CREATE TABLE shop.customers (
            id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text NOT NULL,
            email text NOT NULL UNIQUE,
            joined date NOT NULL
        );
        CREATE TABLE shop.products (
            id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text NOT NULL,
            price numeric(8, 2) NOT NULL CHECK (price > 0),
            tags text[] NOT NULL DEFAULT '{}'
        );
        CREATE TABLE shop.orders (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            customer int NOT NULL REFERENCES shop.customers,
            state shop.state NOT NULL,
            placed timestamptz NOT NULL
        );
        CREATE TABLE shop.order_lines (
            order_id bigint REFERENCES shop.orders ON DELETE CASCADE,
            product int REFERENCES shop.products,
            pieces int NOT NULL CHECK (pieces > 0),
            price numeric(8, 2) NOT NULL,
            PRIMARY KEY (order_id, product)
        );
        INSERT INTO shop.customers (name, email, joined)
            SELECT 'Customer ' || n, 'c' || n || '@example.com', date '2024-01-01' + n % 700
            FROM generate_series(1, 2000) AS n;
        INSERT INTO shop.products (name, price, tags)
            SELECT 'Product ' || n, 1 + n % 97 + 0.99, ARRAY['size ' || n % 5, 'kind ' || n % 11]
            FROM generate_series(1, 500) AS n;
        INSERT INTO shop.orders (customer, state, placed)
            SELECT 1 + n * 17 % 2000, (ARRAY['placed', 'paid', 'sent'])[1 + n % 3]::shop.state,
                timestamptz '2026-01-01 00:00+00' + n * interval '26 minutes'
            FROM generate_series(1, 10000) AS n;
        INSERT INTO shop.order_lines (order_id, product, pieces, price)
            SELECT o.id, p.id, 1 + o.id % 4, p.price
            FROM shop.orders AS o CROSS JOIN generate_series(0, 2) AS n
            JOIN shop.products AS p ON p.id = 1 + (o.id * 7 + n * 131) % 500;
        CREATE INDEX orders_by_customer ON shop.orders (customer, placed);
        CREATE FUNCTION shop.total(bigint) RETURNS numeric LANGUAGE sql STABLE
            AS 'SELECT sum(pieces * price) FROM shop.order_lines WHERE order_id = $1';
        CREATE VIEW shop.unpaid AS
            SELECT o.id, c.email, shop.total(o.id) AS total
            FROM shop.orders AS o JOIN shop.customers AS c ON c.id = o.customer
            WHERE o.state = 'placed';
        CREATE MATERIALIZED VIEW shop.revenue AS
            SELECT to_char(o.placed AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
                count(DISTINCT o.id) AS orders, sum(l.pieces * l.price) AS revenue
            FROM shop.orders AS o JOIN shop.order_lines AS l ON l.order_id = o.id GROUP BY 1;
        CREATE UNIQUE INDEX revenue_by_month ON shop.revenue (month);
        ANALYZE
        """

    /// What the owner of the shop does later: 250 orders of July, and a view fewer.
    static let change = """
        INSERT INTO shop.orders (customer, state, placed)
            SELECT n, 'paid', timestamptz '2026-07-02 00:00+00' + n * interval '1 hour'
            FROM generate_series(1, 250) AS n;
        INSERT INTO shop.order_lines (order_id, product, pieces, price)
            SELECT o.id, p.id, 2, p.price FROM shop.orders AS o
            JOIN shop.products AS p ON p.id = 1 + o.id % 500
            WHERE o.placed >= '2026-07-02 00:00+00';
        REFRESH MATERIALIZED VIEW shop.revenue;
        DROP VIEW shop.unpaid
        """

    /// What proves that the target works: a materialized view, joined tables, the views there are.
    static let query = DemoQuery(
        columns: ["month", "orders", "revenue", "views"],
        sql: """
            SELECT month, orders, revenue,
                (SELECT count(*) FROM pg_catalog.pg_views WHERE schemaname = 'shop')
            FROM shop.revenue ORDER BY month DESC LIMIT 3
            """)

    /// The rows of all tables.
    static let count = DemoQuery(
        columns: ["rows"],
        sql: """
            SELECT (SELECT count(*) FROM shop.customers) + (SELECT count(*) FROM shop.products)
                + (SELECT count(*) FROM shop.orders) + (SELECT count(*) FROM shop.order_lines)
            """)
}

/// A query of the demo, and how its columns are called.
struct DemoQuery: Sendable {
    var columns: [String]
    var sql: String
}

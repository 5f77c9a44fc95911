"""A tab's database goes into a Postgres, and into another tab, by Postgres's own tools."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import tools
from harness.processes import run_well

pytestmark = pytest.mark.relayed

FILL = """
CREATE EXTENSION vector;
CREATE SCHEMA other;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE parents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
  mood mood DEFAULT 'ok', tags text[], doc jsonb, made timestamptz DEFAULT '2026-01-01Z');
CREATE TABLE other.children (id uuid PRIMARY KEY, parent bigint REFERENCES parents, amount numeric(14,4)
  CHECK (amount >= 0), payload bytea, span tstzrange, half numeric GENERATED ALWAYS AS (amount / 2) STORED);
CREATE INDEX children_parent ON other.children (parent, amount DESC) WHERE amount > 1;
CREATE TABLE documents (id int PRIMARY KEY, title text, embedding vector(8));
CREATE INDEX documents_near ON documents USING hnsw (embedding vector_l2_ops) WITH (m = 8);
CREATE INDEX documents_lists ON documents USING ivfflat (embedding vector_cosine_ops) WITH (lists = 4);
CREATE VIEW totals AS SELECT parent, sum(amount) FROM other.children GROUP BY 1;
CREATE MATERIALIZED VIEW still AS SELECT count(*) FROM parents;
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER touched BEFORE UPDATE ON parents FOR EACH ROW EXECUTE FUNCTION noop();
CREATE SEQUENCE odd INCREMENT 2 START 11; SELECT nextval('odd');
COMMENT ON TABLE parents IS 'it''s \\ a "comment"';
INSERT INTO parents (name, tags, doc) SELECT 'name ' || n, ARRAY[n::text, NULL, 'ü'],
  jsonb_build_object('n', n) FROM generate_series(1, 1000) n;
INSERT INTO other.children (id, parent, amount, payload, span) SELECT md5(n::text)::uuid, 1 + n % 1000,
  n / 7.0, decode(repeat(md5(n::text), 32), 'hex'), tstzrange('2026-01-01Z', '2026-01-02Z')
  FROM generate_series(1, 5000) n;
INSERT INTO documents SELECT n, 'title ' || n, (SELECT array_agg(((n * 7919 + i * 104729) % 1000) / 1000.0
  ORDER BY i) FROM generate_series(1, 8) i)::vector FROM generate_series(1, 1500) n;
REFRESH MATERIALIZED VIEW still;
ANALYZE
"""

TABLES = ("parents", "other.children", "documents", "still")
ROWS = "; ".join(
    f"""SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text COLLATE "C")) FROM {table} t"""
    for table in TABLES
)
# What an approximate index finds differs from one server to the next; distances do not.
POINT = "'[.1,.2,.3,.4,.5,.6,.7,.8]'"
FOUND = f"SET enable_seqscan = off; EXPLAIN ANALYZE SELECT id FROM documents ORDER BY embedding <-> {POINT} LIMIT 5"
NEAREST = f"SELECT id, round((embedding <-> {POINT})::numeric, 4) FROM documents ORDER BY 2, 1 LIMIT 9"
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'other') ORDER BY 1"


@pytest.fixture
def filled(tab, tab_share):
    """The common tab with a database of every kind of thing."""
    done = run_well(
        [tools.program("psql", 17), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", tab_share.argument()],
        tab_share.environment(), stdin=FILL,
    )  # fmt: skip
    assert "ERROR" not in done.stderr
    return tab_share


def dump(version: int, endpoint, file: Path, covers: Callable[[str, str], None]) -> Path:
    covers("pg_dump and pg_restore", tools.full_version(version))
    run_well(
        [tools.program("pg_dump", version), "-Fc", "-f", str(file), "-d", endpoint.argument()],
        endpoint.environment(),
    )
    return file


def rows(query: Callable[[str], list[list[str | None]]]) -> list[list[str | None]]:
    query("SET timezone = 'UTC'")
    return query(ROWS)


@pytest.mark.parametrize("version", [17, 18])
def test_a_dump_of_the_tab_restores_into_a_postgres_with_vectors_and_their_index(
    version, filled, tab, cluster_of, database_on, tmp_path: Path, covers
):
    server = cluster_of(tools.VECTOR_VERSION)
    database = database_on(server, f"of_the_tab_{version}")
    file = dump(version, filled, tmp_path / "dump", covers)
    program = tools.program("pg_restore", version)
    text = run_well([program, "--no-owner", "-f", "-", str(file)]).stdout
    # The server of the wheel with pgvector is a 16, which does not know this setting yet.
    text = re.sub(r"^SET transaction_timeout = 0;$", "", text, flags=re.M)
    run_well(
        [tools.program("psql", version), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.conninfo(database)],
        stdin=text,
    )

    def there(sql: str) -> list[list[str]]:
        return [line.split("|") for line in server.sql(sql, database).splitlines()]

    assert there(ROWS) == rows(tab.query)
    assert server.sql(INDEXES, database).splitlines() == [row[0] for row in tab.query(INDEXES)]
    assert "USING hnsw (embedding vector_l2_ops)" in server.sql(INDEXES, database)
    assert re.search(r"Index Scan using documents_near .*rows=5 ", server.sql(FOUND, database))
    assert there(NEAREST) == tab.query(NEAREST)
    assert there("SELECT last_value, is_called FROM odd") == tab.query("SELECT last_value, is_called FROM odd")


def test_a_dump_of_one_tab_restores_into_another(filled, tab, new_tab, tmp_path: Path, covers):
    file = dump(17, filled, tmp_path / "dump", covers)
    other = new_tab()
    run_well(
        [tools.program("pg_restore", 17), "--exit-on-error", "-d", other.shared_at.argument(), str(file)],
        other.shared_at.environment(),
    )
    assert rows(other.query) == rows(tab.query)
    assert other.query(INDEXES) == tab.query(INDEXES)


def test_a_dump_sees_one_state_while_clients_and_the_page_write(filled, tab, tmp_path: Path, covers):
    """A dump is one long transaction: whoever writes waits, and what is dumped fits together."""
    work = tab.start("tab.repeat", "INSERT INTO parents (name) SELECT 'more ' || max(id) FROM parents", 20)
    file = dump(17, filled, tmp_path / "dump", covers)
    work.result(60)
    text = run_well([tools.program("pg_restore", 17), "-a", "-t", "parents", "-f", "-", str(file)]).stdout
    dumped = text.split("FROM stdin;\n", 1)[1].split("\\.\n", 1)[0].count("\n")
    assert 1000 <= dumped <= 1020
    assert tab.query("SELECT count(*) FROM parents") == [["1020"]]

"""Real clients against a database that runs in a browser tab: PGlite in Chromium, shared by a relay."""

import asyncio
import hashlib
import os
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import alembic
import alembic.command
import alembic.config
import asyncpg
import pg8000.dbapi
import psycopg
import pytest
import sqlalchemy
from harness import tools
from harness.drivers import check_big_result, check_node_postgres, check_pg8000, check_pgjdbc, psql_of

CLIENTS = Path(__file__).parent / "clients"
BIG = "größer " * 150_000  # more than 1 MB in UTF-8
versions = pytest.mark.parametrize("client", tools.VERSIONS, ids=lambda version: f"psql-{version}")


@pytest.fixture
def psql(client, covers, tab_share):
    """Runs psql of a version against the tab."""
    covers("psql", tools.full_version(client))

    return psql_of(client, tab_share)


# psql


@versions
def test_psql_sees_the_engine_as_it_is(psql, tab):
    done = psql("-At", "-c", "select version()", "-c", "show server_version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [tab.query("select version()")[0][0], tab.query("show server_version")[0][0]]
    assert "# " not in done.stderr


@versions
def test_psql_describes_tables_schemas_and_extensions(psql, client):
    databases = "\\l\n" if client >= 17 else ""  # An older psql asks for what a 17 has not.
    done = psql(stdin="create table described (id int primary key, word text default 'x');\n\\d described\n"
                f"\\dt\n\\dn\n\\dx\n{databases}\\df pg_catalog.now\n\\d+ described\n")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"described_pkey" PRIMARY KEY' in done.stdout
    assert "List of schemas" in done.stdout
    assert not done.stderr


@versions
def test_psql_copies_in_and_out_the_same_file(psql, tmp_path: Path):
    source, target = tmp_path / "in.tsv", tmp_path / "out.tsv"
    source.write_text("".join(f"{n}\tline {n} \\N\t{'x' * (n % 90)}\n" for n in range(20_000)))
    script = f"create table copied (a int, b text, c text);\n\\copy copied from '{source}'\n"
    script += f"\\copy (select * from copied order by a) to '{target}'\n"
    done = psql("-v", "ON_ERROR_STOP=1", stdin=script)
    assert done.returncode == 0, done.stderr
    assert "COPY 20000" in done.stdout
    assert target.read_text().splitlines() == source.read_text().replace("\\N", "N").splitlines()


@versions
def test_psql_runs_a_script_with_copies_in_one_transaction(psql, tmp_path: Path):
    """database-build#123: psql -f lost synchronization there."""
    rows = "".join(f"{n}\tvalue {n}\n" for n in range(5000))
    file = tmp_path / "script.sql"
    file.write_text(
        f"create table scripted (a int, b text);\ncopy scripted from stdin;\n{rows}\\.\n"
        "select count(*) from scripted;\ncopy scripted from stdin with (format csv);\n1,one\n\\.\n"
        "select count(*) from scripted;\n"
    )
    done = psql("-At", "-1", "-v", "ON_ERROR_STOP=1", "-f", str(file))
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.isdigit()] == ["5000", "5001"]


@versions
def test_a_copy_with_an_error_names_the_line_and_the_session_goes_on(psql):
    done = psql("-v", "VERBOSITY=verbose", stdin="create table strict (a int);\ncopy strict from stdin;\n"
                "1\n2\nthree\n4\n\\.\nselect 'rows', count(*) from strict;\n")  # fmt: skip
    assert "22P02" in done.stderr
    assert "COPY strict, line 3, column a" in done.stderr
    assert "rows" in done.stdout and " 0" in done.stdout


@versions
def test_psql_shows_a_big_result_whole(psql):
    check_big_result(psql)


@versions
def test_psql_tells_errors_with_their_place(psql):
    done = psql("-v", "VERBOSITY=verbose", stdin="do $$begin raise notice 'hello %', 7; end$$;\n"
                "select 1 +\n  nonsense;\nbegin;\nselect 1/0;\nselect 2;\nrollback;\nselect 'alive';\n")  # fmt: skip
    for word in ("hello 7", "42703", "LINE 2:", "^", "22012", "25P02"):
        assert word in done.stderr, word
    assert "alive" in done.stdout
    assert "aborting transaction" not in done.stderr


# Python


def connect(endpoint, **more):
    return psycopg.connect(endpoint.conninfo(), autocommit=True, **more)


def test_psycopg_queries_prepares_copies_and_uses_cursors(tab_share, covers):
    covers("psycopg", psycopg.__version__)
    with connect(tab_share) as connection:
        for number in range(20):
            row = connection.execute("select %s + 1, %s::text", (number, "ü"), prepare=True).fetchone()
            assert row == (number + 1, "ü")
        connection.execute("create table copied (a int, b text)")
        with connection.cursor().copy("copy copied from stdin") as copy:
            for number in range(30_000):
                copy.write_row((number, f"line {number}"))
        out = "copy (select * from copied order by a) to stdout (format binary)"
        with connection.cursor().copy(out) as copy:
            copy.set_types(["int4", "text"])
            rows = list(copy.rows())
        assert rows == [(number, f"line {number}") for number in range(30_000)]
        with connection.transaction(), connection.cursor("named") as cursor:
            cursor.itersize = 700
            cursor.execute("select n from generate_series(1, 10000) n")
            assert sum(row[0] for row in cursor) == 50_005_000


def test_psycopg_pipelines_and_reports_the_error_where_it_was(tab_share):
    with connect(tab_share) as connection:
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (number,)) for number in range(300)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(300))
        with pytest.raises(psycopg.errors.DivisionByZero):
            with connection.pipeline():
                connection.execute("select 1")
                connection.execute("select 1/0")
                connection.execute("select 2")
        assert connection.execute("select 3").fetchone() == (3,)


def test_a_copy_that_python_broke_off_leaves_nothing(tab_share):
    with connect(tab_share) as connection:
        connection.execute("create table broken (a int)")
        with pytest.raises(ValueError, match="enough"):
            with connection.cursor().copy("copy broken from stdin") as copy:
                copy.write_row((1,))
                raise ValueError("enough")
        assert connection.execute("select count(*) from broken").fetchone() == (0,)


def test_psycopg_async_runs_many_connections_at_once(tab_share, covers):
    covers("psycopg (async)", psycopg.__version__)

    async def one(number: int) -> int:
        connection = await psycopg.AsyncConnection.connect(tab_share.conninfo())
        async with connection:
            cursor = await connection.execute("select %s::int * 2", (number,))
            return (await cursor.fetchone())[0]

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(one(number) for number in range(16)))

    assert asyncio.run(all_of_them()) == [number * 2 for number in range(16)]


def test_asyncpg_prepares_copies_and_pools(tab_share, covers):
    covers("asyncpg", asyncpg.__version__)
    context = ssl.create_default_context(cafile=str(tab_share.ca_file))
    where = {
        "host": tab_share.host, "port": tab_share.port, "user": tab_share.user,
        "password": tab_share.password, "database": tab_share.database, "ssl": context,
    }  # fmt: skip

    async def whole():
        connection = await asyncpg.connect(**where, timeout=30)
        await connection.execute("create table copied (a int, b text)")
        records = [(number, f"line {number}") for number in range(20_000)]
        await connection.copy_records_to_table("copied", records=records)
        assert await connection.fetchval("select count(*) from copied") == 20_000
        prepared = await connection.prepare("select b from copied where a = $1")
        assert [await prepared.fetchval(number) for number in (3, 5, 8)] == ["line 3", "line 5", "line 8"]
        row = await connection.fetchrow("select length($1::text), md5($1::text)", BIG)
        assert tuple(row) == (len(BIG), hashlib.md5(BIG.encode()).hexdigest())
        async with connection.transaction():
            cursor = await connection.cursor("select a from copied order by a")
            assert len(await cursor.fetch(123)) == 123
        await connection.close()
        async with asyncpg.create_pool(**where, min_size=2, max_size=6) as pool:
            return await asyncio.gather(
                *(pool.fetchval("select $1::int", number) for number in range(60))
            )

    assert asyncio.run(whole()) == list(range(60))


def test_pg8000_queries_and_copies(tab_share, covers):
    covers("pg8000", pg8000.__version__)
    check_pg8000(tab_share, "create table")


# Node and Java


def test_node_postgres_queries_streams_pools_and_listens(tab_share, covers):
    covers("node-postgres", check_node_postgres(tab_share))


def test_pgjdbc_queries_batches_copies_and_listens(tab_share, tmp_path: Path, covers):
    covers("pgjdbc", check_pgjdbc(tab_share, "BrowserClients", tmp_path, 6))


# SQLAlchemy: what an application does


def sqlalchemy_engine(endpoint, size: int = 10, driver: str = "psycopg") -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        endpoint.url(f"postgresql+{driver}"), pool_size=size, max_overflow=0, pool_pre_ping=True,
        connect_args={"sslmode": "verify-full", "sslrootcert": str(endpoint.ca_file)},
    )  # fmt: skip


@pytest.fixture
def pool(tab_share, covers):
    """A pool of ten connections."""
    covers("SQLAlchemy", sqlalchemy.__version__)
    engine = sqlalchemy_engine(tab_share)
    yield engine
    engine.dispose()


def move_money(pool: sqlalchemy.Engine, worker: int, rounds: int, gate: threading.Barrier) -> None:
    """Transactions of several statements that must not mix with anybody's."""
    gate.wait(60)
    for turn in range(rounds):
        source, target = worker % 7 + 1, (worker + turn) % 7 + 1
        with pool.begin() as connection:
            words = {"source": source, "target": target, "amount": turn + 1}
            connection.execute(sqlalchemy.text("update accounts set n = n - :amount where id = :source"), words)
            connection.execute(sqlalchemy.text("update accounts set n = n + :amount where id = :target"), words)
            connection.execute(sqlalchemy.text("insert into moves (worker) values (:worker)"), {"worker": worker})


# Relayed: rows that are updated in any order deadlock on a server, and cannot in one session.
@pytest.mark.relayed
def test_ten_threads_of_a_pool_do_transactions_beside_psql(tab_share, pool, tab):
    with pool.begin() as connection:
        connection.execute(sqlalchemy.text("create table accounts (id int primary key, n int)"))
        connection.execute(sqlalchemy.text("create table moves (id serial primary key, worker int)"))
        connection.execute(sqlalchemy.text("insert into accounts select n, 1000 from generate_series(1, 7) n"))
    command = [tools.program("psql"), "-X", "-At", "-d", tab_share.argument(), "-v", "ON_ERROR_STOP=1"]
    psql = subprocess.Popen(
        command, env={**os.environ, **tab_share.environment()}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    gate = threading.Barrier(11)
    with ThreadPoolExecutor(10) as threads:
        work = [threads.submit(move_money, pool, worker, 10, gate) for worker in range(10)]
        gate.wait(60)
        out, errors = psql.communicate("select sum(n) from accounts;\n" * 40, timeout=120)
        for each in work:
            each.result(120)
    assert psql.returncode == 0, errors
    assert set(out.split()) == {"7000"}
    assert tab.query("select sum(n) from accounts") == [["7000"]]
    assert tab.query("select worker, count(*) from moves group by 1 order by 1") == [
        [str(worker), "10"] for worker in range(10)
    ]


def test_tables_of_an_orm_are_made_reflected_and_dropped(pool):
    metadata = sqlalchemy.MetaData()
    people = sqlalchemy.Table(
        "people", metadata,
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.String(50), index=True, nullable=False),
    )  # fmt: skip
    sqlalchemy.Table(
        "pets", metadata,
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("owner", sqlalchemy.ForeignKey("people.id"), nullable=False),
        sqlalchemy.Column("kind", sqlalchemy.Enum("cat", "dog", name="kind")),
        sqlalchemy.Column("facts", sqlalchemy.JSON),
    )  # fmt: skip
    metadata.create_all(pool)
    with pool.begin() as connection:
        connection.execute(people.insert(), [{"name": f"person {at}"} for at in range(500)])
    found = sqlalchemy.MetaData()
    found.reflect(pool)
    assert set(found.tables) == {"people", "pets"}
    assert [column.name for column in found.tables["pets"].columns] == ["id", "owner", "kind", "facts"]
    (key,) = found.tables["pets"].foreign_keys
    assert key.target_fullname == "people.id"
    metadata.drop_all(pool)
    assert sqlalchemy.inspect(pool).get_table_names() == []


MIGRATIONS = {
    "one": """
revision, down_revision = "one", None
def upgrade():
    op.create_table("people", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50)))
    op.bulk_insert(sa.table("people", sa.column("name")), [{"name": f"p{n}"} for n in range(100)])
def downgrade():
    op.drop_table("people")
""",
    "two": """
revision, down_revision = "two", "one"
def upgrade():
    op.add_column("people", sa.Column("born", sa.Date, server_default="2000-01-01"))
    op.create_index("people_name", "people", ["name"], unique=True)
    op.alter_column("people", "name", nullable=False)
def downgrade():
    op.drop_index("people_name")
    op.drop_column("people", "born")
""",
}


def test_alembic_migrates_up_and_down(tab_share, tab, tmp_path: Path, covers):
    covers("Alembic", alembic.__version__)
    (tmp_path / "versions").mkdir()
    for name, text in MIGRATIONS.items():
        (tmp_path / "versions" / f"{name}.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n" + text
        )
    (tmp_path / "env.py").write_text(
        "from alembic import context\n"
        "connection = context.config.attributes['connection']\n"
        "context.configure(connection=connection, transaction_per_migration=True)\n"
        "with context.begin_transaction():\n    context.run_migrations()\n"
    )
    config = alembic.config.Config()
    config.set_main_option("script_location", str(tmp_path))
    engine = sqlalchemy_engine(tab_share, 2)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")
        assert tab.query("select count(*), min(born) from people") == [["100", "2000-01-01"]]
        alembic.command.downgrade(config, "one")
        assert [c["name"] for c in sqlalchemy.inspect(engine).get_columns("people")] == ["id", "name"]
        alembic.command.downgrade(config, "base")
    assert sqlalchemy.inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()

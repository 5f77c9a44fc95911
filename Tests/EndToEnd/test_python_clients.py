"""psycopg 3, asyncpg, pg8000 and SQLAlchemy through a share."""

import asyncio
import hashlib
import ssl
import threading
import uuid

import asyncpg
import pg8000.dbapi
import psycopg
import pytest
import sqlalchemy
from harness.drivers import check_pg8000
from harness.endpoint import Endpoint
from harness.waiting import wait_for

BIG = "größer " * 150_000  # more than 1 MB in UTF-8


@pytest.fixture
def connection(share: Endpoint, covers):
    covers("psycopg", psycopg.__version__)
    with psycopg.connect(share.conninfo(), autocommit=True) as connection:
        yield connection


def test_psycopg_queries_with_parameters_and_prepared_statements(connection):
    for number in range(20):
        row = connection.execute("select %s + 1, %s::text", (number, "ü"), prepare=True).fetchone()
        assert row == (number + 1, "ü")


def test_psycopg_carries_a_parameter_of_a_megabyte(connection):
    length, digest = connection.execute("select length(%s::text), md5(%s::text)", (BIG, BIG)).fetchone()
    assert length == len(BIG)
    assert digest == hashlib.md5(BIG.encode()).hexdigest()


def test_psycopg_pipelines_and_reports_the_error_where_it_was(connection):
    with connection.pipeline():
        cursors = [connection.execute("select %s::int", (number,)) for number in range(300)]
    assert [cursor.fetchone()[0] for cursor in cursors] == list(range(300))
    with pytest.raises(psycopg.errors.DivisionByZero):
        with connection.pipeline():
            connection.execute("select 1")
            connection.execute("select 1/0")
            connection.execute("select 2")
    assert connection.execute("select 3").fetchone() == (3,)


def test_psycopg_copies_in_and_out(connection):
    connection.execute("create temp table copied (a int, b text)")
    with connection.cursor().copy("copy copied from stdin") as copy:
        for number in range(30_000):
            copy.write_row((number, f"line {number}"))
    with connection.cursor().copy("copy (select * from copied order by a) to stdout (format binary)") as copy:
        copy.set_types(["int4", "text"])
        rows = list(copy.rows())
    assert rows == [(number, f"line {number}") for number in range(30_000)]


def test_psycopg_rolls_back_a_copy_that_python_broke_off(connection):
    connection.execute("create temp table broken (a int)")
    with pytest.raises(ValueError, match="enough"):
        with connection.cursor().copy("copy broken from stdin") as copy:
            copy.write_row((1,))
            raise ValueError("enough")
    assert connection.execute("select count(*) from broken").fetchone() == (0,)


def test_psycopg_cancels(connection, cluster):
    mark = f"mark {uuid.uuid4().hex}"

    def cancel() -> None:
        wait_for("the query", lambda: cluster.backends(f"state = 'active' AND query LIKE '%{mark}%'"))
        connection.cancel_safe(timeout=20)

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(f"select pg_sleep(60) -- {mark}")
    thread.join()
    assert connection.execute("select 1").fetchone() == (1,)


def test_psycopg_server_side_cursors_fetch_in_parts(connection):
    with connection.transaction(), connection.cursor("named") as cursor:
        cursor.itersize = 700
        cursor.execute("select n from generate_series(1, 10000) n")
        assert sum(row[0] for row in cursor) == 50_005_000


def test_psycopg_hears_notifications(connection, share):
    connection.execute("listen heard")
    with psycopg.connect(share.conninfo(), autocommit=True) as other:
        for number in range(3):
            other.execute("select pg_notify('heard', %s)", (str(number),))
    heard = [note.payload for note in connection.notifies(timeout=20, stop_after=3)]
    assert heard == ["0", "1", "2"]


def test_psycopg_sees_notices_and_transactions(connection):
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    with pytest.raises(psycopg.errors.RaiseException):
        with connection.transaction():
            connection.execute("do $$begin raise notice 'seen'; raise exception 'own'; end$$")
    assert notices == ["seen"]
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_psycopg_streams_rows_one_by_one(connection):
    with connection.cursor() as cursor:
        stream = cursor.stream("select n, repeat('x', 1000) from generate_series(1, 20000) n")
        assert sum(row[0] for row in stream) == 200_010_000


def test_psycopg_async_runs_many_connections_at_once(share, covers):
    covers("psycopg (async)", psycopg.__version__)

    async def one(number: int) -> int:
        connection = await psycopg.AsyncConnection.connect(share.conninfo())
        async with connection:
            cursor = await connection.execute("select %s::int * 2", (number,))
            return (await cursor.fetchone())[0]

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(one(number) for number in range(16)))

    assert asyncio.run(all_of_them()) == [number * 2 for number in range(16)]


def asyncpg_run(share: Endpoint, work):
    """Opens a connection of asyncpg, does the work, closes."""

    async def whole():
        context = ssl.create_default_context(cafile=str(share.ca_file))
        connection = await asyncpg.connect(
            host=share.host, port=share.port, user=share.user, password=share.password,
            database=share.database, ssl=context, timeout=30,
        )  # fmt: skip
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(whole())


@pytest.fixture
def note_asyncpg(covers):
    covers("asyncpg", asyncpg.__version__)


@pytest.mark.usefixtures("note_asyncpg")
class TestAsyncpg:
    def test_prepared_statements_and_types(self, share):
        async def work(connection):
            statement = await connection.prepare("select $1::int[], $2::jsonb, $3::numeric, $4::uuid")
            name = uuid.uuid4()
            row = await statement.fetchrow([1, 2, 3], '{"a": 1}', 7, name)
            assert list(row) == [[1, 2, 3], '{"a": 1}', 7, name]
            return await connection.fetchval("select count(*) from generate_series(1, 1000)")

        assert asyncpg_run(share, work) == 1000

    def test_copy_both_ways(self, share, tmp_path):
        async def work(connection):
            await connection.execute("create temp table copied (a int, b text)")
            records = [(number, f"line {number}") for number in range(20_000)]
            await connection.copy_records_to_table("copied", records=records)
            file = tmp_path / "out.csv"
            await connection.copy_from_query(
                "select * from copied order by a", output=str(file), format="csv"
            )
            return file.read_text().splitlines()

        lines = asyncpg_run(share, work)
        assert len(lines) == 20_000
        assert lines[-1] == "19999,line 19999"

    def test_a_timeout_cancels_and_the_connection_goes_on(self, share):
        async def work(connection):
            with pytest.raises(asyncio.TimeoutError):
                await connection.fetch("select pg_sleep(60)", timeout=0.5)
            return await connection.fetchval("select 'alive'")

        assert asyncpg_run(share, work) == "alive"

    def test_listeners_hear(self, share, cluster):
        async def work(connection):
            heard = asyncio.get_running_loop().create_future()
            await connection.add_listener("wire", lambda *words: heard.set_result(words[3]))
            await asyncio.to_thread(cluster.sql, "notify wire, 'psst'")
            return await asyncio.wait_for(heard, 20)

        assert asyncpg_run(share, work) == "psst"

    def test_a_parameter_of_a_megabyte(self, share):
        async def work(connection):
            return await connection.fetchrow("select length($1::text), md5($1::text)", BIG)

        assert tuple(asyncpg_run(share, work)) == (len(BIG), hashlib.md5(BIG.encode()).hexdigest())

    def test_a_pool_shares_connections(self, share):
        async def whole():
            context = ssl.create_default_context(cafile=str(share.ca_file))
            async with asyncpg.create_pool(
                host=share.host, port=share.port, user=share.user, password=share.password,
                database=share.database, ssl=context, min_size=2, max_size=6,
            ) as pool:  # fmt: skip
                return await asyncio.gather(
                    *(pool.fetchval("select $1::int", number) for number in range(60))
                )

        assert asyncio.run(whole()) == list(range(60))


def test_pg8000_queries_and_copies(share, covers):
    covers("pg8000", pg8000.__version__)
    check_pg8000(share, "create temp table")


def test_sqlalchemy_pool_recycles_connections_and_reflects_tables(share, covers):
    covers("SQLAlchemy", sqlalchemy.__version__)
    table = f"reflected_{uuid.uuid4().hex[:8]}"
    engine = sqlalchemy.create_engine(
        share.url("postgresql+psycopg"), pool_size=4, max_overflow=0, pool_pre_ping=True,
        connect_args={"sslmode": "verify-full", "sslrootcert": str(share.ca_file)},
    )  # fmt: skip
    metadata = sqlalchemy.MetaData()
    things = sqlalchemy.Table(
        table, metadata,
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("word", sqlalchemy.String(50), index=True),
    )  # fmt: skip
    try:
        metadata.create_all(engine)
        for number in range(20):
            with engine.begin() as connection:
                connection.execute(things.insert(), [{"word": f"{number}-{at}"} for at in range(50)])
        with engine.connect() as connection:
            count = sqlalchemy.select(sqlalchemy.func.count()).select_from(things)
            assert connection.scalar(count) == 1000
        found = sqlalchemy.MetaData()
        found.reflect(engine, only=[table])
        assert [column.name for column in found.tables[table].columns] == ["id", "word"]
    finally:
        metadata.drop_all(engine)
        engine.dispose()

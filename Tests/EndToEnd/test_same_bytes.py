"""The differential oracle: a scripted session says the same, byte for byte, directly and relayed.

Each script runs on a plain connection to the server and through a share of it, both logged in as
the same role; what the server said is compared message by message. Masked are only the cancel key
and the process id of a notification. Both runs start from the same tables, so even object ids agree.
"""

import struct
import uuid
from collections.abc import Callable

import pytest
from harness import tools, wire
from harness.cluster import Cluster
from harness.endpoint import Endpoint
from harness.pgshare import Agent
from harness.waiting import wait_for
from harness.wire import Message, WireClient

TABLES = """
DROP TABLE IF EXISTS kept, wide;
CREATE TABLE kept (id int PRIMARY KEY, word text, amount numeric(12, 3), at timestamptz);
INSERT INTO kept SELECT n, 'word ' || n, n * 1.125, '2026-01-01Z'::timestamptz + n * '1 h'::interval
  FROM generate_series(1, 500) n;
CREATE TABLE wide (id int, body text);
INSERT INTO wide SELECT n, repeat(chr(64 + n), 700000) FROM generate_series(1, 8) n;
CREATE OR REPLACE FUNCTION speak() RETURNS int LANGUAGE plpgsql AS $$
BEGIN RAISE NOTICE 'a notice'; RAISE WARNING 'a warning' USING HINT = 'take it easy'; RETURN 1; END $$;
"""


class Stage:
    """What a script may use: its client, and a way to act from another session."""

    def __init__(self, client: WireClient, cluster: Cluster, mark: str):
        self.client = client
        self.cluster = cluster
        self.mark = mark
        self.send = client.send
        self.ready = client.ready
        self.until = client.until

    def ask(self, *messages: bytes, ready: int = 1) -> None:
        """Sends the messages in one write and reads the answers."""
        self.send(b"".join(messages))
        self.ready(ready)

    def wait_running(self) -> None:
        condition = f"state = 'active' AND query LIKE '%{self.mark}%'"
        wait_for("the query to run", lambda: self.cluster.backends(condition) == 1)


SCRIPTS: dict[str, Callable[[Stage], None]] = {}


def script(function: Callable[[Stage], None]) -> Callable[[Stage], None]:
    SCRIPTS[function.__name__] = function
    return function


@script
def greeting_only(stage: Stage) -> None:
    stage.send(wire.TERMINATE)
    stage.client.until_end()


@script
def simple_queries_of_all_kinds(stage: Stage) -> None:
    for sql in (
        "select 1", "", ";", "select 1; select 2; select 3", "select null::int, '', 'x'",
        "select * from kept order by id", "begin", "update kept set word = 'new' where id < 9",
        "savepoint s", "select 1/0", "rollback to s", "insert into kept values (9000, 'n', 1, now())",
        "rollback", "explain (costs off) select * from kept where id = 5",
        "set datestyle = 'German'", "select at from kept where id = 1", "reset datestyle",
        "set application_name = 'renamed'", "set client_encoding = 'LATIN1'", "select 'grün'::bytea",
        "reset client_encoding", "values (1, 'a'), (2, 'b')", "table kept limit 3", "vacuum", "do $$begin perform 1; end$$",
        "select '\u20ac'", "lock table kept", "set nonsense.more = 'yes'", "discard all",
    ):  # fmt: skip
        stage.ask(wire.query(sql))


@script
def errors_keep_all_their_fields(stage: Stage) -> None:
    for sql in (
        "select 1 + nonsense", "selekt", "select * from nowhere", "insert into kept values (1)",
        "select 'x'::int", "do $$begin raise exception 'own' using errcode = 'P0042', detail = 'd', "
        "hint = 'h', column = 'c', constraint = 'k', datatype = 't', table = 'b', schema = 's'; end$$",
        "select repeat('x', 100)::int", "select 1; select 1/0; select 3", "select \x01",
        "begin; select 1/0; select 2", "commit",
    ):  # fmt: skip
        stage.ask(wire.query(sql))


@script
def extended_queries_in_text_and_binary(stage: Stage) -> None:
    number = struct.pack("!i", 7)
    stage.ask(
        wire.parse("select $1 + 1, $2::text, $3::bytea", "p", (23,)), wire.describe("S", "p"),
        wire.bind((b"41", b"text", None), statement="p"), wire.describe("P"), wire.execute(), wire.SYNC,
        wire.bind((number, b"x", b"\\x0001ff"), statement="p", formats=(1, 0, 0), results=(1, 0, 1)),
        wire.describe("P"), wire.execute(), wire.SYNC, ready=2,
    )  # fmt: skip
    stage.ask(wire.parse("select id, word, amount, at from kept where id < $1 order by id"),
              wire.bind((b"40",), results=(1,)), wire.describe("P"), wire.execute(), wire.SYNC)  # fmt: skip
    stage.ask(wire.parse(""), wire.bind(), wire.execute(), wire.SYNC)
    stage.ask(wire.close("S", "p"), wire.close("S", "never there"), wire.SYNC)
    stage.ask(wire.bind((b"1",), statement="p"), wire.SYNC)


@script
def portals_with_row_limits_and_cursors(stage: Stage) -> None:
    stage.ask(wire.query("begin"))
    stage.send(wire.parse("select id, word from kept order by id", "s")
               + wire.bind(portal="c", statement="s") + wire.execute("c", 3) + wire.FLUSH)  # fmt: skip
    stage.until("s")
    for rows in (5, 100):
        stage.send(wire.execute("c", rows) + wire.FLUSH)
        stage.until("s")
    stage.ask(wire.execute("c"), wire.close("P", "c"), wire.SYNC)
    stage.ask(wire.query("declare k scroll cursor for select * from kept order by id"))
    for sql in ("fetch 5 k", "fetch backward 2 k", "fetch absolute 499 k", "fetch all k", "move -3 k",
                "close k", "fetch k", "rollback"):  # fmt: skip
        stage.ask(wire.query(sql))


@script
def a_pipeline_with_an_error_in_the_middle_skips_to_its_sync(stage: Stage) -> None:
    def one(sql: str) -> bytes:
        return wire.parse(sql) + wire.bind() + wire.describe("P") + wire.execute()

    stage.ask(
        one("select 1"), one("select 2"), wire.SYNC,
        one("select 3"), one("select 1/0"), one("select 'skipped'"), wire.SYNC,
        wire.SYNC, wire.SYNC, one("select 4"), wire.SYNC, wire.query("select 5"), ready=6,
    )  # fmt: skip


@script
def flush_brings_answers_before_the_sync(stage: Stage) -> None:
    stage.send(wire.parse("select 1") + wire.FLUSH)
    stage.until("1")
    stage.send(wire.bind() + wire.FLUSH)
    stage.until("2")
    stage.send(wire.execute() + wire.FLUSH)
    stage.until("C")
    stage.ask(wire.SYNC)


@script
def a_thousand_queries_in_one_write_while_answers_come_back(stage: Stage) -> None:
    one = wire.parse("select $1::int, repeat('y', 9000)") + wire.bind((b"12",)) + wire.execute()
    stage.client.send_while_reading((one + wire.SYNC) * 1000)
    stage.ready(1000)


@script
def copy_out_in_text_csv_and_binary(stage: Stage) -> None:
    for options in ("", " with (format csv, header)", " with (format binary)"):
        stage.ask(wire.query(f"copy (select * from kept order by id) to stdout{options}"))
    stage.ask(wire.parse("copy wide to stdout"), wire.bind(), wire.execute(), wire.SYNC)
    stage.ask(wire.query("copy (select 1/(id - 400) from kept order by id) to stdout"))


@script
def copy_in_whole_failed_broken_and_extended(stage: Stage) -> None:
    stage.ask(wire.query("begin"))
    rows = b"".join(b"%d\tcopied\t1.5\t2026-02-02Z\n" % n for n in range(1000, 9000))
    pieces = b"".join(wire.copy_data(rows[at : at + 997]) for at in range(0, len(rows), 997))
    stage.send(wire.query("copy kept from stdin"))
    stage.until("G")
    stage.ask(pieces, wire.COPY_DONE)
    stage.ask(wire.query("select count(*), sum(id) from kept"))
    stage.ask(wire.query("savepoint s"))
    stage.send(wire.query("copy kept from stdin"))
    stage.until("G")
    stage.ask(wire.copy_data(b"1\t"), wire.copy_fail("changed my mind"))
    stage.ask(wire.query("rollback to s"))
    stage.send(wire.query("copy kept from stdin"))
    stage.until("G")
    stage.ask(wire.copy_data(b"not a number\tx\t1\t\\N\n"), wire.COPY_DONE)
    stage.ask(wire.query("rollback to s"))
    stage.send(wire.parse("copy wide from stdin") + wire.bind() + wire.execute() + wire.FLUSH)
    stage.until("G")
    stage.ask(wire.copy_data(b"99\t" + b"z" * 1_000_000 + b"\n"), wire.COPY_DONE, wire.SYNC)
    stage.ask(wire.query("select id, length(body) from wide order by id"))
    stage.ask(wire.query("rollback"))


@script
def large_rows_arrive_whole(stage: Stage) -> None:
    stage.ask(wire.query("select * from wide order by id"))
    stage.ask(wire.query("select repeat('0123456789', 2000000)"))
    stage.ask(wire.query("select repeat('x', n) from generate_series(0, 40000, 97) n"))


@script
def parameters_of_a_megabyte_arrive_whole(stage: Stage) -> None:
    big = bytes(range(1, 128)) * 8257
    stage.ask(wire.parse("select length($1), md5($1), $1", types=(25,)), wire.bind((big,)),
              wire.describe("P"), wire.execute(), wire.SYNC)  # fmt: skip
    stage.ask(wire.parse("select length($1), md5($2)", types=(17, 17)),
              wire.bind((bytes(1 << 20), big), formats=(1,)), wire.execute(), wire.SYNC)  # fmt: skip
    stage.ask(wire.query("select length('" + "q" * 1_100_000 + "')"))


@script
def notices_come_where_the_server_put_them(stage: Stage) -> None:
    stage.ask(wire.query("select speak(); select speak()"))
    stage.ask(wire.query("drop table if exists not_there"))
    stage.ask(wire.query("set client_min_messages = debug1; select speak()"))
    stage.ask(wire.parse("select speak()"), wire.bind(), wire.execute(), wire.SYNC)


@script
def notifications_from_oneself_and_from_others(stage: Stage) -> None:
    stage.ask(wire.query("listen a; listen b"))
    stage.ask(wire.query("notify a, 'from myself'"))
    stage.cluster.sql("notify b, 'from outside'; select pg_notify('a', repeat('n', 7000))")
    stage.until("A")
    stage.until("A")
    stage.ask(wire.query("begin"), wire.query("notify b"), wire.query("commit"), ready=3)
    stage.ask(wire.query("unlisten *"))


@script
def function_calls(stage: Stage) -> None:
    stage.ask(wire.function_call(177, struct.pack("!i", 40), struct.pack("!i", 2)))  # int4pl
    stage.ask(wire.function_call(154, struct.pack("!i", 40), struct.pack("!i", 0)))  # int4div
    stage.ask(wire.function_call(4_000_000_000))


@script
def a_cancelled_query_says_so_and_the_session_goes_on(stage: Stage) -> None:
    for sql in ("select pg_sleep(60)", "select count(*) from generate_series(1, 1e12::int8)"):
        stage.send(wire.query(f"{sql} /* {stage.mark} */"))
        stage.wait_running()
        stage.client.cancel()
        stage.ready()
        stage.ask(wire.query("select 'alive'"))


@script
def a_cancel_with_nothing_running_changes_nothing(stage: Stage) -> None:
    stage.ask(wire.query("select 1"))
    stage.client.cancel("request")
    stage.ask(wire.query("select 2"))


@script
def a_terminated_backend_says_why_and_closes(stage: Stage) -> None:
    stage.send(wire.query("select pg_terminate_backend(pg_backend_pid())"))
    stage.client.until_end()


@script
def a_broken_message_is_answered_by_the_server(stage: Stage) -> None:
    stage.send(wire.message("B", b"\0\0\0"))
    stage.send(wire.SYNC)
    stage.ready()
    stage.send(wire.message("%", b"what is this"))
    stage.client.until_end()


@script
def settings_of_the_startup_packet_hold(stage: Stage) -> None:
    for name in ("work_mem", "timezone", "datestyle", "application_name", "statement_timeout",
                 "extra_float_digits", "search_path"):  # fmt: skip
        stage.ask(wire.query(f"show {name}"))


@pytest.fixture(scope="module")
def both_ways(cluster: Cluster, request: pytest.FixtureRequest):
    """The endpoint of the server and of its share, logged in as the same role."""
    cluster.sql(TABLES)
    direct = cluster.direct("scrammed")
    if tools.DIRECT:
        yield direct, direct
        return
    agent = Agent(
        request.getfixturevalue("relay"), cluster, conninfo=cluster.conninfo(user="scrammed")
    )
    yield direct, agent.endpoint
    agent.stop()


def masked(message: Message) -> Message:
    """What may differ between two sessions of one server."""
    if message.kind == "K":
        return Message("K", b"the key")
    if message.kind == "A":
        return Message("A", b"\0\0\0\0" + message.body[4:])
    return message


def transcript(endpoint: Endpoint, cluster: Cluster, play: Callable[[Stage], None]) -> list[Message]:
    parameters = {
        "application_name": "oracle",
        "client_encoding": "UTF8",
        "TimeZone": "Europe/Berlin",
        "DateStyle": "ISO, DMY",
        "extra_float_digits": "2",
        "options": "-c work_mem=11MB -c statement_timeout=100000 -c search_path=public,pg_catalog",
    }
    client = WireClient(endpoint, parameters)
    try:
        play(Stage(client, cluster, f"mark-{uuid.uuid4().hex}"))
        return [masked(message) for message in client.transcript]
    finally:
        client.close()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_session_says_the_same_bytes_directly_and_relayed(name, both_ways, cluster, covers):
    covers("raw wire client", "3.0")
    direct, relayed = both_ways
    expected = transcript(direct, cluster, SCRIPTS[name])
    actual = transcript(relayed, cluster, SCRIPTS[name])
    for number, (left, right) in enumerate(zip(expected, actual, strict=False)):
        assert left.kind == right.kind, f"message {number}: {left.kind} became {right.kind}"
        assert left.body == right.body, (
            f"message {number} ({left.kind}): {left.body[:200]!r} became {right.body[:200]!r}"
        )
    assert len(expected) == len(actual)

"""A relay that was broken into: the agent does no more than its own policy allows, and does not grow."""

import contextlib
import json
import re
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import tunnel, wire
from harness.certificates import Authority
from harness.cluster import Cluster
from harness.pgshare import Agent
from harness.relay_double import SWITCH, AgentLink, RelayDouble, welcome
from harness.waiting import stays_true, wait_for

pytestmark = [pytest.mark.relayed, pytest.mark.timeout(120)]

KIB = 1024


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> tuple[Path, Path]:
    return authority.leaf("double", "localhost", "DNS:localhost,IP:127.0.0.1")


@pytest.fixture
def new_double(authority: Authority, leaf) -> Iterator[Callable[..., RelayDouble]]:
    doubles: list[RelayDouble] = []

    def start(answer=None) -> RelayDouble:
        doubles.append(RelayDouble(authority, leaf, answer))
        return doubles[-1]

    yield start
    for double in doubles:
        double.close()


class Stage:
    """An agent, and the first link it has dialled."""

    def __init__(self, double: RelayDouble, agent: Agent):
        self.double = double
        self.agent = agent
        self.link: AgentLink = double.link()

    @property
    def resident(self) -> int:
        return self.agent.child.resident_kib()


@pytest.fixture
def new_stage(new_double, new_agent, cluster: Cluster) -> Callable[..., Stage]:
    def start(*more: str, **options) -> Stage:
        double = new_double()
        return Stage(double, new_agent(double, cluster, *more, wait=False, **options))

    return start


@pytest.fixture
def stage(new_stage) -> Stage:
    """A share that stands."""
    stage = new_stage("--max-connections", "3", "--allow", "127.0.0.0/8")
    stage.link.welcome()
    stage.agent.wait_shared()
    return stage


def test_the_password_of_the_share_and_of_the_database_never_reach_a_relay(
    new_stage, cluster: Cluster
):
    conninfo = cluster.tcp_conninfo("scrammed", password="scram secret")
    stage = new_stage(conninfo=conninfo)
    stage.link.welcome()
    shared = stage.agent.wait_shared()
    stage.link.open(1)
    assert stage.link.verdict(1) == "in"
    said = stage.link.head + json.dumps(stage.link.hello).encode() + stage.link.data(1, b"Z\0\0\0\5I")
    assert shared["password"].encode() not in said
    assert b"scram secret" not in said


# What the agent's own policy refuses, whatever the relay has let in

REFUSED = {
    "another network": ({"client": "192.0.2.1:5"}, None, "28000"),
    "no address": ({"client": ""}, None, "28000"),
    "an address that is none": ({"client": "127.0.0.1\n:5"}, None, "28000"),
    "another database": ({}, [["user", "x"], ["database", "template1"]], "3D000"),
    "another database, named last": (
        {}, [["user", "x"], ["database", "postgres"], ["database", "template1"]], "postgres"),
    "another role": ({}, [["user", "certified"], ["database", "postgres"]], "postgres"),
    "two roles": ({}, [["user", "x"], ["user", "certified"], ["database", "postgres"]], "postgres"),
    "half a parameter": ({}, [["user"]], "08P01"),
    "three halves": ({}, [["user", "x", "y"]], "08P01"),
    "a NUL that begins another parameter": (
        {}, [["user", "x"], ["application_name", "a\0user\0certified"], ["database", "postgres"]],
        "postgres"),
    "a NUL in a name": ({}, [["a\0user\0certified\0b", "x"], ["database", "postgres"]], "postgres"),
    "an end of the packet": ({}, [["", ""], ["user", "certified"], ["database", "postgres"]], "postgres"),
    "replication of another database": (
        {}, [["replication", "database"], ["database", "template1"]], "3D000"),
    "a database as an option": (
        {}, [["options", "-c dbname=template1"], ["database", "postgres"]], "postgres"),
}  # fmt: skip


@pytest.mark.parametrize("lie", REFUSED)
def test_what_the_policy_refuses_no_relay_can_order(lie, stage):
    more, parameters, expected = REFUSED[lie]
    stage.link.open(1, parameters, **more)
    verdict = stage.link.verdict(1)
    if expected != "postgres":
        assert verdict == expected
    elif verdict == "in":
        # Served: as the agent's own role in its own database.
        with contextlib.suppress(EOFError):
            stage.link.data(1, b"Z\0\0\0\5I")
            ask = wire.query("select 'is ' || session_user || ' in ' || current_database()")
            stage.link.send_frame(tunnel.DATA, ask, 1)
            assert b"is postgres in postgres" in stage.link.data(1, b"Z\0\0\0\5")
    assert stage.link.is_alive()


def test_no_more_clients_than_the_agent_allows(stage, cluster):
    for stream in range(1, 41):
        stage.link.open(stream)
    verdicts: dict[int, str] = {}
    while len(verdicts) < 40:
        got = stage.link.until(tunnel.OPEN_OK, tunnel.RESET)
        verdicts[got.stream] = "in" if got.type == tunnel.OPEN_OK else got.payload[1:6].decode()
    assert sorted(verdicts.values()).count("in") == 3
    assert set(verdicts.values()) == {"in", "53300"}
    assert stage.link.is_alive()


def test_a_share_that_is_over_lets_nobody_in_whatever_the_relay_says(new_stage):
    stage = new_stage("--expires", "2s")
    stage.link.welcome(expiresAt=time.time() + 2)
    stage.agent.wait_shared()
    stage.link.open(1)
    assert stage.link.verdict(1) == "in"

    def is_refused() -> bool:
        is_refused.stream += 1
        stage.link.open(is_refused.stream)
        return stage.link.verdict(is_refused.stream) == "57P01"

    is_refused.stream = 1
    wait_for("the agent to keep to the expiry", is_refused, 15)


def test_a_read_only_share_stays_read_only_for_a_relay(new_stage, cluster):
    stage = new_stage("--read-only")
    stage.link.welcome()
    stage.agent.wait_shared()
    ways = [
        [["user", "postgres"], ["database", "postgres"]],
        [["database", "postgres"], ["options", "-c role=postgres"]],
        [["database", "postgres"], ["options", "-c default_transaction_read_only=off"]],
        [["database", "postgres"], ["role", "postgres"], ["session_authorization", "postgres"]],
        [["database", "postgres"], ["replication", "true"]],
        [["database", "postgres"], ["replication", "database"]],
        [["database", "template1"]],
    ]
    for stream, parameters in enumerate(ways, 1):
        stage.link.open(stream, parameters)
        if stage.link.verdict(stream) != "in":
            continue
        with contextlib.suppress(EOFError):
            stage.link.data(stream, b"Z\0\0\0\5I")
            for text in (
                "begin read write; create table by_the_relay (n int); commit",
                "set role postgres; create table by_the_relay (n int)",
                "create_replication_slot by_the_relay physical",
            ):
                stage.link.send_frame(tunnel.DATA, wire.query(text), stream)
                assert b"E" in stage.link.data(stream, b"Z\0\0\0\5")
    assert cluster.sql("SELECT to_regclass('by_the_relay') IS NULL") == "t"
    assert cluster.sql("SELECT count(*) FROM pg_replication_slots") == "0"


def test_a_cancel_reaches_no_session_that_is_not_the_agents(stage, cluster):
    """OPEN of a cancel names a stream, never a process: strangers' cannot be named."""
    stage.link.open(1)
    assert stage.link.verdict(1) == "in"
    stage.link.data(1, b"Z\0\0\0\5I")
    stage.link.send_frame(tunnel.DATA, wire.query("select pg_sleep(2), 'kept_on'"), 1)
    asleep = "state = 'active' AND query LIKE '%kept_on%'"
    # An agent that hears nothing for a second dials beside.
    wait_for("the query", lambda: stage.link.is_alive() and cluster.backends(asleep))
    pid = int(
        cluster.sql(f"SELECT pid FROM pg_stat_activity WHERE {asleep} AND pid <> pg_backend_pid()")
    )
    lies = [
        {"stream": pid}, {"stream": 99}, {"stream": 0}, {"stream": 2**32 - 1}, {"stream": 3, "after": 0},
        {"stream": 1, "after": 2**62}, {}, {"key": "0000", "pid": pid},
    ]  # fmt: skip
    for stream, lie in enumerate(lies, 100):
        stage.link.send_json(tunnel.OPEN, {"kind": "cancel", "window": 0, **lie}, stream)
    said = stage.link.data(1, b"Z\0\0\0\5I")
    assert b"kept_on" in said and b"57014" not in said


# Lies of the protocol itself: each ends the link, and the agent dials again or stops with a word

LIES: dict[str, bytes] = {
    "garbage": b"\xee" * 4000,
    "a second welcome": tunnel.frame(tunnel.HELLO_OK, json.dumps({"version": 1}).encode()),
    "welcomes without end": tunnel.frame(tunnel.HELLO_OK, b"{}") * 10_000,
    "a stream that is 0": tunnel.frame(tunnel.OPEN, b"{}", 0),
    "an OPEN of nothing": tunnel.frame(tunnel.OPEN, b"{}", 1),
    "an OPEN of depth": tunnel.frame(tunnel.OPEN, b'{"kind":' * 5000, 1),
    "parameters of depth": tunnel.frame(
        tunnel.OPEN, b'{"kind":"session","window":1,"parameters":' + b"[" * 30_000, 1),
    "data of no stream": tunnel.frame(tunnel.DATA, b"x", 9),
    "an ACK of what was never sent": tunnel.frame(tunnel.ACK, struct.pack("!Q", 1 << 50)),
    "a window for no stream": tunnel.frame(tunnel.WINDOW, b"\xff" * 8, 9),
    "an unknown type": tunnel.frame(0x7F, b""),
    "an OPEN_OK, which only agents say": tunnel.frame(tunnel.OPEN_OK, b'{"window":1}', 1),
}  # fmt: skip


def gone(link: AgentLink) -> bool:
    """The agent closes this link, and soon."""
    link.socket.settimeout(20)
    with contextlib.suppress(EOFError, OSError):
        while True:
            link.read()
    return True


def test_lies_end_the_link_and_nothing_else(new_stage):
    """Each to an agent of its own, which dials again."""

    def tell(name: str) -> str:
        stage = new_stage("--max-connections", "3")
        stage.link.welcome()
        stage.agent.wait_shared()
        before = stage.resident
        with contextlib.suppress(OSError):
            stage.link.send(LIES[name])
        if not gone(stage.link):
            return f"{name}: the link stays"
        stage.double.link(20)
        if stage.resident - before > 16 * KIB:
            return f"{name}: {stage.resident - before} KiB"
        stage.agent.stop()
        return ""

    with ThreadPoolExecutor(4) as threads:
        assert [said for said in threads.map(tell, LIES) if said] == []


def flood(stage: Stage, data: bytes, seconds: float = 4) -> None:
    """As fast as the agent takes it, and reading nothing."""
    stop_at = time.monotonic() + seconds
    stage.link.socket.settimeout(1)
    with contextlib.suppress(OSError):
        while time.monotonic() < stop_at:
            stage.link.send(data)


FLOODS = {
    "pings": tunnel.frame(tunnel.PING, bytes(8)) * 5000,
    "goodbyes": tunnel.frame(tunnel.GOAWAY, b'{"reason":"drain"}') * 2000,
    "acknowledgements": tunnel.frame(tunnel.ACK, bytes(8)) * 5000,
    "frames of the future": tunnel.frame(0x99, b"x" * 60_000) * 20,
    "clients that are refused": b"".join(
        tunnel.frame(tunnel.OPEN, b'{"kind":"session","window":65536,"client":"192.0.2.1:1"}', stream)
        for stream in range(1, 20_000)),
    "clients that are not": b"".join(
        tunnel.frame(tunnel.OPEN, json.dumps(
            {"kind": "session", "window": 1 << 18, "client": "127.0.0.1:1", "parameters": []}).encode(),
            stream)
        for stream in range(1, 5000)),
    "cancels of nothing": b"".join(
        tunnel.frame(tunnel.OPEN, b'{"kind":"cancel","window":0,"stream":1,"after":99}', stream)
        for stream in range(1, 9000)),
}  # fmt: skip


def test_no_flood_makes_an_agent_grow(new_stage):
    """Side by side; none of what the agent answers is read."""

    def run(name: str) -> str:
        stage = new_stage("--max-connections", "3", "--allow", "127.0.0.0/8")
        stage.link.welcome()
        stage.agent.wait_shared()
        before = stage.resident
        flood(stage, FLOODS[name])
        grown = stage.resident - before
        running = stage.agent.child.is_running
        stage.link.close()
        stage.agent.stop()
        return "" if grown < 64 * KIB and running else f"{name}: {grown} KiB, running {running}"

    with ThreadPoolExecutor(4) as threads:
        assert [said for said in threads.map(run, FLOODS) if said] == []


def test_a_relay_that_sends_more_than_its_credit_fills_nothing(stage):
    """Its clients' bytes pile up before Postgres, which reads none: it runs a query meanwhile."""
    stage.link.open(1)
    assert stage.link.verdict(1) == "in"
    stage.link.data(1, b"Z\0\0\0\5I")
    stage.link.send_frame(tunnel.DATA, wire.query("select pg_sleep(20)"), 1)
    before = stage.resident
    more = tunnel.frame(tunnel.DATA, b"\0" * 60_000, 1) * 10
    with contextlib.suppress(OSError):
        for _ in range(60):
            stage.link.send(more)
    got = stage.link.until(tunnel.RESET, tunnel.ERROR)
    assert got.type == tunnel.RESET and got.stream == 1
    assert stage.resident - before < 16 * KIB
    assert stage.link.is_alive()


@pytest.mark.parametrize("window", [0, 2**62, 2**63, 2**64 - 1])
def test_credit_without_reason_is_no_memory(window, stage):
    stage.link.open(1)
    assert stage.link.verdict(1) == "in"
    stage.link.data(1, b"Z\0\0\0\5I")
    ask = wire.query("select repeat('x', 1000000) from generate_series(1, 200)")
    stage.link.send_frame(tunnel.DATA, ask, 1)
    before = stage.resident
    with contextlib.suppress(OSError):
        stage.link.send_frame(tunnel.WINDOW, struct.pack("!Q", window), 1)
    # Nothing is read: what the database says must stay there.
    stays_true("no growth", lambda: stage.resident - before < 24 * KIB, 1.5)
    assert stage.agent.child.is_running


# Before the link stands


def body(status: bytes, text: bytes, *more: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(text), *more]
    return b"\r\n".join(lines) + b"\r\n\r\n" + text


def sends(data: bytes, times: int = 1) -> Callable:
    def answer(connection, head: bytes) -> bool:
        with contextlib.suppress(OSError):
            for _ in range(times):
                connection.sendall(data)
            while connection.recv(65536):
                pass
        return True

    return answer


ANSWERS = {
    "silence": (sends(b""), 1),
    "headers without end": (sends(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000, 1000), 1),
    "a header of 64 MiB": (sends(b"x" * (1 << 20), 64), 1),
    "a body of 64 MiB": (sends(b"HTTP/1.1 403 No\r\nContent-Length: 67108864\r\n\r\n" + b"x" * (1 << 20), 64), 1),
    "a redirect": (sends(body(b"302 Found", b"", b"Location: https://{other}/v1/tunnel")), 1),
    "a permanent redirect": (sends(body(b"308 Moved", b"", b"Location: https://{other}/v1/tunnel")), 1),
    "no HTTP": (sends(b"\0\1\2\3" * 4000), 1),
    "another upgrade": (sends(SWITCH.replace(b"pgshare/1", b"h2c")), 1),
    "welcomes without end": (
        sends(SWITCH + tunnel.frame(tunnel.HELLO_OK, b" " * 16_000) * 1000, 50), 1),
    "a welcome that does not end": (sends(SWITCH + tunnel.frame(tunnel.HELLO_OK, b" " * 60_000)), 1),
    "a welcome of depth": (sends(SWITCH + tunnel.frame(tunnel.HELLO_OK, b"[" * 16_000)), 1),
    "frames without end": (sends(SWITCH + tunnel.frame(0x90, b"x" * 60_000) * 20, 500), 1),
    "an error of escapes": (
        sends(SWITCH + tunnel.frame(tunnel.ERROR, json.dumps(
            {"code": "x\x1b[2J", "message": "\x1b]0;owned\x07\u009b31m\u202e", "retry": False}).encode())), 1),
}  # fmt: skip
IMPLAUSIBLE = [
    {"host": "localhost'; rm -rf ~ #"}, {"host": "\x1b[2J"}, {"port": 0}, {"port": 1 << 40}, {"links": 1 << 30},
    {"links": 0}, {"links": -1}, {"graceSeconds": 1 << 40}, {"expiresAt": 1e300}, {"share": "../../x"},
    {"name": "a'b"},
]  # fmt: skip


def test_no_answer_to_the_dial_makes_an_agent_grow_follow_or_believe(new_double, new_agent, cluster):
    other = new_double()

    def redirected(connection, head: bytes) -> bool:
        place = other.url.removeprefix("https://").encode()
        return sends(body(b"302 Found", b"", b"Location: https://" + place + b"/v1/tunnel"))(connection, head)

    answers = {name: answer for name, (answer, _) in ANSWERS.items()}
    answers["a redirect"] = redirected
    for lie in IMPLAUSIBLE:
        ok = tunnel.frame(tunnel.HELLO_OK, json.dumps(welcome(**lie)).encode())
        answers[f"an implausible welcome: {lie}"] = sends(SWITCH + ok)

    def run(name: str) -> str:
        agent = new_agent(new_double(answers[name]), cluster, wait=False)
        double = agent.relay
        wait_for("a dial", lambda: double.dials)
        before = agent.child.resident_kib()

        def is_small() -> bool:
            with contextlib.suppress(AssertionError, OSError):
                return agent.child.resident_kib() - before < 64 * KIB
            # It has ended.
            return True

        try:
            stays_true("it does not grow", is_small, 4)
        except AssertionError:
            return f"{name}: grew"
        agent.stop()
        said = bytes(agent.child.raw).decode()
        if '"event":"shared"' in said:
            return f"{name}: believed"
        if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said):
            return f"{name}: printed {said!r}"
        return ""

    with ThreadPoolExecutor(5) as threads:
        assert [said for said in threads.map(run, answers) if said] == []
    assert other.dials == 0, "a token went where a redirect pointed"

"""Killed, frozen and full: what dies, what it costs, and that it comes back by itself."""

import concurrent.futures
import contextlib
import os
import signal
import socket
import sqlite3
import ssl
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import wire
from harness.cluster import Cluster
from harness.fault_proxy import FaultProxy, Way
from harness.footprint import assert_flat, footprints, wait_empty
from harness.pgshare import Agent, Relay
from harness.processes import Child, run_well
from harness.small_disk import small_disk
from harness.waiting import stays_true, wait_for
from harness.wall_clock import WallClock, build_wall_clock
from harness.wire import Refused, WireClient, answers

pytestmark = pytest.mark.relayed

GRACE_SECONDS = 30
# After so long without a byte an end gives its connection up.
SILENCE_SECONDS = 25
# What a busy machine may add to a time of ours.
SLACK_SECONDS = 20


class Shared:
    """A relay, a server of its own choice, an agent and the proxies that a scenario asks for."""

    def __init__(self, relay: Relay, cluster: Cluster, agent: Agent):
        self.relay = relay
        self.cluster = cluster
        self.agent = agent

    def client(self, name: str = "faults", seconds: float = 150) -> WireClient:
        return WireClient(self.agent.endpoint, {"application_name": name}, seconds=seconds)


@pytest.fixture
def shared(new_relay, new_agent, cluster) -> Shared:
    relay = new_relay()
    return Shared(relay, cluster, new_agent(relay, cluster))


@contextlib.contextmanager
def frozen(child: Child) -> Iterator[None]:
    child.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        child.signal(signal.SIGCONT)


def end_of(client: WireClient) -> list[str]:
    """The SQLSTATEs that a client is told until it is closed."""
    return [got.fields["C"] for got in client.until_end() if got.kind == "E"]


def backend_of(client: WireClient) -> bytes | None:
    return client.query("select pg_backend_pid() || ' ' || txid_current()")[0][0]


# Frozen and killed


def test_what_is_frozen_for_five_seconds_costs_no_client_anything(shared):
    """The agent, then the relay; a client in a transaction, one that listens, one that copies."""
    inside, listener, copier = shared.client(), shared.client(), shared.client()
    inside.query("begin")
    backend = backend_of(inside)
    listener.query("listen faults")
    copier.send(wire.query("copy (select n, md5(n::text) from generate_series(1, 400000) n) to stdout"))
    copier.until("H")
    for child in (shared.agent.child, shared.relay.child):
        with frozen(child):
            inside.send(wire.query("select pg_backend_pid() || ' ' || txid_current()"))
            stays_true("both run", lambda: shared.agent.child.is_running, 5)
        row = [got.body for got in inside.ready() if got.kind == "D"]
        assert len(row) == 1 and row[0].endswith(backend or b"-")
    inside.query("notify faults, 'thawed'; commit")
    assert b"thawed" in listener.until("A")[-1].body
    rows = sum(got.kind == "d" for got in copier.ready())
    assert rows == 400_000
    for client in (inside, listener, copier):
        client.close()
    assert shared.relay.metric("links_lost_total") == 0


@pytest.mark.timeout(300)
def test_what_is_gone_for_longer_than_the_grace_ends_its_clients_and_comes_back(
    new_relay, new_agent, cluster
):
    """Four kinds of gone, side by side, because most of it is waiting."""
    scenarios = (_agent_killed, _agent_frozen, _relay_frozen, _agent_replaced)
    stages = []
    for _ in scenarios:
        relay = new_relay(state=f"state-{len(stages)}")
        stages.append(Shared(relay, cluster, new_agent(relay, cluster)))
    with concurrent.futures.ThreadPoolExecutor(len(scenarios)) as pool:
        for done in [pool.submit(run, stage) for run, stage in zip(scenarios, stages, strict=True)]:
            done.result(timeout=240)


def _begun(shared: Shared, name: str) -> tuple[WireClient, str]:
    """A client in a transaction that has written a row into a table that it says."""
    table = f"half_{uuid.uuid4().hex[:8]}"
    shared.cluster.sql(f"create table {table} (n int)")
    client = shared.client(name)
    client.query(f"begin; insert into {table} values (1)")
    return client, table


def _gone(shared: Shared, name: str, seconds: float) -> None:
    at = f"application_name = '{name}'"
    wait_for(f"{name} to leave Postgres", lambda: shared.cluster.backends(at) == 0, seconds)


def _agent_killed(shared: Shared) -> None:
    """Its backends end at once, nothing is half-done, and its clients are told after the grace."""
    client, table = _begun(shared, "of a killed agent")
    start = time.monotonic()
    shared.agent.child.stop(signal.SIGKILL)
    _gone(shared, "of a killed agent", SLACK_SECONDS)
    # Without the lock of a transaction that nobody ends any more.
    shared.cluster.sql(f"begin; lock table {table} in access exclusive mode nowait; commit")
    assert shared.cluster.sql(f"select count(*) from {table}") == "0"
    assert end_of(client) == ["08006"]
    assert GRACE_SECONDS - 2 < time.monotonic() - start < GRACE_SECONDS + SLACK_SECONDS
    with pytest.raises(Refused) as refused:
        shared.client()
    assert refused.value.state == "57P03"
    wait_empty(shared.relay, shared.cluster, "application_name = 'of a killed agent'")


def _agent_replaced(shared: Shared) -> None:
    """Where another agent takes the share over, the clients of the dead one are told at once."""
    password = {"PGSHARE_PASSWORD": "a password of the tests"}
    first = Agent(shared.relay, shared.cluster, "--name", "replaced", environment=password)
    client = WireClient(first.endpoint, seconds=150)
    client.query("begin")
    first.child.stop(signal.SIGKILL)
    start = time.monotonic()
    second = Agent(shared.relay, shared.cluster, "--name", "replaced", environment=password)
    try:
        assert end_of(client) == ["08006"]
        assert time.monotonic() - start < GRACE_SECONDS - 5
        assert second.endpoint == first.endpoint
        assert answers(first.endpoint)
    finally:
        second.stop()


def _agent_frozen(shared: Shared) -> None:
    """The relay notices the silence, waits for the grace, and the agent finds its own way back."""
    client, table = _begun(shared, "of a frozen agent")
    start = time.monotonic()
    with frozen(shared.agent.child):
        assert end_of(client) == ["08006"]
        gone = time.monotonic() - start
        assert GRACE_SECONDS - 2 < gone < SILENCE_SECONDS + GRACE_SECONDS + SLACK_SECONDS
    wait_for("the agent to be back", lambda: answers(shared.agent.endpoint), 60)
    _gone(shared, "of a frozen agent", 60)
    assert shared.cluster.sql(f"select count(*) from {table}") == "0"


def _relay_frozen(shared: Shared) -> None:
    """The agent gives the tunnel up and lets its backends go; thawed, the relay serves again."""
    client, table = _begun(shared, "of a frozen relay")
    with frozen(shared.relay.child):
        _gone(shared, "of a frozen relay", SILENCE_SECONDS + GRACE_SECONDS + SLACK_SECONDS)
    assert end_of(client) == ["08006"]
    assert shared.cluster.sql(f"select count(*) from {table}") == "0"
    wait_for("the agent to be back", lambda: answers(shared.agent.endpoint), 60)
    assert shared.relay.child.is_running and shared.agent.child.is_running


def test_a_relay_that_is_killed_again_and_again_keeps_every_address(new_relay, new_agent, cluster):
    relay = new_relay()
    agents = [new_agent(relay, cluster), new_agent(relay, cluster, "--name", "killed")]
    before = [agent.endpoint for agent in agents]
    for _ in range(3):
        clients = [WireClient(endpoint, {"application_name": "of a killed relay"}) for endpoint in before]
        clients[0].query("begin")
        clients[1].send(wire.query("copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout"))
        clients[1].until("H")
        relay.child.stop(signal.SIGKILL)
        # Nobody is left to say why.
        assert [end_of(client) for client in clients] == [[], []]
        relay.start()
        for endpoint in before:
            wait_for("an agent to be back", lambda at=endpoint: answers(at), 90)
        here = "application_name = 'of a killed relay'"
        wait_for("the backends to end", lambda: cluster.backends(here) == 0, 60)
    for agent, endpoint in zip(agents, before, strict=True):
        assert agent.child.is_running
        assert agent.endpoint == endpoint
    listed = relay.command("shares", "list", "--json")
    assert all(endpoint.share_id in listed.stdout for endpoint in before)


# The database


@pytest.fixture
def own_cluster(authority) -> Iterator[Cluster]:
    """A server that may be killed."""
    cluster = Cluster(15, authority, {"synchronous_commit": "on"})
    yield cluster
    cluster.remove()


@pytest.mark.parametrize(
    ("how", "told"),
    [(signal.SIGINT, [["57P01"]]), (signal.SIGQUIT, [["57P01"], ["57P02"], []]),
     (signal.SIGKILL, [["57P01"], ["57P02"], []])],
    ids=["fast", "immediate", "killed"],
)  # fmt: skip
def test_a_database_that_goes_and_comes_back_is_served_again(how, told, new_relay, new_agent, own_cluster):
    """Clients hear what Postgres said, new ones to try again, and the agent stays."""
    relay = new_relay()
    agent = new_agent(relay, own_cluster)
    own_cluster.sql("create table kept (n int)")
    inside, idle = (WireClient(agent.endpoint) for _ in range(2))
    idle.query("insert into kept values (1)")
    inside.query("begin; insert into kept values (2)")
    own_cluster.server.stop(how)
    assert end_of(inside) in told
    assert end_of(idle) in told
    with pytest.raises(Refused) as refused:
        WireClient(agent.endpoint)
    assert refused.value.state in ("57P03", "08001")
    own_cluster.start_again()
    wait_for("the database to be served again", lambda: answers(agent.endpoint), 60)
    with WireClient(agent.endpoint) as client:
        assert client.query("select n from kept") == [[b"1"]]
    assert agent.child.is_running
    assert relay.metric("links_lost_total") == 0
    wait_empty(relay, own_cluster)


# The state folder


@pytest.fixture
def full_disk(tmp_path, new_agent, cluster) -> Iterator[tuple[Relay, Path]]:
    """A relay whose state is on a disk of 2 MiB, and the file that fills it."""
    state = tmp_path / "small"
    relay = Relay(state)
    relay.token()
    relay.stop()
    with small_disk(state, 2048) as can_mount:
        assert can_mount, "this test mounts: it needs root"
        relay.start()
        yield relay, state / "ballast"
        relay.stop()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))


def test_a_full_disk_under_the_state_costs_no_client_and_heals_by_itself(full_disk, new_agent, cluster):
    relay, ballast = full_disk
    agent = new_agent(relay, cluster)
    with WireClient(agent.endpoint) as client:
        client.query("begin")
        backend = backend_of(client)
        _fill(ballast)
        # More than fits into what SQLite has allocated already.
        late = [new_agent(relay, cluster, wait=False) for _ in range(3)]
        refused = [each.wait_event("retrying") for each in late[-1:]]
        assert "relay" in refused[0]["reason"]
        assert backend_of(client) == backend
        assert answers(agent.endpoint)
        client.query("commit")
        wait_for("the log to say why", lambda: "no space left" in relay.child.everything())
        ballast.unlink()
        for each in late:
            each.wait_shared()
            assert answers(each.endpoint)


def test_a_relay_on_a_full_disk_starts_or_says_why_not(full_disk, cluster, new_agent):
    relay, ballast = full_disk
    agent = new_agent(relay, cluster)
    relay.stop()
    _fill(ballast)
    started = _try_to_start(relay)
    if started is None:
        # Nothing has to be written before somebody claims.
        wait_for("the agent to be refused", lambda: "no space left" in relay.child.everything(), 90)
    else:
        assert "no space left" in started
    ballast.unlink()
    if started is not None:
        relay.start()
    wait_for("the share to be served", lambda: answers(agent.endpoint), 90)


def _try_to_start(relay: Relay) -> str | None:
    """Nothing if it listens, or what it said at its end."""
    try:
        relay.start()
    except AssertionError:
        assert relay.child.wait_end() == 1, relay.child.everything()
        return relay.child.everything()
    return None


def test_a_state_that_is_damaged_or_cannot_be_written_is_told_at_the_start(new_relay, new_agent, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    store = next(relay.state.glob("*.sqlite*"))
    relay.stop()
    kept = store.read_bytes()
    for damage in (b"not a database" + kept[14:], kept[:50], bytes(len(kept))):
        store.write_bytes(damage)
        said = _try_to_start(relay)
        assert said is not None and str(store) in said and "damaged" in said, said
        # Nobody's shares are thrown away.
        assert store.read_bytes() == damage
    store.write_bytes(kept)
    mounts = relay.state
    run_well(["mount", "--bind", str(mounts), str(mounts)])
    try:
        run_well(["mount", "-o", "remount,bind,ro", str(mounts)])
        said = _try_to_start(relay)
        assert said is not None and "cannot be written" in said, said
    finally:
        run_well(["umount", str(mounts)])
    relay.start()
    wait_for("the share to be served", lambda: answers(agent.endpoint), 90)


def test_a_store_that_another_process_holds_costs_no_client(shared, new_agent):
    store = next(shared.relay.state.glob("*.sqlite*"))
    with shared.client() as client:
        client.query("begin")
        backend = backend_of(client)
        other = sqlite3.connect(store, isolation_level=None)
        other.execute("begin exclusive")
        try:
            late = new_agent(shared.relay, shared.cluster, wait=False)
            late.wait_event("retrying", seconds=60)
            assert backend_of(client) == backend
            wait_for("the log to say why", lambda: "another process" in shared.relay.child.everything())
        finally:
            other.execute("rollback")
            other.close()
        late.wait_shared()
        assert answers(late.endpoint)
        client.query("commit")


# Clocks


HOUR = 3600


def test_clocks_that_jump_end_no_session_and_open_no_door(new_relay, new_agent, cluster, tmp_path):
    library = build_wall_clock(tmp_path)
    clocks = [WallClock(library, tmp_path / name) for name in ("relay-clock", "agent-clock")]
    relay = new_relay(environment=clocks[0].environment)
    proxy = FaultProxy(relay.https_port)
    agent = new_agent(
        relay, cluster, "--expires", "8h", url=f"https://localhost:{proxy.port}",
        environment=clocks[1].environment,
    )  # fmt: skip
    client = WireClient(agent.endpoint)
    client.query("begin")
    backend = backend_of(client)
    _lock_out(agent)
    try:
        for clock in clocks:
            for jump in (2 * HOUR, -HOUR // 2, 7 * HOUR, 0):
                clock.jump(jump)
                assert backend_of(client) == backend
                before = proxy.accepted
                proxy.cut()
                assert backend_of(client) == backend
                assert proxy.accepted > before
                assert _is_locked_out(agent), "a clock that jumped forgot the lock-out"
        # Longer than silence is borne: keepalive goes by the other clock.
        clocks[0].jump(HOUR)
        clocks[1].jump(-HOUR // 2)
        resumes = relay.metric("link_resumes_total")
        stays_true("the tunnel stands", lambda: relay.metric("links_open") == 1, 12)
        assert backend_of(client) == backend
        assert relay.metric("link_resumes_total") == resumes
        assert relay.metric("links_lost_total") == 0
        # An expiry is a point in time: it comes when the clock says so.
        clocks[0].jump(9 * HOUR)
        assert end_of(client) == ["57P01"]
    finally:
        proxy.close()


def _wrong(agent: Agent) -> str:
    endpoint = agent.endpoint
    try:
        WireClient(type(endpoint)(**{**vars(endpoint), "password": "wrong"}))
    except Refused as refused:
        return refused.state
    raise AssertionError("a wrong password was right")


def _lock_out(agent: Agent) -> None:
    wait_for("a lock-out", lambda: _wrong(agent) == "28000")


def _is_locked_out(agent: Agent) -> bool:
    return _wrong(agent) == "28000"


# Crowds and those who leave


# What an allocator may keep more after twice the work.
NOISE_KIB = 12 * 1024


@pytest.mark.timeout(1800)
def test_short_connections_by_the_thousand_leave_nothing(shared):
    """Bare ones, greetings that stop anywhere, whole log-ins: the second half costs no memory.

    PGSHARE_TEST_CONNECTIONS=100000 for all of it; that takes some minutes.
    """
    relay, agent = shared.relay, shared.agent
    hello = wire.SSL_REQUEST + _hello(agent)
    half = int(os.environ.get("PGSHARE_TEST_CONNECTIONS", "8000")) // 2

    def crowd(count: int) -> None:
        _knock(relay.postgres_port, count * 70 // 100, hello, reads=False)
        _knock(relay.postgres_port, count * 22 // 100, b"", reads=False)
        _knock(relay.postgres_port, count * 3 // 100, wire.SSL_REQUEST, reads=True)
        _knock(relay.postgres_port, count * 3 // 100, hello, reads=True)
        _knock(relay.https_port, count // 100, _hello(agent), reads=True)
        for _ in range(count // 100):
            WireClient(agent.endpoint, {"application_name": "short"}).close()
        wait_empty(relay, shared.cluster, "application_name = 'short'")

    crowd(half)
    before = footprints(relay, agent)
    crowd(half)
    wait_for("the HTTPS port to be left", lambda: relay.metric("http_connections_open") <= 2)
    assert_flat(before, footprints(relay, agent), NOISE_KIB)
    assert answers(agent.endpoint)


def _hello(agent: Agent) -> bytes:
    """What a client says first in TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = wire.tls_context(agent.endpoint)
    connection = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def _knock(port: int, count: int, says: bytes, reads: bool) -> None:
    """Connects, says something, maybe waits for an answer, and leaves; every third by a reset."""
    for number in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as knocking:
            if number % 3 == 0:
                linger = struct.pack("ii", 1, 0)
                knocking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            with contextlib.suppress(ConnectionError):
                knocking.sendall(says)
                if reads:
                    knocking.recv(4096)


def test_results_of_a_gigabyte_that_nobody_wants_leave_nothing(shared):
    """The client is killed in the middle, or stalls first; again and again."""
    relay, agent, cluster = shared.relay, shared.agent, shared.cluster

    def abandon(times: int) -> None:
        for number in range(times):
            clients = [shared.client("abandoned") for _ in range(3)]
            for client in clients:
                client.send(wire.query(
                    "copy (select repeat('x', 1000) from generate_series(1, 1000000)) to stdout"
                ))  # fmt: skip
            # One reads a lot, one reads a little, one nothing until the others are gone.
            for client, much in zip(clients, (8 << 20, 100_000 + number, 0), strict=True):
                while much > 0:
                    much -= len(client.socket.recv(1 << 18))
            for client in clients:
                client.vanish()
        wait_empty(relay, cluster, "application_name = 'abandoned'")

    abandon(4)
    before = footprints(relay, agent)
    abandon(8)
    assert_flat(before, footprints(relay, agent), NOISE_KIB)
    assert answers(agent.endpoint)


def test_a_crowd_that_is_cut_off_and_comes_back_leaves_nothing(shared, new_proxy):
    """Resets, closes and truncations of clients at the door, in every order."""
    proxy = new_proxy(shared.relay.postgres_port)
    endpoint = type(shared.agent.endpoint)(**{**vars(shared.agent.endpoint), "port": proxy.port})
    endings = [
        proxy.cut,
        proxy.shut,
        *(lambda way=way: proxy.half_open(way, 0.3) for way in Way),
        *(lambda way=way, reset=reset: proxy.half_close(way, 0.2, reset) for way in Way for reset in (True, False)),
        *(lambda way=way, after=after: proxy.truncate(way, after, after % 2 == 0) for way in Way for after in (1, 5000)),
    ]  # fmt: skip

    def round_of_all() -> None:
        for ending in endings:
            crowd = [WireClient(endpoint, {"application_name": "crowd"}) for _ in range(8)]
            for number, client in enumerate(crowd):
                client.query("begin")
                client.send(wire.query(f"select repeat('x', {number * 100_000})"))
            ending()
            for client in crowd:
                with contextlib.suppress(EOFError, OSError):
                    # Whoever is not cut at once is by this.
                    for _ in range(50):
                        client.query("select repeat('x', 1000)")
            proxy.cut()
            for client in crowd:
                client.socket.close()
        wait_empty(shared.relay, shared.cluster, "application_name = 'crowd'")

    round_of_all()
    before = footprints(shared.relay, shared.agent)
    round_of_all()
    assert_flat(before, footprints(shared.relay, shared.agent), NOISE_KIB)

"""Bad networks and slow readers: what a client notices, and what it costs."""

import contextlib
import hashlib
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable

import psycopg
import pytest
from harness import wire
from harness.certificates import Authority
from harness.pgshare import Relay
from harness.relay_double import SWITCH, RelayDouble
from harness.waiting import stays_true, wait_for
from harness.wire import WireClient, answers

pytestmark = pytest.mark.relayed


@pytest.fixture
def shaky(new_relay, new_agent, new_proxy, cluster):
    """A relay, a proxy between it and the agent, and the agent."""
    relay = new_relay()
    proxy = new_proxy(relay.https_port)
    agent = new_agent(relay, cluster, url=f"https://localhost:{proxy.port}")
    return relay, proxy, agent


def test_a_client_in_a_transaction_does_not_notice_that_the_tunnel_dropped(shaky):
    _, proxy, agent = shaky
    with WireClient(agent.endpoint) as client:
        client.query("begin")
        process = client.query("select pg_backend_pid(), txid_current()")
        for _ in range(3):
            before = proxy.accepted
            assert proxy.cut() > 0
            assert client.query("select pg_backend_pid(), txid_current()") == process
            assert proxy.accepted > before
        client.query("commit")


def test_a_result_on_its_way_arrives_whole_over_many_drops(shaky):
    _, proxy, agent = shaky
    stop = threading.Event()

    def cut_again_and_again() -> None:
        while not stop.wait(0.4):
            proxy.cut()

    cutter = threading.Thread(target=cut_again_and_again)
    with psycopg.connect(agent.endpoint.conninfo()) as connection:
        cutter.start()
        try:
            digest = hashlib.md5()
            query = "copy (select n, md5(n::text) from generate_series(1, 1500000) n) to stdout"
            with connection.cursor().copy(query) as copy:
                for data in copy:
                    digest.update(data)
        finally:
            stop.set()
            cutter.join()
    expected = hashlib.md5()
    for number in range(1, 1_500_001):
        expected.update(f"{number}\t{hashlib.md5(str(number).encode()).hexdigest()}\n".encode())
    assert digest.digest() == expected.digest()
    assert proxy.accepted > 2


def test_a_copy_in_arrives_whole_over_many_drops(shaky, cluster):
    _, proxy, agent = shaky
    table = f"dropped_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(agent.endpoint.conninfo(), autocommit=True) as connection:
        connection.execute(f"create table {table} (a int, b text)")
        with connection.cursor().copy(f"copy {table} from stdin") as copy:
            for number in range(200_000):
                copy.write(f"{number}\t{'x' * 90}\n")
                if number % 40_000 == 20_000:
                    proxy.cut()
        found = connection.execute(f"select count(*), sum(a), min(length(b)) from {table}").fetchone()
    assert found == (200_000, 19_999_900_000, 90)
    cluster.sql(f"drop table {table}")


def test_a_tunnel_that_goes_silent_is_noticed_and_replaced(shaky):
    """No byte and no reset: the worst kind of network. Dead after 25 s, so wait a little longer."""
    _, proxy, agent = shaky
    with WireClient(agent.endpoint, seconds=90) as client:
        client.query("begin")
        before = proxy.accepted
        proxy.stall()
        wait_for("a new connection of the agent", lambda: proxy.accepted > before, 60)
        proxy.cut()
        proxy.flow()
        assert client.query("select 1") == [[b"1"]]


def test_a_refused_agent_tries_again_until_it_gets_through(shaky):
    _, proxy, agent = shaky
    with WireClient(agent.endpoint) as client:
        proxy.refuses = True
        proxy.cut()
        stays_true("the agent runs", lambda: agent.child.is_running, 3)
        proxy.refuses = False
        assert client.query("select 'resumed'") == [[b"resumed"]]


@pytest.mark.timeout(240)
def test_a_tunnel_gone_for_longer_than_the_grace_ends_its_clients(shaky, cluster):
    _, proxy, agent = shaky
    client = WireClient(agent.endpoint, {"application_name": "out of grace"}, seconds=120)
    proxy.refuses = True
    proxy.cut()
    ends = [got.fields["C"] for got in client.until_end() if got.kind == "E"]
    assert ends == ["08006"]
    wait_for("its backend to end", lambda: cluster.backends("application_name = 'out of grace'") == 0, 60)
    proxy.refuses = False
    wait_for("the agent to be back", lambda: answers(agent.endpoint), 90)


def test_a_tunnel_of_several_links_serves_every_client_also_over_drops(
    new_relay, new_agent, new_proxy, cluster
):
    """Clients of each event loop, and while bulk data fills one link, clients that cross over."""
    relay = new_relay("--links", "3")
    proxy = new_proxy(relay.https_port)
    agent = new_agent(relay, cluster, url=f"https://localhost:{proxy.port}")
    wait_for("a link for each event loop", lambda: relay.metric("links_open") == 3)
    stop = threading.Event()
    digests: list[str] = []

    def copy() -> None:
        with psycopg.connect(agent.endpoint.conninfo()) as connection:
            digest = hashlib.md5()
            query = "copy (select n, md5(n::text) from generate_series(1, 400000) n) to stdout"
            with connection.cursor().copy(query) as rows:
                for data in rows:
                    digest.update(data)
            digests.append(digest.hexdigest())

    def cut_again_and_again() -> None:
        while not stop.wait(0.5):
            proxy.cut()

    threads = [threading.Thread(target=run) for run in (copy, copy, cut_again_and_again)]
    clients = [WireClient(agent.endpoint) for _ in range(7)]
    for thread in threads:
        thread.start()
    try:
        for number in range(150):
            for client in clients:
                client.send(wire.query(f"select {number}"))
            for client in clients:
                rows = [got.body for got in client.ready() if got.kind == "D"]
                assert len(rows) == 1 and rows[0].endswith(str(number).encode())
        late = [WireClient(agent.endpoint) for _ in range(4)]
        for client in [*clients, *late]:
            assert client.query("select 'here'") == [[b"here"]]
            client.close()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(digests) == 2 and len(set(digests)) == 1
    assert relay.metric("link_resumes_total") > 0
    wait_for("every stream to end", lambda: relay.metric("streams_open") == 0)


def test_a_client_that_vanishes_frees_its_backend(shaky, cluster):
    _, _, agent = shaky
    client = WireClient(agent.endpoint, {"application_name": "vanished"})
    client.send(wire.query("select pg_sleep(60)"))
    wait_for("its backend", lambda: cluster.backends("application_name = 'vanished'") == 1)
    client.vanish()
    wait_for("its backend to end", lambda: cluster.backends("application_name = 'vanished'") == 0, 90)


# Slow readers

# What one stalled client may cost, in KiB: its windows, and slack for an allocator that keeps pages.
STALL_GROWTH = 24 * 1024
RESIDENT_LIMIT = 64 * 1024


@pytest.mark.timeout(300)
def test_a_client_that_stops_reading_costs_little_and_disturbs_nobody(new_relay, new_agent, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    with WireClient(agent.endpoint) as other:
        for _ in range(50):
            other.query("select 1")
        before = [process.resident_kib() for process in (relay.child, agent.child)]
        stalled = WireClient(agent.endpoint)
        stalled.send(
            wire.query("copy (select repeat('x', 1000) from generate_series(1, 1000000)) to stdout")
        )
        stalled.until("H")
        slowest = 0.0
        # Longer than any time-out a socket may have: a result in a pager waits for its reader.
        end = time.monotonic() + 40
        while time.monotonic() < end:
            start = time.monotonic()
            assert other.query("select 1") == [[b"1"]]
            slowest = max(slowest, time.monotonic() - start)
        after = [process.resident_kib() for process in (relay.child, agent.child)]
        assert slowest < 2
        for grown, whole in zip((now - then for now, then in zip(after, before, strict=True)), after, strict=True):
            assert grown < STALL_GROWTH, f"grew by {grown} KiB"
            assert whole < RESIDENT_LIMIT * 2, f"{whole} KiB resident"
        for _ in range(50_000):
            assert stalled.read().kind == "d"
        stalled.vanish()
        wait_for("its backend to end", lambda: cluster.backends("query LIKE 'copy (select repeat%'") == 0)


@pytest.mark.timeout(300)
def test_a_database_that_stops_reading_costs_little(new_relay, new_agent, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    table = f"locked_{uuid.uuid4().hex[:8]}"
    cluster.sql(f"create table {table} (a text)")
    with WireClient(agent.endpoint) as holder:
        holder.query(f"begin; lock table {table}")
        before = [process.resident_kib() for process in (relay.child, agent.child)]
        writer = WireClient(agent.endpoint)
        writer.send(wire.query(f"select pg_sleep(0); copy {table} from stdin"))
        block = wire.copy_data(b"x" * 65000 + b"\n")
        writer.socket.settimeout(3)
        with pytest.raises(TimeoutError):
            for _ in range(4000):
                writer.send(block)
        after = [process.resident_kib() for process in (relay.child, agent.child)]
        for now, then in zip(after, before, strict=True):
            assert now - then < STALL_GROWTH
        writer.vanish()
    cluster.sql(f"drop table {table}")


@pytest.mark.timeout(300)
def test_many_clients_come_and_go_without_leaving_anything(new_relay, new_agent, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster, "--max-connections", "60")
    for _ in range(10):
        WireClient(agent.endpoint).close()
    wait_for("the first backends to end", lambda: cluster.backends("application_name = 'crowd'") == 0)
    files = [process.open_files() for process in (relay.child, agent.child)]
    for _ in range(4):
        crowd = [WireClient(agent.endpoint, {"application_name": "crowd"}) for _ in range(50)]
        for client in crowd:
            client.query("select 1")
        for number, client in enumerate(crowd):
            client.vanish() if number % 2 else client.close()
        wait_for("the backends to end", lambda: cluster.backends("application_name = 'crowd'") == 0, 60)

    def as_before() -> bool:
        now = [process.open_files() for process in (relay.child, agent.child)]
        return all(count <= then + 3 for count, then in zip(now, files, strict=True))

    wait_for("the descriptors to be closed", as_before, 60)


def hang_up(connection: ssl.SSLSocket) -> None:
    connection.recv(4096)


def answer_for_the_relay(connection: ssl.SSLSocket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


class Middlebox:
    """Between agent and relay: it spoils what follows a raw upgrade, and knows WebSockets."""

    def __init__(self, relay: Relay, spoil: Callable[[ssl.SSLSocket], None]):
        self.relay, self.spoil = relay, spoil
        self.spoilt = self.passed = 0

    def answer(self, near: ssl.SSLSocket, head: bytes) -> bool:
        """For a `RelayDouble`."""
        if b"upgrade: pgshare/1" in head.lower():
            self.spoilt += 1
            near.sendall(SWITCH)
            self.spoil(near)
            near.close()
            return True
        self.passed += 1
        context = ssl.create_default_context(cafile=str(self.relay.ca_file))
        plain = socket.create_connection(("127.0.0.1", self.relay.https_port))
        far = context.wrap_socket(plain, server_hostname="localhost")
        near.settimeout(None)
        far.sendall(head)
        threading.Thread(target=pump, args=(far, near), daemon=True).start()
        pump(near, far)
        return True


def pump(source: ssl.SSLSocket, target: ssl.SSLSocket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("spoil", [hang_up, answer_for_the_relay])
def test_a_box_that_spoils_raw_tunnels_after_the_upgrade_is_passed_by_websocket(
    spoil, new_relay, new_agent, cluster, tmp_path
):
    authority = Authority(tmp_path)
    certificate, key = authority.leaf("box", "localhost", "DNS:localhost,IP:127.0.0.1")
    relay = new_relay(
        "--tls-cert", str(certificate), "--tls-key", str(key), ca_file=authority.certificate
    )
    box = Middlebox(relay, spoil)
    double = RelayDouble(authority, (certificate, key), box.answer)
    try:
        agent = new_agent(relay, cluster, url=double.url)
        with WireClient(agent.endpoint) as client:
            client.query("select 1")
        # Two HELLOs were lost; the relay's further links know the way already.
        assert box.spoilt == 2
        assert box.passed >= 1
    finally:
        double.close()

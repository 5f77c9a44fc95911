"""Restarts that lose nobody: relays that drain, that take over from one another, that are killed."""

import ctypes
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from harness import wire
from harness.pgshare import Agent, Relay, pgshare
from harness.waiting import stays_true, wait_for
from harness.wire import Refused, WireClient, answers

pytestmark = pytest.mark.relayed

# The system call has this number on every architecture of Linux (since 5.6).
PIDFD_GETFD = 438


def ends(client: WireClient) -> list[str]:
    """The SQLSTATEs of the errors that a client reads until its connection is closed."""
    return [got.fields["C"] for got in client.until_end() if got.kind == "E"]


class Workers:
    """Clients that do transactions one after another, and keep what became of each.

    Each transaction writes two rows and is long enough to be hit in its middle.
    """

    def __init__(self, endpoint, cluster, table: str, count: int = 6, arriving: int = 0):
        self.endpoint = endpoint
        self.table = table
        self.cluster = cluster
        self.stopping = threading.Event()
        self.committed: list[str] = []
        self.problems: list[str] = []
        self.ended = 0
        self.unanswered = 0
        cluster.sql(f"create table {table} (worker text, half int)")
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(count)]
        self.threads += [threading.Thread(target=self._arrive) for _ in range(arriving)]
        for thread in self.threads:
            thread.start()

    def _arrive(self) -> None:
        """Connects, asks one thing and leaves, again and again: none may be refused."""
        while not self.stopping.is_set():
            try:
                with WireClient(self.endpoint) as client:
                    assert client.query("select 'arrived'") == [[b"arrived"]]
            except (OSError, EOFError, Refused, AssertionError) as error:
                self.unanswered += 1
                self.problems.append(f"arriving: {error!r}")

    def _work(self, worker: int) -> None:
        number = 0
        while not self.stopping.is_set():
            try:
                connection = psycopg.connect(self.endpoint.conninfo(), connect_timeout=30)
            except psycopg.OperationalError as error:
                # Nobody listens for a moment, or the relay says that it stops.
                if "refused" not in str(error) and "restarting" not in str(error):
                    self.problems.append(f"connect: {error}")
                self.stopping.wait(0.05)
                continue
            with connection:
                number = self._transactions(connection, worker, number)

    def _transactions(self, connection, worker: int, number: int) -> int:
        while not self.stopping.is_set():
            number += 1
            name = f"{worker}-{number}"
            step = "begin"
            try:
                connection.execute("begin")
                step = "first"
                connection.execute(f"insert into {self.table} values ('{name}', 1)")
                step = "sleep"
                connection.execute("select pg_sleep(0.03)")
                connection.execute(f"insert into {self.table} values ('{name}', 2)")
                step = "commit"
                connection.execute("commit")
                self.committed.append(name)
            except psycopg.OperationalError as error:
                if step != "begin":
                    self.problems.append(f"cut at {step}: {error}")
                elif error.sqlstate != "57P01":
                    self.problems.append(f"ended with {error.sqlstate}: {error}")
                self.ended += 1
                return number
        return number

    def finish(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        assert not self.problems
        halves = self.cluster.sql(
            f"select count(*) from (select worker from {self.table} group by worker"
            " having count(*) <> 2) as half"
        )
        assert halves.strip() == "0"
        kept = set(self.cluster.sql(f"select distinct worker from {self.table}").split())
        assert kept == set(self.committed)
        self.cluster.sql(f"drop table {self.table}")


def test_a_relay_that_is_told_to_stop_waits_for_transactions_and_ends_who_is_idle(
    new_relay, new_agent, cluster
):
    relay = new_relay("--drain-timeout", "20s")
    agent = new_agent(relay, cluster)
    idle = WireClient(agent.endpoint)
    idle.query("select 1")
    copying = WireClient(agent.endpoint)
    copying.query("create temporary table t (a int)")
    copying.send(wire.query("copy t from stdin"))
    copying.until("G")
    busy = WireClient(agent.endpoint)
    busy.query("begin")
    pipelining = WireClient(agent.endpoint)
    pipelining.send(wire.query("select 1") + wire.query("select pg_sleep(2), 'second'"))
    pipelining.until("Z")
    relay.child.signal(signal.SIGTERM)
    assert ends(idle) == ["57P01"]
    stays_true("the relay waits", lambda: relay.child.is_running, 1)
    got = pipelining.until("Z")
    assert [row.body for row in got if row.kind == "D"]
    assert ends(pipelining) == ["57P01"]
    copying.send(wire.copy_data(b"1\n2\n") + wire.COPY_DONE)
    assert [row.body for row in copying.until("Z") if row.kind == "C"] == [b"COPY 2\0"]
    assert ends(copying) == ["57P01"]
    assert busy.query("select 'still here'") == [[b"still here"]]
    busy.query("commit")
    assert ends(busy) == ["57P01"]
    assert relay.child.wait_end() == 0


def test_the_time_to_drain_is_bounded_and_a_second_signal_ends_it(new_relay, new_agent, cluster):
    for more, again in (("2s", False), ("60s", True)):
        relay = new_relay("--drain-timeout", more, state=f"state-{more}")
        agent = new_agent(relay, cluster)
        client = WireClient(agent.endpoint)
        client.query("begin")
        relay.child.signal(signal.SIGTERM)
        stays_true("the relay waits", lambda: relay.child.is_running, 1)
        if again:
            relay.child.signal(signal.SIGTERM)
        assert ends(client) == ["57P01"]
        assert relay.child.wait_end(10) == 0


def test_no_transaction_is_cut_when_a_relay_is_stopped_and_started_again(
    new_relay, new_agent, cluster
):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    workers = Workers(agent.endpoint, cluster, "restarted")
    for _ in range(2):
        before = len(workers.committed)
        wait_for("transactions", lambda: len(workers.committed) > before + 20)
        assert relay.stop() == 0
        relay.start()
    before = len(workers.committed)
    wait_for("transactions", lambda: len(workers.committed) > before + 20)
    workers.finish()
    assert workers.ended >= 6


def test_a_relay_takes_over_and_no_client_is_refused(new_relay, new_agent, cluster):
    relay = new_relay("--drain-timeout", "20s")
    agent = new_agent(relay, cluster)
    workers = Workers(agent.endpoint, cluster, "taken_over", arriving=4)
    for _ in range(3):
        before = len(workers.committed)
        wait_for("transactions", lambda: len(workers.committed) > before + 20)
        old = relay.take_over()
        assert old.wait_end() == 0, old.everything()
    before = len(workers.committed)
    wait_for("transactions", lambda: len(workers.committed) > before + 20)
    workers.finish()
    assert workers.ended >= 6 and workers.unanswered == 0
    assert agent.child.is_running


def test_the_relay_before_ends_its_transactions_while_the_next_one_serves(
    new_relay, new_agent, cluster
):
    relay = new_relay("--drain-timeout", "60s")
    agent = new_agent(relay, cluster)
    before = WireClient(agent.endpoint)
    before.query("begin")
    old = relay.take_over()
    with WireClient(agent.endpoint) as after:
        assert after.query("select 'after'") == [[b"after"]]
        assert before.query("select 'before'") == [[b"before"]]
        # A cancel request reaches the new relay, and the query is the old one's.
        before.send(wire.query("select pg_sleep(60)"))
        backend = wait_for(
            "the query to run", lambda: cluster.sql(
                "select pid from pg_stat_activity where query = 'select pg_sleep(60)'").strip())
        assert backend
        running = "query = 'select pg_sleep(60)' and state = 'active'"

        def is_cancelled() -> bool:
            # The new relay learns where the old one takes cancels within its next look at the store.
            before.cancel()
            return cluster.backends(running) == 0

        wait_for("the query to be cancelled", is_cancelled)
        assert [got.fields["C"] for got in before.until("Z") if got.kind == "E"] == ["57014"]
        before.query("rollback")
        assert ends(before) == ["57P01"]
        assert old.wait_end() == 0
        assert after.query("select 'still here'") == [[b"still here"]]


def test_whoever_has_logged_in_at_the_relay_before_asks_what_it_came_for(
    new_relay, new_agent, new_proxy, cluster
):
    relay = new_relay("--drain-timeout", "60s")
    way = new_proxy(cluster.port)
    database = cluster.tcp_conninfo("trusting", port=str(way.port), sslmode="disable")
    agent = new_agent(relay, cluster, conninfo=database)
    assert answers(agent.endpoint)
    way.stall()
    asked = relay.metric("clients_admitted_total")
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(lambda: WireClient(agent.endpoint))
        wait_for("its log-in", lambda: relay.metric("clients_admitted_total") > asked)
        old = relay.take_over()
        wait_for("the old relay to drain", lambda: "the relay drains" in old.everything())
        stays_true("the client waits for the database", lambda: not coming.done(), 3)
        way.flow()
        client = coming.result(30)
    assert client.query("select 'asked'") == [[b"asked"]]
    assert ends(client) == ["57P01"]
    assert old.wait_end() == 0


def test_a_second_relay_by_mistake_fails_and_the_first_one_serves_on(new_relay, new_agent, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    with WireClient(agent.endpoint) as client:
        places = {
            "--postgres-listen": f"127.0.0.1:{relay.postgres_port}",
            "--https-listen": f"127.0.0.1:{relay.https_port}",
        }
        for taken in places:
            listen = {**dict.fromkeys(places, "127.0.0.1:0"), taken: places[taken]}
            done = pgshare(
                "relay", "--state", str(relay.state) + "-other",
                *(word for pair in listen.items() for word in pair), seconds=30,
            )  # fmt: skip
            assert done.returncode == 1
            assert "address already in use" in done.stderr.lower()
        done = pgshare(
            "relay", "--state", str(relay.state), "--postgres-listen", "127.0.0.1:0",
            "--https-listen", "127.0.0.1:0", seconds=30,
        )  # fmt: skip
        assert done.returncode == 1
        assert "another relay serves the state" in done.stderr and "--take-over" in done.stderr
        # A relay of another state has nobody here to take over from.
        done = pgshare(
            "relay", "--take-over", "--state", str(relay.state) + "-other",
            *(word for pair in places.items() for word in pair), seconds=30,
        )  # fmt: skip
        assert done.returncode == 1
        assert "address already in use" in done.stderr.lower()
        assert client.query("select 1") == [[b"1"]]
        assert answers(agent.endpoint)


def test_a_relay_that_was_killed_comes_back_with_everything(new_relay, new_agent, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    stopped = new_agent(relay, cluster)
    assert stopped.stop() == 0
    shared = dict(agent.shared)
    with pytest.raises(Refused) as refused:
        WireClient(stopped.endpoint)
    assert refused.value.state == "57P03"
    client = WireClient(agent.endpoint)
    client.query("begin")
    relay.child.signal(signal.SIGKILL)
    relay.child.wait_end()
    with pytest.raises((ConnectionError, EOFError)):
        client.until_end()
        raise EOFError
    relay.start()
    # The first client waits until the agent is back; one whose agent has left does not.
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        WireClient(stopped.endpoint)
    assert refused.value.state == "57P03"
    assert time.monotonic() - began < 5
    with WireClient(agent.endpoint, seconds=30) as after:
        assert after.query("select 'back'") == [[b"back"]]
    # Said where id, address and expiry are the same.
    agent.wait_event("reconnected")
    assert agent.shared == shared


class Idle:
    """An agent without clients, and the relay processes that it meets one after another."""

    def __init__(self, relay: Relay, agent: Agent):
        self.relay = relay
        self.agent = agent
        self.serves()

    def serves(self) -> None:
        """Its tunnel stands with the relay that runs now, and is no WebSocket."""

        def tunnels() -> list[str]:
            return [line for line in self.relay.child.errors if "tunnel up" in line]

        assert all("transport=raw" in line for line in wait_for("the tunnel", tunnels))

    def events(self, name: str) -> list[dict]:
        lines = [json.loads(line) for line in self.agent.child.lines if line[:1] == "{"]
        return [line for line in lines if line.get("event") == name]

    def wait_events(self, name: str, count: int) -> None:
        wait_for(f"{count} times {name}", lambda: len(self.events(name)) >= count)
        assert len(self.events(name)) == count


@pytest.mark.parametrize("links", ["1", "3"])
def test_an_agent_without_clients_moves_on_at_once_at_every_take_over(
    links, new_relay, new_agent, cluster
):
    relay = new_relay("--links", links)
    idle = Idle(relay, new_agent(relay, cluster))
    for _ in range(5):
        old = relay.take_over()
        assert old.wait_end() == 0, old.everything()
        idle.serves()
    idle.wait_events("draining", 5)
    idle.wait_events("reconnected", 5)
    assert idle.events("retrying") == idle.events("tunnel_lost") == []


def test_an_agent_is_back_at_once_however_often_its_relay_is_killed(new_relay, new_agent, cluster):
    relay = new_relay()
    idle = Idle(relay, new_agent(relay, cluster))
    for _ in range(10):
        # Six deaths in a row within a second look like a relay that drops whatever it takes.
        stays_true("the agent serves", lambda: idle.agent.child.is_running, 1)
        relay.child.signal(signal.SIGKILL)
        relay.child.wait_end()
        relay.start()
        idle.serves()
    idle.wait_events("tunnel_expired", 10)
    idle.wait_events("reconnected", 10)
    assert idle.events("retrying") == []


def test_a_client_waits_for_an_agent_that_was_there_and_not_for_ever(new_relay, new_agent, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    relay.child.signal(signal.SIGKILL)
    relay.child.wait_end()
    agent.child.signal(signal.SIGKILL)
    agent.child.wait_end()
    relay.start()
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        WireClient(agent.endpoint, seconds=30)
    assert refused.value.state == "57P03"
    assert 9 < time.monotonic() - began < 20


def test_idle_and_lifetime_limits_never_hit_a_query_or_a_transaction(new_relay, new_agent, cluster):
    relay = new_relay("--client-idle", "2s", "--client-lifetime", "8s")
    agent = new_agent(relay, cluster)
    began = time.monotonic()
    idle = WireClient(agent.endpoint)
    listening = WireClient(agent.endpoint)
    listening.query("listen here")
    within, asking = WireClient(agent.endpoint), WireClient(agent.endpoint)
    within.query("begin")
    asking.send(wire.query("select pg_sleep(10)"))
    with ThreadPoolExecutor(1) as thread:
        end = thread.submit(lambda: (ends(idle), time.monotonic() - began))
        # Notifications are bytes: who gets some is not idle, and is at rest between them.
        while time.monotonic() - began < 7:
            cluster.sql("notify here")
            assert listening.until("A")
        states, after = end.result(5)
    assert states == ["57P05"]
    assert 1.9 < after < 6
    assert ends(listening) in (["57P01"], ["57P05"])
    assert [got.kind for got in asking.until("Z")][-1] == "Z"
    assert ends(asking) == ["57P01"]
    assert within.query("select 'within'") == [[b"within"]]
    within.query("commit")
    assert ends(within) == ["57P01"]


def listening_socket(pid: int, port: int) -> socket.socket:
    """A second hold of the socket with which another process listens (pidfd_getfd(2))."""
    inode = next(
        words[9]
        for words in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if words[1].endswith(f":{port:04X}") and words[3] == "0A"
    )
    number = next(
        int(file.name)
        for file in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(file) == f"socket:[{inode}]"
    )
    process = os.pidfd_open(pid)
    try:
        held = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, number, 0)
        assert held >= 0, os.strerror(ctypes.get_errno())
        return socket.socket(fileno=held)
    finally:
        os.close(process)


@pytest.mark.parametrize("door", ["clients", "agents"])
def test_a_relay_whose_listening_socket_breaks_ends_with_an_error(door, new_relay):
    relay = new_relay()
    port = relay.postgres_port if door == "clients" else relay.https_port
    with listening_socket(relay.child.pid, port) as held:
        held.shutdown(socket.SHUT_RDWR)
        assert relay.child.wait_end() == 1
    assert f"listening for {door} on 127.0.0.1:" in relay.child.everything()


def test_a_hangup_makes_a_relay_read_its_settings_again(new_relay, new_agent, cluster, tmp_path):
    file = tmp_path / "relay.json"
    file.write_text(json.dumps({"client-idle": "1h", "log-level": "info"}))
    relay = new_relay("--config", str(file))
    agent = new_agent(relay, cluster)

    def told(text: str) -> list[str]:
        return [line for line in relay.child.errors if text in line]

    def hang_up(settings: str) -> None:
        file.write_text(settings)
        relay.child.signal(signal.SIGHUP)

    with WireClient(agent.endpoint) as client:
        hang_up(json.dumps({"client-idle": "1s", "domain": "other.example", "links": 7}))
        wait_for("the new setting", lambda: told("setting=client-idle"))
        refused = wait_for("two refusals", lambda: told("--take-over")[1:])
        assert len(told("--take-over")) == 2 and refused
        assert told("setting=domain") and told("setting=links")
        # What began before goes on as it began; who comes now is ended.
        assert ends(WireClient(agent.endpoint)) == ["57P05"]
        for broken in ("{", '{"client-idle": "soon"}', '{"spelled-wrong": 1}'):
            before = len(told("the old ones are kept"))
            hang_up(broken)
            wait_for("the refusal", lambda: len(told("the old ones are kept")) > before)
        assert ends(WireClient(agent.endpoint)) == ["57P05"]
        hang_up(json.dumps({"log-level": "debug", "log-format": "json"}))
        wait_for("the old setting", lambda: len(told("setting=client-idle")) == 2)
        wait_for("the new level", lambda: told("setting=log-level"))
        assert told("setting=log-format")
        # A file that says nothing new was read all the same.
        before = len(told("the settings were read again"))
        hang_up(file.read_text())
        wait_for("a line", lambda: len(told("the settings were read again")) > before)
        assert len(told("setting=log-level")) == 1
        assert client.query("select 'still here'") == [[b"still here"]]

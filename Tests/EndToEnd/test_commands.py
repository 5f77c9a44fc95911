"""What a person does: wrong settings, odd names, transports, ports that are taken."""

import contextlib
import signal
import socket
import ssl
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from harness import tools, wire
from harness.fault_proxy import FaultProxy
from harness.pgshare import pgshare
from harness.processes import Child, run
from harness.waiting import stays_true, wait_for
from harness.wire import Refused, WireClient

pytestmark = pytest.mark.relayed


@pytest.mark.parametrize("door", ["--postgres-listen", "--https-listen"])
def test_a_relay_whose_port_is_taken_says_so_and_ends(door, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {"--postgres-listen": "127.0.0.1:0", "--https-listen": "127.0.0.1:0"}
        ports[door] = f"127.0.0.1:{port}"
        done = run(
            [tools.pgshare_binary(), "relay", "--state", str(tmp_path / "state"),
             *(word for pair in ports.items() for word in pair)],
            seconds=30,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr
    assert "the relay cannot start" in done.stderr


@pytest.mark.parametrize("options", [("--domain", "foo_bar"), ("--tls-cert", "cert.pem")])
def test_a_relay_whose_settings_cannot_be_used_is_a_usage_error(options, tmp_path):
    done = pgshare("relay", "--state", str(tmp_path / "state"), *options)
    assert done.returncode == 2, done.stderr


def test_a_relay_says_where_it_listens_and_for_whom(new_relay):
    relay = new_relay("--http-listen", "127.0.0.1:0")
    plain = relay.child.wait_json("the relay to listen", lambda value: "http" in value)["http"]
    for whom, port in (("clients", relay.postgres_port), ("agents", relay.https_port)):
        assert told(relay, f"listening for {whom} ") == [f"127.0.0.1:{port}"]
    assert told(relay, "listening for agents without TLS ") == [plain]
    assert len(told(relay, "listening for cancel requests ")) == 1


def told(relay, message: str) -> list[str]:
    """The addresses in lines of a relay's log."""
    lines = [line for line in relay.child.errors if f" {message}listening=" in line]
    return [line.rpartition("listening=")[2].strip('"') for line in lines]


def test_the_port_that_cancels_are_handed_on_at_takes_nothing_else(new_relay, new_agent, cluster):
    relay = new_relay()
    endpoint = new_agent(relay, cluster).endpoint
    (address,) = told(relay, "listening for cancel requests ")
    there = replace(endpoint, port=int(address.rpartition(":")[2]))
    for greeting in (wire.SSL_REQUEST, wire.GSS_REQUEST, b"\x16", wire.startup({"user": "x"})[:9]):
        with wire.open_tcp(there) as plain:
            plain.settimeout(5)
            plain.sendall(greeting)
            assert plain.recv(100) == b""
    with WireClient(endpoint) as client:
        client.send(wire.query("select pg_sleep(100) as cancelled_there"))
        wait_for(
            "the query",
            lambda: cluster.backends("query LIKE '%cancelled_there%' AND state = 'active'"),
        )
        with wire.open_tcp(there) as other:
            other.settimeout(30)
            other.sendall(wire.cancel_request(client.key))
            assert other.recv(1) == b""
        assert [got.fields["C"] for got in client.ready() if got.kind == "E"] == ["57014"]


def test_the_door_without_tls_serves_agents_of_a_proxy_and_stands_on_loopback_only(
    new_relay, new_agent, cluster
):
    relay = new_relay("--http-listen", "127.0.0.1:0")
    address = relay.child.wait_json("the relay to listen", lambda value: "http" in value)["http"]
    with urllib.request.urlopen(f"http://{address}/readyz", timeout=30) as reply:
        assert reply.status == 200
    agent = new_agent(relay, cluster, url=f"http://{address}")
    with WireClient(agent.endpoint) as client:
        assert client.query("select 1") == [[b"1"]]
    done = pgshare("relay", "--http-listen", "0.0.0.0:0", "--state", str(relay.state))
    assert done.returncode == 2


def test_a_new_certificate_is_served_after_sighup_and_no_session_ends(
    new_relay, new_agent, cluster, tmp_path
):
    def make(name: str) -> Path:
        done = pgshare("certs", "init", "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    def served(endpoint) -> bytes:
        with WireClient(endpoint) as client:
            return client.socket.getpeercert(binary_form=True)

    old, new = make("old"), make("new")
    leaf, key = certificate_files(old)
    relay = new_relay("--tls-cert", str(leaf), "--tls-key", str(key), ca_file=old / "ca.pem")
    agent = new_agent(relay, cluster)
    with WireClient(agent.endpoint) as client:
        before = served(agent.endpoint)
        for target, source in zip((key, leaf), reversed(certificate_files(new)), strict=True):
            target.write_bytes(source.read_bytes())
        relay.child.signal(signal.SIGHUP)
        endpoint = replace(agent.endpoint, ca_file=new / "ca.pem")

        def is_new() -> bool:
            with contextlib.suppress(ssl.SSLError):
                return served(endpoint) != before
            return False

        wait_for("the new certificate", is_new)
        assert client.query("select 1") == [[b"1"]]
    assert relay.child.is_running


def certificate_files(folder: Path) -> tuple[Path, Path]:
    """The leaf and its key of `pgshare certs init`."""
    keys = [path for path in folder.iterdir() if "key" in path.name and "ca" not in path.name]
    leaves = [path for path in folder.glob("*.pem") if path not in keys and "ca" not in path.name]
    assert len(keys) == len(leaves) == 1, list(folder.iterdir())
    return leaves[0], keys[0]


def test_an_agent_waits_for_a_relay_that_is_not_there_yet(relay, cluster, new_agent):
    proxy = FaultProxy(relay.https_port)
    proxy.refuses = True
    agent = new_agent(relay, cluster, url=f"https://localhost:{proxy.port}", wait=False)
    try:
        for _ in range(2):
            assert agent.wait_event("retrying", since=len(agent.child.lines))["reason"]
        proxy.refuses = False
        agent.wait_shared()
        with WireClient(agent.endpoint) as client:
            assert client.query("select 1") == [[b"1"]]
    finally:
        proxy.close()


def test_a_relay_that_nobody_runs_is_named_and_tried_again(relay, cluster):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    child = Child(
        [tools.pgshare_binary(), "share", cluster.conninfo(), "--relay", f"https://localhost:{port}",
         "--ca-file", str(relay.ca_file)],
        {"PGSHARE_TOKEN": relay.token()},
    )  # fmt: skip
    child.wait_line("the reason", lambda line: "refused" in line and "trying again" in line)
    stays_true("the agent runs", lambda: child.is_running, 2)
    start = time.monotonic()
    assert child.stop(signal.SIGINT) == 0
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(("transport", "label"), [("auto", "raw"), ("raw", "raw"), ("websocket", "websocket")])
def test_a_share_works_over_each_transport(transport, label, new_relay, new_agent, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster, "--transport", transport)
    with WireClient(agent.endpoint) as client:
        assert client.query("select length(repeat('x', 1000000))") == [[b"1000000"]]
    text = relay.request("GET", "/metrics")[1]
    links = [line for line in text.splitlines() if line.startswith("pgshare_links_open")]
    assert all((f'"{label}"' in line) == (not line.endswith(" 0")) for line in links), links


def test_a_transport_that_is_none_is_a_usage_error(relay, cluster):
    done = relay.command("share", cluster.conninfo(), "--transport", "pigeon")
    assert done.returncode == 2
    assert "auto, raw, websocket" in done.stderr


def test_a_database_name_with_quotes_and_spaces_is_reached_by_the_url(
    relay, cluster, new_agent, new_database
):
    name = new_database("an \"odd' /name@%")
    quoted = name.replace("'", "\\'")
    agent = new_agent(relay, cluster, conninfo=f"{cluster.conninfo()} dbname='{quoted}'")
    done = run([tools.program("psql"), agent.shared["url"], "-XAtc", "select current_database()"])
    assert done.stdout.rstrip("\n") == name, done.stderr


def test_a_stranger_cannot_paint_on_the_owners_terminal(relay, cluster):
    child = Child(
        [tools.pgshare_binary(), "share", cluster.conninfo(), "--relay", relay.url,
         "--ca-file", str(relay.ca_file)],
        {"PGSHARE_TOKEN": relay.token()},
    )  # fmt: skip
    try:
        line = child.wait_line("a psql line", lambda line: line.strip().startswith("psql "))
        evil = "evil\x1b[2J\x07\r\nname"
        run(["bash", "-c", f"{line.strip()} -X -c 'select 1'"], {"PGAPPNAME": evil})
        child.wait_line("the client", lambda line: "evil" in line)
        assert not set("\x1b\x07\r") & set("".join(child.lines))
    finally:
        child.stop(signal.SIGINT)


@pytest.mark.parametrize("form", ["user", "option", "both"])
def test_a_share_is_named_by_user_or_option(form, share):
    name = share.user.removesuffix(f".{share.share_id}")
    words = {
        "host": "localhost", "port": str(share.port), "sslmode": "require",
        "user": name if form == "option" else share.user,
        "options": "-c work_mem=7MB" if form == "user" else f"-c pgshare.share={share.share_id} -c work_mem=7MB",
    }  # fmt: skip
    conninfo = " ".join(f"{key}='{value}'" for key, value in words.items())
    done = run([tools.program("psql"), "-d", conninfo, "-XAtc", "show work_mem"], share.environment())
    assert done.stdout.strip() == "7MB", done.stderr


# What is left when clients, servers and agents go in a bad way


def test_nothing_is_left_of_clients_that_go_in_a_bad_way(new_relay, new_agent, cluster):
    """The places of --max-connections tell what the agent believes."""
    relay = new_relay()
    places = 3
    agent = new_agent(relay, cluster, "--max-connections", str(places))

    def all_free() -> bool:
        try:
            clients = [WireClient(agent.endpoint) for _ in range(places)]
        except (Refused, EOFError, OSError):
            return False
        for client in clients:
            client.close()
        return relay.metric("streams_open") == relay.metric("clients_open") == 0

    for way in ("idle", "in a query", "in a result", "in a copy"):
        for _ in range(places):
            client = WireClient(agent.endpoint)
            if way == "in a query":
                client.send(wire.query("select pg_sleep(100)"))
            elif way == "in a result":
                client.send(wire.query("select repeat('x', 9999) from generate_series(1, 1000000)"))
                client.until("T")
            elif way == "in a copy":
                client.send(wire.query("create temp table c (a text); copy c from stdin"))
                client.until("G")
            client.vanish()
        wait_for(f"the places of clients that vanished {way}", all_free, 60)
    assert cluster.backends("query LIKE '%pg_sleep(100)%' AND state = 'active'") == 0


def test_nothing_is_left_after_the_database_restarted(relay, authority, new_agent):
    from harness.cluster import Cluster

    own = Cluster(tools.MAIN_VERSION, authority)
    try:
        agent = new_agent(relay, own, "--max-connections", "2")
        for _ in range(2):
            clients = [WireClient(agent.endpoint) for _ in range(2)]
            own.stop()
            for client in clients:
                assert [got.fields["C"] for got in client.until_end() if got.kind == "E"] == ["57P01"]
                client.close()
            own.start()
            again = [WireClient(agent.endpoint) for _ in range(2)]
            for client in again:
                client.close()
        assert agent.child.is_running
    finally:
        own.remove()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_agent_that_is_stopped_leaves_no_query_behind(number, relay, cluster, new_agent):
    agent = new_agent(relay, cluster)
    client = WireClient(agent.endpoint)
    client.send(wire.query("select pg_sleep(100) as left_behind"))
    wait_for("the query", lambda: cluster.backends("query LIKE '%left_behind%' AND state = 'active'"))
    start = time.monotonic()
    agent.child.signal(number)
    assert [got.fields["C"] for got in client.until_end() if got.kind == "E"] == ["08006"]
    assert agent.child.wait_end() == 0
    assert time.monotonic() - start < 5
    wait_for("the query to end", lambda: cluster.backends("query LIKE '%left_behind%'") == 0, 5)

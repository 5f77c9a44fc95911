"""What strangers send: each gets a clear answer or none, and nobody else is disturbed."""

import contextlib
import random
import socket
import ssl
import struct
import threading
import time
from dataclasses import replace

import pytest
from harness import tools, wire
from harness.cluster import Cluster
from harness.processes import run
from harness.waiting import wait_for
from harness.wire import Message, Refused, WireClient, answers

pytestmark = pytest.mark.relayed

# The relay's deadline from accept to authenticated, and some patience on top.
HANDSHAKE_SECONDS = 10
CLOSED_WITHIN = HANDSHAKE_SECONDS + 10


@pytest.fixture(autouse=True)
def bystander(share):
    """A client of the same share that must not notice anything."""
    with WireClient(share) as client:
        client.query("create temp table seen (n int)")
        yield client
        client.query("insert into seen values (1)")
        assert client.query("select count(*) from seen") == [[b"1"]]


def everything(connection: socket.socket, seconds: float = CLOSED_WITHIN) -> bytes:
    """All bytes until the other side closes; fails if it does not within the time."""
    connection.settimeout(seconds)
    got = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
        while data := connection.recv(65536):
            got += data
            assert len(got) < 1 << 20, "a stranger is sent a lot"
    return got


def errors(data: bytes) -> list[dict[str, str]]:
    """The ErrorResponses in a run of messages."""
    found = []
    while len(data) >= 5:
        (length,) = struct.unpack("!i", data[1:5])
        if data[:1] == b"E":
            found.append(Message("E", data[5 : 1 + length]).fields)
        data = data[1 + length :]
    return found


def in_tls(share, alpn=("postgresql",)) -> ssl.SSLSocket:
    """A connection that has done SSLRequest and the handshake."""
    plain = wire.open_tcp(share)
    plain.sendall(wire.SSL_REQUEST)
    assert plain.recv(1) == b"S"
    return wire.tls_context(share, alpn).wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("seed", range(12))
def test_random_bytes_end_the_connection(seed, share):
    noise = random.Random(seed).randbytes(5000)
    with wire.open_tcp(share) as plain:
        plain.sendall(noise)
        answer = everything(plain)
    assert len(answer) < 2000
    assert b"PostgreSQL 1" not in answer


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_inside_tls_end_the_connection(seed, share):
    with in_tls(share) as tls:
        with contextlib.suppress(OSError):
            tls.sendall(random.Random(seed).randbytes(5000))
        assert len(everything(tls)) < 2000


@pytest.mark.parametrize("secure", [False, True], ids=["in-clear", "in-tls"])
@pytest.mark.parametrize("length", [0, 3, 4, 7, 10_001, 2**31 - 1, 2**31, 2**32 - 1])
def test_impossible_lengths_are_refused_at_once(length, secure, share):
    connection = in_tls(share) if secure else wire.open_tcp(share)
    with connection:
        start = time.monotonic()
        connection.sendall(struct.pack("!I", length) + b"\0\3\0\0")
        answer = everything(connection)
        assert time.monotonic() - start < HANDSHAKE_SECONDS / 2, "waited for bytes that never come"
    for error in errors(answer):
        assert error["C"] == "08P01"
        assert error["V"] == "FATAL"


@pytest.mark.parametrize("total", [10_000, 10_001])
def test_startup_packets_up_to_10000_bytes_are_read(total, share):
    user = share.user
    words = {"user": user, "database": share.database, "application_name": ""}
    room = total - len(wire.startup(words))
    packet = wire.startup(words | {"application_name": "x" * room})
    assert len(packet) == total
    with in_tls(share) as tls:
        tls.sendall(packet)
        first = tls.recv(65536)
        if total > 10_000:
            assert errors(first)[0]["C"] == "08P01"
        else:
            assert first[:1] == b"R"


def test_a_startup_packet_byte_by_byte_is_the_same_as_a_whole_one(share):
    with in_tls(share) as tls:
        for byte in wire.startup({"user": share.user, "database": share.database}):
            tls.sendall(bytes([byte]))
        assert tls.recv(1) == b"R"


@pytest.mark.parametrize("part", ["nothing", "half a length", "half an SSLRequest", "half a startup"])
def test_half_a_packet_and_then_silence_ends_at_the_deadline(part, share):
    start = time.monotonic()
    if part == "half a startup":
        connection: socket.socket = in_tls(share)
        connection.sendall(wire.startup({"user": share.user})[:9])
    else:
        connection = wire.open_tcp(share)
        connection.sendall({"nothing": b"", "half a length": b"\0\0"}.get(part, wire.SSL_REQUEST[:5]))
    with connection:
        everything(connection)
    assert HANDSHAKE_SECONDS - 3 < time.monotonic() - start < CLOSED_WITHIN


def test_silence_at_the_password_ends_at_the_deadline(share):
    start = time.monotonic()
    with in_tls(share) as tls:
        tls.sendall(wire.startup({"user": share.user, "database": share.database}))
        assert tls.recv(1) == b"R"
        everything(tls)
    assert time.monotonic() - start < CLOSED_WITHIN


def test_plaintext_behind_an_ssl_request_is_never_carried_into_tls(share):
    """CVE-2021-23214."""
    with wire.open_tcp(share) as plain:
        plain.sendall(wire.SSL_REQUEST + wire.startup({"user": "injected"}))
        answer = everything(plain)
    assert not answer.startswith(b"S")
    assert b"injected" not in answer


def test_plaintext_behind_a_gss_request_is_refused(share):
    with wire.open_tcp(share) as plain:
        plain.sendall(wire.GSS_REQUEST + wire.query("select 1"))
        assert len(everything(plain)) < 2000


@pytest.mark.parametrize("request_bytes", [wire.SSL_REQUEST, wire.GSS_REQUEST], ids=["ssl", "gss"])
def test_a_second_encryption_request_is_refused(request_bytes, share):
    if request_bytes == wire.SSL_REQUEST:
        with in_tls(share) as tls:
            tls.sendall(request_bytes)
            assert [error["C"] for error in errors(everything(tls))] == ["08P01"]
        return
    with wire.open_tcp(share) as plain:
        plain.sendall(request_bytes)
        assert plain.recv(1) == b"N"
        plain.sendall(request_bytes)
        assert [error["C"] for error in errors(everything(plain))] in (["08P01"], [])


@pytest.mark.parametrize("alpn", [("http/1.1",), ("h2", "spdy/3"), ()])
def test_direct_tls_without_the_alpn_of_postgres_is_refused(alpn, share):
    answer = b""
    # TLS itself may refuse, or the relay inside it.
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        context = wire.tls_context(share, alpn)
        with context.wrap_socket(wire.open_tcp(share), server_hostname="localhost") as tls:
            tls.sendall(wire.startup({"user": share.user, "database": share.database}))
            answer = everything(tls)
    assert [error["C"] for error in errors(answer)] == ["08P01"] or answer == b""


@pytest.mark.parametrize("version", [(2, 0), (1, 0), (4, 0), (0x1234, 0x5678)])
def test_other_protocols_are_refused_with_a_reason(version, share):
    with in_tls(share) as tls:
        tls.sendall(wire.startup({"user": share.user}, major=version[0], minor=version[1]))
        found = errors(everything(tls))
    assert [error["C"] for error in found] == ["08P01"] or [error["C"] for error in found] == ["0A000"]


def refusal(endpoint, **more) -> Refused:
    with pytest.raises(Refused) as caught:
        WireClient(endpoint, **more)
    return caught.value


def test_an_unknown_share_answers_exactly_like_a_wrong_password(share):
    wrong = refusal(replace(share, password="not it"))
    name = share.user.removesuffix(f".{share.share_id}")
    unknown = refusal(replace(share, user=f"{name}.{'0' * 16}"))
    assert wrong.state == unknown.state == "28P01"
    assert wrong.fields["S"] == unknown.fields["S"] == "FATAL"
    assert wrong.text.replace(share.user, "U") == unknown.text.replace(f"{name}.{'0' * 16}", "U")
    assert set(wrong.fields) == set(unknown.fields)


def test_unknown_shares_have_a_salt_that_stays_the_same(share):
    def server_first(user: str) -> tuple[bytes, bytes]:
        with in_tls(share) as tls:
            tls.sendall(wire.startup({"user": user, "database": share.database}))
            assert tls.recv(65536)[:1] == b"R"
            first = b"n,,n=,r=abcdefghijklmnop"
            tls.sendall(wire.message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
            words = dict(word.split(b"=", 1) for word in tls.recv(65536)[9:].split(b","))
            return words[b"s"], words[b"i"]

    unknown = f"postgres.{'1' * 16}"
    assert server_first(unknown) == server_first(unknown)
    assert server_first(unknown) != server_first(f"postgres.{'2' * 16}")
    assert server_first(unknown)[1] == server_first(share.user)[1]


def test_two_names_that_disagree_are_refused(share):
    found = refusal(share, parameters={"options": f"-c pgshare.share={'z' * 16}"})
    assert found.state in ("28000", "28P01", "08P01")


def test_no_share_named_at_all_is_refused_with_help(share):
    found = refusal(replace(share, user="postgres"))
    assert found.state == "28000"
    assert "pgshare.share" in found.text + found.fields.get("H", "")


def test_a_password_of_more_than_64_kib_is_refused(share):
    with in_tls(share) as tls:
        tls.sendall(wire.startup({"user": share.user, "database": share.database}))
        assert tls.recv(65536)[:1] == b"R"
        with contextlib.suppress(OSError):
            tls.sendall(wire.message("p", b"x" * 70_000))
        answer = everything(tls)
    assert wire.message("R", bytes(4)) not in answer
    assert [error["V"] for error in errors(answer)] in (["FATAL"], [])


@pytest.mark.parametrize("key", [b"", b"\0" * 8, b"\xff" * 260, b"\0\0\0\1" + b"x" * 252])
def test_a_cancel_request_with_a_wrong_key_is_closed_without_a_word(key, share):
    with wire.open_tcp(share) as plain:
        plain.sendall(wire.cancel_request(key))
        assert len(errors(everything(plain))) <= 1


def test_a_key_of_one_session_cancels_no_other(share, bystander, cluster):
    with WireClient(share) as other:
        other.send(wire.query("select pg_sleep(1.5), 'not cancelled' as other_sleeps"))
        wait_for(
            "the query", lambda: cluster.backends("state = 'active' AND query LIKE '%other_sleeps%'")
        )
        bystander.cancel()
        assert not [got for got in other.ready() if got.kind == "E"]


def test_a_late_cancel_never_hits_the_next_query(share):
    with WireClient(share) as client:
        for _ in range(30):
            client.query("select 1")
            client.cancel()
            # The cancel connection was closed by the relay: it must have had its effect, or none.
            assert client.query("select pg_sleep(0.01), 'x'")[0][1] == b"x"


def test_a_flood_of_idle_connections_leaves_room_for_a_client(share, new_relay, cluster, new_agent):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    idle = []
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                idle.append(wire.open_tcp(agent.endpoint))
        wait_for(
            "an idle connection to be closed",
            lambda: any(closed(connection) for connection in idle),
            CLOSED_WITHIN,
        )
        wait_for("room for a client", lambda: answers(agent.endpoint), CLOSED_WITHIN + 10)
    finally:
        for connection in idle:
            connection.close()


def closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_guessing_passwords_locks_the_guesser_out_and_not_the_share(new_relay, new_agent, cluster):
    relay = new_relay()
    endpoint = new_agent(relay, cluster).endpoint
    states = [refusal(replace(endpoint, password=f"guess {number}")).state for number in range(15)]
    assert set(states) <= {"28P01", "53300", "28000"}
    # Decaying: after a while the owner of the right password gets in again from the same address.
    wait_for("the lock-out to decay", lambda: answers(endpoint), 90)


def test_the_http_port_survives_noise(relay):
    for seed in range(6):
        with socket.create_connection(("127.0.0.1", relay.https_port), timeout=30) as plain:
            plain.sendall(random.Random(seed).randbytes(3000))
            everything(plain)
    context = ssl.create_default_context(cafile=str(relay.ca_file))
    for text in (b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50, b"GET /" + b"a" * 100_000, b"POST /v1/shares"):
        with socket.create_connection(("127.0.0.1", relay.https_port), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                with contextlib.suppress(OSError):
                    tls.sendall(text + b"\r\n\r\n")
                with contextlib.suppress(OSError):
                    tls.recv(4096)
    assert relay.request("GET", "/healthz")[0] == 200


# Agents and databases


def test_an_agent_with_a_wrong_token_says_so_and_ends(relay, cluster, new_agent):
    wrong = "pgs_" + "A" * 43
    agent = new_agent(relay, cluster, token=wrong, wait=False)
    assert agent.child.wait_end() == 1
    said = agent.child.everything()
    assert "token" in said.lower()
    assert wrong not in said


def test_a_share_needs_a_token_when_the_relay_is_not_open(relay, cluster):
    done = run(
        [tools.pgshare_binary(), "share", cluster.conninfo(), "--relay", relay.url,
         "--ca-file", str(relay.ca_file)],
        {"PGSHARE_TOKEN": ""},
    )  # fmt: skip
    assert done.returncode == 2
    assert "--token is missing" in done.stderr
    assert "PGSHARE_TOKEN" in done.stderr
    assert "Bearer" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--max-connections", "0"), ("--name", "Foo_Bar"), ("--expires", "91d")],
)
def test_an_option_that_no_relay_would_accept_is_a_usage_error_that_names_it(option, value, relay, cluster):
    done = relay.command("share", cluster.conninfo(), option, value)
    assert done.returncode == 2
    assert option in done.stderr


def test_a_name_of_another_owner_cannot_be_claimed(relay, cluster, new_agent):
    mine = new_agent(relay, cluster, "--name", "taken", token=relay.token("owner-one"))
    other = new_agent(
        relay, cluster, "--name", "taken", token=relay.token("owner-two"), wait=False
    )
    assert other.child.wait_end() == 1
    assert "taken" in other.child.everything() or "another" in other.child.everything()
    assert answers(mine.endpoint)


def test_a_database_that_is_down_at_the_start_is_named_with_its_reason(relay, cluster, new_agent):
    agent = new_agent(relay, cluster, conninfo="host=127.0.0.1 port=1 user=x dbname=y", wait=False)
    assert agent.child.wait_end() == 1
    said = agent.child.everything()
    assert "refused" in said
    assert "\\x09" not in said, "a hint of libpq is indented with a tab"


def test_a_database_that_refuses_the_agent_is_named_without_its_password(relay, cluster, new_agent):
    conninfo = cluster.tcp_conninfo("scrammed", password="very wrong secret")
    agent = new_agent(relay, cluster, conninfo=conninfo, wait=False)
    assert agent.child.wait_end() == 1
    assert "password authentication failed" in agent.child.everything()
    assert "very wrong secret" not in agent.child.everything()


def test_a_database_that_goes_down_is_told_to_clients_and_comes_back(relay, authority, new_agent):
    own = Cluster(tools.MAIN_VERSION, authority)
    try:
        agent = new_agent(relay, own)
        client = WireClient(agent.endpoint)
        own.stop()
        ends = client.until_end()
        assert [got.fields["C"] for got in ends if got.kind == "E"] == ["57P01"]
        found = refusal(agent.endpoint)
        assert found.state in ("57P03", "08006", "08001", "08004"), found
        assert str(own.socket_folder) not in str(found.fields), "a path of the agent's machine leaked"
        own.start()
        assert answers(agent.endpoint)
    finally:
        own.remove()


def test_another_database_needs_all_databases(share, new_agent, relay, cluster):
    found = refusal(share.with_database("template1"))
    assert found.state in ("28000", "3D000", "42501"), found
    agent = new_agent(relay, cluster, "--all-databases")
    with WireClient(agent.endpoint.with_database("template1")) as client:
        assert client.query("select current_database()") == [[b"template1"]]


def test_many_strangers_at_once_do_not_slow_a_client_much(share, bystander):
    stop = threading.Event()

    def pester(seed: int) -> None:
        noise = random.Random(seed)
        while not stop.is_set():
            with contextlib.suppress(OSError), wire.open_tcp(share) as plain:
                plain.sendall(noise.randbytes(100))
                plain.settimeout(1)
                plain.recv(100)

    threads = [threading.Thread(target=pester, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    start = time.monotonic()
    for _ in range(200):
        bystander.query("select 1")
    stop.set()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start < 10

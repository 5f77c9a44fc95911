"""Floods and bombs at the HTTPS port: from agents with a token, and from anybody. Memory stays bounded."""

import contextlib
import json
import random
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import tunnel
from harness.cluster import Cluster
from harness.pgshare import Agent, Relay
from harness.tunnel import RawLink, UpgradeRefused
from harness.waiting import wait_for
from harness.wire import WireClient

pytestmark = [pytest.mark.relayed, pytest.mark.timeout(120)]

MIB = 1024


@pytest.fixture(scope="module")
def own_relay(folder) -> Iterator[Relay]:
    relay = Relay(folder / "flooded-relay")
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def agent(own_relay: Relay, cluster: Cluster) -> Iterator[Agent]:
    agent = Agent(own_relay, cluster)
    yield agent
    agent.stop()


@pytest.fixture(autouse=True)
def bounded(agent: Agent, own_relay: Relay) -> Iterator[None]:
    """Somebody else's client is served all the time, and the relay does not grow."""
    with WireClient(agent.endpoint) as client:
        before = own_relay.child.resident_kib()
        yield
        assert client.query("select 'well'") == [[b"well"]]
    assert own_relay.child.resident_kib() - before < 48 * MIB


@pytest.fixture
def token(own_relay: Relay) -> str:
    return own_relay.token("liar")


# Agents


def test_welcome_after_welcome_is_no_way_to_fill_a_relay(own_relay):
    """A HELLO for a share each, and gone: what is claimed belongs to one owner, and ends."""
    # An owner of its own, who has no share left for the tests below.
    token = own_relay.token("flooder")

    def claim(_: int) -> int:
        done = 0
        while time.monotonic() < stop_at:
            with RawLink(own_relay, token) as link:
                got = link.hello()
                assert got.type in (tunnel.HELLO_OK, tunnel.ERROR)
                with contextlib.suppress(OSError, EOFError):
                    link.send(tunnel.frame(tunnel.HELLO, b"{}") * 1000)
                    link.error()
            done += 1
        return done

    stop_at = time.monotonic() + 3
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(claim, range(4))) > 4


def test_no_guess_resumes_anothers_link(own_relay, token):
    with RawLink(own_relay, own_relay.token("honest")) as honest:
        assert honest.hello().type == tunnel.HELLO_OK
        session = honest.welcome["session"]
        dice = random.Random(5)

        def guess(number: int) -> str:
            secret = "".join(dice.choice("0123456789abcdef") for _ in range(32))
            said = {"version": 1, "session": session, "secret": secret, "received": number}
            lies = [said, said | {"session": secret}, said | {"received": 2**63}, said | {"secret": ""}]
            with RawLink(own_relay, token) as link:
                link.send_json(tunnel.RESUME, lies[number % len(lies)])
                return link.error()["code"]

        with ThreadPoolExecutor(4) as threads:
            codes = set(threads.map(guess, range(80)))
        assert codes <= {"resume_expired", "bad_payload"}
        assert honest.is_alive()
        honest.send_json(tunnel.ERROR, {"code": "agent_stopped", "message": "bye", "retry": False})


BOMBS = {
    "depth": b"[" * 16_000,
    "depth of objects": b'{"share":' * 1800,
    "a deep share": b'{"version":1,"agent":"x","share":' + b'{"a":' * 3000 + b"1" + b"}" * 3001,
    "a number without end": b'{"version":' + b"9" * 16_000 + b"}",
    "an exponent": b'{"version":1e999999999,"agent":"x"}',
    "many keys": b'{"version":1,"agent":"x",' + b",".join(b'"k%d":1' % at for at in range(1500)) + b"}",
    "the same key": b"{" + b",".join([b'"version":1'] * 1200) + b"}",
    "escapes": b'{"version":1,"agent":"' + b"\\u0041" * 2600 + b'"}',
    "half a surrogate": b'{"version":1,"agent":"\\ud800"}',
    "no UTF-8": b'{"version":1,"agent":"\xff\xfe"}',
    "many networks": json.dumps({"version": 1, "agent": "x", "share": {
        "verifier": "x", "auth": "scram", "database": "d", "user": "u", "maxConnections": 1,
        "readOnly": False, "allow": ["0.0.0.0/0"] * 1100}}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_of_json_ends_the_link_at_once(bomb, own_relay, token):
    start = time.monotonic()
    with RawLink(own_relay, token) as link:
        link.send_frame(tunnel.HELLO, BOMBS[bomb])
        assert link.error()["code"] in ("bad_payload", "bad_request", "protocol_version", "bad_length")
    assert time.monotonic() - start < 5


def test_ten_thousand_frames_of_every_kind_for_streams_that_were(own_relay, agent, token):
    """What is ended may be spoken of for a while; without end, it is one look each."""
    with RawLink(own_relay, token) as link:
        assert link.hello().type == tunnel.HELLO_OK
        with ThreadPoolExecutor(1) as threads:
            coming = threads.submit(WireClient, link.endpoint)
            stream = link.until(tunnel.OPEN).stream
            link.send_frame(tunnel.RESET, b"\x0353300no", stream)
            assert coming.exception(30) is not None
        frames = [
            tunnel.frame(tunnel.RESET, b"\x0353300no", stream),
            tunnel.frame(tunnel.WINDOW, struct.pack("!Q", 2**63), stream),
            tunnel.frame(tunnel.DATA, b"x" * 100, stream),
            tunnel.frame(tunnel.OPEN_OK, b'{"window":1}', stream),
        ]
        for data in frames:
            with contextlib.suppress(OSError):
                for _ in range(10):
                    link.send(data * 1000)
        with contextlib.suppress(EOFError, OSError, AssertionError):
            assert link.is_alive()


@pytest.mark.parametrize("window", [2**62, 2**63, 2**64 - 1])
def test_a_window_of_no_size_is_a_lie(window, own_relay, token):
    with RawLink(own_relay, token) as link:
        assert link.hello().type == tunnel.HELLO_OK
        with ThreadPoolExecutor(1) as threads:
            coming = threads.submit(WireClient, link.endpoint)
            stream = link.until(tunnel.OPEN).stream
            link.send_json(tunnel.OPEN_OK, {"window": 1 << 18}, stream)
            link.send_frame(tunnel.WINDOW, struct.pack("!Q", window), stream)
            assert link.until(tunnel.RESET).stream == stream
            assert coming.exception(30) is not None
        assert link.is_alive()


# Anybody


def tls(relay: Relay) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", relay.https_port), timeout=30)
    context = ssl.create_default_context(cafile=str(relay.ca_file))
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(plain, server_hostname="localhost")


def ask(relay: Relay, data: bytes, seconds: float = 25) -> bytes:
    """What the relay answers until it closes, or says no more for a while."""
    got = b""
    with tls(relay) as connection, contextlib.suppress(OSError):
        connection.settimeout(seconds)
        with contextlib.suppress(OSError):
            connection.sendall(data)
        while more := connection.recv(65536):
            got += more
            if len(got) > 1 << 20:
                break
            connection.settimeout(1.5)
    return got


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


UPGRADE = b"GET /v1/tunnel HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: pgshare/1\r\n"
SMUGGLED = b"GET /v1/shares HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
# Each with the statuses that it may get; nothing behind it may be answered as a request of its own.
REQUESTS: dict[str, tuple[bytes, set[int]]] = {
    "two lengths": (
        b"POST /v1/shares HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 100\r\n\r\n" + SMUGGLED,
        {400}),
    "a length and chunks": (
        b"POST /v1/shares HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + SMUGGLED, {400}),
    "chunks of another coding": (
        b"POST /v1/shares HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
        + SMUGGLED, {400, 501}),
    "a negative length": (b"POST /v1/shares HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + SMUGGLED, {400}),
    "a length beyond numbers": (
        b"POST /v1/shares HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n" + SMUGGLED,
        {400, 413}),
    "a chunk beyond numbers": (
        b"POST /v1/shares HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"
        + SMUGGLED, {400, 401, 404, 405, 413}),
    "a folded header": (
        b"GET /v1/shares HTTP/1.1\r\nHost: x\r\nX: a\r\n Authorization: Bearer {token}\r\n\r\n", {400, 401}),
    "a NUL in a header": (b"GET /v1/shares HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", {400, 401}),
    "a space before the colon": (
        b"GET /v1/shares HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {token}\r\n\r\n", {400, 401}),
    "an upgrade with a body": (
        UPGRADE + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, {400, 401}),
    "an upgrade without a token, and more": (UPGRADE + b"\r\n" + SMUGGLED, {401}),
    "an upgrade to something else": (
        UPGRADE.replace(b"pgshare/1", b"h2c") + b"\r\n" + SMUGGLED, {400, 401, 404, 405, 426}),
    "an upgrade in HTTP/1.0": (
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Authorization: Bearer {token}\r\n\r\n" + SMUGGLED,
        {400, 401, 426}),
    "a header of 20 kB": (b"GET /v1/shares HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", {431}),
    "an Authorization of 20 kB": (
        b"GET /v1/shares HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"y" * 20_000 + b"\r\n\r\n", {431, 401}),
    "ten thousand headers": (
        b"GET /v1/shares HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", {431, 400}),
    "a path of 100 kB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {431, 414, 400}),
    "a path that climbs": (b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {400, 401, 404}),
    "a path with escapes": (b"GET /v1/shares/%00%1b%0d%0a HTTP/1.1\r\nHost: x\r\n\r\n", {400, 401, 404}),
    "a token in the URL": (b"GET /v1/shares?token={token} HTTP/1.1\r\nHost: x\r\n\r\n", {401, 404}),
    "a token in the URL of a tunnel": (
        UPGRADE.replace(b"/v1/tunnel", b"/v1/tunnel?token={token}") + b"\r\n", {400, 401}),
    "a token by Basic": (
        b"GET /v1/shares HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\n\r\n", {401}),
    "two tokens": (
        b"GET /v1/shares HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nonsense\r\n"
        b"Authorization: Bearer {token}\r\n\r\n", {400, 401}),
    "CONNECT": (b"CONNECT localhost:5432 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED, {400, 401, 404, 405, 501}),
}  # fmt: skip


def test_no_request_smuggles_another_or_is_believed(own_relay, token):
    def run(name: str) -> str:
        data, allowed = REQUESTS[name]
        found = statuses(ask(own_relay, data.replace(b"{token}", token.encode())))
        # The second is served only where the first was whole.
        return "" if set(found[:1]) <= allowed and 200 not in found and 101 not in found else f"{name}: {found}"

    # Without anything in front of it, it is served.
    assert statuses(ask(own_relay, SMUGGLED.replace(b"{token}", token.encode()))) == [200]
    with ThreadPoolExecutor(8) as threads:
        assert [said for said in threads.map(run, REQUESTS) if said] == []


def test_who_drips_is_gone_in_time_and_who_pipelines_gets_answers(own_relay, token):
    head = b"POST /v1/shares HTTP/1.1\r\nHost: x\r\n"
    authorised = head + b"Authorization: Bearer " + token.encode() + b"\r\n"

    def drip(begin: bytes, each: bytes) -> float:
        start = time.monotonic()
        with tls(own_relay) as connection, contextlib.suppress(OSError):
            connection.sendall(begin)
            while time.monotonic() - start < 40:
                readable, _, _ = select.select([connection], [], [], 0.5)
                if readable and not connection.recv(4096):
                    break
                connection.sendall(each)
        return time.monotonic() - start

    slow = {
        "headers": (head, b"X: y\r\n"),
        "a header": (head + b"X: ", b"y"),
        "a body": (authorised + b"Content-Length: 1000\r\n\r\n", b" "),
        "chunks": (authorised + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        "a body without a token": (head + b"Content-Length: 1000\r\n\r\n", b" "),
        "empty lines": (b"", b"\r\n"),
    }  # fmt: skip
    with ThreadPoolExecutor(len(slow) + 1) as threads:
        lasted = {name: threads.submit(drip, *what) for name, what in slow.items()}
        many = threads.submit(ask, own_relay, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3000)
        found = {name: round(done.result(60), 1) for name, done in lasted.items()}
        assert {name: seconds for name, seconds in found.items() if seconds > 30} == {}
        assert set(statuses(many.result(60))) <= {200, 400, 429, 503}


def test_a_flood_of_wrong_tokens_leaves_the_right_one_its_place(own_relay, agent, cluster):
    def guess(number: int) -> int:
        refused = 0
        while time.monotonic() < stop_at:
            with contextlib.suppress(OSError, EOFError):
                try:
                    RawLink(own_relay, f"pgs_{number:043d}").close()
                except UpgradeRefused as error:
                    assert error.status in (401, 429, 503)
                    refused += 1
        return refused

    stop_at = time.monotonic() + 3
    with ThreadPoolExecutor(4) as threads:
        guessing = [threads.submit(guess, number) for number in range(4)]
        assert own_relay.request("GET", "/v1/shares", own_relay.token())[0] == 200
        assert sum(done.result() for done in guessing) > 4
    wait_for("the API", lambda: own_relay.request("GET", "/healthz")[0] == 200)

"""What a lying or broken agent sends: it is told why, and other shares notice nothing."""

import random
import re
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from harness import tunnel, wire
from harness.pgshare import Relay
from harness.tunnel import RawLink, UpgradeRefused
from harness.waiting import wait_for
from harness.wire import Refused, WireClient

pytestmark = pytest.mark.relayed


@pytest.fixture(scope="module")
def token(relay: Relay) -> str:
    """The token of the one who lies."""
    return relay.token("liar")


@pytest.fixture(autouse=True)
def bystander(share) -> Iterator[WireClient]:
    """A client of another owner's share that must not notice anything."""
    with WireClient(share) as client:
        client.query("create temp table seen (n int)")
        yield client
        client.query("insert into seen values (1)")
        assert client.query("select count(*) from seen") == [[b"1"]]


@pytest.fixture(autouse=True)
def nothing_left(relay: Relay) -> Iterator[None]:
    """What the liar opened is gone when it is."""
    before = gauges(relay)
    yield

    def is_gone() -> bool:
        # What was open before may have been on its way out: the bystander of the last test, say.
        return all(now <= then for now, then in zip(gauges(relay), before, strict=True))

    wait_for("the liar's tunnels and streams to be gone", is_gone, 60)


def gauges(relay: Relay) -> list[float]:
    """What is open now."""
    return [relay.metric(name) for name in ("shares_online", "tunnels_open", "links_open", "streams_open")]


@pytest.fixture
def link(relay: Relay, token: str) -> Iterator[RawLink]:
    """A link that stands, with a share of its own."""
    with RawLink(relay, token) as link:
        got = link.hello()
        assert got.type == tunnel.HELLO_OK, got.payload
        yield link
        # Without a goodbye the relay would keep it for the grace.
        try:
            link.send_json(tunnel.ERROR, {"code": "agent_stopped", "message": "bye", "retry": False})
        except OSError:
            pass


@pytest.fixture
def visitor(link: RawLink) -> Iterator["Visitor"]:
    """A client of the liar's share, and the stream it came on."""
    visitor = Visitor(link)
    yield visitor
    visitor.leave()


class Visitor:
    def __init__(self, link: RawLink):
        self.link = link
        self._threads = ThreadPoolExecutor(1)
        self.coming: Future[WireClient] = self._threads.submit(WireClient, link.endpoint)
        opened = link.until(tunnel.OPEN)
        self.stream = opened.stream
        self.open = opened.json

    def let_in(self) -> WireClient:
        """Answers as a backend would."""
        self.link.send_json(tunnel.OPEN_OK, {"window": 1 << 18}, self.stream)
        self.link.send_frame(tunnel.DATA, tunnel.greeting(), self.stream)
        return self.coming.result(30)

    def end(self) -> Refused | EOFError:
        """How the client ended before it was let in."""
        error = self.coming.exception(30)
        assert isinstance(error, (Refused, EOFError)), error
        return error

    def leave(self) -> None:
        self._threads.shutdown(wait=True)
        if self.coming.exception() is None:
            self.coming.result().close()


# Before the link stands


@pytest.mark.parametrize("wrong", [None, "pgs_" + "A" * 43, "nonsense", ""])
def test_a_wrong_token_is_refused_before_the_upgrade(wrong, relay):
    with pytest.raises(UpgradeRefused) as caught:
        RawLink(relay, wrong)
    assert caught.value.status == 401
    assert not wrong or wrong not in caught.value.body


def test_a_share_id_of_another_owner_cannot_be_claimed(share, relay, token):
    with RawLink(relay, token) as link:
        got = link.hello(id=share.share_id)
        assert got.type == tunnel.ERROR
        assert got.json["code"] == "id_taken"
        assert got.json["retry"] is False
    with WireClient(share) as client:
        assert client.query("select 1") == [[b"1"]]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"verifier": "md5"}, "bad_request"), ({"auth": "trust"}, "bad_request"),
     ({"id": "../../etc/passwd"}, "bad_request"), ({"name": "Not A Name"}, "bad_name"),
     ({"maxConnections": -1}, "bad_request"), ({"maxConnections": 1 << 40}, "bad_request"),
     ({"expiresIn": 0}, "bad_request"), ({"expiresAt": 1.0}, "share_expired"),
     ({"allow": ["everywhere"]}, "bad_request")],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused_with_its_reason(change, code, relay, token):
    with RawLink(relay, token) as link:
        got = link.hello(**change)
        assert got.type == tunnel.ERROR
        assert got.json["code"] == code


FIRST_FRAMES = {
    "garbage": random.Random(1).randbytes(4000),
    "data": tunnel.frame(tunnel.DATA, b"x", 1),
    "an answer": tunnel.frame(tunnel.HELLO_OK, b"{}"),
    "no json": tunnel.frame(tunnel.HELLO, b"not json"),
    "a hello of nothing": tunnel.frame(tunnel.HELLO, b'{"version":1,"agent":"x"}'),
    "a hello of no version": tunnel.frame(tunnel.HELLO, b'{"agent":"x"}'),
    "a hello that is too long": tunnel.frame(tunnel.HELLO, b" " * 20_000),
    "a hello on a stream": tunnel.frame(tunnel.HELLO, b"{}", 7),
    "an unknown type": tunnel.frame(0x20, b"{}"),
}


@pytest.mark.parametrize("first", FIRST_FRAMES, ids=str)
def test_a_first_frame_that_is_none_ends_with_an_error(first, relay, token):
    with RawLink(relay, token) as link:
        link.send(FIRST_FRAMES[first])
        found = link.error()
        assert re.fullmatch(r"[a-z_]+", found["code"])
        assert len(found["message"]) < 200


def test_an_old_protocol_is_told_to_update(relay, token):
    with RawLink(relay, token) as link:
        link.send_json(tunnel.HELLO, {"version": 0, "agent": "old/1"})
        assert link.error()["code"] == "protocol_version"


@pytest.mark.parametrize("session", ["", "nothing", "x" * 5000])
def test_a_session_nobody_has_cannot_be_resumed(session, relay, token):
    with RawLink(relay, token) as link:
        link.send_json(
            tunnel.RESUME, {"version": 1, "session": session, "secret": "x", "received": 0}
        )
        assert link.error()["code"] == "resume_expired"


def test_a_session_needs_its_secret_and_its_owner(link, relay, token):
    session, secret = link.welcome["session"], link.welcome["resumeSecret"]
    for who, said in ((token, "guess"), (relay.token("thief"), secret)):
        with RawLink(relay, who) as thief:
            thief.send_json(
                tunnel.RESUME, {"version": 1, "session": session, "secret": said, "received": 0}
            )
            assert thief.error()["code"] == "resume_expired"
    assert link.is_alive()


def test_a_tunnel_is_joined_only_with_its_secret_and_owner(link, relay, token):
    joined, secret = link.welcome["tunnel"], link.welcome["tunnelSecret"]
    for who, said in ((token, "guess"), (relay.token("thief"), secret)):
        with RawLink(relay, who) as thief:
            thief.send_json(
                tunnel.HELLO,
                {"version": 1, "agent": "x", "join": {"tunnel": joined, "secret": said}},
            )
            assert thief.error()["code"] == "resume_expired"
    assert link.is_alive()


@pytest.mark.parametrize("upgraded", [True, False], ids=["behind the upgrade", "before it"])
def test_an_agent_that_says_nothing_is_closed_at_the_deadline(upgraded, relay, token):
    start = time.monotonic()
    if upgraded:
        with RawLink(relay, token) as link, pytest.raises(EOFError):
            link.read()
    else:
        with wire.open_tcp(Where(relay.https_port)) as plain:
            assert plain.recv(1) == b""
    assert 7 < time.monotonic() - start < 20


class Where:
    def __init__(self, port: int):
        self.port = port


# On a link that stands

VIOLATIONS = {
    "open, which only relays say": (tunnel.frame(tunnel.OPEN, b"{}", 1), "unexpected_frame"),
    "hello again": (tunnel.frame(tunnel.HELLO, b"{}"), "unexpected_frame"),
    "data of no stream": (tunnel.frame(tunnel.DATA, b"x", 99), "stream_never_opened"),
    "accepting no stream": (tunnel.frame(tunnel.OPEN_OK, b'{"window":1}', 99), "stream_never_opened"),
    "credit for no stream": (tunnel.frame(tunnel.WINDOW, bytes(8), 99), "stream_never_opened"),
    "reset of no stream": (tunnel.frame(tunnel.RESET, b"\x0000000", 99), "stream_never_opened"),
    "data of the link": (tunnel.frame(tunnel.DATA, b"x", 0), "bad_stream_id"),
    "a ping of a stream": (tunnel.frame(tunnel.PING, bytes(8), 3), "bad_stream_id"),
    "more acknowledged than sent": (tunnel.frame(tunnel.ACK, struct.pack("!Q", 1 << 40)), "bad_offset"),
    "a short ack": (tunnel.frame(tunnel.ACK, bytes(7)), "bad_length"),
    "a long ping": (tunnel.frame(tunnel.PING, bytes(9)), "bad_length"),
    "an error over the limit": (tunnel.frame(tunnel.ERROR, b" " * 20_000), "bad_length"),
    "an unknown type": (tunnel.frame(0x7F, b"?"), "unknown_frame_type"),
    "garbage": (b"\xee\xee" * 4 + b"\x42" * 3000, ""),
}


@pytest.mark.parametrize("kind", VIOLATIONS, ids=str)
def test_a_violation_ends_the_link_with_its_code(kind, link):
    data, code = VIOLATIONS[kind]
    link.send(data)
    # Types of a newer peer are skipped: the garbage is one that is followed by an unknown one.
    found = link.error()
    assert found["code"] == code or not code
    assert "liar" not in found["message"]


def test_frames_of_a_newer_peer_are_skipped(link):
    link.send(tunnel.frame(0x80, b"news") + tunnel.frame(0xFF, b"x" * 60_000))
    assert link.is_alive()


@pytest.mark.parametrize("seed", range(8))
def test_frames_of_random_bytes_end_the_link_or_are_skipped(seed, link):
    noise = random.Random(seed)
    data = b"".join(
        tunnel.frame(noise.randrange(256), noise.randbytes(noise.randrange(200)), noise.randrange(5))
        for _ in range(200)
    )
    try:
        link.send(data)
        assert link.is_alive()
    except (EOFError, OSError, AssertionError):
        pass


def test_pings_that_nobody_reads_the_answers_of_cost_nothing(link, relay):
    before = relay.child.resident_kib()
    for _ in range(200):
        link.send(tunnel.frame(tunnel.PING, bytes(8)) * 1000)
    assert relay.child.resident_kib() - before < 16 * 1024
    assert link.is_alive()


def test_more_bytes_than_credit_end_the_stream_and_not_the_link(link, visitor):
    client = visitor.let_in()
    # The client does not read, so no credit comes back but for what the sockets take.
    filler = tunnel.frame(tunnel.DATA, b"D" + struct.pack("!i", 60_000) + bytes(59_996), visitor.stream)
    for _ in range(1200):
        link.send(filler)
    reset = link.until(tunnel.RESET)
    assert reset.stream == visitor.stream
    assert reset.payload[0] == 1
    assert link.is_alive()
    client.until_end()


def test_a_window_beyond_all_reason_ends_the_stream_and_not_the_link(link, visitor):
    client = visitor.let_in()
    link.send_frame(tunnel.WINDOW, struct.pack("!Q", 1 << 62), visitor.stream)
    assert link.until(tunnel.RESET).stream == visitor.stream
    assert [got.fields["V"] for got in client.until_end() if got.kind == "E"] == ["FATAL"]
    assert link.is_alive()


def test_bytes_before_open_ok_end_the_stream_and_not_the_link(link, visitor):
    link.send_frame(tunnel.DATA, tunnel.greeting(), visitor.stream)
    assert link.until(tunnel.RESET).stream == visitor.stream
    visitor.end()
    assert link.is_alive()


def test_bytes_behind_the_end_of_a_stream_end_it_and_not_the_link(link, visitor):
    client = visitor.let_in()
    link.send_frame(tunnel.DATA, b"", visitor.stream, tunnel.FIN)
    link.send_frame(tunnel.DATA, b"more", visitor.stream)
    client.until_end()
    assert link.is_alive()


@pytest.mark.parametrize(
    "said",
    [b"\xff" * 500, b"E" + struct.pack("!i", 2), b"D" + struct.pack("!i", 2**31 - 1), b"R" * 100_000],
    ids=["garbage", "a bad length", "a huge length", "a lot"],
)  # fmt: skip
def test_a_greeting_that_is_none_ends_that_client_alone(said, link, visitor):
    link.send_json(tunnel.OPEN_OK, {"window": 1 << 18}, visitor.stream)
    for at in range(0, len(said), 60_000):
        link.send_frame(tunnel.DATA, said[at : at + 60_000], visitor.stream)
    end = visitor.end()
    assert isinstance(end, EOFError) or end.fields["V"] == "FATAL"
    assert link.is_alive()


def test_what_an_agent_says_of_a_refusal_reaches_the_client_as_its_own_sentence(link, visitor):
    text = b"no\x00\x1b[2Jway"
    link.send_frame(tunnel.RESET, b"\x0353300" + text, visitor.stream)
    end = visitor.end()
    assert isinstance(end, Refused)
    assert end.state == "53300"
    assert link.is_alive()


def test_a_client_of_an_agent_that_vanishes_hears_of_it_in_the_end(link, visitor):
    client = visitor.let_in()
    link.close()
    assert [got.fields["C"] for got in client.until_end() if got.kind == "E"] == ["08006"]


def test_a_link_that_goes_silent_is_given_up(link):
    start = time.monotonic()
    with pytest.raises(EOFError):
        while True:
            link.read()
    assert 20 < time.monotonic() - start < 40

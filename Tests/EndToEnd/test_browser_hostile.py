"""A page that sends garbage: it is told why and cut off; others notice nothing."""

import base64
import json
import random
import struct
from collections.abc import Iterator

import pytest
from harness import tunnel, wire
from harness.browser import BrowserStage, PageRelay, Tab
from harness.endpoint import Endpoint
from harness.waiting import wait_for
from harness.wire import Refused, WireClient

pytestmark = pytest.mark.relayed

REPLY, DONE, FAULT, NOTIFY, RESTARTED, HELD = 0x11, 0x12, 0x13, 0x14, 0x15, 0x16
OPEN_OK = {"window": 1 << 18, "engine": {"name": "liar", "copyIn": True, "restarts": True, "holds": True}}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def record(kind: int, payload: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("!BI", kind, len(payload) if length is None else length) + payload


def data(*records: bytes) -> list[dict]:
    """DATA frames of the engine's stream."""
    whole = b"".join(records)
    return [{"bytes": b64(whole[at : at + 60_000])} for at in range(0, len(whole), 60_000)]


def reply(*messages: bytes) -> list[dict]:
    return data(record(REPLY, b"".join(messages)), record(DONE))


READY = wire.message("Z", b"I")
NOISE = random.Random(4711).randbytes(50_000)

# What is said as soon as the engine's stream is open, asked by nobody.
UNASKED = {
    "noise": data(NOISE),
    "a record longer than any": data(record(DONE, b"x", 0xFFFF_FFFF)),
    "a done that nobody waits for": data(record(DONE)),
    "a reply that nobody asked for": data(record(REPLY, READY)),
    "held without a hold": data(record(HELD)),
    "a fault that is no JSON": data(record(FAULT, b"\xff{")),
    "a fault without a call": data(record(FAULT, b'{"message":"x","restarted":false}')),
    "a notification that is none": data(record(NOTIFY, NOISE[:999])),
    "the end of the stream": [{"flags": 1}],
    "a reset of the stream": [{"type": tunnel.RESET, "bytes": b64(struct.pack("!I", 0) + b"\0\0")}],
    "a second OPEN_OK": [{"type": tunnel.OPEN_OK, "bytes": b64(json.dumps(OPEN_OK).encode())}],
    "a stream that was never opened": [{"stream": 99, "bytes": b64(b"x")}],
    "more credit than there is": [{"type": tunnel.WINDOW, "bytes": b64(b"\xff" * 8)}],
    "text": [{"text": "hello"}],
    "a frame of a client's side": [{"type": tunnel.OPEN, "stream": 7, "bytes": b64(b"{}")}],
    "an acknowledgement of what was never sent": [
        {"type": tunnel.ACK, "stream": 0, "bytes": b64(b"\0\0\0\0\xff\xff\xff\xff")}
    ],
}

# What every call is answered with.
ANSWERS = {
    "noise": reply(NOISE),
    "nothing at all": reply(),
    "half a message": reply(wire.message("D", b"x" * 90)[:40]),
    "a length below four": reply(b"D\0\0\0\1"),
    "a length beyond all": reply(b"D\x7f\xff\xff\xff" + b"x" * 99),
    "a login request": reply(wire.message("R", struct.pack("!i", 3)), READY),
    "a key of its own": reply(wire.message("K", struct.pack("!ii", 1, 2)), READY),
    "ten readies": reply(READY * 10),
    "an error without fields": reply(wire.message("E"), READY),
    "rows that nobody can count": reply(wire.message("D", b"\x7f\xff"), wire.message("C", b"SELECT 1"), READY),
    "a COPY that nobody asked for": reply(wire.message("G", b"\0\0\0")),
    "a status that is none": reply(wire.message("Z", b"?")),
    "faults without end": data(record(FAULT, b'{"message":"again","restarted":true}')),
    "a done too many": reply(READY) + data(record(DONE), record(DONE)),
}


@pytest.fixture(scope="module")
def bystander(stage: BrowserStage, page_relay: PageRelay) -> Iterator[Endpoint]:
    """An honest tab at the same relay."""
    tab = stage.tab()
    tab.boot()
    yield tab.share(page_relay)
    tab.close()


@pytest.fixture(autouse=True)
def others_notice_nothing(bystander: Endpoint, page_relay: PageRelay) -> Iterator[None]:
    with WireClient(bystander) as client:
        yield
        assert client.query("select 'well'") == [[b"well"]]
    assert page_relay.child.is_running


class Liar:
    """One hostile page."""

    def __init__(self, tab: Tab, relay: PageRelay):
        self.tab = tab
        self.relay = relay

    def start(self, **plan) -> None:
        share = {
            "verifier": tunnel.verifier("liar"), "auth": "scram", "database": "postgres", "user": "liar",
            "maxConnections": 5, "readOnly": False, "allow": [], "sessions": 1, "waitSeconds": 1,
            "idleSeconds": 2,
        }  # fmt: skip
        hello = {"version": 1, "agent": "liar/1", "share": share}
        url = f"ws://127.0.0.1:{self.relay.http_port}/v1/tunnel"
        self.tab.ask("hostile.start", url, self.relay.token("liar"), {"hello": hello, "holds": True, **plan})

    @property
    def facts(self) -> dict:
        return self.tab.ask("hostile.facts")

    def wait_open(self) -> None:
        wait_for("the engine's stream", lambda: self.facts["isOpen"] or self.facts["closed"])

    @property
    def endpoint(self) -> Endpoint:
        share = self.facts["welcome"]["share"]
        return Endpoint(
            "localhost", self.relay.postgres_port, f"liar.{share}", "liar", "postgres",
            self.relay.ca_file, 17, share,
        )  # fmt: skip


@pytest.fixture(scope="module")
def hostile_tab(stage: BrowserStage) -> Iterator[Tab]:
    tab = stage.tab("/pages/hostile.html")
    yield tab
    tab.close()


@pytest.fixture
def liar(hostile_tab: Tab, page_relay: PageRelay) -> Liar:
    """A page that has said nothing yet."""
    hostile_tab.reload()
    return Liar(hostile_tab, page_relay)


def visit(endpoint: Endpoint) -> list[str]:
    """What a client gets who comes, asks and leaves; it must get something, and soon."""
    try:
        with WireClient(endpoint, seconds=40) as client:
            client.send(wire.query("select 1"))
            got = client.until("ZE")
            return [message.kind for message in got]
    except Refused as error:
        return [error.state]
    except EOFError:
        return ["end"]


@pytest.mark.parametrize("garbage", UNASKED)
def test_garbage_that_nobody_asked_for_ends_the_liar_alone(garbage, liar):
    liar.start(openOk=OPEN_OK, first=UNASKED[garbage], answers=reply(READY))
    liar.wait_open()
    assert visit(liar.endpoint)


@pytest.mark.parametrize("garbage", ANSWERS)
def test_an_engine_that_answers_garbage_hurts_its_own_clients_alone(garbage, liar):
    liar.start(openOk=OPEN_OK, answers=ANSWERS[garbage])
    liar.wait_open()
    assert visit(liar.endpoint)
    assert visit(liar.endpoint)


@pytest.mark.parametrize(
    "opened",
    [None, {"raw": b64(b"\xff")}, {"window": 0}, {"window": -1}, {"window": 1 << 40},
     {"window": 65536, "engine": "all of it"}, {"window": 65536, "engine": {"copyIn": "yes"}}],
)  # fmt: skip
def test_an_engine_that_opens_wrongly_is_refused_or_served_as_far_as_it_goes(opened, liar):
    liar.start(openOk=opened, answers=reply(READY))
    liar.wait_open()
    assert visit(liar.endpoint)


@pytest.mark.parametrize(
    "first", [{"text": "GET / HTTP/1.1"}, {"bytes": b64(NOISE)}, {"bytes": b64(b"\0" * 8)}, {"bytes": ""}]
)
def test_garbage_before_hello_is_answered_by_the_end(first, liar):
    liar.start(beforeHello=[first], hello=None if first != {"bytes": ""} else {"version": 1})
    wait_for("the relay to close", lambda: liar.facts["closed"])


@pytest.mark.parametrize(
    ("lie", "code"),
    [({"sessions": 2}, "bad_request"), ({"sessions": 0}, "bad_request"), ({"sessions": "one"}, "bad_payload"),
     ({"waitSeconds": "x"}, "bad_payload"), ({"exclusive": 7}, "bad_payload"),
     # Clamped, as PROTOCOL.md says.
     ({"waitSeconds": -1}, None)],
)  # fmt: skip
def test_a_hello_that_makes_no_sense_is_refused(lie: dict, code: str | None, liar):
    share = {
        "verifier": tunnel.verifier("liar"), "auth": "scram", "database": "postgres", "user": "liar",
        "maxConnections": 5, "readOnly": False, "allow": [], "sessions": 1, **lie,
    }  # fmt: skip
    liar.start(hello={"version": 1, "agent": "liar/1", "share": share}, openOk=OPEN_OK, answers=reply(READY))
    wait_for("an answer", lambda: liar.facts["closed"] or liar.facts["welcome"])
    facts = liar.facts
    if code is None:
        assert facts["welcome"]
    else:
        assert facts["errors"] and json.loads(facts["errors"][0])["code"] == code

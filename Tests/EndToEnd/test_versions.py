"""Upgrades: agents and relays that are one minor of the protocol older or newer than each other.

Older says no `minor` and knows no newer key; newer says minor 2, and keys, flags and link frames that
nobody here has heard of. PROTOCOL.md, sections 1 and 12.
"""

import json
import threading
from pathlib import Path

import pytest
from harness import tunnel, wire
from harness.relay_double import AgentLink, RelayDouble
from harness.tunnel import Frame, RawLink, greeting, verifier
from harness.wire import WireClient

pytestmark = [pytest.mark.relayed, pytest.mark.timeout(120)]

NEWER = {"minor": 2, "news": {"deep": [1, None, {"er": "?"}]}, "another": 7}
ANSWER = wire.message("C", b"SELECT 1\0") + wire.message("Z", b"I")


class Peer(RawLink):
    """An agent of another minor."""

    def __init__(self, relay, age: str):
        self.more = {} if age == "older" else NEWER
        # FIN has a meaning; the other bits must be passed over.
        self.flags = 0 if age == "older" else 0xFE
        self.news = b"" if age == "older" else extensions()
        self.counted = 0
        super().__init__(relay, relay.token("another-minor"))

    def say(self, kind: int, value: dict, stream: int = 0) -> None:
        payload = json.dumps({**value, **self.more}).encode()
        self.send(tunnel.frame(kind, payload, stream, self.flags))

    def read(self) -> Frame:
        got = super().read()
        if 0x10 <= got.type <= 0x7F:
            self.counted += 8 + len(got.payload)
        return got


def extensions() -> bytes:
    """Link frames of every type from 0x80 on, with something in them."""
    return b"".join(
        tunnel.frame(kind, b"news" * (kind - 0x80), flags=kind) for kind in range(0x80, 0x100)
    )


@pytest.mark.parametrize("age", ["older", "newer"])
def test_an_agent_of_another_minor_serves_clients_and_resumes(relay, age):
    link = Peer(relay, age)
    share = {
        "verifier": verifier(link.password), "auth": "scram", "database": "lies", "user": "liar",
        "maxConnections": 5, "readOnly": False, "allow": [], **link.more,
    }  # fmt: skip
    link.say(tunnel.HELLO, {"version": 1, "agent": "another/1", "share": share})
    link.welcome = link.until(tunnel.HELLO_OK).json
    assert (link.welcome["version"], link.welcome["minor"]) == (1, 1)
    link.send(link.news)

    clients: list[WireClient] = []
    logging_in = threading.Thread(target=lambda: clients.append(WireClient(link.endpoint)))
    logging_in.start()
    assert link.until(tunnel.OPEN).stream == 1
    link.say(tunnel.OPEN_OK, {"window": 1 << 18}, 1)
    link.send_frame(tunnel.DATA, greeting(), 1, link.flags)
    logging_in.join(30)
    client = clients[0]
    link.send(link.news)
    assert link.is_alive()

    # The connection is cut, and another one goes on with it.
    link.close()
    again = Peer(relay, age)
    again.say(tunnel.RESUME, {
        "version": 1, "session": link.welcome["session"], "received": link.counted,
        "secret": link.welcome["resumeSecret"],
    })  # fmt: skip
    again.until(tunnel.RESUME_OK)
    again.send(again.news)
    client.send(wire.query("select 2"))
    assert b"select 2" in again.until(tunnel.DATA).payload
    again.send_frame(tunnel.DATA, ANSWER, 1, again.flags)
    assert [message.kind for message in client.until("Z")] == ["C", "Z"]
    client.close()
    again.say(tunnel.ERROR, {"code": "agent_stopped", "message": "bye", "retry": False})
    again.close()


@pytest.mark.parametrize("age", ["older", "newer"])
def test_a_relay_of_another_minor_is_served_by_an_agent(authority, new_agent, cluster, tmp_path: Path, age):
    more = {} if age == "older" else NEWER
    news = b"" if age == "older" else extensions()
    double = RelayDouble(authority, authority.leaf(f"minor-{age}", "localhost", "DNS:localhost"))
    try:
        agent = new_agent(double, cluster, wait=False)
        link: AgentLink = double.link()
        link.welcome(**more)
        assert (link.hello["version"], link.hello["minor"]) == (1, 1)
        agent.wait_shared()
        link.send(news)
        link.open(1, **more)
        assert link.verdict(1) == "in"
        link.data(1, b"Z\0\0\0\5I")
        link.send(news)
        link.send_frame(tunnel.DATA, wire.query("select 'served'"), 1, 0 if age == "older" else 0xFE)
        assert b"served" in link.data(1, b"Z\0\0\0\5I")
        # Told to go away, it dials the next one, and keeps the old link.
        link.send_json(tunnel.GOAWAY, {"reason": "drain", **more})
        other = double.link()
        other.welcome(generation=2, session="4" * 32, tunnel="5" * 32, **more)
        link.send_frame(tunnel.DATA, wire.query("select 'still served'"), 1)
        assert b"still served" in link.data(1, b"Z\0\0\0\5I")
        assert link.is_alive() and other.is_alive()
    finally:
        double.close()

"""How fast a link that was cut, frozen or moved goes on, and what whoever shares is told."""

import contextlib
import json
import signal
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness import network, tunnel, wire
from harness.cluster import Cluster
from harness.far_share import FarShare, Identity
from harness.fault_proxy import FaultProxy
from harness.network import Network
from harness.tunnel import RawLink
from harness.waiting import stays_true, wait_for
from harness.wire import Refused, WireClient

pytestmark = pytest.mark.relayed

# Seconds from the return of a way to the answer: the time itself is for a benchmark, on a quiet
# machine. This is far below every time-out that could stand in for a dial.
SOON = 4.0


def events(agent, name: str) -> list[dict]:
    lines = [json.loads(line) for line in agent.child.everything().splitlines() if line[:1] == "{"]
    return [line for line in lines if line.get("event") == name]


# Links in networks of their own


class Far:
    """A share at the far end of a link with a round trip of 50 ms, and its client."""

    def __init__(self, folder: Path, cluster: Cluster, identity: Identity):
        self.make = lambda net: FarShare(folder, cluster, net, identity)

    def outage(self, fault, mend, seconds: float, asks: bool) -> tuple[float, list[dict], list[dict]]:
        """A client's question in an outage, or behind it: seconds from its end to the answer."""
        with Network() as net:
            share = self.make(net)
            try:
                net.shape(rtt=0.05)
                with share.client(seconds=100) as client:
                    who = client.query("select pg_backend_pid()")
                    fault(net)
                    if asks:
                        client.send(wire.query("select pg_backend_pid()"))
                    stays_true("it runs", lambda: share.agent.child.is_running, seconds)
                    mend(net)
                    mended = time.monotonic()
                    if not asks:
                        client.send(wire.query("select pg_backend_pid()"))
                    rows = [got for got in client.ready() if got.kind == "D"]
                    took = time.monotonic() - mended
                    assert len(rows) == 1 and client.query("select pg_backend_pid()") == who
                    if events(share.agent, "tunnel_lost"):
                        share.agent.wait_event("resumed")
                    lost, resumed = (events(share.agent, name) for name in ("tunnel_lost", "resumed"))
                    return took, lost, resumed
            finally:
                share.close()


def _stay(net: Network) -> None:
    """The way is back as it was left."""


SCENARIOS = {
    # Seconds of silence, and whether the client asks meanwhile.
    "frozen for 2 s with a question on its way": (Network.freeze, Network.thaw, 2, True),
    "frozen for 8 s with a question on its way": (Network.freeze, Network.thaw, 8, True),
    "frozen for 8 s while its client was idle": (Network.freeze, Network.thaw, 8, False),
    "down for 8 s": (Network.down, Network.up, 8, True),
    "moved to another address": (Network.move, _stay, 0.05, True),
    "moved to another address after 6 s of nothing": (Network.freeze, None, 6, True),
}


@pytest.fixture(scope="module")
def outcomes(authority, cluster, tmp_path_factory) -> Iterator[dict[str, Future]]:
    """Every scenario, under way at once: they are mostly waiting."""
    identity = Identity(authority)

    def thaw_elsewhere(net: Network) -> None:
        net.move()
        net.thaw()

    with ThreadPoolExecutor(len(SCENARIOS)) as pool:
        yield {
            name: pool.submit(
                Far(tmp_path_factory.mktemp("far"), cluster, identity).outage,
                fault, mend or thaw_elsewhere, seconds, asks,
            )
            for name, (fault, mend, seconds, asks) in SCENARIOS.items()
        }  # fmt: skip


@pytest.mark.skipif(not network.is_possible(), reason="needs root, to make networks")
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_client_has_its_answer_soon_after_the_link_was(name, outcomes):
    took, lost, resumed = outcomes[name].result(timeout=170)
    assert took < SOON
    assert len(lost) == len(resumed) <= 1
    if "8 s" in name or "6 s" in name:
        # The relay's address and clock are not those of the agent, yet the outage was all of that.
        assert lost[0]["clients"] == 1 and lost[0]["link"] == 0
        assert 5 < resumed[0]["seconds"] < 8 + SOON + 3


# Links through a proxy


def test_a_connection_that_thaws_by_itself_is_kept(new_relay, new_agent, new_proxy, cluster):
    """Suspect, told of, dialled beside; but its own bytes are there before another's."""
    relay = new_relay()
    proxy = new_proxy(relay.https_port)
    agent = new_agent(relay, cluster, url=f"https://localhost:{proxy.port}")
    with WireClient(agent.endpoint, seconds=60) as client:
        client.query("begin")
        proxy.stall()
        lost = agent.wait_event("tunnel_lost", seconds=20)
        assert lost["clients"] == 1
        assert proxy.accepted > 1, "nothing was dialled beside"
        proxy.flow()
        agent.wait_event("resumed", seconds=20)
        assert client.query("select 1") == [[b"1"]]
    wait_for("the dials beside to be given up", lambda: proxy.open_connections == 1, 30)
    assert relay.metric("link_resumes_total") == 0


def test_an_outage_of_several_links_is_one_line_at_its_begin_and_one_at_its_end(
    new_relay, new_agent, new_proxy, cluster
):
    relay = new_relay("--links", "3")
    proxy = new_proxy(relay.https_port)
    agent = new_agent(relay, cluster, url=f"https://localhost:{proxy.port}")
    wait_for("a link for each event loop", lambda: relay.metric("links_open") == 3)
    with WireClient(agent.endpoint) as client:
        client.query("begin")
        proxy.refuses = True
        assert proxy.cut() >= 3
        assert agent.wait_event("tunnel_lost")["clients"] == 1
        stays_true("the outage is no news", lambda: len(events(agent, "tunnel_lost")) == 1, 2)
        proxy.refuses = False
        seconds = agent.wait_event("resumed", seconds=20)["seconds"]
        assert 2 <= seconds < 20
        client.query("commit")
    wait_for("every link", lambda: relay.metric("links_open") == 3)
    assert len(events(agent, "tunnel_lost")) == len(events(agent, "resumed")) == 1
    assert events(agent, "tunnel_expired") == []


def test_a_relay_that_dies_is_silent_from_then_on_and_costs_who_was_there(
    new_relay, new_agent, cluster
):
    relay = new_relay()
    crowded, lonely = new_agent(relay, cluster), new_agent(relay, cluster)
    with WireClient(crowded.endpoint):
        # Nobody says anything on a link that rests.
        stays_true("the agents serve", lambda: crowded.child.is_running, 4)
        before = datetime.now(UTC)
        relay.child.signal(signal.SIGKILL)
        relay.child.wait_end()
        for agent, clients in ((crowded, 1), (lonely, 0)):
            lost = agent.wait_event("tunnel_lost")
            assert lost["clients"] == clients
            assert abs(datetime.fromisoformat(lost["since"]) - before) < timedelta(seconds=2)
        relay.start()
        for agent, clients in ((crowded, 1), (lonely, 0)):
            expired = agent.wait_event("tunnel_expired")
            assert expired["clients"] == clients
            took = (datetime.now(UTC) - before).total_seconds()
            assert 0 <= expired["seconds"] <= took + 1


class OneWayIn(FaultProxy):
    """Refuses whoever comes behind the first."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "accepted" and value == 1:
            self.refuses = True


def test_a_further_link_that_could_not_be_made_is_made_later(new_relay, new_agent, cluster):
    relay = new_relay("--links", "3")
    with contextlib.closing(OneWayIn(relay.https_port)) as proxy:
        agent = new_agent(relay, cluster, url=f"https://localhost:{proxy.port}")
        stays_true("one link serves", lambda: relay.metric("links_open") == 1, 2)
        proxy.refuses = False
        wait_for("a link for each event loop", lambda: relay.metric("links_open") == 3, 90)
        assert agent.stop() == 0


# RESUME itself


def resume_frame(welcome: dict, **other) -> bytes:
    resume = {"version": 1, "session": welcome["session"], "secret": welcome["resumeSecret"], "received": 0}
    return tunnel.frame(tunnel.RESUME, json.dumps({**resume, **other}).encode())


@pytest.fixture
def cut(new_relay) -> tuple:
    """A relay, and what it said to a link that is cut now."""
    relay = new_relay()
    with RawLink(relay, relay.token()) as link:
        assert link.hello().type == tunnel.HELLO_OK
        welcome = link.welcome
    assert welcome["earlyResume"] is True
    return relay, welcome


@pytest.mark.parametrize("length", [10_000, 60, 10, 0])
def test_a_resume_may_travel_right_behind_the_upgrade(cut, length):
    relay, welcome = cut
    frame = resume_frame(welcome)
    early, late = frame[:length], frame[length:]
    with RawLink(relay, relay.token(), behind=early) as link:
        link.send(late)
        assert link.until(tunnel.RESUME_OK).json["received"] == 0
        assert link.is_alive()


def test_a_resume_behind_an_upgrade_that_is_refused_changes_nothing(new_relay):
    relay = new_relay()
    with RawLink(relay, relay.token()) as link:
        assert link.hello().type == tunnel.HELLO_OK
        with pytest.raises(tunnel.UpgradeRefused) as refused:
            RawLink(relay, "pgs_of_nobody", behind=resume_frame(link.welcome))
        assert refused.value.status == 401
        assert link.is_alive()


def test_a_resume_needs_the_links_secret_and_its_owners_token(cut):
    relay, welcome = cut
    other = {**welcome, "resumeSecret": welcome["tunnelSecret"]}
    attempts = [
        (relay.token(), other),
        (relay.token(), {**welcome, "resumeSecret": ""}),
        (relay.token("somebody"), welcome),
    ]
    for token, said in attempts:
        with RawLink(relay, token, behind=resume_frame(said)) as thief:
            assert thief.error()["code"] == "resume_expired"
    with RawLink(relay, relay.token(), behind=resume_frame(welcome)) as link:
        new = link.until(tunnel.RESUME_OK).json["resumeSecret"]
        assert new != welcome["resumeSecret"]
        assert link.is_alive()
        # It was heard behind its answer: the secret before is worth nothing any more.
        with RawLink(relay, relay.token(), behind=resume_frame(welcome)) as thief:
            assert thief.error()["code"] == "resume_expired"
        assert link.is_alive()


def test_a_resume_that_comes_late_does_not_take_the_link_from_its_agent(cut):
    relay, welcome = cut
    with contextlib.ExitStack() as stack:

        def resume(secret: str) -> RawLink:
            said = resume_frame({**welcome, "resumeSecret": secret})
            return stack.enter_context(RawLink(relay, relay.token(), behind=said))

        def taken(link: RawLink) -> str:
            return link.until(tunnel.RESUME_OK).json["resumeSecret"]

        # The agent gave up its first dial and has the answer to the second, in which it has not
        # spoken yet. Then TCP delivers the first, four times on different event loops.
        held = taken(resume(welcome["resumeSecret"]))
        late = [taken(resume(welcome["resumeSecret"])) for _ in range(4)]
        link = resume(held)
        newest = taken(link)
        assert link.is_alive()
        # It was heard: what was handed out before is worth nothing any more.
        for secret in (welcome["resumeSecret"], held, *late):
            assert resume(secret).error()["code"] == "resume_expired"
        assert link.is_alive()
        assert taken(resume(newest))


def test_a_resume_from_before_an_acknowledgement_is_refused_and_the_link_goes_on(new_relay):
    relay = new_relay()
    with RawLink(relay, relay.token()) as link, ThreadPoolExecutor(1) as clients:
        assert link.hello().type == tunnel.HELLO_OK
        client = clients.submit(WireClient, link.endpoint)
        opened = link.until(tunnel.OPEN)
        link.send_frame(tunnel.ACK, struct.pack("!Q", 8 + len(opened.payload)))
        assert link.is_alive()
        with RawLink(relay, relay.token(), behind=resume_frame(link.welcome)) as late:
            assert late.error()["code"] == "resume_expired"
        assert link.is_alive()
        goodbye = {"code": "agent_stopped", "message": "", "retry": False}
        link.send_json(tunnel.ERROR, goodbye)
        with pytest.raises((Refused, EOFError)):
            client.result(timeout=60)

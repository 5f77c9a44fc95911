"""Links that misbehave, in network namespaces: what the clients of a share notice. Nothing.

Every scenario has a relay with its clients on one side of a link, and an agent on the other. They
are mostly waiting, so all that were asked for begin at once; each test waits for its own.
"""

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import tools
from harness.certificates import Authority
from harness.cluster import Cluster
from harness.crowd import Crowd, Load
from harness.far_share import FarShare, Identity
from harness.network import TO_AGENT, TO_RELAY, Network, is_possible
from harness.processes import run
from harness.waiting import stays_true, wait_for
from harness.wire import Refused, WireClient, answers, query

pytestmark = [
    pytest.mark.relayed,
    pytest.mark.skipif(not is_possible(), reason="needs root, to make networks"),
]

# Seconds from the return of the link to the answers, at most, on a machine that is busy with all
# of these scenarios: less than DEAD_AFTER, so that nobody waits for that.
PROMPT = 12.0
# Of PROTOCOL.md: seconds of silence after which an end gives a connection up, and of the grace.
DEAD_AFTER, GRACE = 25, 30


class Scenario:
    """What one of them has at hand."""

    # Programs that start at the same time only make each other late.
    starting = threading.Semaphore(4)

    def __init__(self, folder: Path, cluster: Cluster, identity: Identity):
        self.folder, self.cluster, self.identity = folder, cluster, identity

    @contextlib.contextmanager
    def far_share(self, network: Network, **options) -> Iterator[FarShare]:
        with self.starting:
            share = FarShare(self.folder, self.cluster, network, self.identity, **options)
        try:
            yield share
        finally:
            share.close()


SCENARIOS: dict[str, Callable[[Scenario], None]] = {}
# Seconds that each waits, about: the longest begins first.
LASTS: dict[str, float] = {}


def scenario(name: str, lasts: float) -> Callable:
    def keep(run: Callable[[Scenario], None]) -> Callable[[Scenario], None]:
        SCENARIOS[name], LASTS[name] = run, lasts
        return run

    return keep


def go_on(share: FarShare, seconds: float) -> None:
    """Time passes, and both programs live."""
    both = (share.agent.child, share.relay.child)
    stays_true("both run", lambda: all(each.is_running for each in both), seconds)


def events(share: FarShare) -> list[str]:
    """What the agent said, in order."""
    return [json.loads(line)["event"] for line in list(share.agent.child.lines)]


def nobody_lost_anything(share: FarShare) -> None:
    said = events(share)
    assert not {"tunnel_expired", "client_refused", "reconnected"} & set(said), said
    assert said.count("shared") == 1, said
    assert said.count("client_connected") == Crowd.SIZE, said


def was_told(share: FarShare) -> list[str]:
    """The agent said that the link was lost and that it is back, as often."""

    def said() -> list[str]:
        return [name for name in events(share) if name in ("tunnel_lost", "resumed")]

    # A proxy may cut it at this very moment.
    wait_for("the link to be back", lambda: said()[-1:] == ["resumed"])
    pairs = said()[: len(said()) // 2 * 2]
    assert pairs == ["tunnel_lost", "resumed"] * (len(pairs) // 2), pairs
    return pairs


def was_resumed(share: FarShare) -> None:
    """It did so over new connections: the old ones could not come back."""
    assert share.metric("link_resumes_total") >= len(was_told(share)) / 2


def cut(
    at_hand: Scenario,
    off: Callable[[Network], None],
    on: Callable[[Network], None],
    seconds: float,
    check: Callable[[FarShare], object] = nobody_lost_anything,
) -> None:
    """Nobody notices that the link was off for so long."""
    with Network() as network, at_hand.far_share(network) as share:
        crowd = Crowd(share)
        crowd.start()
        crowd.rush()
        off(network)
        crowd.faulted()
        go_on(share, seconds)
        on(network)
        crowd.mended()
        crowd.finish()
        assert crowd.slowest < PROMPT, crowd.answered_at
        nobody_lost_anything(share)
        check(share)


for _seconds in (1, 5, 20, 29):

    @scenario(f"down for {_seconds} s", lasts=_seconds)
    def _down(at_hand: Scenario, seconds: float = _seconds) -> None:
        check = was_told if seconds >= 20 else nobody_lost_anything
        cut(at_hand, Network.down, Network.up, seconds, check)

    @scenario(f"frozen for {_seconds} s", lasts=_seconds)
    def _frozen(at_hand: Scenario, seconds: float = _seconds) -> None:
        check = was_told if seconds >= 20 else nobody_lost_anything
        cut(at_hand, Network.freeze, Network.thaw, seconds, check)


@scenario("deaf: no packet reached the agent for 15 s", lasts=15)
def _deaf(at_hand: Scenario) -> None:
    cut(at_hand, lambda network: network.freeze(TO_AGENT), Network.thaw, 15)


@scenario("mute: no packet of the agent arrived for 15 s", lasts=15)
def _mute(at_hand: Scenario) -> None:
    cut(at_hand, lambda network: network.freeze(TO_RELAY), Network.thaw, 15)


@scenario("moved: the agent's address is another", lasts=25)
def _moved(at_hand: Scenario) -> None:
    cut(at_hand, Network.move, Network.up, 0, was_resumed)


@scenario("forgotten: packets of the old connections are dropped", lasts=25)
def _forgotten(at_hand: Scenario) -> None:
    cut(at_hand, Network.forget, lambda _: None, 0, was_resumed)


@scenario("flapping: down and up every 2 s", lasts=24)
def _flapping(at_hand: Scenario) -> None:
    with Network() as network, at_hand.far_share(network) as share:
        crowd = Crowd(share)
        crowd.start()
        for round in range(6):
            if round == 2:
                crowd.rush()
            network.down()
            if round == 2:
                crowd.faulted()
            go_on(share, 2)
            network.up()
            go_on(share, 2)
        crowd.mended()
        crowd.finish()
        assert crowd.slowest < PROMPT, crowd.answered_at
        nobody_lost_anything(share)


def far_away(at_hand: Scenario, rows: int, **shape) -> Crowd:
    """The link is like that for ever, and is cut for 3 s besides."""
    with Network() as network:
        network.shape(**shape)
        with at_hand.far_share(network) as share:
            crowd = Crowd(share, Load(rows))
            crowd.start()
            crowd.rush()
            network.freeze()
            crowd.faulted()
            go_on(share, 3)
            network.thaw()
            crowd.mended()
            crowd.finish()
            assert crowd.slowest < PROMPT, crowd.answered_at
            nobody_lost_anything(share)
            return crowd


for _rtt in (100, 200):

    @scenario(f"far away: {_rtt} ms there and back, 1 % loss", lasts=20)
    def _far_away(at_hand: Scenario, rtt: float = _rtt) -> None:
        far_away(at_hand, rows=40_000, rtt=rtt / 1000, loss=0.01)


@scenario("slow: 1 Mbit/s", lasts=30)
def _slow(at_hand: Scenario) -> None:
    crowd = far_away(at_hand, rows=40_000, bits_per_second=1_000_000)
    # What waits in the socket and the link, 128 KiB and 32 KiB, takes 1.3 s each way.
    assert crowd.longest_query < 8


def end_of(client: WireClient) -> tuple[list[str], float]:
    """How the connection of somebody who asks ends, and when."""
    client.send(query("select 1"))
    states = [got.fields["C"] for got in client.until_end() if got.kind == "E"]
    return states, time.monotonic()


def refusal(share: FarShare) -> tuple[str, float]:
    """What somebody gets who logs in now, and when."""
    with pytest.raises(Refused) as refused:
        share.client(seconds=100)
    return refused.value.state, time.monotonic()


@scenario("frozen for longer than the grace", lasts=GRACE + DEAD_AFTER)
def _out_of_grace(at_hand: Scenario) -> None:
    pool = ThreadPoolExecutor()
    with Network() as network, at_hand.far_share(network) as share, pool:
        named = {"application_name": share.name}
        clients = [share.client(parameters=named, seconds=100) for _ in range(3)]
        clients[0].query("begin")
        clients[0].query(f"create table lost_{share.name} ()")
        clients[1].query("listen news")
        frozen = time.monotonic()
        network.freeze()
        ends = [pool.submit(end_of, client) for client in clients]
        early = pool.submit(refusal, share)
        wait_for("the relay to know", lambda: share.metric("links_open") == 0, DEAD_AFTER + 5)
        known = time.monotonic()
        late = pool.submit(refusal, share)
        at = [end.result()[1] - frozen for end in ends]
        assert [end.result()[0] for end in ends] == [["08006"]] * 3
        assert GRACE <= min(at) and max(at) < DEAD_AFTER + GRACE + 5 and max(at) - min(at) < 1, at
        assert early.result()[0] == late.result()[0] == "57P03"
        assert max(early.result()[1], late.result()[1]) - frozen < max(at) + 1
        asked = time.monotonic()
        state, refused = refusal(share)
        assert state == "57P03" and refused - asked < 2
        its_own = f"application_name = '{share.name}'"
        wait_for("the backends to end", lambda: share.cluster.backends(its_own) == 0)
        network.thaw()
        with share.network.relay_side:
            wait_for("the share to be back", lambda: answers(share.agent.endpoint))
        lost = share.cluster.sql(f"select to_regclass('lost_{share.name}') is null")
        assert lost == "t"
        said = events(share)
        assert said.index("tunnel_lost") < said.index("tunnel_expired") < said.index("reconnected")


def behind_proxy(at_hand: Scenario, limit: float, before: float, after: float) -> None:
    """A proxy before the relay closes every connection that is so old, or idle for so long."""
    with Network() as network, at_hand.far_share(network, has_proxy=True) as share:
        assert share.proxy is not None
        share.proxy.max_age = share.proxy.max_idle = limit
        crowd = Crowd(share)
        crowd.start()
        go_on(share, before)
        crowd.rush()
        crowd.faulted()
        go_on(share, after)
        crowd.mended()
        crowd.finish()
        assert crowd.slowest < PROMPT, crowd.answered_at
        nobody_lost_anything(share)
        assert share.proxy.accepted > (before + after) / limit / 2
        was_resumed(share)


@scenario("through a proxy that closes connections after 60 s", lasts=62)
def _proxy(at_hand: Scenario) -> None:
    behind_proxy(at_hand, 60, before=2, after=60)


@scenario("through a proxy that closes connections after 2 s", lasts=20)
def _short_proxy(at_hand: Scenario) -> None:
    behind_proxy(at_hand, 2, before=10, after=10)


@scenario("through a proxy that closes connections that are idle for 2 s", lasts=13)
def _idle_proxy(at_hand: Scenario) -> None:
    with Network() as network, at_hand.far_share(network, has_proxy=True) as share:
        assert share.proxy is not None
        share.proxy.max_idle = 2
        with share.client() as client:
            client.query("begin")
            who = client.query("select pg_backend_pid(), txid_current()")
            go_on(share, 13)
            assert client.query("select pg_backend_pid(), txid_current()") == who
            client.query("commit")
        was_resumed(share)


@scenario("frozen for 20 s, as scripts/demo-resume shows it", lasts=30)
def _demo(_: Scenario) -> None:
    done = run([str(tools.ROOT / "scripts" / "demo-resume")], seconds=150)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and said.rstrip().endswith("The row is there."), said
    order = [
        "laptop | Sharing postgres", "client | postgres=> begin;", "postgres=*> insert into",
        "network is gone for 20 s", "postgres=*> commit;", "connection to the relay lost",
        "The network is back", "client | COMMIT",
        "server | kept through the cut",
    ]  # fmt: skip
    places = [said.find(text) for text in order]
    assert -1 not in places and places == sorted(places), said


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future]]:
    """Every scenario that this run asks for, under way."""
    names = [
        item.callspec.params["name"]
        for item in request.session.items
        if item.path == Path(__file__) and hasattr(item, "callspec")
    ]
    cluster = Cluster(tools.MAIN_VERSION, authority, {"max_connections": "400"})
    identity = Identity(authority)
    pool = ThreadPoolExecutor(len(names))
    yield {
        name: pool.submit(
            SCENARIOS[name], Scenario(tmp_path_factory.mktemp("network"), cluster, identity)
        )
        for name in sorted(names, key=lambda name: -LASTS[name])
    }
    pool.shutdown()
    # Nothing of it is needed: no checkpoint.
    cluster.server.stop(signal.SIGQUIT)
    cluster.remove()


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_client_notices_that_the_link_was(name, outcomes):
    outcomes[name].result(timeout=170)

"""Links that misbehave, in network namespaces: what the clients of a share notice. Nothing.

Every scenario has a relay with its clients on one side of a link, and an agent on the other. They
are mostly waiting, so all that were asked for begin at once; each test waits for its own.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import network, tools
from harness.certificates import Authority
from harness.cluster import Cluster
from harness.far_share import Crowd, FarShare, Identity, Load
from harness.network import Network
from harness.waiting import stays_true

pytestmark = [
    pytest.mark.relayed,
    pytest.mark.skipif(not network.is_possible(), reason="needs root, to make networks"),
]

# Seconds from the return of the link to the answers, at most: it catches a hang, not a slow machine.
PROMPT = 30.0


class Scenario:
    """What one of them has at hand."""

    def __init__(self, folder: Path, cluster: Cluster, identity: Identity):
        self.folder, self.cluster, self.identity = folder, cluster, identity

    def far_share(self, net: Network) -> FarShare:
        return FarShare(self.folder, self.cluster, net, self.identity)


SCENARIOS: dict[str, Callable[[Scenario], None]] = {}


def scenario(name: str) -> Callable:
    def keep(run: Callable[[Scenario], None]) -> Callable[[Scenario], None]:
        SCENARIOS[name] = run
        return run

    return keep


def live_through(
    at_hand: Scenario,
    fault: Callable[[Network], None],
    mend: Callable[[Network], None],
    seconds: float,
    load: Load = Load(),
    prompt: float = PROMPT,
) -> None:
    """Nobody notices a fault that lasts so long."""
    with Network() as net:
        share = at_hand.far_share(net)
        try:
            crowd = Crowd(share, load)
            crowd.start()
            fault(net)
            crowd.faulted()
            stays_true("both run", lambda: both_run(share), seconds)
            mend(net)
            crowd.mended()
            crowd.finish()
            assert crowd.slowest < prompt, crowd.answered_at
            check_events(share, seconds)
            assert sum(net.packets()[1::2]) > 0, "no packet was lost: there was no fault"
        finally:
            share.close()


def both_run(share: FarShare) -> bool:
    return share.agent.child.is_running and share.relay.child.is_running


def check_events(share: FarShare, seconds: float) -> None:
    said = share.agent.child.everything()
    assert "tunnel_expired" not in said and "client_refused" not in said, said


for _seconds in (1, 5, 20, 29):

    @scenario(f"down for {_seconds} s")
    def _down(at_hand: Scenario, seconds: float = _seconds) -> None:
        live_through(at_hand, Network.down, Network.up, seconds)

    @scenario(f"frozen for {_seconds} s")
    def _frozen(at_hand: Scenario, seconds: float = _seconds) -> None:
        live_through(at_hand, Network.freeze, Network.thaw, seconds)


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
        for name in names
    }
    pool.shutdown()
    cluster.remove()


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_client_notices_that_the_link_was(name, outcomes):
    outcomes[name].result(timeout=170)

"""What a relay and its agents hold: memory, descriptors, gauges, backends."""

from dataclasses import dataclass

from .cluster import Cluster
from .pgshare import Agent, Relay
from .waiting import wait_for

# Where every client is gone, these are 0.
GAUGES = ("streams_open", "clients_open", "session_clients_waiting")


@dataclass(frozen=True)
class Footprint:
    """One moment of one process."""

    resident_kib: int
    descriptors: int


def footprints(relay: Relay, agent: Agent) -> list[Footprint]:
    """The relay's and the agent's, in this order."""
    return [
        Footprint(each.resident_kib(), each.open_files()) for each in (relay.child, agent.child)
    ]


def wait_empty(relay: Relay, cluster: Cluster, applications: str = "true", seconds: float = 60) -> None:
    """Until no client is left at the relay, and no backend of theirs in Postgres."""
    for gauge in GAUGES:
        wait_for(f"{gauge} to be 0", lambda name=gauge: relay.metric(name) == 0, seconds)
    wait_for("the backends to end", lambda: cluster.backends(applications) == 0, seconds)


def assert_flat(before: list[Footprint], after: list[Footprint], kib: int) -> None:
    """Nothing grew: by `kib` of memory at most, which an allocator may keep, and 3 descriptors."""
    for name, then, now in zip(("relay", "agent"), before, after, strict=True):
        assert now.resident_kib - then.resident_kib <= kib, f"{name}: {then} became {now}"
        assert now.descriptors <= then.descriptors + 3, f"{name}: {then} became {now}"

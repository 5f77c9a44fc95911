"""How soon a client has its answer once its agent's link is back.

The agent and the relay are in network namespaces; between them a link that can lose every packet
and nobody is told (frozen), or go down and up as a device does, with a round trip of its own. The
client is beside the relay. It asks while the link is cut. The tests' harness makes all that.

A link that is frozen for a second is not resumed: the agent suspects nothing yet, and TCP sends
again at its own pace, which is the system's (its congestion control decides whether that doubles).
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from crowds import ScriptedDatabase
from procs import BenchError, Supervisor
from running import ROOT

sys.path.insert(0, str(ROOT / "Tests" / "EndToEnd"))

from harness import wire  # noqa: E402
from harness.certificates import Authority  # noqa: E402
from harness.far_share import FarShare, Identity  # noqa: E402
from harness.network import Network, is_possible  # noqa: E402

#: Round trips of the link, in milliseconds.
ROUND_TRIPS = (0, 20, 100, 200)

#: How long it is cut, in seconds: long enough that the agent has begun to dial.
CUTS = (5, 8, 11, 14, 20)

#: How long it is frozen for, in seconds, where TCP gets over it before the agent dials.
STALLS = (1, 1, 1)

#: What the target allows beside two round trips, in milliseconds.
ALLOWED = 100

#: How long an answer is waited for, in seconds.
PATIENCE = 40


@dataclass(frozen=True)
class _Database:
    """What the harness's shares ask of a server."""

    scripted: ScriptedDatabase
    version: int = 15

    def conninfo(self) -> str:
        """For an agent."""
        scripted = self.scripted
        return f"host={scripted.sockets} port={scripted.port} user=postgres dbname=bench"


class Returns:
    """All round trips side by side: it is mostly waiting."""

    def __init__(
        self, binary: Path, folder: Path, supervisor: Supervisor, cuts: tuple[float, ...] = CUTS
    ) -> None:
        if not is_possible():
            raise BenchError("networks of our own need root and /dev/net/tun")
        os.environ["PGSHARE_BIN"] = str(binary.resolve())
        folder.mkdir()
        folder.chmod(0o755)  # user `postgres` goes in too
        self.folder, self.cuts = folder, cuts
        self.database = ScriptedDatabase(folder / "database", supervisor)

    def measure(self) -> dict[str, float]:
        """`frozen_20_ms` (the median of that link's cuts), `frozen_20_worst_ms` and so on."""
        authority = self.folder / "authority"
        authority.mkdir()
        identity = Identity(Authority(authority))
        with ExitStack() as stack:
            self.database.start()
            stack.callback(self.database.stop)
            shares = [
                stack.enter_context(_FarLink(self.folder / str(rtt), self.database, identity, rtt))
                for rtt in ROUND_TRIPS
            ]
            with ThreadPoolExecutor(len(shares)) as pool:
                found = pool.map(self._measure, ROUND_TRIPS, shares)
                return {key: value for figures in found for key, value in figures.items()}

    def _measure(self, rtt: int, share: FarShare) -> dict[str, float]:
        network = share.network
        ways: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "frozen": (network.freeze, network.thaw), "down": (network.down, network.up),
        }
        with share.client(seconds=PATIENCE) as client:
            client.query("select 1")
            figures = {"stall": [_answer_ms(client, stall, *ways["frozen"]) for stall in STALLS]}
            for name, way in ways.items():
                figures[name] = [_answer_ms(client, cut, *way) for cut in self.cuts]
            return {
                f"{name}_{rtt}{key}_ms": figure(times)
                for name, times in figures.items()
                for key, figure in (("", statistics.median), ("_worst", max))
            }


def _answer_ms(
    client: wire.WireClient, seconds: float, cut: Callable[[], None], back: Callable[[], None]
) -> float:
    """From the link's return to the whole answer of what was asked while it was cut."""
    cut()
    client.send(wire.query("select 1"))
    time.sleep(seconds)
    start = time.monotonic()
    back()
    try:
        answer = client.ready()
    except (OSError, EOFError) as error:
        raise BenchError(f"a client was lost after {seconds} s: {error!r}") from None
    took = (time.monotonic() - start) * 1000
    if not any(message.kind == "D" for message in answer):
        raise BenchError(f"a client was told {answer}")
    time.sleep(1)  # the link is whole, and says so, before it is cut again
    return took


class _FarLink:
    """A link with this round trip, and a share at its far end."""

    def __init__(
        self, folder: Path, database: ScriptedDatabase, identity: Identity, rtt: int
    ) -> None:
        self._make = lambda network: FarShare(folder, _Database(database), network, identity)
        self._rtt = rtt
        self._stack = ExitStack()

    def __enter__(self) -> FarShare:
        with ExitStack() as stack:
            network = stack.enter_context(Network())
            network.shape(rtt=self._rtt / 1000)
            share = self._make(network)
            stack.callback(share.close)
            self._stack = stack.pop_all()
        return share

    def __exit__(self, *_: object) -> None:
        self._stack.close()

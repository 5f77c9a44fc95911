"""What is measured, and which target each figure answers to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from measures import (
    MAXIMUM_WINDOW_BYTES,
    MEBIBYTE,
    Context,
    beside,
    connect,
    copy_in,
    copy_out,
    dump,
    idle,
    latency,
    select,
    stall,
    tunnels,
)
from peers import Peer
from procs import BenchError


@dataclass(frozen=True)
class Line:
    """One line of the table: a figure, and what it must reach."""

    title: str
    key: str
    unit: str
    #: Name of the peer that the ratio is taken to; None = the figure itself is judged.
    base: str | None
    limit: float
    #: Whether more is better (`>=`) or less is (`<=`).
    more_is_better: bool = False


@dataclass(frozen=True)
class Measure:
    """A named measurement: `run` returns the figures of one peer in one round."""

    name: str
    about: str
    run: Callable[[Context, Peer], dict[str, float]]
    lines: tuple[Line, ...]
    #: Peers that it is about; empty = all.
    only: tuple[str, ...] = ()
    #: Whether the peer is started anew for it: memory of a warm process says little.
    fresh: bool = False
    #: More rounds than these bring nothing.
    maximum_rounds: int = 99


def select_measure(clients: int, ratio: float, *more: Line) -> Measure:
    """The three pgbench measures differ in their clients and targets."""
    noun = "client" if clients == 1 else "clients"
    title = f"pgbench -S -M prepared, {clients} {noun}"
    line = Line(f"{title}, TPS", "tps", "/s", "pgbouncer", ratio, more_is_better=True)
    return Measure(f"select-{clients}", title, select(clients), (line, *more))


def copy_measure(direction: str, table: str) -> Measure:
    """COPY out and in, of both tables."""
    title = f"COPY {direction}, {table} rows"
    return Measure(
        f"copy-{direction}-{table}",
        title,
        copy_out(table) if direction == "out" else copy_in(table),
        (
            Line(f"{title}, MB/s", "mb_s", "MB/s", "direct-tls", 1.0, more_is_better=True),
            Line(f"{title}, CPU s a GB", "cpu_s_gb", "s", "pgbouncer", 0.85),
        ),
    )


ALL = (
    select_measure(1, 0.95),
    select_measure(8, 0.80),
    select_measure(
        64, 0.95, Line("CPU µs a transaction, 64 clients", "cpu_us", "µs", "pgbouncer", 1.25)
    ),
    *(copy_measure(way, table) for way in ("out", "in") for table in ("bulk", "wide")),
    Measure(
        "connect", "new connections (TLS, SCRAM, backend), 4 at once", connect,
        (
            Line("new connections a second, 4 at once", "per_second", "/s", "direct-tls", 1.0,
                 more_is_better=True),
            Line("CPU µs a new connection", "cpu_us", "µs", "pgbouncer", 1.3),
        ),
    ),
    Measure(
        "idle", "resident memory of idle clients", idle,
        (
            Line("KiB an idle client, relay", "relay_kib", "KiB", None, 20),
            Line("KiB an idle client, agent", "agent_kib", "KiB", None, 5),
            Line("KiB an idle client, all of the proxy", "kib", "KiB", None, 25),
        ),
        only=("pgbouncer", "ssh", "stunnel", "pgshare"), fresh=True,
    ),
    Measure(
        "tunnels", "resident memory of idle tunnels at the relay", tunnels,
        (Line("KiB an idle tunnel, relay", "relay_kib", "KiB", None, 40),),
        only=("pgshare",), fresh=True,
    ),
    Measure(
        "beside", "`select 1` beside a bulk COPY on the same tunnel", beside,
        (
            Line("p99 µs of `select 1` beside a COPY", "p99_us", "µs", "pgbouncer", 2.0),
            Line("the same, itself", "p99_us", "µs", None, 1000),
        ),
    ),
    Measure(
        "stall", "a client stalls in a 1 GB result", stall,
        (
            Line("MiB grown while a client stalls in 1 GB", "grown_mib", "MiB", None,
                 2 * MAXIMUM_WINDOW_BYTES / MEBIBYTE),
        ),
        only=("pgbouncer", "ssh", "stunnel", "pgshare"), fresh=True, maximum_rounds=3,
    ),
    Measure(
        "dump", "pg_dump -Fc -Z0 | pg_restore through each peer", dump,
        (Line("pg_dump, pg_restore, seconds", "seconds", "s", "direct", 1.10),),
        maximum_rounds=3,
    ),
    Measure("latency", "p50 and p99 of one client (no target)", latency, ()),
)


def chosen(names: list[str]) -> list[Measure]:
    """The measures of these names; `select` stands for `select-1` and so on; none: all."""
    if not names:
        return list(ALL)
    picked: list[Measure] = []
    for name in names:
        found = [m for m in ALL if m.name == name or m.name.startswith(f"{name}-")]
        if not found:
            raise BenchError(f"no measure {name!r}; there are {', '.join(m.name for m in ALL)}")
        picked += [measure for measure in found if measure not in picked]
    return picked

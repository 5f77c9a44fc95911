"""What is measured, how, and which target of DESIGN.md 6 each figure answers to."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster
from peers import Peer
from procs import (
    BenchError,
    PeakMemory,
    cpu_seconds,
    read_json_line,
    resident_bytes,
    run,
)

MEBIBYTE = 1024 * 1024

#: The largest window of a stream (DESIGN.md 4). A client that read on before it stalled has it.
MAXIMUM_WINDOW_BYTES = 4 * MEBIBYTE

#: Bytes that a stalling client takes first, so that its window has grown as far as it goes.
READ_BEFORE_STALL_BYTES = 64 * MEBIBYTE

#: A result of 1 GB: rows of 1000 bytes, made on the fly, so that no table's size matters.
HUGE_RESULT = "copy (select repeat('x', 999) from generate_series(1, {rows})) to stdout"


@dataclass(frozen=True)
class Effort:
    """How long and how much. Every measurement is bounded by a multiple of these."""

    seconds: float
    idle_clients: int
    idle_tunnels: int
    stall_seconds: float
    stall_rows: int

    @staticmethod
    def full() -> Effort:
        """The targets' own numbers."""
        return Effort(
            seconds=5, idle_clients=500, idle_tunnels=1000, stall_seconds=20, stall_rows=1_000_000
        )

    @staticmethod
    def quick() -> Effort:
        """To see that everything works; its figures say little."""
        return Effort(
            seconds=1.5, idle_clients=50, idle_tunnels=50, stall_seconds=3, stall_rows=200_000
        )


@dataclass(frozen=True)
class Context:
    """What a measurement needs besides its peer."""

    cluster: Cluster
    effort: Effort
    probe: Path
    #: Opens idle tunnels at a started pgshare; see tunnels.py.
    open_tunnels: Callable[[Peer, int], object]

    def timeout(self) -> float:
        """A closed loop of `effort.seconds` must be over by then, in seconds."""
        return self.effort.seconds * 3 + 30


@dataclass(frozen=True)
class Line:
    """One line of the table: a figure, and what it must reach."""

    title: str
    key: str
    unit: str
    #: Name of the peer that the ratio is taken to; nil = the figure itself is judged.
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


@contextmanager
def counted(peer: Peer, figures: dict[str, float]):
    """Adds the CPU seconds that the peer's processes used meanwhile, as `cpu_s`."""
    peer.check_alive()
    before = cpu_seconds(peer.roots())
    yield
    figures["cpu_s"] = cpu_seconds(peer.roots()) - before
    peer.check_alive()


def per_operation(figures: dict[str, float], peer: Peer, operations: float) -> dict[str, float]:
    """Adds `cpu_us`, CPU microseconds an operation; a direct connection has no proxy to count."""
    if peer.processes:
        figures["cpu_us"] = figures["cpu_s"] / operations * 1e6
    return figures


def select(clients: int) -> Callable[[Context, Peer], dict[str, float]]:
    """pgbench -S -M prepared."""

    def measure(context: Context, peer: Peer) -> dict[str, float]:
        figures: dict[str, float] = {}
        with counted(peer, figures):
            output = run(
                ["pgbench", "-n", "-S", "-M", "prepared", "-c", clients, "-j", min(clients, 2),
                 "-T", max(1, round(context.effort.seconds))],
                seconds=context.timeout(), env=peer.environment(),
            )
        figures["tps"] = find(r"tps = ([\d.]+)", output)
        return per_operation(figures, peer, find(r"actually processed: (\d+)", output))

    return measure


def find(pattern: str, text: str) -> float:
    """The number that `pattern` captures in what a program printed."""
    match = re.search(pattern, text)
    if not match:
        raise BenchError(f"no {pattern!r} in {text[-200:]!r}")
    return float(match[1])


def latency(context: Context, peer: Peer) -> dict[str, float]:
    """p50 and p99 of one client's prepared select, by our own probe."""
    return probe(context, peer, "latency", 1, context.effort.seconds, "prepared")


def probe(context: Context, peer: Peer, *arguments: object, scram: bool = False) -> dict:
    """Runs the probe to its end and returns what it measured, with the proxy's CPU."""
    figures: dict[str, float] = {}
    command = subprocess.Popen(
        [str(part) for part in (context.probe, *arguments)], env=peer.environment(scram=scram),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0, start_new_session=True,
    )
    try:
        with counted(peer, figures):
            figures |= read_json_line(command, context.timeout())
    finally:
        end(command)
    if figures.get("errors"):
        raise BenchError(f"{figures['errors']} operations failed")
    return figures


def end(command: subprocess.Popen) -> None:
    """Kills a helper of ours that still runs, and reaps it."""
    command.kill()
    command.wait()
    for pipe in (command.stdin, command.stdout):
        if pipe:
            pipe.close()


def connect(context: Context, peer: Peer) -> dict[str, float]:
    """TLS, login, `select 1`, close: four at once."""
    figures = probe(context, peer, "connect", 4, context.effort.seconds, scram=True)
    return per_operation(figures, peer, figures["operations"])


def copy_out(table: str) -> Callable[[Context, Peer], dict[str, float]]:
    """COPY TO STDOUT by psql, to /dev/null."""

    def measure(context: Context, peer: Peer) -> dict[str, float]:
        def client() -> None:
            run(["psql", "-XqAt", "-c", f"copy {table} to stdout"], seconds=180,
                env=peer.environment(), stdout=subprocess.DEVNULL)

        return moved(context, peer, table, client)

    return measure


def copy_in(table: str) -> Callable[[Context, Peer], dict[str, float]]:
    """COPY FROM STDIN by psql, from a file in the page cache, into an empty table."""

    def measure(context: Context, peer: Peer) -> dict[str, float]:
        def client() -> None:
            with context.cluster.copy_file(table).open("rb") as file:
                run(["psql", "-Xq", "-c", f"copy {table}_in from stdin"], seconds=180,
                    env=peer.environment(), stdin=file)

        context.cluster.sql(f"truncate {table}_in")
        try:
            return moved(context, peer, table, client)
        finally:
            context.cluster.sql(f"truncate {table}_in")

    return measure


def moved(
    context: Context, peer: Peer, table: str, client: Callable[[], None]
) -> dict[str, float]:
    """Megabytes (10^6) a second and CPU seconds a gigabyte (10^9) of one COPY."""
    figures: dict[str, float] = {}
    size = context.cluster.copy_bytes(table)
    with counted(peer, figures):
        start = time.monotonic()
        client()
        figures["mb_s"] = size / 1e6 / (time.monotonic() - start)
    if peer.processes:
        figures["cpu_s_gb"] = figures["cpu_s"] / size * 1e9
    return figures


def idle(context: Context, peer: Peer) -> dict[str, float]:
    """Resident memory that idle clients add, KiB a client, by role and in sum."""
    count = context.effort.idle_clients
    warm_up(context, peer)
    before = {role: resident_bytes(peer.roots(role)) for role in peer.processes}
    holder = hold(context, peer, "idle", count)
    try:
        figures = read_json_line(holder, 60)
        time.sleep(1)  # what was needed for the handshakes only is given back by then
        peer.check_alive()
        for role in peer.processes:
            grown = resident_bytes(peer.roots(role)) - before[role]
            figures[f"{role}_kib"] = grown / 1024 / count
    finally:
        release(holder)
    figures["kib"] = sum(figures[f"{role}_kib"] for role in peer.processes)
    return figures


def hold(context: Context, peer: Peer, *arguments: object) -> subprocess.Popen:
    """Starts a probe that waits for its input to end."""
    return subprocess.Popen(
        [str(part) for part in (context.probe, *arguments)], env=peer.environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True,
    )


def release(holder: subprocess.Popen) -> None:
    """Ends the input of such a probe and lets it go politely, within bounds."""
    try:
        holder.stdin.close()
        holder.wait(10)
    except (subprocess.TimeoutExpired, BrokenPipeError):
        pass
    end(holder)


def warm_up(context: Context, peer: Peer) -> None:
    """A few connections first: what a process allocates once is not a client's memory."""
    release_me = hold(context, peer, "idle", 4)
    try:
        read_json_line(release_me, 30)
    finally:
        release(release_me)
    time.sleep(0.3)


def tunnels(context: Context, peer: Peer) -> dict[str, float]:
    """Resident memory that idle tunnels add at the relay, KiB a tunnel."""
    count = context.effort.idle_tunnels
    warm_up(context, peer)
    before = resident_bytes(peer.roots("relay"))
    with context.open_tunnels(peer, count):
        time.sleep(1)
        peer.check_alive()
        grown = resident_bytes(peer.roots("relay")) - before
    return {"opened": count, "relay_kib": grown / 1024 / count}


def beside(context: Context, peer: Peer) -> dict[str, float]:
    """Latency of `select 1` while another client's COPY runs as fast as it can be read."""
    bulk = hold(context, peer, "bulk", "copy bulk to stdout")
    try:
        read_json_line(bulk, 30)
        time.sleep(1)  # the COPY has its full window by then
        figures = probe(context, peer, "latency", 1, context.effort.seconds, "simple")
        if bulk.poll() is not None:
            raise BenchError("the COPY ended before the measurement did")
        bulk.send_signal(signal.SIGTERM)
        figures["copy_mb_s"] = read_json_line(bulk, 10)["mb_s"]
    finally:
        end(bulk)
    return figures


def stall(context: Context, peer: Peer) -> dict[str, float]:
    """Memory that grows while a client stops in the middle of a huge result, and who suffers."""
    result = HUGE_RESULT.format(rows=context.effort.stall_rows)
    first = min(READ_BEFORE_STALL_BYTES, context.effort.stall_rows * 1000 // 2)
    warm_up(context, peer)
    before = {role: resident_bytes(peer.roots(role)) for role in peer.processes}
    roles = {role: peer.roots(role) for role in peer.processes}
    holder = hold(context, peer, "stall", first, result)
    figures: dict[str, float] = {}
    try:
        with PeakMemory(roles) as memory:
            read_json_line(holder, 60)
            stalled = time.monotonic()
            neighbour = probe(
                context, peer, "latency", 1, min(context.effort.seconds, 5), "simple"
            )
            time.sleep(max(0, context.effort.stall_seconds - (time.monotonic() - stalled)))
        holder.stdin.write(b"\n")
        rest = read_json_line(holder, 120)
        if rest["total"] != context.effort.stall_rows * 1000:
            raise BenchError(f"the stalled client got {rest['total']} bytes in the end")
    finally:
        release(holder)
    for role in roles:
        figures[f"{role}_grown_mib"] = (memory.peak[role] - before[role]) / MEBIBYTE
        figures[f"{role}_peak_mib"] = memory.peak[role] / MEBIBYTE
    if roles:
        figures["grown_mib"] = sum(figures[f"{role}_grown_mib"] for role in roles)
    return figures | {"neighbour_p99_us": neighbour["p99_us"]}


def deploy(context: Context, peer: Peer) -> dict[str, float]:
    """`pg_dump -Fc -Z0` through the peer, piped into pg_restore into a database beside it."""
    cluster, figures = context.cluster, {}
    cluster.sql("drop database if exists target", "create database target", database="postgres")
    try:
        with counted(peer, figures):
            start = time.monotonic()
            pipe_dump(cluster, peer)
            figures["seconds"] = time.monotonic() - start
        rows = "select (select count(*) from pgbench_accounts) + (select count(*) from bulk)"
        if cluster.sql(rows, database="target") != cluster.sql(rows):
            raise BenchError("the restored database has other rows")
    finally:
        cluster.sql("drop database if exists target with (force)", database="postgres")
    return figures


def pipe_dump(cluster: Cluster, peer: Peer) -> None:
    """Both ends of the pipe must succeed: a dump that failed still ends the restore's input."""
    dump = subprocess.Popen(
        ["pg_dump", "-Fc", "-Z0", "--exclude-table-data=wide", "--exclude-table-data=*_in"],
        env=peer.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )
    try:
        run(["pg_restore", "-d", "target", "--no-owner", "--exit-on-error"], seconds=180,
            env=cluster.environment(), stdin=dump.stdout)
        if dump.wait(10) != 0:
            raise BenchError(f"pg_dump: {dump.stderr.read().decode()[-300:]}")
    finally:
        dump.stderr.close()
        end(dump)


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
        "deploy", "pg_dump -Fc -Z0 | pg_restore", deploy,
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

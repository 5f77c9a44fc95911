"""How each figure is measured: one peer, one round."""

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

#: The largest window of a stream (PROTOCOL.md 14). A client that read on before it stalled has it.
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


def dump(context: Context, peer: Peer) -> dict[str, float]:
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

"""Processes: starting and stopping our own, and what /proc says of them."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

#: How long a process may take from SIGTERM to its end before it is killed, in seconds.
STOP_SECONDS = 5.0


class BenchError(Exception):
    """A measurement or a set-up step failed. Its text is for the person who reads the table."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen, seconds: float = 10) -> None:
    """Returns once somebody listens on `port`; fails when `process` ended or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise BenchError(f"{process.args[0]} ended with status {process.returncode}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise BenchError(f"nothing listens on port {port} after {seconds:.0f} s")


class Supervisor:
    """Starts processes in sessions of their own and ends exactly these, by process id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stop_signals: dict[subprocess.Popen, int] = {}

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        as_postgres: bool = False,
        stop_signal: int = signal.SIGTERM,
        **options,
    ) -> subprocess.Popen:
        """Starts a long-lived process; what it says goes to NAME.log unless `options` say else."""
        arguments = [str(part) for part in command]
        if as_postgres:
            arguments = [*as_postgres_prefix(), *arguments]
        with (self.folder / f"{name}.log").open("ab") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | options
            process = subprocess.Popen(arguments, start_new_session=True, **options)
        self._stop_signals[process] = stop_signal
        return process

    def stop(self, process: subprocess.Popen) -> None:
        """Ends a process and every descendant that it leaves behind."""
        below = set(tree([process.pid]))
        if process.poll() is None:
            process.send_signal(self._stop_signals[process])
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in below & set(all_processes()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself just now
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
        self._stop_signals.pop(process, None)

    def stop_all(self) -> None:
        """Ends everything, last started first."""
        for process in reversed(list(self._stop_signals)):
            self.stop(process)


def as_postgres_prefix() -> list[str]:
    """Postgres and PgBouncer refuse to run as root: they become user `postgres` then."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]


def run(
    command: Sequence[str | Path], *, seconds: float, as_postgres: bool = False, **options
) -> str:
    """Runs a command to its end within `seconds` and returns what it printed.

    A command that fails or is late is killed with its whole process group, and is a `BenchError`.
    """
    arguments = [str(part) for part in command]
    if as_postgres:
        arguments = [*as_postgres_prefix(), *arguments]
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    with subprocess.Popen(
        arguments, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise BenchError(f"{arguments[0]} took longer than {seconds:.0f} s") from None
            raise
    if process.returncode != 0:
        last = ((output or "") + errors).strip()[-300:]
        raise BenchError(f"{arguments[0]} ended with status {process.returncode}: {last}")
    return output or ""


def read_json_line(process: subprocess.Popen, seconds: float) -> dict:
    """The next line that a process prints, as JSON; fails when it does not come in time.

    The pipe must be unbuffered (`bufsize=0`), so that waiting for it tells the truth.
    """
    line = b""
    end = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise BenchError(f"{process.args[0]} said nothing within {seconds:.0f} s")
        byte = process.stdout.read(1)
        if not byte:
            raise BenchError(f"{process.args[0]} ended, status {process.wait()}, after {line!r}")
        line += byte
    try:
        answer = json.loads(line)
    except ValueError:
        raise BenchError(f"{process.args[0]} printed {line!r}, not JSON") from None
    if "error" in answer:
        raise BenchError(f"{process.args[0]}: {answer['error']}")
    return answer


def all_processes() -> dict[int, dict]:
    """What /proc/PID/stat says of every process; times in seconds, memory in bytes."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            text = Path("/proc", name, "stat").read_text()
        except OSError:
            continue  # it ended while we looked
        fields = text[text.rindex(")") + 2 :].split()
        own, reaped = (int(fields[i]) + int(fields[i + 1]) for i in (11, 13))
        found[int(name)] = {
            "parent": int(fields[1]),
            "cpu": (own + reaped) / TICKS_A_SECOND,
            "resident": int(fields[21]) * PAGE_BYTES,
        }
    return found


def tree(roots: Iterable[int]) -> dict[int, dict]:
    """The processes `roots` and all their descendants."""
    everything = all_processes()
    wanted = {pid for pid in roots if pid in everything}
    grew = True
    while grew:
        grew = False
        for pid, entry in everything.items():
            if pid not in wanted and entry["parent"] in wanted:
                wanted.add(pid)
                grew = True
    return {pid: everything[pid] for pid in wanted}


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU that the trees used so far: living processes and the children they have reaped."""
    return sum(entry["cpu"] for entry in tree(roots).values())


def resident_bytes(roots: Iterable[int]) -> int:
    """Resident memory of the trees, now."""
    return sum(entry["resident"] for entry in tree(roots).values())


class PeakMemory:
    """Samples the resident memory of named trees in the background and keeps the highest."""

    def __init__(self, roles: dict[str, list[int]], every_seconds: float = 0.1) -> None:
        self.roles = roles
        self.peak = {role: resident_bytes(pids) for role, pids in roles.items()}
        self._every = every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(self._every):
            for role, pids in self.roles.items():
                self.peak[role] = max(self.peak[role], resident_bytes(pids))


class ForeignLoad:
    """How much of the machine somebody else used meanwhile: the first thing to doubt.

    Everything that this program started is below it in the process tree; the rest is foreign.
    The kernel's own work (interrupts) is counted by nobody's process and is left out.
    """

    def __init__(self) -> None:
        self._busy, self._ours, self._start = self._read()

    @staticmethod
    def _read() -> tuple[float, float, float]:
        fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        user, nice, system, steal = fields[0], fields[1], fields[2], fields[7]
        busy = (user + nice + system + steal) / TICKS_A_SECOND
        return busy, cpu_seconds([os.getpid()]), time.monotonic()

    def share(self) -> float:
        """The part (0...1) of all cores' time that others used since this was made."""
        busy, ours, now = self._read()
        foreign = max(0.0, (busy - self._busy) - (ours - self._ours))
        return foreign / max(1e-9, (now - self._start) * (os.cpu_count() or 1))

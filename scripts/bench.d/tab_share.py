"""A database in a tab of Chromium, shared by a relay: what `scripts/bench browser` measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chromium import Chromium, Tab
from procs import BenchError, Supervisor, read_json_line, resident_bytes, run
from running import ROOT

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))

from harness.browser_server import PageServer  # noqa: E402

#: Without these a page's clock goes in steps of 100 µs.
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-store",
}

#: How long relay and page may take to be ready, in seconds.
READY_SECONDS = 60

#: How often the page's heap is looked at while it works, in seconds.
LOOK_EVERY = 0.1


class PageRelay:
    """`pgshare relay` with the plain HTTP door that a page of this machine uses."""

    def __init__(self, binary: Path, folder: Path, supervisor: Supervisor) -> None:
        self.folder = folder
        self.folder.mkdir()
        output = folder / "relay.out"
        with output.open("wb") as file:
            self.process = supervisor.start(
                "relay",
                [binary, "relay", "--json", "--state", folder / "state",
                 "--postgres-listen", "127.0.0.1:0", "--https-listen", "127.0.0.1:0",
                 "--http-listen", "127.0.0.1:0"],
                stdout=file, env=clean_environment(),
            )
        end = time.monotonic() + READY_SECONDS
        while b"\n" not in output.read_bytes():
            if self.process.poll() is not None or time.monotonic() > end:
                raise BenchError(f"the relay is not ready; see {supervisor.folder}/relay.log")
            time.sleep(0.05)
        said = json.loads(output.read_bytes().partition(b"\n")[0])
        self.authority = said["ca_file"]
        self.url = f"http://127.0.0.1:{said['http'].rpartition(':')[2]}"
        made = run([binary, "token", "create", "bench", "--state", folder / "state", "--json"],
                   seconds=READY_SECONDS, env=clean_environment())
        self.token = json.loads(made)["token"]

    @property
    def resident(self) -> int:
        """Bytes of its resident memory."""
        return resident_bytes([self.process.pid])


def clean_environment(**changes: str) -> dict[str, str]:
    """This program's, without what a user has set up for libpq and pgshare."""
    names = [name for name in os.environ if not name.startswith(("PG", "PGSHARE_"))]
    return {name: os.environ[name] for name in names} | changes


class SharedTab:
    """One tab with one engine, and clients' way to it while it is shared."""

    def __init__(self, chromium: Chromium, server: PageServer) -> None:
        self.tab = Tab(chromium, f"{server.url}/bench/bench.html")
        if not self.ask("boot")["isolated"]:
            raise BenchError("the page's clock is too coarse: it is not isolated")

    def ask(self, name: str, *words: object, seconds: float = 120) -> object:
        """A function of the page."""
        return self.tab.ask(f"bench.{name}", *words, seconds=seconds)

    def share(self, relay: PageRelay) -> dict[str, str]:
        """Shares the engine; libpq's environment of its clients. It may be shared several times."""
        shared = self.ask("share", {
            "relay": relay.url, "token": relay.token, "maxConnections": 50,
        })
        return clean_environment(
            PGHOST=shared["host"], PGHOSTADDR="127.0.0.1", PGPORT=str(shared["port"]),
            PGUSER=shared["user"], PGPASSWORD=shared["password"], PGDATABASE=shared["database"],
            PGSSLMODE="verify-full", PGSSLROOTCERT=relay.authority, PGGSSENCMODE="disable",
            PGCONNECT_TIMEOUT="10",
        )


class PagePeak:
    """The highest memory of a tab meanwhile: of its process, and of the page's JavaScript."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._process = tab.process
        self.heap = 0

    def begin(self) -> None:
        """The kernel forgets the highest so far."""
        self._tab.collect_garbage()
        Path(f"/proc/{self._process}/clear_refs").write_text("5")

    def watch(self, is_over: Callable[[], bool]) -> None:
        """Looks at the heap until it `is_over`."""
        while not is_over():
            self.heap = max(self.heap, self._tab.heap_bytes())
            time.sleep(LOOK_EVERY)

    @property
    def resident(self) -> int:
        """Bytes of the process's highest resident set since `begin`."""
        for line in Path(f"/proc/{self._process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise BenchError("the tab's process is gone")


def probe(program: Path, environment: dict[str, str], *words: object, seconds: float) -> dict:
    """Runs the probe to its end; what it measured."""
    command = start_probe(program, environment, *words)
    try:
        return finish_probe(command, seconds)
    finally:
        command.kill()
        command.wait()


def start_probe(program: Path, environment: dict[str, str], *words: object) -> subprocess.Popen:
    """Begins it. It may wait for the end of its input."""
    return subprocess.Popen(
        [str(program), *map(str, words)], env=environment, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, bufsize=0, start_new_session=True,
    )


def finish_probe(command: subprocess.Popen, seconds: float) -> dict:
    """Its answer, in which no operation failed."""
    figures = read_json_line(command, seconds)
    if figures.get("errors"):
        raise BenchError(f"{figures['errors']} operations failed")
    return figures

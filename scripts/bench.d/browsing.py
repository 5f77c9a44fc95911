"""scripts/bench browser: a database in a tab, shared, beside itself called directly. See --help."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import report
from chromium import Chromium, answer, value
from procs import BenchError, ForeignLoad, Supervisor, run
from report import NOISY_SHARE, Spread, number
from running import ROOT, add_options, check_binary, conducted, named, say, write
from tab_share import (
    HERE,
    ISOLATED,
    PagePeak,
    PageRelay,
    PageServer,
    SharedTab,
    finish_probe,
    probe,
    start_probe,
)

MEBIBYTE = 1024 * 1024

#: The largest window of a browser's stream (LinkLimits.browser).
WINDOW_MIB = 1

#: Clients at once, as the targets name them.
CLIENTS = 10

#: The driver, in C; a slower one would be what is measured.
PGBENCH = ROOT / ".build-test-tools/postgres-17/pginstall/bin/pgbench"

SELECT = "SELECT 1"

#: Four statements; each client has a row of its own, so that none waits for another's lock.
TRANSACTION = """
BEGIN;
UPDATE counters SET n = n + 1 WHERE id = :client_id;
SELECT n FROM counters WHERE id = :client_id;
COMMIT;
"""

TABLE = """
create table counters (id int primary key, n bigint not null) with (fillfactor = 50);
insert into counters select g, 0 from generate_series(0, 99) g;
"""

#: Rows of 1000 bytes, made on the fly.
COPY = "copy (select repeat('x', 999) from generate_series(1, {rows})) to stdout"

#: What each client of the memory measure has had, so that its buffers are as large as they get.
RESULT = "select repeat('x', 1000) from generate_series(1, 300)"

EPILOGUE = """
The engine runs in a worker of a page in headless Chromium, the page is shared at a relay on this
machine by its plain HTTP door, and clients (TLS, SCRAM) come by loopback. In a round each side of a
pair is measured twice (A B B A, then B A A B); a ratio or a difference is of one round.
  latency     `select 1` by one client through relay and page, beside execProtocolRaw of the same
              call's bytes in the page; the clocks are read before the send and after the reply
  select      pgbench, 10 clients (a thread each), beside one client; -M simple and prepared
  write       the same with transactions of four statements
  copy        COPY out, thrown away by a client, beside the same call thrown away in the page, in a
              new tab. Memory: the highest resident set of the tab's process
              (VmHWM, reset before); what the page's JavaScript has, its buffers and garbage
              included, asked every 100 ms; and bytes of the reply that had come to the page and
              were not yet gone from its WebSocket
  relay       resident memory of a new relay, after one share with 10 clients, and after more of
              them, each client idle behind a result of 300 kB: the difference a share. All shares
              are of one engine, which they use by turns
"""


@dataclass(frozen=True)
class Line:
    """A line of the table. `value` is judged against `limit`, if there is one."""

    title: str
    measure: str
    #: From the record of one round: the judged value, the shared side, the side alone.
    value: Callable[[dict], float]
    shared: Callable[[dict], float] | None = None
    alone: Callable[[dict], float] | None = None
    limit: float | None = None
    target: str = "–"
    more_is_better: bool = False


def pair(key: str) -> dict[str, Callable[[dict], float]]:
    """The two sides of a figure."""
    return {"shared": lambda r: r[f"shared_{key}"], "alone": lambda r: r[f"alone_{key}"]}


def ratio_line(title: str, measure: str, key: str, **more: object) -> Line:
    """The shared side in parts of the side alone."""
    sides = pair(key)
    return Line(title, measure, lambda r: sides["shared"](r) / sides["alone"](r), **sides, **more)


def added_line(title: str, measure: str, key: str, **more: object) -> Line:
    """What the shared side has more."""
    sides = pair(key)
    return Line(title, measure, lambda r: sides["shared"](r) - sides["alone"](r), **sides, **more)


def many_line(title: str, measure: str) -> Line:
    """Ten clients in sum, beside one."""
    return ratio_line(f"{title}, {CLIENTS} clients / one, TPS", measure, "tps", limit=0.9,
                      target="≥ 0.9", more_is_better=True)


GROWTH = {"limit": 2.0 * WINDOW_MIB, "target": f"≤ {2 * WINDOW_MIB} MiB"}

LINES = (
    added_line("`select 1`, µs added, median", "latency", "p50_us"),
    added_line("`select 1`, µs added, p99", "latency", "p99_us"),
    many_line("`select 1`, simple", "select-simple"),
    many_line("`select 1`, prepared", "select-prepared"),
    many_line("transactions, simple", "write-simple"),
    many_line("transactions, prepared", "write-prepared"),
    ratio_line("COPY out, MB/s, shared / alone", "copy", "mb_s"),
    added_line("COPY out, MiB grown, tab's process", "copy", "resident_mib", **GROWTH),
    added_line("COPY out, MiB grown, page's heap and buffers", "copy", "heap_mib", **GROWTH),
    Line("COPY out, most MiB of the reply held by the page", "copy", lambda r: r["shared_held_mib"],
         **GROWTH),
    Line(f"MiB a share with {CLIENTS} clients, relay", "relay", lambda r: r["share_mib"],
         limit=1.0, target="≤ 1 MiB"),
)

MEASURES = tuple(dict.fromkeys(line.measure for line in LINES))


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench browser",
        description="Measures a database in a browser's tab, shared, beside itself alone.",
        epilog=EPILOGUE, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds (default 3)")
    parser.add_argument("--seconds", type=float, default=2, metavar="S",
                        help="how long a closed loop runs (default 2)")
    parser.add_argument("--mb", type=int, default=200, metavar="N",
                        help="MB of the COPY (default 200)")
    parser.add_argument("--shares", type=int, default=8, metavar="N",
                        help="shares of the relay's memory measure, beside the first (default 8)")
    parser.add_argument("--measures", metavar="A,B", help=f"of {','.join(MEASURES)} (default: all)")
    parser.add_argument("--quick", action="store_true",
                        help="one round, short runs, 20 MB, 2 shares: a try-out")
    add_options(parser)
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.seconds = 1, min(chosen.seconds, 1)
        chosen.mb, chosen.shares = min(chosen.mb, 20), min(chosen.shares, 2)
    if min(chosen.rounds, chosen.mb, chosen.shares) < 1 or chosen.seconds <= 0:
        parser.error("--rounds, --seconds, --mb and --shares must be greater than 0")
    chosen.measures = named(parser, chosen.measures, MEASURES, "measure")
    check_binary(parser, chosen.binary)
    return chosen


class BrowserBench:
    """One run: relay, Chromium, the shared tab, and what was measured."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self.chosen = chosen
        self.folder = folder
        self.supervisor = Supervisor(folder)
        self.server = PageServer({"bench": HERE / "page"}, ISOLATED)
        self.probe = folder / "probe"
        self.records: list[dict] = []

    def prepare(self) -> None:
        """Probe, relay, tab, table, share."""
        run(["gcc", "-O2", "-o", self.probe, HERE / "probe.c", "-I/usr/include/postgresql",
             "-lpq", "-lpthread"], seconds=60)
        (self.folder / "select.sql").write_text(f"{SELECT};\n")
        (self.folder / "write.sql").write_text(TRANSACTION)
        say("starting a relay")
        self.relay = PageRelay(self.chosen.binary, self.folder / "relay", self.supervisor)
        self.chromium = Chromium(self.folder / "chromium", self.supervisor)
        say(f"starting an engine in Chromium {self.chromium.version}")
        self.shared = SharedTab(self.chromium, self.server)
        self.shared.ask("exec", TABLE)
        self.environment = self.shared.share(self.relay)
        # Code is compiled, and the worker's memory has grown, before the clock runs.
        self.pgbench("select", "simple", 1)
        self.shared_latency()
        self.shared.ask("latency", self.chosen.seconds / 2)

    def close(self) -> None:
        """Ends all that was started."""
        self.supervisor.stop_all()
        self.server.close()

    def measure_all(self) -> None:
        """Every measure in every round."""
        for turn in range(self.chosen.rounds):
            for name in self.chosen.measures:
                record = {"measure": name, "round": turn, "t": time.time()}
                load = ForeignLoad()
                try:
                    record |= self.measure(name, turn)
                except (BenchError, OSError) as error:
                    record["error"] = str(error)
                record["foreign"] = load.share()
                self.records.append(record)
                write(self.chosen.json, record)
                shown = {key: number(value) for key, value in record.items()
                         if isinstance(value, float) and key != "t"}
                say(f"{name} {turn + 1}/{self.chosen.rounds}: {record.get('error', shown)}")

    def measure(self, name: str, turn: int) -> dict[str, float]:
        """One measure in one round."""
        if name == "relay":
            return self.relay_memory(turn)
        if name == "copy":
            return self.copy(turn)
        sides: dict[str, Callable[[], dict[str, float]]] = {
            "alone": self.page_latency, "shared": self.shared_latency,
        }
        if name != "latency":
            script, mode = name.split("-")
            sides = {
                "alone": lambda: self.pgbench(script, mode, 1),
                "shared": lambda: self.pgbench(script, mode, CLIENTS),
            }
        return both_sides(sides, turn)

    # Latency

    def shared_latency(self) -> dict[str, float]:
        """One client. The page keeps the bytes of a call, for its own turn."""
        self.shared.ask("watchFor", SELECT)
        said = probe(self.probe, self.environment, "latency", 1, self.chosen.seconds, "simple",
                     seconds=self.chosen.seconds * 3 + 30)
        return {key: said[key] for key in ("p50_us", "p99_us")}

    def page_latency(self) -> dict[str, float]:
        """The page itself."""
        said = self.shared.ask("latency", self.chosen.seconds)
        return {key: said[key] for key in ("p50_us", "p99_us")}

    # Throughput

    def pgbench(self, script: str, mode: str, clients: int) -> dict[str, float]:
        """Transactions a second, connecting left out."""
        output = run(
            [PGBENCH, "-n", "-f", self.folder / f"{script}.sql", "-M", mode, "-c", clients,
             "-j", clients, "-T", max(1, round(self.chosen.seconds))],
            seconds=self.chosen.seconds * 3 + 60, env=self.environment,
        )
        return {"tps": float(re.search(r"tps = ([\d.]+)", output)[1])}

    # COPY

    @property
    def copy_sql(self) -> str:
        """The whole result has `--mb` MB."""
        return COPY.format(rows=self.chosen.mb * 1000)

    def copy(self, turn: int) -> dict[str, float]:
        """Both sides, in a new tab."""
        tab = SharedTab(self.chromium, self.server)
        try:
            environment = tab.share(self.relay)
            sides = {
                "alone": lambda: self.page_copy(tab),
                "shared": lambda: self.shared_copy(tab, environment),
            }
            # Gets the bytes of the call, and both ways warm.
            tab.ask("watchFor", "generate_series")
            for side in ("shared", "alone"):
                sides[side]()
            return both_sides(sides, turn)
        finally:
            tab.tab.close()

    def shared_copy(self, tab: SharedTab, environment: dict[str, str]) -> dict[str, float]:
        """By a client that throws the bytes away, while the page's memory is looked at."""
        peak = PagePeak(tab.tab)
        tab.ask("takeMostHeld")
        peak.begin()
        command = start_probe(self.probe, environment, "copy", self.copy_sql)
        try:
            peak.watch(lambda: command.poll() is not None)
            said = finish_probe(command, 10)
        finally:
            command.kill()
            command.wait()
        return self.copied(said, peak) | {"held_mib": tab.ask("takeMostHeld") / MEBIBYTE}

    def page_copy(self, tab: SharedTab) -> dict[str, float]:
        """In the page, looked at the same way."""
        peak = PagePeak(tab.tab)
        peak.begin()
        discarding = tab.tab.begin("bench.discard")
        peak.watch(discarding.done)
        return self.copied(value(answer(discarding, "discard", 10)), peak)

    def copied(self, said: dict, peak: PagePeak) -> dict[str, float]:
        """Rate and memory of one run. It has got all the bytes, or it is an error."""
        if said["bytes"] < self.chosen.mb * 1_000_000:
            raise BenchError(f"only {said['bytes']} bytes came")
        return {
            "mb_s": self.chosen.mb / said["seconds"],
            "resident_mib": peak.resident / MEBIBYTE,
            "heap_mib": peak.heap / MEBIBYTE,
        }

    # The relay's memory

    def relay_memory(self, turn: int) -> dict[str, float]:
        """What each further share with its clients adds to a relay."""
        relay = PageRelay(self.chosen.binary, self.folder / f"relay-{turn}", self.supervisor)
        tab = SharedTab(self.chromium, self.server)
        clients: list[subprocess.Popen] = []

        def come() -> None:
            environment = tab.share(relay)
            clients.append(start_probe(self.probe, environment, "idle", CLIENTS, RESULT))
            finish_probe(clients[-1], 120)

        try:
            come()
            before = relay.resident
            for _ in range(self.chosen.shares):
                come()
            grown = relay.resident - before
        finally:
            for client in clients:
                client.kill()
                client.wait()
            tab.tab.close()
            self.supervisor.stop(relay.process)
        return {"share_mib": grown / self.chosen.shares / MEBIBYTE, "first_mib": before / MEBIBYTE}


def both_sides(
    sides: dict[str, Callable[[], dict[str, float]]], turn: int
) -> dict[str, float]:
    """Means of both sides, each measured twice (A B B A): a drift of the machine cancels out."""
    order = list(sides) if turn % 2 == 0 else list(reversed(sides))
    runs = [(side, sides[side]()) for side in (*order, *reversed(order))]
    return {
        f"{side}_{key}": statistics.fmean(run[key] for name, run in runs if name == side)
        for side, first in runs[:2] for key in first
    }


def table(records: list[dict], wanted: Sequence[str]) -> str:
    """Markdown: a line each, with the medians of both sides."""
    rows = [["measure", "target", "median (min–max)", "verdict", "shared, or many", "alone"]]
    rows.append(["---"] * len(rows[0]))
    for line in LINES:
        done = [r for r in records if r["measure"] == line.measure and "error" not in r]
        if line.measure not in wanted:
            continue
        spread = Spread.of([line.value(r) for r in done])
        rows.append([
            line.title, line.target, spread.text() if spread else "–", verdict(line, spread),
            *(side_text(side, done) for side in (line.shared, line.alone)),
        ])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def side_text(side: Callable[[dict], float] | None, done: list[dict]) -> str:
    """The median of one side."""
    spread = Spread.of([side(r) for r in done]) if side else None
    return number(spread.median) if spread else "–"


def verdict(line: Line, spread: Spread | None) -> str:
    """As the other benchmarks say it; a line without a target has none."""
    if spread is not None and line.limit is None:
        return "–"
    return report.verdict(line, spread)


def remarks(bench: BrowserBench) -> str:
    """What a reader must know to believe the table."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip()
    foreign = [record["foreign"] for record in bench.records]
    noisy = [r for r in bench.records if r["foreign"] > NOISY_SHARE]
    names = ", ".join(sorted({r["measure"] for r in noisy}))
    lines = [
        f"{model[1] if model else 'unknown processor'}, {os.cpu_count()} cores, "
        f"{os.uname().sysname} {os.uname().release}; Chromium {bench.chromium.version}; "
        f"{time.strftime('%Y-%m-%d')}; commit {commit or 'none'}.",
        f"{1 + max(r['round'] for r in bench.records)} rounds, {bench.chosen.seconds:g} s a run, "
        f"{bench.chosen.mb} MB of COPY, {bench.chosen.shares} shares more than one. `~`: rounds "
        "stand on both sides of the target.",
        f"Others used {100 * sum(foreign) / len(foreign):.0f} % of the machine meanwhile, "
        f"{100 * max(foreign):.0f} % at worst; {len(noisy)} of {len(foreign)} measurements had "
        f"more than {100 * NOISY_SHARE:.0f} % taken from them" + (f": {names}." if names else "."),
    ]
    if bench.chosen.quick:
        lines.insert(0, "**--quick: these figures are no measurement.**")
    lines += [f"Failed: {r['measure']}, round {r['round'] + 1}: {r['error']}"
              for r in bench.records if "error" in r]
    return "\n".join(f"- {line}" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Runs it; 0 when nothing failed, whatever the figures are."""
    chosen = options(arguments)
    folder = Path(tempfile.mkdtemp(prefix="pgshare-bench-"))
    bench = BrowserBench(chosen, folder)

    def work() -> int:
        bench.prepare()
        try:
            bench.measure_all()
        finally:
            if bench.records:
                print(table(bench.records, chosen.measures), end="\n\n")
                print(remarks(bench), flush=True)
        return 1 if any("error" in record for record in bench.records) else 0

    return conducted(chosen, folder, work, bench.close)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

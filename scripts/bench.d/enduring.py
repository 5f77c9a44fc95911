"""scripts/bench endurance: a crowd of idle clients, a storm of new ones, links that come back."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import report
from crowds import Crowd, CrowdSize, raise_descriptors
from procs import BenchError, ForeignLoad, Supervisor
from report import NOISY_SHARE, Spread, number
from returns import ALLOWED, CUTS, ROUND_TRIPS, Returns
from running import ROOT, add_options, check_binary, conducted, named, say, write
from storms import TARGET_RATE, Storms

EPILOGUE = """
What is measured, on this machine, clients over loopback:
  crowd   10,000 clients on 1,000 tunnels of one relay. 980 tunnels have scripted agents, all in one
          process; 20 have real ones, with a scripted database. Everybody logs in (TLS, SCRAM),
          asks `select 1`, is idle for 30 s, and all are asked again at once
  storm   new connections (TLS, SCRAM, `select 1`, close) arrive at a fixed rate, however late the
          answers are, while 16 running clients ask `select 1` 50 times a second each. A rate is
          sustained if nobody failed and 98 % were done by the end. PgBouncer checks passwords, too,
          and keeps its backends; pgshare has a new one for each client. Before a scripted database
          only the proxies' own work counts
  return  a client asks `select 1` while its agent's link is cut, for 5, 8, 11, 14 and 20 s, by losing
          every packet (frozen) or by a device that goes down and up; the time from the link's
          return to the answer, in the median and at worst. And frozen for 1 s, three times, which
          TCP gets over by itself. Relay and agent are in network namespaces (root)
A ratio is taken within a round. Close other programs first: the remarks say how much they took.
"""


@dataclass(frozen=True)
class Line:
    """A row of the table. `verdict` of report.py reads `limit` and `more_is_better`."""

    measure: str
    title: str
    key: str
    #: As the table shows it; empty where there is none.
    target: str = ""
    limit: float | None = None
    more_is_better: bool = False
    #: The figure to judge where it is not `key` itself.
    judge: Callable[[dict], float] | None = None

    def value(self, record: dict) -> float:
        """The figure that the target speaks of."""
        return self.judge(record) if self.judge else record[self.key]


#: Clients and tunnels of the crowd.
FULL, QUICK = CrowdSize(), CrowdSize(clients=500, tunnels=50, agents=2, idle_seconds=5)

CROWD = (
    Line("crowd", "clients that answer `select 1`, of 10,000 on 1,000 tunnels", "answered",
         "all", 1.0, True, lambda r: r["answered"] / r["wanted"]),
    Line("crowd", "KiB an idle client, relay", "client_kib", "≤ 20 KiB", 20),
    Line("crowd", "KiB an idle tunnel, relay", "tunnel_kib", "≤ 40 KiB", 40),
    Line("crowd", "MiB of the relay with all of them", "relay_mib"),
    Line("crowd", "MiB of an agent with its 10 clients", "agent_mib"),
    Line("crowd", "CPU of the relay while all are idle, % of a core", "idle_relay_percent"),
    Line("crowd", "CPU of an agent meanwhile, % of a core", "idle_agent_percent"),
    Line("crowd", "logins of the crowd, a second, 64 at once", "logins"),
    Line("crowd", "all asked at once: s until the last answer", "ask_seconds"),
)


def storm_lines(measure: str, database: str) -> tuple[Line, ...]:
    """The same figures before each database."""
    return (
        Line(measure, f"new connections a second, sustained, {database}", "rate",
             f"≥ {TARGET_RATE}", TARGET_RATE, True),
        Line(measure, f"the same without the running clients' p99 doubling, {database}",
             "fair_rate", f"≥ {TARGET_RATE}", TARGET_RATE, True),
        Line(measure, f"p99 of running clients at {TARGET_RATE} a second / alone, {database}",
             "slower", "≤ 2", 2),
        Line(measure, f"p99 µs of running clients, alone, {database}", "quiet_p99_us"),
        Line(measure, f"CPU µs a new connection at the highest rate, {database}", "cpu_us"),
    )


RETURN = (
    *(
        Line("return", f"ms to the answer once the link is back, {name}, RTT {rtt} ms{which}",
             f"{way}_{rtt}{key}_ms", f"≤ {2 * rtt + ALLOWED} ms", 2 * rtt + ALLOWED)
        for way, name in (("frozen", "frozen"), ("down", "down and up"))
        for rtt in ROUND_TRIPS for key, which in (("", ""), ("_worst", ", at worst"))
    ),
    *(
        Line("return", f"the same, frozen for 1 s only (TCP's own), RTT {rtt} ms, at worst",
             f"stall_{rtt}_worst_ms")
        for rtt in ROUND_TRIPS
    ),
)

LINES = (
    *CROWD,
    *storm_lines("storm-scripted", "scripted database"),
    *storm_lines("storm-postgres", "Postgres"),
    *RETURN,
)

MEASURES = list(dict.fromkeys(line.measure for line in LINES))

#: The columns beside pgshare's own.
OTHERS = {"pgbouncer": "PgB"}


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench endurance", epilog=EPILOGUE,
        description="Measures what pgshare bears: a crowd, a storm, links that come back.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="rounds (default 2)")
    parser.add_argument("--measures", metavar="A,B", help=f"of {','.join(MEASURES)}")
    parser.add_argument("--quick", action="store_true", help="small and short: a try-out")
    add_options(parser)
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    chosen.measures = named(parser, chosen.measures, MEASURES, "measure")
    check_binary(parser, chosen.binary)
    return chosen


class Endurance:
    """One run: what was started, and what was measured so far."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self.chosen, self.folder = chosen, folder
        self.supervisor = Supervisor(folder)
        self.records: list[dict] = []
        self.size = QUICK if chosen.quick else FULL
        self.storms: dict[str, Storms] = {}

    def measure_all(self) -> None:
        """Rounds are interleaved; within one, peers take turns at being first."""
        for turn in range(self.chosen.rounds):
            for measure in self.chosen.measures:
                peers = ["pgbouncer", "pgshare"] if measure.startswith("storm") else ["pgshare"]
                for peer in peers if turn % 2 == 0 else reversed(peers):
                    self.measure_one(measure, turn, peer)

    def measure_one(self, measure: str, turn: int, peer: str) -> None:
        """A failure is a record too, and the rest goes on."""
        record = {"measure": measure, "peer": peer, "round": turn, "t": time.time()}
        load = ForeignLoad()
        try:
            record |= self.run(measure, turn, peer)
        except (BenchError, OSError) as error:
            record["error"] = str(error)
        record["foreign"] = load.share()
        self.records.append(record)
        write(self.chosen.json, record)
        shown = {k: number(v) if isinstance(v, float) else v for k, v in record.items()
                 if k not in ("measure", "peer", "round", "t")}
        say(f"{measure} {turn + 1}/{self.chosen.rounds} {peer}: {shown}")

    def run(self, measure: str, turn: int, peer: str) -> dict[str, float]:
        """The figures of one measurement."""
        if measure == "crowd":
            folder = self.folder / f"crowd-{turn}"
            figures = Crowd(self.chosen.binary, folder, self.supervisor, self.size).measure()
            return figures | {
                "wanted": self.size.clients, "logins": figures["opened"] / figures["login_seconds"],
            }
        if measure == "return":
            cuts = CUTS[:1] if self.chosen.quick else CUTS
            folder = self.folder / f"return-{turn}"
            return Returns(self.chosen.binary, folder, self.supervisor, cuts).measure()
        return self.storm(measure).measure(peer)

    def storm(self, measure: str) -> Storms:
        """Its database and peers stay for all rounds."""
        if measure not in self.storms:
            storm = Storms(
                self.chosen.binary, self.folder / measure, self.supervisor,
                2 if self.chosen.quick else 5, scripted=measure == "storm-scripted",
            )
            storm.start()
            self.storms[measure] = storm
        return self.storms[measure]


def table(records: list[dict], wanted: Sequence[str]) -> str:
    """Markdown: a line each."""
    rows = [["measure", "target", "pgshare: median (min–max)", "verdict", *OTHERS.values()]]
    rows.append(["---"] * len(rows[0]))
    for line in LINES:
        if line.measure not in wanted:
            continue
        own = Spread.of(figures(records, line, "pgshare"))
        judged = Spread.of(figures(records, line, "pgshare", Line.value))
        rows.append([
            line.title, line.target or "–", own.text() if own else "–", verdict(line, judged),
            *(median(figures(records, line, peer)) for peer in OTHERS),
        ])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def figures(
    records: list[dict], line: Line, peer: str,
    value: Callable[[Line, dict], float] = lambda line, record: record[line.key],
) -> list[float]:
    """One figure of each round that has it."""
    return [
        value(line, r) for r in records
        if r["measure"] == line.measure and r["peer"] == peer and line.key in r
    ]


def median(values: list[float]) -> str:
    """Of another peer."""
    return number(statistics.median(values)) if values else "–"


def verdict(line: Line, spread: Spread | None) -> str:
    """As the other benchmarks say it; a line without a target has none."""
    return "–" if line.limit is None and spread else report.verdict(line, spread)


def remarks(run: Endurance) -> str:
    """What a reader must know to believe the table."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip()
    foreign = [record["foreign"] for record in run.records]
    noisy = sorted({r["measure"] for r in run.records if r["foreign"] > NOISY_SHARE})
    lines = [
        f"{model[1] if model else 'unknown processor'}, {os.cpu_count()} cores, "
        f"{os.uname().sysname} {os.uname().release} (TCP: {congestion_control()}); "
        f"{time.strftime('%Y-%m-%d')}; "
        f"commit {commit or 'none'}.",
        f"{1 + max(r['round'] for r in run.records)} rounds; the median, and in brackets the least "
        "and the greatest. `~`: rounds stand on both sides of the target.",
        f"Others used {100 * statistics.fmean(foreign):.0f} % of the machine meanwhile, "
        f"{100 * max(foreign):.0f} % at worst"
        + (f"; more than {100 * NOISY_SHARE:.0f} %: {', '.join(noisy)}." if noisy else "."),
    ]
    if run.chosen.quick:
        lines.insert(0, "**--quick: small and short; these figures are no measurement.**")
    lines += [f"Failed: {r['measure']}, {r['peer']}, round {r['round'] + 1}: {r['error']}"
              for r in run.records if "error" in r]
    return "\n".join(f"- {line}" for line in lines)


def congestion_control() -> str:
    """It decides how soon TCP sends again what a frozen link lost."""
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def main(arguments: Sequence[str]) -> int:
    """Runs it; 0 when nothing failed, whatever the figures are."""
    chosen = options(arguments)
    raise_descriptors(2 * FULL.clients if not chosen.quick else 2 * QUICK.clients)
    folder = Path(tempfile.mkdtemp(prefix="pgshare-bench-"))
    folder.chmod(0o755)  # user `postgres` goes in too
    run = Endurance(chosen, folder)

    def work() -> int:
        try:
            run.measure_all()
        finally:
            if run.records:
                print(table(run.records, chosen.measures), end="\n\n")
                print(remarks(run), flush=True)
        return 1 if any("error" in record for record in run.records) else 0

    return conducted(chosen, folder, work, run.supervisor.stop_all)

"""scripts/bench deploy: `pgshare deploy` beside pg_dump and pg_restore by hand. See --help."""

from __future__ import annotations

import argparse
import os
import re
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster
from pgshare_peer import PgShare
from procs import BenchError, ForeignLoad, Supervisor, run
from report import Spread, number
from running import ROOT, add_options, check_binary, conducted, named, say, write

#: What the target of a managed service has, unlike the other measures' cluster.
SETTINGS = "wal_level = replica\nmax_wal_senders = 4\nmax_wal_size = 32GB\n"

#: The database that tests use too: many small rows, rows of 8 KB, large values.
DATA = ROOT / "Tests/EndToEnd/databases/big.sql"

#: No process of ours may take more, whatever the size.
MAXIMUM_PROCESS_MB = 200

#: The longest that one deploy may take, in seconds a MB, beside a minute to start.
SECONDS_A_MB = 0.5

EPILOGUE = """
Every round runs each way once, every other round backwards; a ratio is taken to the run by hand of
the same round. Source and target are two databases of one throw-away Postgres (wal_level replica,
no fsync); by hand, both programs use its unix socket. A deploy's source is a share: client TLS,
relay, tunnel TLS, agent. Its own pg_dump and pg_restore are found as a user's would be.
Memory is the highest resident set of each process (VmHWM, wait4).
"""


@dataclass(frozen=True)
class Way:
    """One way to get the database to the target."""

    name: str
    about: str
    #: Of `pgshare deploy`; None: by hand.
    options: tuple[str, ...] | None
    #: Whether the source is reached through a share, or directly.
    shared: bool = True


QUIET = ("--no-analyze",)
WAYS = (
    Way("hand", "pg_dump -Fc -Z0 | pg_restore, direct", None),
    Way("in-place", "in place, through a share",
        ("--verify", "none", "--method", "in-place", *QUIET)),
    Way("direct", "in place, source direct",
        ("--verify", "none", "--method", "in-place", *QUIET), shared=False),
    Way("swap", "swap, two jobs, through a share",
        ("--verify", "none", "--method", "swap", "--jobs", "2", *QUIET)),
    Way("verified", "in place, through a share, all verified",
        ("--verify", "full", "--method", "in-place", *QUIET)),
)


@dataclass(frozen=True)
class Goal:
    """A line of the table: what must be reached."""

    title: str
    #: From the seconds of one round by way; None where a way is missing.
    ratio: Callable[[dict[str, float]], float]
    ways: tuple[str, ...]
    limit: float


GOALS = (
    Goal("through a share, in place, unverified / by hand",
         lambda s: s["in-place"] / s["hand"], ("in-place", "hand"), 1.15),
    Goal("source direct, in place, unverified / by hand",
         lambda s: s["direct"] / s["hand"], ("direct", "hand"), 1.15),
    Goal("through a share, two jobs, unverified / by hand",
         lambda s: s["swap"] / s["hand"], ("swap", "hand"), 1.0),
    Goal("what verifying everything adds / by hand",
         lambda s: (s["verified"] - s["in-place"]) / s["hand"],
         ("verified", "in-place", "hand"), 0.3),
)


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench deploy",
        description="Measures `pgshare deploy` beside pg_dump and pg_restore by hand.",
        epilog=EPILOGUE, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [way.name for way in WAYS]
    parser.add_argument("--mb", type=int, default=1024, metavar="N",
                        help="about the size of the database in MB (default 1024)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds (default 3)")
    parser.add_argument("--quick", action="store_true", help="64 MB, one round: a try-out")
    parser.add_argument("--ways", metavar="A,B", help=f"of {','.join(names)} (default: all)")
    add_options(parser)
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.mb, chosen.rounds = min(chosen.mb, 64), 1
    if chosen.mb < 16 or chosen.rounds < 1:
        parser.error("--mb must be at least 16, --rounds at least 1")
    wanted = named(parser, chosen.ways, names, "way")
    chosen.ways = [way for way in WAYS if way.name in wanted]
    check_binary(parser, chosen.binary)
    return chosen


class DeployBench:
    """One run: the cluster, the share, and what was measured."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self.chosen = chosen
        self.folder = folder
        self.supervisor = Supervisor(folder)
        self.cluster = Cluster(folder, self.supervisor, more_settings=SETTINGS)
        self.share = PgShare("pgshare", "pgshare", self.cluster, self.supervisor,
                             binary=chosen.binary)
        self.records: list[dict] = []

    def prepare(self) -> None:
        """Cluster, rows, relay, agent, share."""
        say("starting a throw-away PostgreSQL")
        self.cluster.start()
        say(f"making about {self.chosen.mb} MB of rows")
        size = self.chosen.mb
        run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-v", f"rows={size * 4000}",
             "-v", f"megabytes={size * 2 // 5}", "-v", f"values_mb={size // 16}",
             "-v", f"huge_mb={min(size // 16, 200)}", "-f", DATA],
            seconds=60 + size, env=self.cluster.environment())
        self.cluster.sql("vacuum freeze", "checkpoint", seconds=300)
        say("starting relay and agent")
        self.share.start()

    def measure_all(self) -> None:
        """Every way in every round."""
        for turn in range(self.chosen.rounds):
            for way in self.chosen.ways if turn % 2 == 0 else reversed(self.chosen.ways):
                record = {"way": way.name, "round": turn, "mb": self.chosen.mb}
                load = ForeignLoad()
                try:
                    record |= self.measure(way)
                except (BenchError, OSError) as error:
                    record["error"] = str(error)
                record["foreign"] = load.share()
                self.records.append(record)
                write(self.chosen.json, record)
                say(f"round {turn + 1}/{self.chosen.rounds} {record}")

    def measure(self, way: Way) -> dict[str, float]:
        """One way, once, into an empty database."""
        self.cluster.sql("create database target", "checkpoint", database="postgres")
        try:
            start = time.monotonic()
            figures = self.by_hand() if way.options is None else self.deploy(way)
            figures["seconds"] = time.monotonic() - start
            self.check()
            return figures
        finally:
            self.drop()

    def by_hand(self) -> dict[str, float]:
        """Both programs on the unix socket; both must succeed."""
        environment = self.cluster.environment()
        dump = subprocess.Popen(
            ["pg_dump", "-Fc", "-Z0"], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )
        try:
            run(["pg_restore", "-d", "target", "--exit-on-error"], seconds=self.timeout,
                env=environment, stdin=dump.stdout)
            if dump.wait(10) != 0:
                raise BenchError(f"pg_dump: {dump.stderr.read().decode()[-300:]}")
        finally:
            dump.stdout.close()
            dump.stderr.close()
            if dump.poll() is None:
                dump.kill()
                dump.wait()
        return {}

    def deploy(self, way: Way) -> dict[str, float]:
        """`pgshare deploy`, and the memory of every process of ours."""
        self.share.check_alive()
        direct = f"host={self.cluster.sockets} port={self.cluster.port} user=postgres"
        source = f"{direct} dbname=bench"
        secrets = {}
        if way.shared:
            words = self.share.connection
            source = (
                f"host={words['PGHOST']} hostaddr={words['PGHOSTADDR']} port={words['PGPORT']} "
                f"user={words['PGUSER']} dbname={words['PGDATABASE']} sslmode=verify-full "
                f"sslrootcert={self.share.authority}"
            )
            secrets["PGSHARE_SOURCE_PASSWORD"] = words["PGPASSWORD"]
        environment = {
            name: value for name, value in self.cluster.environment().items()
            if not name.startswith("PG")
        }
        log = self.folder / "deploy.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [self.chosen.binary, "deploy", source, f"{direct} dbname=target", "--yes",
                 "--json", "--state", self.folder / "deploys", *way.options],
                env=environment | secrets, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )
            status, peak = await_end(process, self.timeout)
        if status != 0:
            raise BenchError(f"deploy ended with status {status}: {log.read_text()[-400:]}")
        figures = {"deploy_mb": peak}
        if way.shared:
            for role in ("relay", "agent"):
                figures[f"{role}_mb"] = max(map(highest_resident, self.share.roots(role)))
        return figures

    @property
    def timeout(self) -> float:
        """In seconds."""
        return 60 + self.chosen.mb * SECONDS_A_MB

    def check(self) -> None:
        """The target must hold the rows."""
        count = " + ".join(
            f"(select count(*) from {table})"
            for table in ("events", "blocks_1", "blocks_4", "values_large", "value_huge")
        )
        if self.cluster.sql(f"select {count}", database="target") != self.cluster.sql(
            f"select {count}"
        ):
            raise BenchError("the target has other rows")

    def drop(self) -> None:
        """The target, what a swap kept of it, and what a failed one left."""
        names = self.cluster.sql(
            "select datname from pg_database where datname = 'target' or datname like 'pgshare%'",
            database="postgres",
        )
        for name in names.splitlines():
            self.cluster.sql(f'drop database "{name}" with (force)', database="postgres")


def await_end(process: subprocess.Popen, seconds: float) -> tuple[int, float]:
    """Exit status, and the highest resident set in MB of the process or a program that it ran."""
    late = threading.Timer(seconds, lambda: os.killpg(process.pid, signal.SIGKILL))
    late.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        raise
    finally:
        late.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss / 1024


def highest_resident(pid: int) -> float:
    """VmHWM in MB: the highest since the process began."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", text)[1]) / 1024


def seconds_by_round(records: list[dict]) -> list[dict[str, float]]:
    """The seconds of each way, a dictionary a round."""
    rounds: dict[int, dict[str, float]] = {}
    for record in records:
        if "error" not in record:
            rounds.setdefault(record["round"], {})[record["way"]] = record["seconds"]
    return list(rounds.values())


def table(records: list[dict]) -> str:
    """Markdown: the seconds of each way, then the goals, then the memory."""
    rounds = seconds_by_round(records)
    lines = ["| way | seconds: median (min–max) | to by hand |", "| --- | --- | --- |"]
    for way in WAYS:
        spread = Spread.of([r[way.name] for r in rounds if way.name in r])
        ratio = Spread.of([r[way.name] / r["hand"] for r in rounds if {way.name, "hand"} <= set(r)])
        if spread:
            lines.append(f"| {way.about} | {spread.text()} | {ratio.text() if ratio else '–'} |")
    lines += ["", "| measure | target | median (min–max) | verdict |"]
    lines += ["| --- | --- | --- | --- |"]
    for goal in GOALS:
        spread = Spread.of([goal.ratio(r) for r in rounds if set(goal.ways) <= set(r)])
        if spread:
            lines.append(goal_line(goal.title, goal.limit, spread))
    for role in ("deploy", "relay", "agent"):
        spread = Spread.of([r[f"{role}_mb"] for r in records if f"{role}_mb" in r])
        if spread:
            title = f"highest resident memory of {role}, MB"
            lines.append(goal_line(title, MAXIMUM_PROCESS_MB, spread))
    return "\n".join(lines)


def goal_line(title: str, limit: float, spread: Spread) -> str:
    """One line; `~` where the rounds stand on both sides of the target."""
    verdict = "met" if spread.median <= limit else "**missed**"
    if (spread.low <= limit) != (spread.high <= limit):
        verdict += " ~"
    return f"| {title} | ≤ {limit:g} | {spread.text()} | {verdict} |"


def remarks(bench: DeployBench) -> str:
    """What a reader must know to believe the table."""
    bytes_there = bench.cluster.sql("select pg_database_size('bench')")
    foreign = [record["foreign"] for record in bench.records]
    lines = [
        f"{number(int(bytes_there) / 2**20)} MB on disk; {os.cpu_count()} cores; "
        + bench.cluster.sql("select 'PostgreSQL ' || split_part(version(), ' ', 2)") + ".",
        f"Others used {100 * sum(foreign) / len(foreign):.0f} % of the machine meanwhile, "
        f"{100 * max(foreign):.0f} % at worst.",
    ]
    if bench.chosen.quick:
        lines.insert(0, "**--quick: these figures are no measurement.**")
    lines += [f"Failed: {r['way']}: {r['error']}" for r in bench.records if "error" in r]
    return "\n".join(f"- {line}" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Runs it; 0 when nothing failed, whatever the figures are."""
    chosen = options(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = Path(tempfile.mkdtemp(prefix="pgshare-bench-"))
    folder.chmod(0o755)  # user `postgres` goes in too
    bench = DeployBench(chosen, folder)

    def work() -> int:
        bench.prepare()
        try:
            bench.measure_all()
        finally:
            if bench.records:
                print(table(bench.records), end="\n\n")
                print(remarks(bench), flush=True)
        return 1 if any("error" in record for record in bench.records) else 0

    return conducted(chosen, folder, work, bench.supervisor.stop_all)

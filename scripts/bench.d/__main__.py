"""scripts/bench: pgshare beside its peers. See --help."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import browsing
import deploying
import enduring
import report
import targets
from cluster import Cluster, DataSize
from measures import Context, Effort
from peers import Direct, DirectTLS, Peer, PgBouncer, SSHReverse, StunnelPair
from pgshare_peer import PgShare
from procs import BenchError, ForeignLoad, Supervisor, run
from running import ROOT, add_options, check_binary, conducted, named, say, write
from targets import Measure
from tunnels import IdleTunnels

HERE = Path(__file__).resolve().parent

#: The peers, in the order of the columns.
LABELS = {
    "direct": "direct",
    "direct-tls": "direct TLS",
    "pgbouncer": "PgB",
    "ssh": "ssh -R",
    "stunnel": "stunnel pair",
    "pgshare": "pgshare",
}

KINDS: dict[str, type[Peer]] = {
    "direct": Direct,
    "direct-tls": DirectTLS,
    "pgbouncer": PgBouncer,
    "ssh": SSHReverse,
    "stunnel": StunnelPair,
    "pgshare": PgShare,
}

EPILOGUE = """
What is compared (all on this machine, one Postgres, clients over loopback):
  direct        Postgres's unix socket, no TLS
  direct-tls    Postgres's TLS port; new connections log in with SCRAM-SHA-256
  pgbouncer     session mode, TLS to the client, 127.0.0.1 without TLS to Postgres, trust; it keeps
                its backends, so it does less for a new connection than all the others
  ssh           ssh -R to an sshd, with Postgres's own TLS inside
  stunnel       two stunnels, TLS from the client and TLS between them
  pgshare       relay and agent (both are counted), TLS from the client and in the tunnel, SCRAM,
                the agent on Postgres's unix socket
Rounds are interleaved (A B C, C B A, A B C ...). A ratio is the median of the ratios within each
round. Close other programs first: the remarks under the table say how much they took.
"""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures pgshare beside its peers and prints a table against the targets.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "measure", nargs="*",
        help="which measures (default: all; see --list); `deploy` alone measures pgshare deploy, "
        "`browser` alone a shared tab, `endurance` alone a crowd, a storm and links that come "
        "back; see `scripts/bench deploy --help` and so on",
    )
    parser.add_argument("--list", action="store_true", help="list the measures and stop")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds (default 3)")
    parser.add_argument("--peers", metavar="A,B", help=f"of {','.join(LABELS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small data, short runs: a try-out")
    add_options(parser)
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    chosen.peers = named(parser, chosen.peers, list(LABELS), "peer")
    if "pgshare" in chosen.peers and not chosen.list:
        check_binary(parser, chosen.binary, ", or leave pgshare out of --peers")
    return chosen


class Bench:
    """One run: what was started, and what was measured so far."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self.chosen = chosen
        self.folder = folder
        self.supervisor = Supervisor(folder)
        self.cluster = Cluster(folder, self.supervisor)
        self.records: list[dict] = []
        self.peers: dict[str, Peer] = {}
        self.context = Context(
            cluster=self.cluster,
            effort=Effort.quick() if chosen.quick else Effort.full(),
            probe=folder / "probe",
            open_tunnels=IdleTunnels,
        )

    def prepare(self) -> None:
        """Probe, cluster, data, peers."""
        run(
            ["gcc", "-O2", "-o", self.context.probe, HERE / "probe.c",
             "-I/usr/include/postgresql", "-lpq", "-lpthread"],
            seconds=60,
        )
        say("starting a throw-away PostgreSQL")
        self.cluster.start()
        say("making its data")
        self.cluster.fill(DataSize.quick() if self.chosen.quick else DataSize.full())
        for name in self.chosen.peers:
            say(f"starting {LABELS[name]}")
            special = {"binary": self.chosen.binary} if name == "pgshare" else {}
            peer = KINDS[name](name, LABELS[name], self.cluster, self.supervisor, **special)
            peer.start()
            self.peers[name] = peer

    def environment(self) -> dict:
        """What a reader of the figures must know of this machine."""
        commit = subprocess.run(
            ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True
        )
        model = [
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
        return {
            "environment": True,
            "processor": model[0] if model else platform.machine(),
            "cores": os.cpu_count(),
            "kernel": f"{platform.system()} {platform.release()}",
            "postgres": self.cluster.sql("select 'PostgreSQL ' || split_part(version(), ' ', 2)"),
            "date": datetime.date.today().isoformat(),
            "commit": commit.stdout.strip() or "none",
            "quick": self.chosen.quick,
        }

    def measure_all(self, wanted: list[Measure]) -> None:
        """Every measure in its rounds, the peers of a round in turn, every other time backwards."""
        for measure in wanted:
            for turn in range(min(self.chosen.rounds, measure.maximum_rounds)):
                names = [n for n in self.peers if not measure.only or n in measure.only]
                for name in names if turn % 2 == 0 else reversed(names):
                    self.measure_one(measure, turn, self.peers[name])

    def measure_one(self, measure: Measure, turn: int, peer: Peer) -> None:
        """One peer in one round. A failure is a record too, and the rest goes on."""
        record = {"measure": measure.name, "peer": peer.name, "round": turn, "t": time.time()}
        load = ForeignLoad()
        try:
            if measure.fresh:
                peer.stop()
                peer.start()
            record |= measure.run(self.context, peer)
        except (BenchError, OSError) as error:
            record["error"] = str(error)
            self.revive(peer)
        record["foreign"] = load.share()
        self.records.append(record)
        write(self.chosen.json, record)
        shown = {
            key: report.number(value) if isinstance(value, float) else value
            for key, value in record.items()
            if key not in ("measure", "peer", "round", "t")
        }
        say(f"{measure.name} {turn + 1}/{self.chosen.rounds} {peer.name}: {shown}")

    def revive(self, peer: Peer) -> None:
        """After a failure the peer is started anew, so that one fall is not every later line's."""
        try:
            peer.stop()
            peer.start()
        except (BenchError, OSError) as error:
            say(f"{peer.name} does not start again: {error}")


def on_signal(number: int, _: object) -> None:
    """Ctrl-C and SIGTERM end the run, and what it started."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    """Runs it; 0 when the table could be printed and nothing failed."""
    signal.signal(signal.SIGTERM, on_signal)
    if sys.argv[1:2] == ["deploy"]:
        return deploying.main(sys.argv[2:])
    if sys.argv[1:2] == ["browser"]:
        return browsing.main(sys.argv[2:])
    if sys.argv[1:2] == ["endurance"]:
        return enduring.main(sys.argv[2:])
    chosen = options()
    if chosen.list:
        for measure in targets.ALL:
            print(f"{measure.name:16} {measure.about}")
        return 0
    try:
        wanted = targets.chosen(chosen.measure)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    # Hundreds of idle clients and tunnels need as many descriptors, here and in the peers.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = Path(tempfile.mkdtemp(prefix="pgshare-bench-"))
    folder.chmod(0o755)  # user `postgres` goes in too
    bench = Bench(chosen, folder)
    return conducted(
        chosen, folder, lambda: measured(bench, wanted), bench.supervisor.stop_all
    )


def measured(bench: Bench, wanted: list[Measure]) -> int:
    """The run itself; an interruption still prints what is known so far."""
    bench.prepare()
    environment = bench.environment()
    write(bench.chosen.json, environment)
    try:
        bench.measure_all(wanted)
    finally:
        if bench.records:
            print(report.table(bench.records, wanted, LABELS), end="\n\n")
            print(report.remarks(bench.records, environment), flush=True)
    return 1 if any("error" in record for record in bench.records) else 0


if __name__ == "__main__":
    sys.exit(main())

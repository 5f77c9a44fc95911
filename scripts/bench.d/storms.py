"""New connections a second while other clients run: pgshare, and PgBouncer that does half of it.

Both with TLS to the client and SCRAM-SHA-256, each before the same database: Postgres, which forks
for each new client of pgshare while PgBouncer keeps its backends; and a scripted one, where only
the proxies' own work counts. Arrivals keep their times however late the answers are.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster
from crowds import Account, ScriptedDatabase, compile_c
from measures import end
from peers import Peer, PgBouncer
from pgshare_peer import PgShare
from procs import BenchError, Supervisor, cpu_seconds, read_json_line
from tunnels import PASSWORD, scram_verifier

#: Addresses that new clients come from, and the running ones.
ADDRESSES = 64

#: Clients that run meanwhile, and how often each asks, in milliseconds.
RUNNING, EVERY = 16, 20

#: The rate that the target names, and the others that are tried, new connections a second.
TARGET_RATE = 500
RATES = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000)

#: A rate is sustained if as much of it is done by the end.
SUSTAINED = 0.98

#: How much slower the running clients' p99 may be.
SLOWER = 2.0


class ScramBouncer(PgBouncer):
    """PgBouncer that checks passwords, as pgshare does; its backends are trusted and kept."""

    passes_login = True
    authentication = "scram-sha-256"
    clients = 8000
    more = "listen_backlog = 1024"

    def database(self) -> str:
        return f"host={self.cluster.sockets} port={self.cluster.port} user=postgres"

    def launch(self) -> None:
        self.secret = scram_verifier(PASSWORD)
        super().launch()
        self.connection |= {"PGUSER": "postgres", "PGPASSWORD": PASSWORD}


@dataclass(frozen=True)
class Trial:
    """One rate at one peer: how it went for those who came, and for those who were there."""

    rate: float
    is_sustained: bool
    p99_us: float
    cpu_us: float
    connect_p99_us: float


class Storms:
    """Both peers before one database."""

    def __init__(
        self, binary: Path, folder: Path, supervisor: Supervisor, seconds: float, *, scripted: bool
    ) -> None:
        self.folder, self.seconds = folder, seconds
        folder.mkdir()
        folder.chmod(0o755)  # user `postgres` goes in too
        self.program = folder / "crowd"
        compile_c("crowd.c", self.program, "ssl", "crypto")
        kind = ScriptedDatabase if scripted else Cluster
        self.database = kind(folder / "database", supervisor)
        self.peers: dict[str, Peer] = {
            "pgbouncer": ScramBouncer("pgbouncer", "PgB", self.database, supervisor),
            "pgshare": PgShare("pgshare", "pgshare", self.database, supervisor, binary=binary),
        }

    def start(self) -> None:
        """The database and both peers."""
        self.database.start()
        for peer in self.peers.values():
            peer.start()

    def stop(self) -> None:
        """The peers; the database ends with the run."""
        for peer in self.peers.values():
            peer.stop()

    def measure(self, name: str) -> dict[str, float]:
        """The highest rates that one peer sustains, and what its running clients feel."""
        peer = self.peers[name]
        accounts = Account.write(
            self.folder / f"{name}-accounts",
            [Account(peer.connection["PGUSER"], peer.connection["PGPASSWORD"])],
        )
        quiet = self._run(peer, accounts, None)
        figures = {"quiet_p99_us": quiet.p99_us, "rate": 0.0, "fair_rate": 0.0}
        is_fair = True
        for rate in RATES:
            trial = self._run(peer, accounts, rate)
            if not trial.is_sustained:  # once may be somebody else's doing
                trial = self._run(peer, accounts, rate)
            is_fair = is_fair and trial.is_sustained and trial.p99_us <= SLOWER * quiet.p99_us
            if trial.is_sustained:
                figures |= {"rate": rate, "cpu_us": trial.cpu_us}
            if is_fair:
                figures["fair_rate"] = rate
            if rate == TARGET_RATE:
                figures["p99_us"] = trial.p99_us
                figures["slower"] = trial.p99_us / quiet.p99_us
                figures["connect_p99_us"] = trial.connect_p99_us
            if not trial.is_sustained and rate >= TARGET_RATE:
                break
        return figures

    def _run(self, peer: Peer, accounts: Path, rate: float | None) -> Trial:
        """The running clients alone, or beside new ones."""
        peer.check_alive()
        port = peer.connection["PGPORT"]
        running = self._begin("paced", port, RUNNING, EVERY, self.seconds, accounts)
        newcomers = None
        try:
            read_json_line(running, 30)
            before = cpu_seconds(peer.roots())
            if rate:
                newcomers = self._begin("rate", port, rate, self.seconds, accounts)
            felt = read_json_line(running, self.seconds * 3 + 30)
            if felt["failed"]:
                raise BenchError(f"{felt['failed']} of the running clients failed: {felt}")
            if newcomers is None:
                return Trial(0, True, felt["p99_us"], 0, 0)
            came = read_json_line(newcomers, self.seconds * 3 + 40)
            cpu = cpu_seconds(peer.roots()) - before
        finally:
            for process in (running, newcomers):
                if process:
                    end(process)
        done = came["failed"] == 0 and came["missed"] == 0
        return Trial(
            rate, done and came["in_time"] >= SUSTAINED * came["planned"], felt["p99_us"],
            cpu / max(1, came["done"]) * 1e6, came.get("p99_us", 0),
        )

    def _begin(self, mode: str, port: str, *arguments: object) -> subprocess.Popen:
        """`crowd`, whose answers come as lines."""
        command = [self.program, mode, port, ADDRESSES, *arguments]
        return subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            bufsize=0, start_new_session=True,
        )

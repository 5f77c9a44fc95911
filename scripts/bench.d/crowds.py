"""10,000 idle clients on 1,000 tunnels: who still answers, what each costs the relay and an agent.

Most tunnels have a scripted agent in this process (served_tunnels.py); a few have a real one, with
a scripted database behind it, so that an agent's memory is measured too.
"""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster
from measures import release
from pgshare_peer import READY_SECONDS, PgShare
from procs import BenchError, Supervisor, cpu_seconds, read_json_line, resident_bytes, run
from served_tunnels import ServedTunnels
from tunnels import PASSWORD

HERE = Path(__file__).resolve().parent

#: Addresses of 127.0.0.0/8 that clients come from.
ADDRESSES = 16

#: Logins under way at once: as many as one relay has clients that come back after its restart.
AT_ONCE = 64

#: Descriptors of a process: 10,000 clients, their tunnels, and what it has itself.
DESCRIPTORS = 65_536


def raise_descriptors(needed: int) -> None:
    """For this process and all that it starts. Not everybody may raise the hard limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        most = max(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard < needed:
            raise BenchError(f"{needed} descriptors are needed, and only {hard} allowed") from None


class ScriptedDatabase(Cluster):
    """A database that costs next to nothing, where a Cluster is expected: scripted.c."""

    def start(self) -> None:
        """The program, its socket where libpq looks for it, and the peers' certificate."""
        self.make_folders()
        program = self.folder / "scripted"
        compile_c("scripted.c", program)
        self._process = self.supervisor.start(
            "scripted", [program, self.sockets / f".s.PGSQL.{self.port}"],
            as_postgres=True, stdout=subprocess.PIPE, bufsize=0, cwd="/",
        )
        read_json_line(self._process, 10)

    def stop(self) -> None:
        """Ends it."""
        self.supervisor.stop(self._process)


def compile_c(source: str, program: Path, *libraries: str) -> None:
    """One of the C files beside this one."""
    run(["gcc", "-O2", "-o", program, HERE / source, *(f"-l{name}" for name in libraries)],
        seconds=60)


@dataclass(frozen=True)
class Account:
    """Whom `crowd` logs in as, and how often."""

    user: str
    password: str
    database: str = "bench"
    count: int = 1

    @staticmethod
    def write(path: Path, accounts: list[Account]) -> Path:
        """The file that `crowd` reads."""
        lines = [f"{a.user} {a.password} {a.database} {a.count}\n" for a in accounts]
        path.write_text("".join(lines))
        path.chmod(0o600)
        return path


@dataclass(frozen=True)
class CrowdSize:
    """How many."""

    clients: int = 10_000
    tunnels: int = 1_000
    #: Of these tunnels, how many a real agent serves.
    agents: int = 20
    idle_seconds: float = 30

    @property
    def clients_a_tunnel(self) -> int:
        """Everybody has as many."""
        return self.clients // self.tunnels


class RealAgents:
    """`pgshare share` in processes of its own, in front of a database."""

    def __init__(self, peer: PgShare, clients: int) -> None:
        self._peer, self._clients = peer, clients
        self._token = peer.create_token("agents")
        self.processes: list[subprocess.Popen] = []
        self.accounts: list[Account] = []

    def start(self) -> None:
        """One more, once it says that it shares."""
        peer, cluster = self._peer, self._peer.cluster
        process = peer.supervisor.start(
            "crowd-agent",
            [peer.binary, "share",
             f"host={cluster.sockets} port={cluster.port} user=postgres dbname=bench",
             "--json", "--relay", f"https://localhost:{peer.https_port}",
             "--ca-file", peer.authority, "--max-connections", self._clients],
            stdout=subprocess.PIPE, bufsize=0, env=cluster.environment(PGSHARE_TOKEN=self._token),
        )
        self.processes.append(process)
        said = read_json_line(process, READY_SECONDS)
        self.accounts.append(
            Account(said["user"], said["password"], said["database"], self._clients)
        )

    def stop(self) -> None:
        """All of them."""
        for process in self.processes:
            self._peer.supervisor.stop(process)

    @property
    def resident(self) -> int:
        """Of all of them, in bytes."""
        return resident_bytes(process.pid for process in self.processes)

    @property
    def cpu(self) -> float:
        """Of all of them, in seconds."""
        return cpu_seconds(process.pid for process in self.processes)


class Crowd:
    """The measurement, at a relay of its own."""

    def __init__(
        self, binary: Path, folder: Path, supervisor: Supervisor, size: CrowdSize
    ) -> None:
        self.size, self.folder, self.supervisor = size, folder, supervisor
        folder.mkdir()
        folder.chmod(0o755)  # user `postgres` goes in too
        self.program = folder / "crowd"
        compile_c("crowd.c", self.program, "ssl", "crypto")
        self.database = ScriptedDatabase(folder / "database", supervisor)
        self.peer = PgShare("pgshare", "pgshare", self.database, supervisor, binary=binary)

    def measure(self) -> dict[str, float]:
        """From an empty relay to the full one and its answers."""
        with ExitStack() as stack:
            self.database.start()
            stack.callback(self.database.stop)
            self.peer.start()
            stack.callback(self.peer.stop)
            return self._measure(stack)

    def _measure(self, stack: ExitStack) -> dict[str, float]:
        size, peer = self.size, self.peer
        warm = Account(peer.connection["PGUSER"], peer.connection["PGPASSWORD"], count=8)
        with self._clients([warm]):
            pass  # what the relay allocates once is nobody's
        before = self._relay()
        served = stack.enter_context(
            ServedTunnels(peer, size.tunnels - size.agents, size.clients_a_tunnel)
        )
        agents = RealAgents(peer, size.clients_a_tunnel)
        stack.callback(agents.stop)
        for _ in range(size.agents):
            agents.start()
        time.sleep(1)
        with_tunnels = self._relay()
        scripted = [Account(user, PASSWORD, count=size.clients_a_tunnel) for user in served.users]
        with self._clients(agents.accounts + scripted) as (crowd, opened):
            first = self._ask(crowd)
            idle = self._idle(agents)
            again = self._ask(crowd)
            figures = {
                "opened": opened["opened"], "login_seconds": opened["seconds"],
                "answered": min(first["answered"], again["answered"]),
                "ask_seconds": again["seconds"], "ask_p99_us": again["p99_us"],
                "relay_mib": self._relay() / 2**20,
                "client_kib": (self._relay() - with_tunnels) / 1024 / opened["opened"],
                "tunnel_kib": (with_tunnels - before) / 1024 / size.tunnels,
                "agent_mib": agents.resident / 2**20 / size.agents,
            }
            peer.check_alive()
        return figures | idle

    def _idle(self, agents: RealAgents) -> dict[str, float]:
        """What everybody's silence costs, in parts of one core."""
        seconds = self.size.idle_seconds
        relay, other = cpu_seconds(self.peer.roots("relay")), agents.cpu
        time.sleep(seconds)
        return {
            "idle_relay_percent": (cpu_seconds(self.peer.roots("relay")) - relay) / seconds * 100,
            "idle_agent_percent": (agents.cpu - other) / seconds * 100 / self.size.agents,
        }

    def _relay(self) -> int:
        return resident_bytes(self.peer.roots("relay"))

    @contextmanager
    def _clients(self, accounts: list[Account]) -> Iterator[tuple[subprocess.Popen, dict]]:
        """`crowd hold`, and what it said once all were in."""
        wanted = sum(account.count for account in accounts)
        file = Account.write(self.folder / "accounts", accounts)
        holder = subprocess.Popen(
            [self.program, "hold", self.peer.connection["PGPORT"], str(ADDRESSES), str(AT_ONCE),
             file],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True,
        )
        try:
            opened = read_json_line(holder, 60 + wanted * 0.03)
            if opened["opened"] != wanted:
                raise BenchError(f"not all {wanted} clients came in: {json.dumps(opened)}")
            yield holder, opened
        finally:
            release(holder)

    @staticmethod
    def _ask(crowd: subprocess.Popen) -> dict:
        """All of them at once."""
        crowd.stdin.write(b"ask\n")
        return read_json_line(crowd, 90)


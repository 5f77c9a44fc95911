"""pgshare itself: relay and agent, two processes, as a user would start them."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from peers import Peer
from procs import BenchError, run

#: Clients that the share admits: more than any measure opens.
MAXIMUM_CLIENTS = 1000

#: How long the relay and the agent may take to say that they are ready, in seconds.
READY_SECONDS = 30


@dataclass
class PgShare(Peer):
    """Client ─TLS─▶ relay ◀─TLS tunnel─ agent ─unix socket─▶ Postgres.

    Clients log in at the relay with SCRAM.
    """

    binary: Path = Path("pgshare")
    #: The relay's HTTPS port (agents) once started.
    https_port: int = 0
    #: Where the relay keeps shares and tokens.
    state: Path = Path()
    #: A token that may open tunnels.
    token: str = ""
    #: The certificate authority that the relay made for itself.
    authority: Path = Path()

    passes_login = False

    def launch(self) -> None:
        self.state = self.cluster.folder / f"pgshare-state-{self.starts}"
        listening = self._begin("relay", [
            "relay", "--json", "--state", self.state, "--domain", "localhost",
            "--postgres-listen", "127.0.0.1:0", "--https-listen", "127.0.0.1:0",
        ])
        self.https_port = port_of(listening["https"])
        self.authority = Path(listening["ca_file"])
        self.token = self.create_token("bench")
        shared = self._begin("agent", [
            "share", f"host={self.cluster.sockets} port={self.cluster.port} user=postgres "
            "dbname=bench",
            "--json", "--relay", f"https://localhost:{self.https_port}",
            "--ca-file", self.authority, "--max-connections", MAXIMUM_CLIENTS,
        ], PGSHARE_TOKEN=self.token)
        self.reachable_at(int(shared["port"]), tls=True)
        self.connection |= {
            "PGHOST": shared["host"],
            "PGUSER": shared["user"],
            "PGPASSWORD": shared["password"],
            "PGDATABASE": shared["database"],
        }

    def create_token(self, name: str) -> str:
        """A token that may open tunnels at the running relay."""
        created = run(
            [self.binary, "token", "create", name, "--state", self.state, "--json"],
            seconds=READY_SECONDS, env=self.cluster.environment(),
        )
        return json.loads(created)["token"]

    def _begin(self, role: str, arguments: list, **environment: str) -> dict:
        """Starts one side and returns its first line; a file takes the lines that follow."""
        output = self.cluster.folder / f"pgshare-{role}-{self.starts}.out"
        with output.open("wb") as file:
            process = self.supervisor.start(
                f"pgshare-{role}", [self.binary, *arguments], stdout=file,
                env=self.cluster.environment(**environment), stop_signal=signal.SIGINT,
            )
        self.processes[role] = [process]
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            line, newline, _ = output.read_bytes().partition(b"\n")
            if newline:
                return json.loads(line)
            if process.poll() is not None:
                log = (self.supervisor.folder / f"pgshare-{role}.log").read_text()[-300:]
                raise BenchError(f"the {role} ended with status {process.returncode}: {log}")
            time.sleep(0.05)
        raise BenchError(f"the {role} was not ready within {READY_SECONDS} s")


def port_of(address: object) -> int:
    """The port of `127.0.0.1:15432`, `https://localhost:8443` or a bare number."""
    return int(str(address).rstrip("/").rpartition(":")[2])

"""pgshare itself: relay and agent, two processes, as a user would start them."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from peers import Peer
from procs import BenchError, read_json_line, run

#: Clients that the share admits: more than any measure opens.
MAXIMUM_CLIENTS = 1000

#: How long the relay and the agent may take to say that they are ready, in seconds.
READY_SECONDS = 30


@dataclass
class PgShare(Peer):
    """Client ─TLS─▶ relay ◀─TLS tunnel─ agent ─unix socket─▶ Postgres; SCRAM at the relay."""

    binary: Path = Path("pgshare")
    #: The relay's HTTPS port (agents) once started.
    https_port: int = 0
    #: A token that may open tunnels.
    token: str = ""
    #: The certificate authority that the relay made for itself.
    authority: Path = Path()

    passes_login = False

    def launch(self) -> None:
        state = self.cluster.folder / f"pgshare-state-{self.starts}"
        relay = self._process("relay", [
            "relay", "--json", "--state", state, "--domain", "localhost",
            "--postgres-listen", "127.0.0.1:0", "--https-listen", "127.0.0.1:0",
            "--http-listen", "127.0.0.1:0",
        ])
        self.processes = {"relay": [relay]}
        listening = read_json_line(relay, READY_SECONDS)
        self.https_port = port_of(listening["https"])
        self.authority = Path(listening["ca_file"])
        created = run(
            [self.binary, "token", "create", "bench", "--state", state, "--json"],
            seconds=READY_SECONDS, env=self.cluster.environment(),
        )
        self.token = json.loads(created)["token"]
        agent = self._process("agent", [
            "share", f"host={self.cluster.sockets} port={self.cluster.port} user=postgres "
            "dbname=bench",
            "--json", "--relay", f"https://localhost:{self.https_port}",
            "--ca-file", self.authority, "--max-connections", MAXIMUM_CLIENTS,
        ], PGSHARE_TOKEN=self.token)
        self.processes["agent"] = [agent]
        shared = read_json_line(agent, READY_SECONDS)
        if shared.get("event") != "shared":
            raise BenchError(f"the agent said {shared}")
        self.reachable_at(int(shared["port"]), tls=True)
        self.connection |= {
            "PGHOST": shared["host"],
            "PGUSER": shared["user"],
            "PGPASSWORD": shared["password"],
            "PGDATABASE": shared["database"],
        }

    def _process(self, role: str, arguments: list, **environment: str) -> subprocess.Popen:
        """Starts one side. Its events after the first are not read: a file takes them."""
        output = self.cluster.folder / f"pgshare-{role}-{self.starts}.out"
        reader = output.open("w+b", buffering=0)
        process = self.supervisor.start(
            f"pgshare-{role}", [self.binary, *arguments], stdout=reader,
            env=self.cluster.environment(**environment), stop_signal=signal.SIGINT,
        )
        reader.close()
        process.lines = output
        return process


def port_of(address: object) -> int:
    """The port of `127.0.0.1:15432`, `https://localhost:8443` or a bare number."""
    return int(str(address).rstrip("/").rpartition(":")[2])

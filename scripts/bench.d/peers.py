"""What stands between the client and Postgres: nothing, the known tools, and pgshare."""

from __future__ import annotations

import getpass
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from cluster import SCRAM_ROLE, Cluster
from procs import BenchError, Supervisor, free_port, run, wait_for_port


@dataclass
class Peer:
    """One way to reach the database: how a client connects, and what it costs.

    `processes` maps a role ("relay", "agent", …) to the root processes of that role.
    """

    name: str
    label: str
    cluster: Cluster
    supervisor: Supervisor
    connection: dict[str, str] = field(default_factory=dict)
    processes: dict[str, list[subprocess.Popen]] = field(default_factory=dict)
    #: Whether the password that the client sends is checked by Postgres itself.
    passes_login = True
    #: Starts since the bench began: every start has its own files.
    starts: int = 0

    def start(self) -> None:
        """Starts its processes and learns where clients connect."""
        self.starts += 1
        self.launch()

    def launch(self) -> None:
        """What `start` means for this peer."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends its processes."""
        for group in self.processes.values():
            for process in group:
                self.supervisor.stop(process)
        self.processes = {}

    def environment(self, *, scram: bool = False) -> dict[str, str]:
        """libpq's environment of a client; `scram`: log in with a password."""
        changes = dict(self.connection)
        if scram and self.passes_login:
            changes |= {"PGUSER": SCRAM_ROLE, "PGPASSWORD": self.cluster.password}
        return self.cluster.environment(**changes)

    def roots(self, role: str | None = None) -> list[int]:
        """The root process ids of one role, or of all."""
        groups = [self.processes.get(role, [])] if role else self.processes.values()
        return [process.pid for group in groups for process in group]

    def check_alive(self) -> None:
        """Fails when one of its processes has ended."""
        for role, group in self.processes.items():
            for process in group:
                if process.poll() is not None:
                    raise BenchError(f"the {role} ended with status {process.returncode}")

    # What the peers below have in common.

    def file(self, name: str, text: str) -> Path:
        """Writes a configuration file of this start."""
        path = self.cluster.folder / f"{self.name}-{self.starts}-{name}"
        path.write_text(text)
        path.chmod(0o644)
        return path

    def reachable_at(self, port: int, *, tls: bool) -> None:
        """Clients connect to 127.0.0.1:`port`."""
        self.connection = {
            "PGHOST": "localhost",
            "PGHOSTADDR": "127.0.0.1",
            "PGPORT": str(port),
            "PGSSLMODE": "require" if tls else "disable",
        }


class Direct(Peer):
    """Postgres itself on its unix socket, no TLS: what nothing can beat."""

    def launch(self) -> None:
        self.connection = {}


class DirectTLS(Peer):
    """Postgres itself with TLS: what one uses when nothing is in the way."""

    def launch(self) -> None:
        self.reachable_at(self.cluster.port, tls=True)


PGBOUNCER = """
[databases]
* = {database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = {authentication}
auth_file = {users}
pool_mode = session
default_pool_size = 620
max_client_conn = {clients}
client_tls_sslmode = require
client_tls_cert_file = {cluster.certificate}
client_tls_key_file = {cluster.key}
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
{more}
"""


class PgBouncer(Peer):
    """PgBouncer: session mode, TLS to the client, 127.0.0.1 without TLS to Postgres.

    It trusts its clients (no SCRAM) and keeps backends for two seconds: it does less than the
    others do for a new connection.
    """

    passes_login = False
    authentication = "trust"
    #: What it knows of the password of `postgres`.
    secret = ""
    clients = 2000
    more = "server_idle_timeout = 2"

    def database(self) -> str:
        """How it reaches Postgres."""
        return f"host=127.0.0.1 port={self.cluster.port}"

    def launch(self) -> None:
        port = free_port()
        users = self.file("users.txt", f'"postgres" "{self.secret}"\n')
        text = PGBOUNCER.format(
            database=self.database(), port=port, authentication=self.authentication, users=users,
            clients=self.clients, cluster=self.cluster, more=self.more,
        )
        process = self.supervisor.start(
            self.name, ["pgbouncer", "-q", self.file("pgbouncer.ini", text)], as_postgres=True,
            cwd="/",
        )
        wait_for_port(port, process)
        self.processes = {"proxy": [process]}
        self.reachable_at(port, tls=True)


STUNNEL_PUBLIC = """
foreground = yes
pid =
debug = 3
TIMEOUTidle = 36000
[clients]
protocol = pgsql
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{middle}
cert = {cluster.certificate}
key = {cluster.key}
[out]
client = yes
accept = 127.0.0.1:{middle}
connect = 127.0.0.1:{home}
"""

STUNNEL_HOME = """
foreground = yes
pid =
debug = 3
TIMEOUTidle = 36000
[in]
accept = 127.0.0.1:{home}
connect = 127.0.0.1:{cluster.port}
cert = {cluster.certificate}
key = {cluster.key}
"""


class StunnelPair(Peer):
    """Two stunnels: TLS from the client to the first, TLS again from there to the second."""

    def launch(self) -> None:
        ports = {"port": free_port(), "middle": free_port(), "home": free_port()}
        group = []
        for side, text in (("home", STUNNEL_HOME), ("public", STUNNEL_PUBLIC)):
            path = self.file(f"{side}.conf", text.format(cluster=self.cluster, **ports))
            process = self.supervisor.start(f"{self.name}-{side}", ["stunnel4", path])
            wait_for_port(ports["home" if side == "home" else "port"], process)
            group.append(process)
        self.processes = {"home": group[:1], "public": group[1:]}
        self.reachable_at(ports["port"], tls=True)


SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/ssh-host-key
AuthorizedKeysFile {folder}/ssh-user-key.pub
StrictModes no
PasswordAuthentication no
UsePAM no
PidFile none
AllowTcpForwarding yes
PermitRootLogin prohibit-password
"""


class SSHReverse(Peer):
    """`ssh -R` to an sshd, with Postgres's own TLS inside: nothing else encrypts for the client."""

    def launch(self) -> None:
        folder = self.cluster.folder
        for name in ("ssh-host-key", "ssh-user-key"):
            if not (folder / name).exists():
                run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
                    seconds=30)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation wants it
        port, public = free_port(), free_port()
        configuration = self.file("sshd.conf", SSHD.format(port=port, folder=folder))
        server = self.supervisor.start(
            f"{self.name}-sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", configuration]
        )
        wait_for_port(port, server)
        client = self.supervisor.start(
            f"{self.name}-ssh",
            ["ssh", "-N", "-T", "-F", "none", "-p", port, "-i", folder / "ssh-user-key",
             "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
             "-o", "UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes",
             "-R", f"127.0.0.1:{public}:127.0.0.1:{self.cluster.port}",
             f"{getpass.getuser()}@127.0.0.1"],
        )
        wait_for_port(public, client)
        self.processes = {"sshd": [server], "ssh": [client]}
        self.reachable_at(public, tls=True)

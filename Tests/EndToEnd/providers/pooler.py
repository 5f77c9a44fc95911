"""PgBouncer in front of a cluster, as Supabase and Neon run poolers: TLS, SCRAM, one mode."""

import os
import pwd
import secrets
import shutil
import signal
import tempfile
from pathlib import Path

from harness.cluster import Cluster, free_port
from harness.processes import Child, run
from harness.waiting import wait_for

PROGRAM = "/usr/sbin/pgbouncer"
# The role that looks up the secrets of the others.
LOOKUP_ROLE = "pgbouncer"


class Pooler:
    """One PgBouncer. Who logs in here has the password that the server knows."""

    def __init__(self, cluster: Cluster, mode: str):
        self.cluster = cluster
        self.mode = mode
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="pgshare-pooler-", dir="/tmp"))
        self._write(self._lookup_password())
        self.child = Child(cluster._as_user([PROGRAM, str(self.folder / "pgbouncer.ini")]), cwd="/")
        wait_for(f"PgBouncer ({mode}) to listen", self._listens)

    def _lookup_password(self) -> str:
        """The same for all poolers of a cluster."""
        known = self.cluster.folder / "pooler-password"
        if not known.exists():
            known.touch(0o600)
            known.write_text(secrets.token_hex(16))
            self.cluster.sql(
                f"CREATE ROLE {LOOKUP_ROLE} LOGIN SUPERUSER PASSWORD '{known.read_text()}'"
            )
        return known.read_text()

    def _listens(self) -> bool:
        assert self.child.is_running, self.child.everything()
        ready = [str(self.cluster.programs / "pg_isready"), "-q", "-h", "127.0.0.1"]
        return run([*ready, "-p", str(self.port)]).returncode == 0

    def _write(self, password: str) -> None:
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "pool_mode": self.mode,
            "auth_type": "scram-sha-256",
            "auth_file": self.folder / "users",
            "auth_user": LOOKUP_ROLE,
            "auth_query": "SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename=$1",
            "max_client_conn": 100,
            "default_pool_size": 20,
            "ignore_startup_parameters": "extra_float_digits",
            "logfile": "/dev/null",
            "pidfile": "",
        }
        if self.cluster.has_tls:
            lines["client_tls_key_file"] = self.folder / "key.pem"
            lines["client_tls_cert_file"] = self.folder / "certificate.pem"
            lines["client_tls_sslmode"] = "allow"
            lines["server_tls_sslmode"] = "prefer"
            certificate, key = self.cluster.authority.leaf(
                f"pooler-{self.port}", "localhost", "DNS:localhost,IP:127.0.0.1"
            )
            shutil.copy(certificate, self.folder / "certificate.pem")
            shutil.copy(key, self.folder / "key.pem")
        text = f"[databases]\n* = host=127.0.0.1 port={self.cluster.port}\n\n[pgbouncer]\n"
        text += "".join(f"{name} = {value}\n" for name, value in lines.items())
        (self.folder / "pgbouncer.ini").write_text(text)
        (self.folder / "users").write_text(f'"{LOOKUP_ROLE}" "{password}"\n')
        self._give_away()

    def _give_away(self) -> None:
        """The program refuses to run as root, and reads its files as whom it runs as."""
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        for path in (self.folder, *self.folder.iterdir()):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if user is not None:
                os.chown(path, user.pw_uid, user.pw_gid)

    def stop(self) -> None:
        self.child.stop(signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)


"""Throw-away Postgres servers. They run as an unprivileged user even where the tests run as root."""

import os
import pwd
import shutil
import signal
import socket
import tempfile
from pathlib import Path

from . import tools
from .certificates import Authority
from .endpoint import Endpoint, escaped
from .processes import Child, run, run_well
from .waiting import wait_for

# Role, password and the line of pg_hba.conf that says how it must prove itself.
ROLES = {
    "trusting": (None, "trust"),
    "scrammed": ("scram secret", "scram-sha-256"),
    "digested": ("md5 secret", "md5"),
    "plain": ("plain secret", "password"),
}


def _user() -> pwd.struct_passwd | None:
    """Whom the servers run as; None for ourselves."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def free_port() -> int:
    """A port nobody listens on; it is taken at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """One server of one version, on a unix socket and on 127.0.0.1."""

    # The bootstrap superuser.
    superuser = "postgres"

    def __init__(self, version: int, authority: Authority, settings: dict[str, str] | None = None):
        self.version = version
        self.authority = authority
        self.folder = Path(tempfile.mkdtemp(prefix=f"pgshare-pg{version}-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.socket_folder = self.folder / "s"
        self.data = self.folder / "data"
        self.port = free_port()
        self.server: Child | None = None
        self.programs = self._reachable_programs()
        self.has_tls = self._is_built_with_tls()
        self._initialise(settings or {})
        self.start()
        self._create_roles()

    # Programs

    def _as_user(self, arguments: list[str]) -> list[str]:
        user = _user()
        if user is None:
            return arguments
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
        return ["setpriv", *ids, "env", f"HOME={self.folder}", *arguments]

    def _reachable_programs(self) -> Path:
        """The checkout may lie where the server's user cannot read; then the programs are copied."""
        programs = tools.POSTGRES[self.version]
        probe = run(self._as_user([str(programs / "postgres"), "--version"]), cwd="/")
        if probe.returncode == 0:
            return programs
        copy = self.folder / "programs"
        source = programs.parents[2]
        shutil.copytree(source, copy, symlinks=True)
        run_well(["chmod", "-R", "a+rX", str(copy)])
        return copy / programs.relative_to(source)

    def _is_built_with_tls(self) -> bool:
        configured = self.programs / "pg_config"
        return "openssl" in run_well([str(configured), "--configure"]).stdout

    # Life

    def _initialise(self, settings: dict[str, str]) -> None:
        self.socket_folder.mkdir()
        lines = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "wal_level": "logical",
            "max_wal_senders": "10",
            "max_replication_slots": "10",
            "max_connections": "120",
            "max_wal_size": "4GB",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "lc_messages": "C",
            "password_encryption": "scram-sha-256",
            **settings,
        }
        user = _user()
        if user is not None:
            for folder in (self.folder, self.socket_folder):
                os.chown(folder, user.pw_uid, user.pw_gid)
        if self.has_tls:
            lines |= self._tls_settings(user)
        run_well(
            self._as_user(
                [str(self.programs / "initdb"), "-D", str(self.data), "-U", self.superuser,
                 "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
            ),
            cwd="/",
        )  # fmt: skip
        with open(self.data / "postgresql.conf", "a") as file:
            for name, value in lines.items():
                file.write(f"{name} = '{value}'\n")
        (self.data / "pg_hba.conf").write_text(self._access_rules())

    def _tls_settings(self, user: pwd.struct_passwd | None) -> dict[str, str]:
        certificate, key = self.authority.leaf(
            f"server-{self.version}-{self.port}", "localhost", "DNS:localhost,IP:127.0.0.1"
        )
        names = {"ssl_cert_file": certificate, "ssl_key_file": key}
        names["ssl_ca_file"] = self.authority.certificate
        result = {"ssl": "on"}
        for setting, source in names.items():
            target = self.folder / source.name
            shutil.copy(source, target)
            target.chmod(0o600)
            if user is not None:
                os.chown(target, user.pw_uid, user.pw_gid)
            result[setting] = str(target)
        return result

    def _access_rules(self) -> str:
        rules = ["local all all trust", "local replication all trust"]
        if self.has_tls:
            rules.append("hostssl all certified 127.0.0.1/32 cert")
        for role, (_, method) in ROLES.items():
            rules.append(f"host all {role} 127.0.0.1/32 {method}")
            rules.append(f"host replication {role} 127.0.0.1/32 {method}")
        rules += ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
        return "\n".join(rules) + "\n"

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command = [str(self.programs / "postgres"), "-D", str(self.data)]
        self.server = Child(self._as_user(command), cwd="/")
        server = self.server

        def answers() -> bool:
            if not server.is_running:
                raise AssertionError(f"Postgres {self.version} ended:\n{server.everything()}")
            ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.socket_folder)]
            return run([*ready, "-p", str(self.port)]).returncode == 0

        wait_for(f"Postgres {self.version} to start", answers)

    def start_again(self) -> None:
        """After a kill: its memory is let go of once its last backend has noticed."""

        def starts() -> bool:
            try:
                self.start()
            except AssertionError:
                return False
            return True

        wait_for("the database to start again", starts, 60)

    def stop(self) -> None:
        """Fast shutdown: sessions are ended."""
        if self.server is not None:
            self.server.stop(signal.SIGINT)

    def remove(self) -> None:
        """Ends the server and removes its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Use

    def _create_roles(self) -> None:
        for role, (password, method) in ROLES.items():
            clause = f" PASSWORD '{password}'" if password else ""
            encryption = "md5" if method == "md5" else "scram-sha-256"
            self.sql(
                f"SET password_encryption = '{encryption}'; "
                f"CREATE ROLE {role} LOGIN SUPERUSER REPLICATION{clause}"
            )
        self.sql("CREATE ROLE certified LOGIN")

    def conninfo(self, database: str = "postgres", user: str | None = None) -> str:
        """For an agent beside the server: by its unix socket."""
        user = user or self.superuser
        words = {"host": self.socket_folder, "port": self.port, "user": user, "dbname": database}
        return " ".join(f"{name}='{escaped(str(value))}'" for name, value in words.items())

    def tcp_conninfo(self, user: str, database: str = "postgres", **more: str) -> str:
        """For an agent that reaches the server by TCP."""
        words = {"host": "localhost", "port": str(self.port), "user": user, "dbname": database}
        return " ".join(f"{name}='{escaped(value)}'" for name, value in (words | more).items())

    def direct(self, role: str = "scrammed") -> Endpoint:
        """The same as a share, without pgshare between."""
        password = ROLES[role][0] or ""
        authority = self.authority.certificate if self.has_tls else None
        return Endpoint("localhost", self.port, role, password, "postgres", authority, self.version)

    def sql(self, text: str, database: str = "postgres") -> str:
        """Runs SQL by the unix socket as the superuser; returns unaligned rows."""
        command = [str(self.programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        done = run_well(
            [*command, "-d", self.conninfo(database), "-f", "-"], stdin=text, seconds=600
        )
        return done.stdout.strip()

    def backends(self, condition: str = "true") -> int:
        """How many client sessions there are that meet the condition, our own question aside."""
        return int(
            self.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                f"AND backend_type IN ('client backend', 'walsender') AND ({condition})"
            )
        )

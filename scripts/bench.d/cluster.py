"""A throw-away PostgreSQL cluster and its data."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from procs import BenchError, Supervisor, free_port, run, wait_for_port

#: The role that logs in with a password (SCRAM-SHA-256); `postgres` is trusted.
SCRAM_ROLE = "bench_scram"

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
ssl = on
ssl_cert_file = '{folder}/tls/cert.pem'
ssl_key_file = '{folder}/tls/postgres-key.pem'
shared_buffers = 512MB
max_connections = 800
# The disk is not what is measured.
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 8GB
checkpoint_timeout = 1h
autovacuum = off
maintenance_work_mem = 256MB
# One backend a query: its plan must not depend on who else is busy.
max_parallel_workers_per_gather = 0
max_parallel_maintenance_workers = 0
jit = off
logging_collector = off
"""

ACCESS = f"""
local all all trust
hostssl all {SCRAM_ROLE} 127.0.0.1/32 scram-sha-256
host all {SCRAM_ROLE} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""

# `bulk` is what real tables look like and costs Postgres work a byte; `wide` is 2 kB of text a
# row, cheap for Postgres, so that what carries it shows. Both are about 500 MB as COPY text.
TABLES = """
create table bulk as
select g::bigint as id, gen_random_uuid() as uid,
    timestamptz '2024-01-01' + g * interval '7 seconds' as created_at,
    'user' || g || '@example' || (g % 97) || '.com' as email,
    (g % 100000) / 100.0::numeric as amount, (g % 3 = 0) as active,
    jsonb_build_object('plan', (array['free', 'pro', 'team'])[1 + g % 3],
        'tags', jsonb_build_array('a' || g % 10, 'b' || g % 7), 'n', g % 1000) as meta,
    md5(g::text) || ' ' || md5((g * 7)::text) || E'\\tline two\\n' || md5((g * 13)::text) as note
from generate_series(1, {bulk_rows}) g;
create table wide (id bigint, body text);
alter table wide alter column body set storage plain;
insert into wide select g, repeat(md5(g::text), 62) from generate_series(1, {wide_rows}) g;
create unlogged table bulk_in (like bulk);
create unlogged table wide_in (like wide);
alter table wide_in alter column body set storage plain;
vacuum analyze;
"""


@dataclass(frozen=True)
class DataSize:
    """How much data there is."""

    pgbench_scale: int
    bulk_rows: int
    wide_rows: int

    @staticmethod
    def full() -> DataSize:
        """About 500 MB a table, 300 MB of pgbench_accounts."""
        return DataSize(pgbench_scale=20, bulk_rows=2_000_000, wide_rows=250_000)

    @staticmethod
    def quick() -> DataSize:
        """A tenth of it: to see that everything works, not to measure."""
        return DataSize(pgbench_scale=2, bulk_rows=200_000, wide_rows=25_000)


class Cluster:
    """The cluster: socket folder, port, and the superuser's environment for libpq."""

    def __init__(
        self, folder: Path, supervisor: Supervisor, *, more_settings: str = ""
    ) -> None:
        self.folder = folder
        self.more_settings = more_settings
        self.supervisor = supervisor
        self.port = free_port()
        self.sockets = folder / "sockets"
        self.password = secrets.token_urlsafe(18)
        self.binaries = self._binaries()

    @staticmethod
    def _binaries() -> Path:
        """PostgreSQL 15 if it is there, as the targets were set with it; else the oldest."""
        found = sorted(Path(path).parent for path in glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        if not found:
            raise BenchError("no PostgreSQL server is installed")
        return next((path for path in found if path.parent.name == "15"), found[0])

    @property
    def certificate(self) -> Path:
        """The self-signed certificate that Postgres and the peers serve."""
        return self.folder / "tls" / "cert.pem"

    @property
    def key(self) -> Path:
        """The certificate's key, readable by the peers."""
        return self.folder / "tls" / "key.pem"

    @property
    def process(self) -> int:
        """The postmaster's process id."""
        return self._postmaster.pid

    def environment(self, **changes: str) -> dict[str, str]:
        """libpq's environment of the superuser on the unix socket."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return clean | {
            "PATH": f"{self.binaries}:{clean['PATH']}",
            "PGHOST": str(self.sockets),
            "PGPORT": str(self.port),
            "PGUSER": "postgres",
            "PGDATABASE": "bench",
            "PGSSLMODE": "disable",
            "PGGSSENCMODE": "disable",
            "PGCONNECT_TIMEOUT": "10",
        } | changes

    def sql(self, *statements: str, database: str = "bench", seconds: float = 120) -> str:
        """Runs statements as superuser, one transaction each, and returns the bare output."""
        commands = [part for statement in statements for part in ("-c", statement)]
        return run(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *commands],
            seconds=seconds,
            env=self.environment(PGDATABASE=database),
        ).strip()

    def start(self) -> None:
        """initdb, certificates, settings, and the server in the foreground of its own session."""
        self.make_folders()
        data = self.folder / "data"
        run(
            [self.binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync",
             "-E", "UTF8", "--locale=C.UTF-8"],
            seconds=120, as_postgres=True, cwd="/",
        )
        settings = SETTINGS.format(port=self.port, sockets=self.sockets, folder=self.folder)
        with (data / "postgresql.conf").open("a") as file:
            file.write(settings + self.more_settings)
        (data / "pg_hba.conf").write_text(ACCESS)
        self._postmaster = self.supervisor.start(
            "postgres", [self.binaries / "postgres", "-D", data], as_postgres=True,
            stop_signal=signal.SIGINT,  # "fast": it does not wait for its clients
            cwd="/",
        )
        wait_for_port(self.port, self._postmaster, seconds=30)
        self._wait_until_it_serves(seconds=30)
        self.sql("create database bench", database="postgres")
        self.sql(f"create role {SCRAM_ROLE} superuser login password '{self.password}'")

    def _wait_until_it_serves(self, seconds: float) -> None:
        """It listens before it serves."""
        end = time.monotonic() + seconds
        while True:
            try:
                self.sql("select 1", database="postgres")
                return
            except BenchError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def make_folders(self) -> None:
        """For sockets and certificates; they belong to the user that servers run as."""
        for name in ("sockets", "tls"):
            (self.folder / name).mkdir(parents=True)
        self._make_certificate()
        if os.geteuid() == 0:
            for path in [self.folder, *self.folder.rglob("*")]:
                shutil.chown(path, "postgres", "postgres")

    def _make_certificate(self) -> None:
        tls = self.folder / "tls"
        run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.key,
             "-out", self.certificate],
            seconds=30,
        )
        shutil.copyfile(self.key, tls / "postgres-key.pem")
        (tls / "postgres-key.pem").chmod(0o600)

    def fill(self, size: DataSize) -> None:
        """Makes the tables, and COPY files of them to send in."""
        environment = self.environment()
        run(["pgbench", "-q", "-i", "-s", str(size.pgbench_scale)], seconds=300, env=environment)
        text = TABLES.format(bulk_rows=size.bulk_rows, wide_rows=size.wide_rows)
        self.sql(*[part.strip() for part in text.split(";\n") if part.strip()], seconds=300)
        for table in ("bulk", "wide"):
            with self.copy_file(table).open("wb") as file:
                run(["psql", "-XqAt", "-c", f"copy {table} to stdout"],
                    seconds=120, env=environment, stdout=file)
        self.sql("checkpoint")

    def copy_file(self, table: str) -> Path:
        """The COPY text of a table, as a file."""
        return self.folder / f"{table}.copy"

    def copy_bytes(self, table: str) -> int:
        """Its length in bytes."""
        return self.copy_file(table).stat().st_size

"""Real local Postgres servers, shaped like the databases that Supabase, Neon and RDS hand out.

What is copied is what a deploy meets: a role that owns the database and is no superuser, schemas
and event triggers of somebody else, extensions in a schema of their own, grants and default
privileges, timeouts on roles, poolers, TLS that is forced. The definitions follow what the
providers' databases show to `\\dn+`, `\\du`, `\\dy` and `\\ddp`; the bodies are our own.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from harness.certificates import Authority
from harness.cluster import Cluster
from harness.endpoint import Endpoint

from .pooler import Pooler

HERE = Path(__file__).parent


class ShapedCluster(Cluster):
    """A cluster whose superuser is the provider's, and where every password is asked for."""

    def __init__(
        self, version: int, authority: Authority, superuser: str, tls_only: bool,
        settings: dict[str, str],
    ):  # fmt: skip
        self.superuser = superuser
        self.tls_only = tls_only
        super().__init__(version, authority, settings)

    def _access_rules(self) -> str:
        kind = "hostssl" if self.tls_only else "host"
        return (
            "local all all trust\nlocal replication all trust\n"
            f"{kind} all {self.superuser} 127.0.0.1/32 reject\n"
            f"{kind} rdsadmin all 127.0.0.1/32 reject\n"
            f"{kind} all all 127.0.0.1/32 scram-sha-256\n"
        )

    def _create_roles(self) -> None:
        """None of the usual ones."""


@dataclass
class Login:
    """A role that logs in."""

    user: str
    password: str


class Shape:
    """A cluster, its database as it was handed out, and how to get that back.

    `database` is where a deploy goes. `reset()` makes it pristine again.
    """

    superuser = "postgres"
    database = "postgres"
    tls_only = False
    settings: dict[str, str] = {}

    def __init__(self, version: int, authority: Authority):
        self.authority = authority
        self.poolers: list[Pooler] = []
        self.cluster = ShapedCluster(
            version, authority, self.superuser, self.tls_only, self.settings
        )
        try:
            self.owner = Login(self.owner_name, secrets.token_hex(12))
            self._make_roles()
            self._make_database()
            self._start_poolers()
        except BaseException:
            self.stop()
            raise

    # What each shape says

    owner_name = "postgres"

    def _make_roles(self) -> None:
        raise NotImplementedError

    def _fill(self, database: str) -> None:
        """Makes what the provider puts into a database."""

    def _start_poolers(self) -> None:
        """Few shapes have any."""

    # Life

    def _make_database(self) -> None:
        """The pristine copy is a template of its own; nobody logs in there."""
        self._admin("CREATE DATABASE shape_pristine TEMPLATE template0 ENCODING 'UTF8'")
        self._fill("shape_pristine")
        self.reset()

    def reset(self) -> None:
        """The database is as the provider handed it out."""
        name = self.database
        self._admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._admin(f'CREATE DATABASE "{name}" TEMPLATE shape_pristine OWNER "{self.owner.user}"')
        for row in self._admin(
            "SELECT datname FROM pg_database WHERE datname NOT IN "
            f"('{name}', 'shape_pristine', 'template0', 'template1', 'postgres', 'rdsadmin')"
        ).split():
            self._admin(f'DROP DATABASE "{row}" WITH (FORCE)')

    def stop(self) -> None:
        for pooler in self.poolers:
            pooler.stop()
        self.cluster.remove()

    # Use

    def _admin(self, text: str) -> str:
        return self.cluster.sql(text, "template1")

    def sql(self, text: str) -> str:
        """As the provider's superuser, in the database."""
        return self.cluster.sql(text, self.database)

    def endpoint(self, port: int | None = None, login: Login | None = None) -> Endpoint:
        """How the owner, or another role, connects; by a pooler's port if one is given."""
        login = login or self.owner
        ca_file = self.authority.certificate if self.cluster.has_tls else None
        return Endpoint(
            "localhost", port or self.cluster.port, login.user, login.password, self.database,
            ca_file, self.cluster.version,
        )  # fmt: skip

    def set_password(self, user: str, password: str) -> None:
        """What a provider's API does when it is told a new password."""
        quoted = password.replace("'", "''")
        self._admin(f"""ALTER ROLE "{user}" PASSWORD '{quoted}'""")
        if user == self.owner.user:
            self.owner.password = password

    def manages(self) -> str:
        """All that is the provider's, as text: a deploy must leave it as it is."""
        schemas = "(" + ", ".join(f"'{name}'" for name in self.managed_schemas) + ")"
        return self.sql(f"""
            SELECT concat_ws(' ', 'relation', c.oid::regclass, c.relkind, c.relowner::regrole,
                c.relacl, c.relfilenode) FROM pg_class c WHERE c.relnamespace IN
                (SELECT oid FROM pg_namespace WHERE nspname IN {schemas})
            UNION ALL SELECT concat_ws(' ', 'function', p.oid::regprocedure, md5(p.prosrc), p.proacl)
                FROM pg_proc p WHERE p.pronamespace IN
                (SELECT oid FROM pg_namespace WHERE nspname IN {schemas})
            UNION ALL SELECT concat_ws(' ', 'trigger', tgname, tgrelid::regclass) FROM pg_trigger
                WHERE tgrelid IN (SELECT c.oid FROM pg_class c JOIN pg_namespace n
                ON n.oid = relnamespace WHERE nspname IN {schemas})
            UNION ALL SELECT concat_ws(' ', 'schema', nspname, nspowner::regrole, nspacl)
                FROM pg_namespace WHERE nspname IN {schemas}
            UNION ALL SELECT concat_ws(' ', 'event trigger', evtname, evtenabled)
                FROM pg_event_trigger
            UNION ALL SELECT concat_ws(' ', 'extension', extname, extversion,
                extnamespace::regnamespace) FROM pg_extension
                WHERE extowner::regrole::text = '{self.superuser}'
            UNION ALL SELECT concat_ws(' ', 'publication', pubname, pubowner::regrole)
                FROM pg_publication
            ORDER BY 1
            """)

    managed_schemas: tuple[str, ...] = ()


class SupabaseShape(Shape):
    """A project of Supabase: `postgres` owns the database, `supabase_admin` all else."""

    superuser = "supabase_admin"
    managed_schemas = (
        "auth", "storage", "realtime", "_realtime", "extensions", "graphql", "graphql_public",
        "vault", "pgbouncer", "supabase_functions",
    )  # fmt: skip
    api_roles = ("anon", "authenticated", "service_role")

    def _make_roles(self) -> None:
        self._admin((HERE / "supabase_roles.sql").read_text())
        self.set_password("postgres", self.owner.password)

    def _fill(self, database: str) -> None:
        self.cluster.sql((HERE / "supabase_database.sql").read_text(), database)

    def _start_poolers(self) -> None:
        self.session_pooler = Pooler(self.cluster, "session")
        self.poolers.append(self.session_pooler)
        self.transaction_pooler = Pooler(self.cluster, "transaction")
        self.poolers.append(self.transaction_pooler)

    def reset(self) -> None:
        """initdb's own `postgres` is the database."""
        super().reset()
        self.sql("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE postgres TO dashboard_user")

    def make_login_role(self) -> Login:
        """What `POST …/cli/login-role` does: a role for some minutes, a member of `postgres`."""
        login = Login(f"cli_login_{secrets.token_hex(4)}", secrets.token_hex(16))
        self._admin(
            f"CREATE ROLE {login.user} LOGIN NOINHERIT IN ROLE postgres "
            f"PASSWORD '{login.password}' VALID UNTIL 'tomorrow'"
        )
        return login

    def drop_login_roles(self) -> None:
        """What DELETE of the same does."""
        rows = self._admin(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'cli\_login\_%'")
        for role in rows.split():
            self._admin(f"DROP ROLE {role}")


class NeonShape(Shape):
    """A project of Neon: `neondb_owner` owns `neondb`; `-pooler` is PgBouncer by transactions."""

    superuser = "cloud_admin"
    database = "neondb"
    owner_name = "neondb_owner"
    managed_schemas = ("neon", "neon_migration")

    def _make_roles(self) -> None:
        self._admin((HERE / "neon_roles.sql").read_text())
        self.set_password(self.owner.user, self.owner.password)

    def _fill(self, database: str) -> None:
        self.cluster.sql((HERE / "neon_database.sql").read_text(), database)

    def _start_poolers(self) -> None:
        self.pooler = Pooler(self.cluster, "transaction")
        self.poolers.append(self.pooler)


class RDSShape(Shape):
    """An instance of RDS: the master user is a member of `rds_superuser`, TLS is forced."""

    superuser = "rdsadmin"
    database = "app"
    owner_name = "postgres"
    tls_only = True
    managed_schemas = ("rdsadmin",)
    settings = {
        "rds.extensions": "btree_gin, btree_gist, citext, hstore, pg_trgm, pgcrypto, plpgsql, "
        "postgis, uuid-ossp",
        "rds.force_ssl": "1",
    }

    def _make_roles(self) -> None:
        self._admin((HERE / "rds_roles.sql").read_text())
        self._admin("CREATE DATABASE rdsadmin")
        self.set_password(self.owner.user, self.owner.password)

    def made(self, user: str, password: str, database: str) -> None:
        """What CreateDBInstance does: an empty database, and a master user with that password."""
        exists = self._admin(f"SELECT 1 FROM pg_roles WHERE rolname = '{user}'")
        if not exists:
            self._admin(f'CREATE ROLE "{user}" LOGIN CREATEDB CREATEROLE IN ROLE rds_superuser')
        self.owner.user = user
        self.database = database
        self.set_password(user, password)
        self.reset()

"""Where a client connects: a share, or in the tests of the harness a server."""

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class Endpoint:
    """All that a client needs to know."""

    host: str
    port: int
    user: str
    password: str
    database: str
    # The authority of the server's certificate; None where it has no TLS.
    ca_file: Path | None
    # The major version of the Postgres behind it.
    version: int
    share_id: str = ""

    def with_database(self, database: str) -> "Endpoint":
        return replace(self, database=database)

    def parameters(self, **more: str) -> dict[str, str]:
        """libpq's names. Verified TLS unless the caller says otherwise."""
        words = {
            "host": self.host,
            "port": str(self.port),
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
            "connect_timeout": "30",
        }
        if self.ca_file is None:
            words["sslmode"] = "disable"
        else:
            words["sslmode"] = "verify-full"
            words["sslrootcert"] = str(self.ca_file)
        return words | {name: value for name, value in more.items()}

    def conninfo(self, **more: str) -> str:
        """key='value' pairs for libpq."""
        pairs = self.parameters(**more).items()
        return " ".join(f"{name}='{escaped(value)}'" for name, value in pairs)

    def environment(self, **more: str) -> dict[str, str]:
        """The password by environment, never in argv; certificates of this user stay out of it."""
        return {"PGPASSWORD": self.password, "PGSSLCERT": "/nonexistent", **more}

    def argument(self, **more: str) -> str:
        """A conninfo without the password, for a command line."""
        words = self.parameters(**more)
        words.pop("password", None)
        return " ".join(f"{name}='{escaped(value)}'" for name, value in words.items())

    def url(self, scheme: str = "postgresql") -> str:
        user, password = quote(self.user, safe=""), quote(self.password, safe="")
        return f"{scheme}://{user}:{password}@{self.host}:{self.port}/{self.database}"


def escaped(value: str) -> str:
    """As it stands between the quotes of a conninfo."""
    return value.replace("\\", "\\\\").replace("'", "\\'")

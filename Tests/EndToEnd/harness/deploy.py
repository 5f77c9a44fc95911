"""`pgshare deploy` as a person or a script runs it, and dumps of both ends to compare."""

import difflib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from . import tools
from .cluster import Cluster
from .processes import Child, run, run_well

DATABASES = Path(__file__).parents[1] / "databases"
# What pgshare keeps for itself in a target.
OWN_SCHEMA = "pgshare*"
# What is in no schema, and kept from the deploy before, has a name with this.
KEPT = "pgshare_kept_"


@dataclass
class Run:
    """A run that is over: how it ended and what it said."""

    status: int
    stdout: str
    stderr: str
    events: list[dict] = field(default_factory=list)

    def all(self, name: str) -> list[dict]:
        return [event for event in self.events if event.get("event") == name]

    def one(self, name: str) -> dict:
        """The only event of that name."""
        found = self.all(name)
        assert len(found) == 1, f"{len(found)} events {name}:\n{self.stdout}\n{self.stderr}"
        return found[0]

    @property
    def plan(self) -> dict:
        found = self.all("planned")
        assert found, self.explain()
        return found[0]["plan"]

    @property
    def last(self) -> dict:
        assert self.events, f"no event ({self.status}):\n{self.stdout}\n{self.stderr}"
        return self.events[-1]

    def findings(self, severity: str | None = None) -> dict[str, dict]:
        """The plan's findings by their code."""
        found = self.plan["findings"]
        return {one["code"]: one for one in found if severity in (None, one["severity"])}

    def explain(self) -> str:
        lines = [line[:1500] for line in self.stdout.splitlines()[-8:]]
        return "\n".join([f"status {self.status}", *lines, self.stderr[-3000:]])


def parse_events(text: str) -> list[dict]:
    """Every line must be one JSON object."""
    return [json.loads(line) for line in text.splitlines()]


def programs_path() -> str:
    """A PATH on which a pg_dump of every version is."""
    folders = [os.environ.get("PATH", ""), *(str(folder) for folder in tools.POSTGRES.values())]
    return os.pathsep.join(folders)


class Deployer:
    """`pgshare deploy` with a state folder of its own."""

    def __init__(self, state: Path, environment: dict[str, str] | None = None):
        self.state = state
        self.environment = {"PATH": programs_path(), "PGSSLCERT": "/nonexistent"}
        self.environment |= environment or {}

    def command(self, *arguments: str) -> list[str]:
        return [tools.pgshare_binary(), "deploy", *arguments, "--state", str(self.state)]

    def run(
        self, *arguments: str, environment: dict[str, str] | None = None, seconds: float = 150,
        json: bool = True,
    ) -> Run:  # fmt: skip
        """Runs a command under `pgshare deploy` to its end."""
        more = ["--json"] if json else []
        done = run(
            self.command(*arguments, *more), self.environment | (environment or {}),
            seconds=seconds,
        )  # fmt: skip
        events = []
        if json and done.returncode != 2:
            events = parse_events(done.stdout)
        return Run(done.returncode, done.stdout, done.stderr, events)

    def plan(self, source: str, target: str, *flags: str, **options) -> Run:
        return self.run("--plan", source, target, *flags, **options)

    def deploy(self, source: str, target: str, *flags: str, **options) -> Run:
        """Deploys without being asked; it must work."""
        done = self.run("--yes", source, target, *flags, **options)
        assert done.status == 0, done.explain()
        return done

    def fail(self, source: str, target: str, *flags: str, **options) -> Run:
        """Deploys; it must not work, and must say so by its exit status and its last event."""
        done = self.run("--yes", source, target, *flags, **options)
        assert done.status == 1, done.explain()
        assert done.last["event"] == "failed", done.explain()
        return done

    def rollback(self, target: str, **options) -> Run:
        done = self.run("rollback", "--yes", target, **options)
        assert done.status == 0, done.explain()
        assert done.last["outcome"] == "rolled-back", done.explain()
        return done

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> Child:
        """Starts a run that the test watches."""
        return Child(
            self.command(*arguments, "--json"), self.environment | (environment or {})
        )

    def left_files(self) -> list[str]:
        """What runs left in their folder."""
        folder = self.state / "deploys"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Databases


def literal(text: str) -> str:
    """The text as SQL writes it."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def load(cluster: Cluster, database: str, script: str, **variables: object) -> None:
    """Runs a script of Tests/EndToEnd/databases as the superuser."""
    psql = [tools.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    for name, value in variables.items():
        psql += ["-v", f"{name}={value}"]
    run_well([*psql, "-d", cluster.conninfo(database), "-f", str(DATABASES / script)], seconds=300)


def dump(cluster: Cluster, database: str, *flags: str, version: int | None = None) -> str:
    """All of a database but what pgshare keeps for itself, as SQL."""
    arguments = [
        str(tools.POSTGRES[version or cluster.version] / "pg_dump"),
        f"--exclude-schema={OWN_SCHEMA}", *flags, cluster.conninfo(database),
    ]  # fmt: skip
    text = run_well(arguments, seconds=300).stdout
    # Each run of pg_dump makes up a word of its own. The second is an attribute that a patched
    # server of a distribution writes for itself, and that pg_dumps of others print.
    text = re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.M)
    return re.sub(r"^ALTER TABLE .* SET \(pg_attver=\d+\);\n", "", text, flags=re.M)


def state_of(cluster: Cluster, database: str) -> str:
    """Definitions and rows: two states are the same if this is, byte for byte."""
    return dump(cluster, database)


HEADER = re.compile(
    r"^--\n-- Name: (.*); Type: (.*); Schema: (.*?)(?:; Owner: (.*))?\n--\n", re.MULTILINE
)


def entries(text: str) -> dict[tuple[str, str, str], str]:
    """A dump's entries by type, schema and name; their order is pg_dump's own business."""
    found = list(HEADER.finditer(text))
    assert found, text[:2000]
    result: dict[tuple[str, str, str], str] = {}
    for index, match in enumerate(found):
        end = found[index + 1].start() if index + 1 < len(found) else len(text)
        name, kind, schema, _ = match.groups()
        body = text[match.end() : end].strip()
        # pg_dump resets these where the next entry needs another.
        body = re.sub(r"^SET default_\w+ = .*\n", "", body + "\n", flags=re.M)
        body = body.removesuffix("--\n-- PostgreSQL database dump complete\n--\n").strip()
        key = (kind, "" if schema == "-" else schema, name)
        result[key] = result.get(key, "") + body
    return result


def left_out_keys(plan: dict) -> set[tuple[str, str]]:
    """What a plan says it leaves out, as `entry_key` names entries."""
    return {(one["kind"], " ".join(one["identity"].split("\n"))) for one in plan["left_out"]}


def entry_key(key: tuple[str, str, str]) -> tuple[str, str]:
    kind, schema, name = key
    return kind.lower(), f"{schema}.{name}" if schema else name


def assert_same_but(
    source: dict[tuple[str, str, str], str], target: dict[tuple[str, str, str], str], plan: dict
) -> None:
    """The target has exactly what the source has, but for what the plan leaves out."""
    left_out = left_out_keys(plan)
    expected = {key: body for key, body in source.items() if entry_key(key) not in left_out}
    complaints = [f"missing at the target: {key}" for key in expected.keys() - target.keys()]
    complaints += [
        f"only at the target: {key}"
        for key in target.keys() - expected.keys()
        if not any(KEPT in word for word in key)
    ]
    for key in expected.keys() & target.keys():
        if expected[key] != target[key]:
            lines = difflib.unified_diff(
                expected[key].splitlines(), target[key].splitlines(), "source", "target",
                lineterm="",
            )  # fmt: skip
            complaints.append("\n".join([str(key), *lines]))
    assert not complaints, "\n".join(sorted(complaints))


def assert_schemas_agree(
    source: Cluster, source_database: str, target: Cluster, target_database: str, plan: dict
) -> None:
    """`pg_dump --schema-only` of both, by the same pg_dump, differ in what the plan listed."""
    if source.version == target.version:
        expected = dump(source, source_database, "--schema-only")
    else:
        expected = by_hand(source, source_database, target)
    found = dump(target, target_database, "--schema-only")
    assert_same_but(entries(expected), entries(found), plan)


def by_hand(source: Cluster, database: str, target: Cluster) -> str:
    """The dump of what pg_dump and psql make of a database on a server of another version, which
    words views and the like in its own way. What it does not take is not there."""
    reference = "pgshare by hand"
    text = dump(source, database, "--schema-only", "--no-subscriptions")
    target.sql(f"CREATE DATABASE {identifier(reference)}")
    try:
        psql = [tools.program("psql"), "-X", "-q", "-d", target.conninfo(reference), "-f", "-"]
        run(psql, stdin=text, seconds=300)
        return dump(target, reference, "--schema-only")
    finally:
        target.sql(f"DROP DATABASE {identifier(reference)} WITH (FORCE)")


def row_sums(cluster: Cluster, database: str, excluded: str = "pgshare%") -> dict[str, list]:
    """Rows and a sum over their text, of every table and large object; apart from pgshare's."""
    queries = cluster.sql(
        "SELECT format('SELECT json_build_array(%L, count(*),"
        " coalesce(sum(hashtextextended(t::text, 0)), 0)) FROM ONLY %I.%I t;',"
        " n.nspname || '.' || c.relname, n.nspname, c.relname)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND n.nspname NOT LIKE 'pg\\_%'"
        f" AND n.nspname NOT LIKE '{excluded}' AND n.nspname <> 'information_schema'"
        " UNION ALL SELECT format('SELECT json_build_array(''large object %s'', length(l),"
        " md5(l)) FROM lo_get(%s) l;', oid, oid) FROM pg_largeobject_metadata",
        database,
    )
    rows = cluster.sql(f"SET extra_float_digits = 3;\n{queries}", database)
    return {name: sums for name, *sums in map(json.loads, rows.splitlines())}

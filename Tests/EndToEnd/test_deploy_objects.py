"""A database with every kind of object is deployed, redeployed after changes, and rolled back."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from harness import tools
from harness.cluster import Cluster
from harness.deploy import (
    Deployer,
    Run,
    assert_schemas_agree,
    dump,
    load,
    row_sums,
    state_of,
)

# What everything_later.sql drops or renames.
GONE = {
    "view app.on_by_key",
    "table app.mixed",
    "table app.products",
    "aggregate app.total(numeric)",
    "procedure app.clean()",
    "table public.people",
    'schema "public.app"',
    'table "public.app"."public.app"',
    "collation app.plain",
}


@dataclass
class Pair:
    """A source that holds everything, and an empty target, of two versions."""

    deployer: Deployer
    source: Cluster
    target: Cluster
    source_database: str = "everything source"
    target_database: str = "everything target"

    def __post_init__(self) -> None:
        load(self.source, self.source_database, "everything.sql")

    @property
    def ends(self) -> tuple[str, str]:
        return (
            self.source.conninfo(self.source_database),
            self.target.conninfo(self.target_database),
        )

    def deploy(self, *flags: str) -> Run:
        return self.deployer.deploy(*self.ends, *flags)

    def assert_agrees(self, run: Run) -> None:
        """Definitions but for what was left out, and rows."""
        assert_schemas_agree(
            self.source, self.source_database, self.target, self.target_database, run.plan
        )
        assert row_sums(self.target, self.target_database) == row_sums(
            self.source, self.source_database
        )


ROLES = (
    "CREATE ROLE everything_owner; CREATE ROLE everything_reader; CREATE ROLE everything_writer;"
    ' CREATE ROLE "everything Rölle ""x"".y"'
)


@pytest.fixture
def new_pair(
    deployer: Deployer, cluster_of: Callable[[int], Cluster], database_on: Callable[..., str]
) -> Callable[[int, int], Pair]:
    def make(source: int, target: int) -> Pair:
        ends = cluster_of(source), cluster_of(target)
        database_on(ends[0], Pair.source_database)
        database_on(ends[1], Pair.target_database)
        if not ends[1].sql("SELECT 1 FROM pg_roles WHERE rolname = 'everything_owner'"):
            ends[1].sql(ROLES)
        return Pair(deployer, *ends)

    return make


@pytest.mark.parametrize("version", tools.VERSIONS)
def test_everything_is_deployed_redeployed_and_rolled_back(
    version: int, new_pair: Callable[[int, int], Pair], covers: Callable[[str, str], None]
) -> None:
    covers("Postgres server", tools.full_version(version))
    pair = new_pair(version, version)
    first = pair.deploy()
    assert "last_deployment" not in first.plan
    pair.assert_agrees(first)
    after_first = state_of(pair.target, pair.target_database)

    again = pair.deploy()
    assert again.plan["removed"] == []
    pair.assert_agrees(again)

    load(pair.source, pair.source_database, "everything_later.sql")
    changed = pair.deploy()
    assert set(changed.plan["removed"]) == GONE
    pair.assert_agrees(changed)

    pair.deployer.rollback(pair.ends[1])
    assert state_of(pair.target, pair.target_database) == after_first


@pytest.mark.parametrize("version", tools.VERSIONS)
def test_a_first_deploy_of_everything_is_rolled_back_to_nothing(
    version: int, new_pair: Callable[[int, int], Pair]
) -> None:
    pair = new_pair(version, version)
    empty = state_of(pair.target, pair.target_database)
    pair.deploy()
    pair.deployer.rollback(pair.ends[1])
    assert state_of(pair.target, pair.target_database) == empty
    pair.assert_agrees(pair.deploy())


OLDEST, NEWER = tools.VERSIONS[0], 17


def test_everything_goes_to_a_newer_version_but_what_is_named(
    new_pair: Callable[[int, int], Pair],
) -> None:
    pair = new_pair(OLDEST, NEWER)
    # The target has no PL/Python: functions may be left out, a table's default may not.
    blocked = pair.deployer.fail(*pair.ends)
    assert set(blocked.findings("blocking")) == {"language-needed"}
    # Nor has its build ICU, which only CREATE COLLATION tells.
    pair.source.sql("DROP TABLE app.python_default", pair.source_database)
    failed = pair.deployer.fail(*pair.ends)
    assert "ICU is not supported" in failed.last["message"]
    assert failed.last["target"] == "untouched"
    pair.source.sql(
        "DROP COLLATION IF EXISTS app.german, app.no_case CASCADE", pair.source_database
    )
    done = pair.deploy()
    assert "language-missing" in done.findings("warning")
    left_out = {(one["kind"], one["identity"]) for one in done.plan["left_out"]}
    assert ("function", "app.in_python(integer, text)") in left_out
    assert ("view", "app.python_view") in left_out
    pair.assert_agrees(done)
    pair.assert_agrees(pair.deploy())


def test_everything_to_an_older_version_is_refused_with_reasons(
    new_pair: Callable[[int, int], Pair],
) -> None:
    pair = new_pair(NEWER, OLDEST)
    before = state_of(pair.target, pair.target_database)
    done = pair.deployer.fail(*pair.ends)
    blocking = [one for one in done.plan["findings"] if one["severity"] == "blocking"]
    assert {one["code"] for one in blocking} == {"feature-missing"}
    assert any("newer.builtin" in one["sentence"] for one in blocking)
    assert all(f"Postgres {NEWER} or later" in one["fix"] for one in blocking)
    assert state_of(pair.target, pair.target_database) == before


def test_what_an_older_version_understands_goes_there_with_a_warning(
    deployer: Deployer, cluster_of: Callable[[int], Cluster], database_on: Callable[..., str]
) -> None:
    source, target = cluster_of(NEWER), cluster_of(OLDEST)
    names = database_on(source, "newer"), database_on(target, "older")
    load(source, names[0], "small.sql")
    done = deployer.deploy(source.conninfo(names[0]), target.conninfo(names[1]))
    assert "target-older" in done.findings("warning")
    assert row_sums(target, names[1]) == row_sums(source, names[0])
    assert_schemas_agree(source, names[0], target, names[1], done.plan)

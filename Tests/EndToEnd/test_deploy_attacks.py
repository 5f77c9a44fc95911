"""`pgshare deploy` between databases in which somebody else is at work meanwhile, or was before."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cluster import Cluster
from harness.processes import Child, run
from harness.tools import pgshare_binary
from harness.waiting import wait_for
from providers.deploying import Deploying

# A table whose rows wait, as they arrive at the target, for as long as the advisory lock 1 is held
# there; and a small one that is copied after it.
SLOW_AND_SMALL = """
    CREATE TABLE big (a int, pad text);
    INSERT INTO big SELECT g, repeat('x', 500) FROM generate_series(1, 100) AS g;
    CREATE FUNCTION waits(int) RETURNS bool LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END $$;
    ALTER TABLE big ADD CHECK (waits(a));
    CREATE TABLE small (a int);
    INSERT INTO small VALUES (1), (2), (3);
"""

pytestmark = pytest.mark.relayed


def holding(cluster: Cluster, database: str, statement: str) -> Child:
    """A session that has run a statement in a transaction and stays in it."""
    psql = [str(cluster.programs / "psql"), "-X", "-q", "-d", cluster.conninfo(database)]
    child = Child([*psql, "-c", f"BEGIN; {statement}; SELECT pg_sleep(600)"])
    wait_for(
        "the session to be in its transaction",
        lambda: cluster.backends(f"datname = '{database}' AND wait_event = 'PgSleep'") == 1,
    )
    return child


def let_go(cluster: Cluster, database: str, child: Child) -> None:
    """Ends such a session; its server process would sleep on without it."""
    cluster.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{database}' AND wait_event = 'PgSleep'"
    )
    child.stop()


def roll_back(deploying: Deploying, target: str):
    """The last deploy, to the end."""
    state = ["--state", str(deploying.state)]
    return run([pgshare_binary(), "deploy", "rollback", target, "--yes", "--json", *state])


def test_source_cannot_be_emptied_during_a_deploy(
    cluster: Cluster, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    """TRUNCATE shows in snapshots that are older: rows would be missing, and nobody would see."""
    source, target = new_database("emptied"), new_database("emptied_target")
    cluster.sql(SLOW_AND_SMALL, source)
    brake = holding(cluster, target, "SELECT pg_advisory_xact_lock(1)")
    deploy = Deploying(cluster, source, tmp_path / "state", {}).start(cluster.conninfo(target))
    waiting = f"datname = '{target}' AND wait_event = 'advisory'"
    wait_for("the first table's rows to wait", lambda: cluster.backends(waiting) == 1)
    psql = [str(cluster.programs / "psql"), "-X", "-d", cluster.conninfo(source)]
    truncating = Child([*psql, "-c", "TRUNCATE small"])
    queued = f"datname = '{source}' AND query = 'TRUNCATE small' AND wait_event_type = 'Lock'"
    wait_for("the TRUNCATE to wait for the deploy", lambda: cluster.backends(queued) == 1)
    let_go(cluster, target, brake)
    assert deploy.wait_end(120) == 0, deploy.everything()
    assert truncating.wait_end(60) == 0, truncating.everything()
    assert cluster.sql("SELECT count(*) FROM small", target) == "3"
    assert cluster.sql("SELECT count(*) FROM small", source) == "0"


def test_swap_keeps_who_may_enter_and_runs_nobodys_settings(
    cluster: Cluster, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    source, target = new_database("likeness"), new_database("likeness_target")
    cluster.sql("CREATE TABLE small (a int)", source)
    cluster.sql(
        "DO $$ BEGIN CREATE ROLE intruder LOGIN; EXCEPTION WHEN duplicate_object THEN END $$; "
        f"REVOKE ALL ON DATABASE {target} FROM PUBLIC; "
        f"ALTER DATABASE {target} CONNECTION LIMIT 7; COMMENT ON DATABASE {target} IS 'mine'; "
        f"ALTER DATABASE {target} SET search_path = '$user', \"A, b\""
    )
    # Any role may set this for itself.
    cluster.sql(
        "SET SESSION AUTHORIZATION intruder; "
        "SELECT set_config('search_path', 'x;alter/**/role/**/intruder/**/superuser', false); "
        f"ALTER ROLE intruder IN DATABASE {target} SET search_path FROM CURRENT"
    )
    facts = (
        "SELECT datacl, datconnlimit, shobj_description(d.oid, 'pg_database'), s.setconfig "
        "FROM pg_database AS d JOIN pg_db_role_setting AS s ON s.setdatabase = d.oid "
        f"WHERE datname = '{target}' AND setrole = 0"
    )
    before = cluster.sql(facts)
    deploying = Deploying(cluster, source, tmp_path / "state", {})
    deploying.succeeds(cluster.conninfo(target), "--method", "swap", "--no-keep")
    assert cluster.sql(facts) == before
    assert cluster.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'intruder'") == "f"


def test_swap_takes_nothing_along_that_others_made(
    cluster: Cluster, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    """During the deploy, and between it and its rollback."""
    source, target = new_database("company"), new_database("company_target")
    cluster.sql("CREATE TABLE small (a int)", source)
    deploying = Deploying(cluster, source, tmp_path / "state", {})
    swap = ["--method", "swap"]
    brake = holding(cluster, source, "LOCK TABLE small")
    deploy = deploying.start(cluster.conninfo(target), *swap)
    waiting = f"datname = '{source}' AND wait_event_type = 'Lock'"
    wait_for("the deploy to wait", lambda: cluster.backends(waiting) == 1)
    cluster.sql("CREATE TABLE precious (a int)", target)
    let_go(cluster, source, brake)
    assert deploy.wait_end(120) == 1, deploy.everything()
    assert cluster.sql("SELECT count(*) FROM precious", target) == "0"
    cluster.sql("DROP TABLE precious", target)
    deploying.succeeds(cluster.conninfo(target), *swap)
    cluster.sql("CREATE TABLE precious (a int)", target)
    done = roll_back(deploying, cluster.conninfo(target))
    assert done.returncode == 1 and "table public.precious" in done.stdout, done.stdout
    cluster.sql("DROP TABLE precious", target)
    done = roll_back(deploying, cluster.conninfo(target))
    assert done.returncode == 0, done.stdout + done.stderr
    assert cluster.sql("SELECT count(*) FROM pg_class WHERE relname = 'small'", target) == "0"

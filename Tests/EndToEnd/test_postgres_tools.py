"""Postgres's own programs through a share: pgbench, pg_dump, pg_basebackup, logical decoding."""

import os
import re
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from harness import tools
from harness.cluster import Cluster
from harness.processes import Child, run_well
from harness.waiting import wait_for
from harness.wire import Refused, WireClient

DUMP_MEGABYTES = int(os.environ.get("PGSHARE_TEST_DUMP_MB", "50"))
clients = pytest.mark.parametrize("client", tools.VERSIONS)


@pytest.fixture
def bench_database(new_database, cluster: Cluster):
    name = new_database(f"bench_{uuid.uuid4().hex[:8]}")
    run_well([tools.program("pgbench"), "-i", "-q", "-s", "2", cluster.conninfo(name)])
    return name


@pytest.fixture
def share_database(cluster: Cluster, request: pytest.FixtureRequest, new_agent):
    """Shares one database of the main server."""

    def make(name: str, *more: str):
        if tools.DIRECT:
            return cluster.direct().with_database(name)
        relay = request.getfixturevalue("relay")
        return new_agent(relay, cluster, *more, conninfo=cluster.conninfo(name)).endpoint

    return make


@clients
def test_pgbench_runs_every_query_mode(client, share_database, bench_database, covers):
    covers("pgbench", tools.full_version(client))
    endpoint = share_database(bench_database)
    for arguments in (
        ["-S", "-M", "simple"], ["-S", "-M", "extended"], ["-S", "-M", "prepared"],
        ["-M", "prepared", "-N"], ["-M", "simple", "-S", "-C"],
    ):  # fmt: skip
        count = "10" if "-C" in arguments else "200"
        done = run_well(
            [tools.program("pgbench", client), "-n", "-c", "4", "-j", "2", "-t", count, *arguments,
             endpoint.argument()],
            endpoint.environment(),
        )  # fmt: skip
        assert "number of failed transactions: 0" in done.stdout
        assert f"{4 * int(count)}/{4 * int(count)}" in done.stdout


FILL = """
CREATE SCHEMA other;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE parents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
  mood mood DEFAULT 'ok', tags text[], doc jsonb, made timestamptz DEFAULT '2026-01-01Z');
CREATE TABLE other.children (id uuid PRIMARY KEY, parent bigint REFERENCES parents, amount numeric(14,4)
  CHECK (amount >= 0), payload bytea, span tstzrange);
CREATE INDEX children_parent ON other.children (parent, amount DESC) WHERE amount > 1;
CREATE VIEW totals AS SELECT parent, sum(amount) FROM other.children GROUP BY 1;
CREATE MATERIALIZED VIEW frozen AS SELECT count(*) FROM parents;
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER touched BEFORE UPDATE ON parents FOR EACH ROW EXECUTE FUNCTION noop();
CREATE SEQUENCE odd INCREMENT 2 START 11; SELECT nextval('odd');
COMMENT ON TABLE parents IS 'it''s \\ a "comment"';
INSERT INTO parents (name, tags, doc) SELECT 'name ' || n, ARRAY[n::text, NULL, 'ü'],
  jsonb_build_object('n', n) FROM generate_series(1, 1000) n;
INSERT INTO other.children SELECT md5(n::text)::uuid, 1 + n % 1000, n / 7.0,
  decode(repeat(md5(n::text), 32), 'hex'), tstzrange('2026-01-01Z', '2026-01-02Z')
  FROM generate_series(1, {rows}) n;
SELECT lo_from_bytea(4711, '\\x0102030405');
"""


def checksums(cluster: Cluster, database: str) -> str:
    """A line a table: its rows and an order-free checksum of them."""
    tables = cluster.sql(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
        database,
    ).split()
    assert tables
    return cluster.sql(
        "\n".join(
            f"SELECT '{table}', count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} t;"
            for table in tables
        )
        + "SELECT last_value, is_called FROM odd; SELECT oid, lo_get(oid) FROM pg_largeobject_metadata;",
        database,
    )


def schema(cluster: Cluster, database: str) -> str:
    """The schema as pg_dump tells it directly, without its random guard words."""
    done = run_well([tools.program("pg_dump"), "--schema-only", "-d", cluster.conninfo(database)])
    return re.sub(r"\\(un)?restrict \w+", "", done.stdout)


@pytest.mark.timeout(900)
def test_a_dump_through_the_share_restores_to_an_identical_database(
    cluster, new_database, share_database, tmp_path: Path, covers
):
    covers("pg_dump and pg_restore", tools.full_version(tools.MAIN_VERSION))
    covers("dumped megabytes", str(DUMP_MEGABYTES))
    source, target = new_database("dump_source"), new_database("dump_target")
    # A row of children takes about 590 bytes: 512 of payload, the rest around it.
    cluster.sql(FILL.format(rows=DUMP_MEGABYTES * 1_000_000 // 590), source)
    size = int(cluster.sql("SELECT pg_database_size(current_database())", source))
    assert size > DUMP_MEGABYTES * 1_000_000
    near, far = share_database(source), share_database(target)
    file = tmp_path / "dump"
    run_well(
        [tools.program("pg_dump"), "-Fc", "-Z1", "-f", str(file), "-d", near.argument()],
        near.environment(),
        seconds=800,
    )
    run_well(
        [tools.program("pg_restore"), "--exit-on-error", "-j", "2", "-d", far.argument(), str(file)],
        far.environment(),
        seconds=800,
    )
    assert schema(cluster, target) == schema(cluster, source)
    assert checksums(cluster, target) == checksums(cluster, source)


@pytest.mark.parametrize("version", tools.VERSIONS)
def test_pg_dump_of_the_servers_version_makes_the_same_text(version, share_of, cluster_of, covers):
    covers("pg_dump and pg_restore", tools.full_version(version))
    cluster, endpoint = cluster_of(version), share_of(version)
    cluster.sql("CREATE TABLE IF NOT EXISTS dumped AS SELECT n, md5(n::text) FROM generate_series(1, 99) n")

    def dump(where: str) -> str:
        done = run_well(
            [tools.program("pg_dump", version), "-t", "dumped", "-d", where], endpoint.environment()
        )
        return re.sub(r"\\(un)?restrict \w+", "", done.stdout)

    assert dump(endpoint.argument()) == dump(cluster.conninfo())


def test_pg_basebackup_makes_a_backup_that_verifies(share, tmp_path: Path, covers):
    covers("pg_basebackup", tools.full_version(share.version))
    target = tmp_path / "backup"
    run_well(
        [tools.program("pg_basebackup", share.version), "-D", str(target), "-X", "stream",
         "--checkpoint=fast", "-d", share.argument()],
        share.environment(),
    )  # fmt: skip
    run_well([tools.program("pg_verifybackup", share.version), str(target)])


def test_pg_receivewal_streams_what_is_written(share, cluster, tmp_path: Path, covers):
    covers("pg_receivewal", tools.full_version(share.version))
    child = Child(
        [tools.program("pg_receivewal", share.version), "-D", str(tmp_path), "--no-loop",
         "--synchronous", "-d", share.argument()],
        share.environment(),
    )  # fmt: skip
    try:
        wait_for(
            "pg_receivewal to stream",
            lambda: cluster.sql(
                "SELECT 1 FROM pg_stat_replication"
                " WHERE application_name = 'pg_receivewal' AND state = 'streaming'"
            ),
        )
        cluster.sql("CREATE TABLE IF NOT EXISTS wal_made (n int); INSERT INTO wal_made VALUES (1)")
        cluster.sql("SELECT pg_switch_wal()")
        wait_for(
            "a whole WAL segment",
            lambda: [name for name in os.listdir(tmp_path) if len(name) == 24],
        )
    finally:
        child.stop(signal.SIGINT)


def test_only_a_walsender_without_a_database_may_name_another(share):
    """libpq sends `dbname=replication` for a physical walsender, and Postgres ignores the name."""
    for yes in ("true", "on", "1", "YES"):
        with WireClient(share.with_database("replication"), {"replication": yes}) as client:
            assert client.query("IDENTIFY_SYSTEM")[0][1] is not None
    for no in ("database", "false", "0"):
        with pytest.raises(Refused) as caught:
            WireClient(share.with_database("template1"), {"replication": no})
        assert caught.value.state == "3D000"


def test_pg_recvlogical_decodes_changes(share, cluster, tmp_path: Path, covers):
    covers("pg_recvlogical", tools.full_version(share.version))
    slot = f"slot_{uuid.uuid4().hex[:8]}"
    command = [tools.program("pg_recvlogical", share.version), "-d", share.argument(), "-S", slot]
    run_well([*command, "--create-slot", "-P", "test_decoding"], share.environment())
    output = tmp_path / "changes"
    child = Child([*command, "--start", "-f", str(output), "-F", "1", "-s", "1"], share.environment())
    try:
        cluster.sql("CREATE TABLE IF NOT EXISTS decoded (n int); INSERT INTO decoded VALUES (4242)")
        wait_for("the change", lambda: output.exists() and "4242" in output.read_text())
    finally:
        child.stop(signal.SIGINT)
    run_well([*command, "--drop-slot"], share.environment())


def test_a_psql_script_in_one_transaction_with_copy_inside_works(share, tmp_path: Path):
    """database-build#123: psql -f lost synchronization there."""
    table = f"scripted_{uuid.uuid4().hex[:8]}"
    rows = "".join(f"{n}\tvalue {n}\n" for n in range(5000))
    file = tmp_path / "script.sql"
    file.write_text(
        f"create table {table} (a int, b text);\ncopy {table} from stdin;\n{rows}\\.\n"
        f"select count(*) from {table};\ndrop table {table};\n"
    )
    done = run_well(
        [tools.program("psql"), "-X", "-At", "-1", "-v", "ON_ERROR_STOP=1", "-d", share.argument(),
         "-f", str(file)],
        share.environment(),
    )  # fmt: skip
    assert "5000" in done.stdout


def test_pg_dump_piped_into_psql_of_another_database_works(cluster, new_database, share_database):
    source, target = new_database("pipe_source"), new_database("pipe_target")
    cluster.sql("CREATE TABLE t AS SELECT n, repeat(md5(n::text), 9) FROM generate_series(1, 30000) n", source)
    near, far = share_database(source), share_database(target)
    dump = subprocess.Popen(
        [tools.program("pg_dump"), "-d", near.argument()],
        env=os.environ | near.environment(), stdout=subprocess.PIPE,
    )  # fmt: skip
    restore = subprocess.run(
        [tools.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", far.argument()],
        env=os.environ | far.environment(), stdin=dump.stdout, capture_output=True, timeout=120,
    )  # fmt: skip
    assert dump.wait() == 0
    assert restore.returncode == 0, restore.stderr
    assert checksums_of_t(cluster, source) == checksums_of_t(cluster, target)


def checksums_of_t(cluster: Cluster, database: str) -> str:
    return cluster.sql("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY n)) FROM t", database)

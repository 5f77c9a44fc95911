"""pgjdbc and node-postgres: small programs in clients/, run against a share."""

from pathlib import Path

from harness import tools
from harness.processes import run_well

CLIENTS = Path(__file__).parent / "clients"


def arguments(share) -> list[str]:
    return [share.host, str(share.port), share.database, str(share.ca_file)]


def test_pgjdbc_queries_batches_copies_cancels_and_listens(share, tmp_path: Path, covers):
    run_well(["javac", "-cp", str(tools.JDBC), "-d", str(tmp_path), str(CLIENTS / "Clients.java")])
    done = run_well(
        ["java", "-cp", f"{tmp_path}:{tools.JDBC}", "Clients", *arguments(share)],
        share.environment(PGSHARE_TEST_USER=share.user),
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "done"
    assert sum(line.startswith("ok ") for line in lines) == 11
    covers("pgjdbc", lines[0].removeprefix("version "))


def test_node_postgres_queries_streams_pools_and_listens(share, covers):
    done = run_well(
        ["node", str(CLIENTS / "clients.js"), *arguments(share)],
        share.environment(PGSHARE_TEST_USER=share.user, NODE_PATH=str(tools.NODE_MODULES)),
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "done"
    assert sum(line.startswith("ok ") for line in lines) == 5
    covers("node-postgres", lines[0].removeprefix("version "))

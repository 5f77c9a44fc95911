"""pgjdbc and node-postgres: small programs in clients/, run against a share."""

from pathlib import Path

from harness.drivers import check_node_postgres, check_pgjdbc


def test_pgjdbc_queries_batches_copies_cancels_and_listens(share, tmp_path: Path, covers):
    covers("pgjdbc", check_pgjdbc(share, "Clients", tmp_path, 11))


def test_node_postgres_queries_streams_pools_and_listens(share, covers):
    covers("node-postgres", check_node_postgres(share))

"""A tab's database is deployed like any share: one session is enough for it."""

import pytest
from harness import tools
from harness.processes import run_well
from test_browser_dump import INDEXES, ROWS, filled, rows  # noqa: F401

NEAREST = (
    "SET enable_seqscan = off; EXPLAIN SELECT id FROM documents"
    " ORDER BY embedding <-> '[.1,.2,.3,.4,.5,.6,.7,.8]' LIMIT 5"
)

pytestmark = pytest.mark.relayed


@pytest.mark.parametrize("way", ["url", "id"])
def test_a_tab_is_deployed_to_a_postgres_while_others_use_it(
    way, filled, tab, page_relay, cluster_of, database_on, deployer, covers
):
    server = cluster_of(tools.VECTOR_VERSION)
    target = database_on(server, f"deployed by {way}")
    if way == "url":
        source = filled.url()
        environment = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(page_relay.ca_file)}
    else:
        source = filled.share_id
        environment = {
            "PGSHARE_TOKEN": page_relay.token(), "PGSHARE_RELAY": page_relay.url,
            "PGSHARE_CA_FILE": str(page_relay.ca_file), "PGSHARE_SOURCE_PASSWORD": filled.password,
        }  # fmt: skip
    done = deployer.deploy(source, server.conninfo(target), environment=environment)
    assert done.last["outcome"] == "deployed", done.explain()

    def there(sql: str) -> list[list[str]]:
        return [line.split("|") for line in server.sql(sql, target).splitlines()]

    assert there(ROWS) == rows(tab.query)
    assert server.sql(INDEXES, target).splitlines() == [row[0] for row in tab.query(INDEXES)]
    assert "documents_near" in server.sql(NEAREST, target)
    psql = [tools.program("psql", 17), "-XAtd", filled.argument(), "-c", "SELECT count(*) FROM parents"]
    assert run_well(psql, filled.environment()).stdout == "1000\n"
    covers("deploy of a tab", way)

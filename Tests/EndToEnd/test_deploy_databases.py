"""Databases in the manner of real ones: with extensions, with embeddings, shops, large values."""

import os

import pytest
from harness import tools
from harness.deploy import assert_schemas_agree, load, row_sums, state_of

# Megabytes of rows, and of single values, of the large database. 200 is as large as a value gets
# in practice; the default keeps CI quick.
LARGE = int(os.environ.get("PGSHARE_TEST_DEPLOY_MB", "16"))


def goes_there_and_back(script, source, target, database_on, deployer, *flags, **variables):
    """Deployed, compared, deployed again after a change, rolled back."""
    names = database_on(source, "a database"), database_on(target, "its copy")
    load(source, names[0], script, **variables)
    ends = source.conninfo(names[0]), target.conninfo(names[1])
    done = deployer.deploy(*ends, *flags)
    assert_schemas_agree(source, names[0], target, names[1], done.plan)
    sums = row_sums(source, names[0])
    assert row_sums(target, names[1]) == sums
    first = state_of(target, names[1])
    source.sql("CREATE TABLE public.added AS SELECT 1 AS one", names[0])
    again = deployer.deploy(*ends, *flags)
    assert_schemas_agree(source, names[0], target, names[1], again.plan)
    assert row_sums(target, names[1]) == row_sums(source, names[0])
    deployer.rollback(ends[1])
    assert state_of(target, names[1]) == first
    return done


@pytest.mark.parametrize("script", ["pagila.sql", "chinook.sql"])
@pytest.mark.parametrize("version", tools.VERSIONS)
def test_shops(script, version, cluster_of, database_on, deployer):
    cluster = cluster_of(version)
    goes_there_and_back(script, cluster, cluster, database_on, deployer)


@pytest.mark.parametrize("method", ["in-place", "swap"])
def test_extensions(method, cluster, database_on, deployer):
    done = goes_there_and_back(
        "extensions.sql", cluster, cluster, database_on, deployer, "--method", method
    )
    assert {"hstore", "citext", "postgis", "pgcrypto"} <= {
        one["name"] for one in done.plan["extensions"]
    }


def test_embeddings(cluster_of, database_on, deployer):
    cluster = cluster_of(tools.VECTOR_VERSION)
    done = goes_there_and_back(
        "vector.sql", cluster, cluster, database_on, deployer, documents=300, dimensions=64
    )
    assert "vector" in {one["name"] for one in done.plan["extensions"]}


@pytest.mark.parametrize("method", ["in-place", "swap"])
def test_large_values(method, cluster, database_on, deployer):
    source, target = database_on(cluster, "large"), database_on(cluster, "its copy")
    sizes = {"megabytes": LARGE, "values_mb": LARGE, "huge_mb": LARGE, "rows": 5000}
    load(cluster, source, "big.sql", **sizes)
    ends = cluster.conninfo(source), cluster.conninfo(target)
    done = deployer.deploy(*ends, "--method", method, "--no-keep", seconds=900)
    rows = {f"{one['schema']}.{one['name']}": one["rows"] for one in done.all("table_finished")}
    assert rows["public.value_huge"] == 1
    length = "SELECT md5(words), length(words) FROM value_huge"
    assert cluster.sql(length, target) == cluster.sql(length, source)
    assert_schemas_agree(cluster, source, cluster, target, done.plan)
    assert row_sums(cluster, target) == row_sums(cluster, source)

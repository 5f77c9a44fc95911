"""A share is deployed as a database is: by URL, name and id, with TLS all the way."""

from dataclasses import replace

import pytest
from harness import tools
from harness.deploy import assert_schemas_agree, load, row_sums, state_of
from harness.waiting import wait_for


@pytest.fixture
def source(cluster, database_on):
    name = database_on(cluster, "shared shop")
    load(cluster, name, "small.sql")
    return name


@pytest.fixture
def target(cluster, database_on):
    return database_on(cluster, "target shop")


@pytest.mark.relayed
@pytest.mark.parametrize("way", ["url", "name", "id"])
def test_a_share_is_deployed(
    way, source, target, cluster, relay, new_agent, deployer, database_on
):
    agent = new_agent(relay, cluster, "--name", f"by-{way}", conninfo=cluster.conninfo(source))
    password = agent.shared["password"]
    environment = {
        "PGSHARE_TOKEN": relay.token(), "PGSHARE_RELAY": relay.url,
        "PGSHARE_CA_FILE": str(relay.ca_file),
    }  # fmt: skip
    if way == "url":
        text = agent.shared["url"]
        environment = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(relay.ca_file)}
    else:
        text = agent.shared["id"] if way == "id" else "by-name"
        environment["PGSHARE_SOURCE_PASSWORD"] = password
    done = deployer.deploy(text, cluster.conninfo(target), environment=environment)
    assert done.last["outcome"] == "deployed"
    assert_schemas_agree(cluster, source, cluster, target, done.plan)
    assert row_sums(cluster, target) == row_sums(cluster, source)
    assert password not in done.stdout + done.stderr


@pytest.mark.relayed
def test_a_share_that_is_gone_or_unknown_is_named(relay, cluster, source, target, new_agent, deployer):
    agent = new_agent(relay, cluster, "--name", "soon-gone", conninfo=cluster.conninfo(source))
    environment = {
        "PGSHARE_TOKEN": relay.token(), "PGSHARE_RELAY": relay.url,
        "PGSHARE_CA_FILE": str(relay.ca_file),
        "PGSHARE_SOURCE_PASSWORD": agent.shared["password"],
    }  # fmt: skip
    before = state_of(cluster, target)
    agent.stop()
    for name, word in (("soon-gone", "soon-gone"), ("never-was", "nothing at this address")):
        done = deployer.run(name, cluster.conninfo(target), "--yes", environment=environment)
        assert done.status == 1, done.explain()
        assert word in done.stderr + done.stdout
    assert state_of(cluster, target) == before


@pytest.mark.relayed
def test_a_share_into_the_database_that_it_shares_is_refused(
    relay, cluster, source, new_agent, deployer
):
    agent = new_agent(relay, cluster, conninfo=cluster.conninfo(source))
    before = state_of(cluster, source)
    environment = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(relay.ca_file)}
    # By the same address that the agent uses, and by another.
    other = cluster.tcp_conninfo("trusting", source, sslmode="disable")
    for target in (cluster.conninfo(source), other):
        done = deployer.fail(agent.shared["url"], target, environment=environment)
        assert "target-is-source" in done.findings("blocking")
    # And by the share itself.
    done = deployer.fail(agent.shared["url"], agent.shared["url"], environment=environment)
    assert "target-is-source" in done.findings("blocking")
    assert state_of(cluster, source) == before


@pytest.mark.relayed
def test_a_share_may_be_a_target(relay, cluster, source, target, new_agent, deployer):
    agent = new_agent(relay, cluster, conninfo=cluster.conninfo(target))
    environment = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(relay.ca_file)}
    deployer.deploy(cluster.conninfo(source), agent.shared["url"], environment=environment)
    assert row_sums(cluster, target) == row_sums(cluster, source)


def test_both_ends_are_reached_with_tls_that_is_checked(cluster, source, target, deployer, relay):
    if not cluster.has_tls:
        pytest.fail("the main server is built with TLS")
    ends = [cluster.direct("scrammed").with_database(name) for name in (source, target)]
    words = [end.argument(sslmode="verify-full") for end in ends]
    environment = {f"PGSHARE_{side}_PASSWORD": ends[0].password for side in ("SOURCE", "TARGET")}
    deployer.deploy(*words, environment=environment)
    assert row_sums(cluster, target) == row_sums(cluster, source)
    # Another authority has signed nothing that these servers have.
    stranger = replace(ends[1], ca_file=relay.ca_file).argument(sslmode="verify-full")
    done = deployer.run(words[0], stranger, "--yes", environment=environment)
    assert done.status == 1, done.explain()
    assert "certificate" in done.stdout + done.stderr


@pytest.mark.relayed
def test_a_share_of_another_version_is_deployed(
    cluster_of, database_on, relay, new_agent, deployer
):
    newest, older = cluster_of(tools.VERSIONS[-1]), cluster_of(tools.VERSIONS[0])
    source, target = database_on(older, "older shop"), database_on(newest, "newer shop")
    load(older, source, "small.sql")
    agent = new_agent(relay, older, conninfo=older.conninfo(source))
    environment = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(relay.ca_file)}
    done = deployer.deploy(agent.shared["url"], newest.conninfo(target), environment=environment)
    assert_schemas_agree(older, source, newest, target, done.plan)
    assert row_sums(newest, target) == row_sums(older, source)
    agent.stop()
    wait_for("the share to end", lambda: not agent.child.is_running)

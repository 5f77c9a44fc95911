"""The life of a share: limits, expiry, revocation, restarts, policies, commands, health."""

import contextlib
import json
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from harness import tools, wire
from harness.cluster import ROLES
from harness.pgshare import pgshare
from harness.processes import Child, run, run_well
from harness.waiting import stays_true, wait_for
from harness.wire import Refused, WireClient, answers

pytestmark = pytest.mark.relayed


def refusal(endpoint, **more) -> Refused:
    with pytest.raises(Refused) as caught:
        WireClient(endpoint, **more)
    return caught.value


def states(client: WireClient) -> list[str]:
    """Waits for the end of a session; the SQLSTATEs that it was given."""
    return [got.fields["C"] for got in client.until_end() if got.kind == "E"]


def test_the_first_line_of_json_names_everything(new_agent, relay, cluster):
    shared = new_agent(relay, cluster, "--expires", "8h").shared
    assert {"id", "url", "host", "port", "user", "password", "database", "expires_at"} <= set(shared)
    assert len(shared["id"]) == 16
    expires = datetime.fromisoformat(shared["expires_at"].replace("Z", "+00:00"))
    assert 7.9 < (expires - datetime.now(UTC)).total_seconds() / 3600 < 8.1


def test_text_output_holds_a_psql_line_that_works_as_pasted(relay, cluster):
    child = Child(
        [tools.pgshare_binary(), "share", cluster.conninfo(), "--relay", relay.url,
         "--ca-file", str(relay.ca_file)],
        {"PGSHARE_TOKEN": relay.token()},
    )  # fmt: skip
    try:
        line = child.wait_line("a psql line", lambda line: line.strip().startswith("psql ")).strip()
        done = run(["bash", "-c", f"{line} -X -At -c 'select 40 + 2'"])
        assert done.stdout.strip() == "42", done.stderr
    finally:
        child.stop(signal.SIGINT)


def test_clients_over_the_limit_are_told_so(new_agent, relay, cluster):
    endpoint = new_agent(relay, cluster, "--max-connections", "2").endpoint
    first, second = WireClient(endpoint), WireClient(endpoint)
    assert refusal(endpoint).state == "53300"
    first.close()
    wait_for("the place of the client that left", lambda: answers(endpoint))
    second.close()


def test_an_expired_share_ends_its_live_sessions(new_agent, relay, cluster):
    agent = new_agent(relay, cluster, "--expires", "3s")
    idle, busy = WireClient(agent.endpoint), WireClient(agent.endpoint)
    busy.send(wire.query("select pg_sleep(60) as until_expiry"))
    assert states(idle) == ["57P01"]
    assert states(busy) == ["57P01"]
    wait_for(
        "the backend of the busy client to end",
        lambda: cluster.backends("query LIKE '%until_expiry%'") == 0,
    )
    assert refusal(agent.endpoint).state == "28P01"


def test_a_revoked_share_ends_its_live_sessions(new_agent, relay, cluster):
    agent = new_agent(relay, cluster)
    client = WireClient(agent.endpoint)
    done = relay.command("shares", "revoke", agent.shared["id"])
    assert done.returncode == 0, done.stderr
    assert states(client) == ["57P01"]
    assert refusal(agent.endpoint).state == "28P01"


def test_nobody_else_can_list_show_or_revoke_a_share(new_agent, relay, cluster):
    agent = new_agent(relay, cluster)
    share_id = agent.shared["id"]
    stranger = relay.token("stranger")
    listed = relay.command("shares", "list", "--json", token=stranger)
    assert listed.returncode == 0, listed.stderr
    assert share_id not in listed.stdout
    for verb in ("show", "revoke"):
        assert relay.command("shares", verb, share_id, token=stranger).returncode == 1
    assert answers(agent.endpoint)
    mine = relay.command("shares", "list", "--json")
    assert share_id in mine.stdout
    shown = relay.command("shares", "show", share_id, "--json")
    assert json.loads(shown.stdout)["id"] == share_id
    assert agent.shared["password"] not in mine.stdout + shown.stdout


def test_a_revoked_token_ends_its_tunnels_and_lets_nobody_in(new_agent, relay, cluster):
    token = relay.token("short-lived")
    agent = new_agent(relay, cluster, token=token)
    assert answers(agent.endpoint)
    done = run_well(
        [tools.pgshare_binary(), "token", "revoke", "short-lived", "--state", str(relay.state)]
    )
    assert done.stdout == "Revoked the token of short-lived; 1 share ended.\n"
    again = new_agent(relay, cluster, token=token, wait=False)
    assert again.child.wait_end() == 1
    wait_for("the old share to be gone", lambda: not answers(agent.endpoint))


def test_tokens_are_shown_once_and_stored_as_hashes(relay):
    token = relay.token("looked-for")
    listed = run_well(
        [tools.pgshare_binary(), "token", "list", "--state", str(relay.state), "--json"]
    )
    assert "looked-for" in listed.stdout
    assert token not in listed.stdout
    secret = token.removeprefix("pgs_").encode()
    for file in relay.state.rglob("*"):
        if file.is_file():
            assert secret not in file.read_bytes(), file


def test_the_state_folder_is_private(relay):
    for path in (relay.state, *relay.state.rglob("*")):
        if path.suffix in (".pem", ".crt") or path.name == "certs":
            continue
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_restarted_relay_serves_the_same_share_when_its_agent_is_back(new_agent, new_relay, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    assert answers(agent.endpoint)
    assert relay.stop() == 0
    relay.start()
    wait_for("the agent to come back", lambda: answers(agent.endpoint), 60)


def test_a_relay_that_was_killed_serves_the_same_share_again(new_agent, new_relay, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    client = WireClient(agent.endpoint)
    relay.child.stop(signal.SIGKILL)
    assert states(client) == []
    relay.start()
    wait_for("the agent to come back", lambda: answers(agent.endpoint), 60)
    wait_for("the old backend to end", lambda: cluster.backends("application_name = ''") == 0, 60)


def test_a_stopping_relay_says_goodbye_to_clients(new_agent, new_relay, cluster):
    relay = new_relay()
    agent = new_agent(relay, cluster)
    client = WireClient(agent.endpoint)
    relay.child.signal(signal.SIGTERM)
    assert states(client) == ["57P01"]
    assert relay.child.wait_end() == 0


def test_an_agent_that_leaves_ends_its_clients_at_once(new_agent, relay, cluster):
    agent = new_agent(relay, cluster)
    client = WireClient(agent.endpoint)
    start = time.monotonic()
    agent.child.signal(signal.SIGINT)
    assert agent.child.wait_end() == 0
    assert states(client) in (["57P01"], ["08006"])
    assert time.monotonic() - start < 15
    found = refusal(agent.endpoint)
    assert found.state in ("57P03", "28P01")


@pytest.mark.timeout(240)
def test_an_agent_that_was_killed_gives_its_clients_an_error_in_the_end(new_agent, relay, cluster):
    agent = new_agent(relay, cluster)
    client = WireClient(agent.endpoint, seconds=120)
    agent.child.stop(signal.SIGKILL)
    assert states(client) == ["08006"]
    assert refusal(agent.endpoint).state == "57P03"


@pytest.mark.parametrize(
    "attack",
    ["set default_transaction_read_only = off; insert into guarded values (2)",
     "begin read write; insert into guarded values (2); commit",
     "set session characteristics as transaction read write; insert into guarded values (2)",
     "set transaction read write; insert into guarded values (2)",
     "reset all; insert into guarded values (2)",
     "set role postgres; insert into guarded values (2)",
     "reset session authorization; reset role; insert into guarded values (2)",
     "select writes()", "copy guarded from program 'echo 2'", "create table more (n int)",
     "select lo_create(99)", "alter system set work_mem = '9MB'", "set session_replication_role = replica",
     "discard all; insert into guarded values (2)",
     "do $$begin execute 'set transaction_read_only = off'; insert into guarded values (2); end$$"],
)  # fmt: skip
def test_a_read_only_share_stays_read_only(attack, read_only):
    cluster, endpoint = read_only
    with WireClient(endpoint) as client:
        with contextlib.suppress(Refused):
            client.query(attack)
        client.query("rollback")
        assert client.query("select 1") == [[b"1"]]
    assert cluster.sql("select count(*) from guarded") == "1", attack
    assert cluster.sql("select to_regclass('more') is null") == "t"


@pytest.fixture
def read_only(relay, cluster, new_agent):
    """A share that only reads, and a table for it to attack."""
    cluster.sql(
        "DROP TABLE IF EXISTS guarded; CREATE TABLE guarded (n int); INSERT INTO guarded VALUES (1);"
        "CREATE OR REPLACE FUNCTION writes() RETURNS int LANGUAGE sql SECURITY DEFINER AS "
        "'INSERT INTO guarded VALUES (2) RETURNING n';"
        "REVOKE EXECUTE ON FUNCTION writes() FROM PUBLIC"
    )
    return cluster, new_agent(relay, cluster, "--read-only").endpoint


def test_a_read_only_share_is_refused_where_everybody_may_write(read_only, relay, new_agent):
    """A function that runs as its owner is a way to write that no role of ours can close."""
    cluster, _ = read_only
    cluster.sql("GRANT EXECUTE ON FUNCTION writes() TO PUBLIC")
    try:
        agent = new_agent(relay, cluster, "--read-only", wait=False)
        assert agent.child.wait_end() == 1
        assert "writes()" in agent.child.everything()
    finally:
        cluster.sql("REVOKE EXECUTE ON FUNCTION writes() FROM PUBLIC")


def test_read_only_and_all_databases_exclude_each_other(relay, cluster):
    done = relay.command("share", cluster.conninfo(), "--read-only", "--all-databases")
    assert done.returncode == 2
    assert "--read-only" in done.stderr and "--all-databases" in done.stderr


def test_a_read_only_share_reads(read_only):
    _, endpoint = read_only
    with WireClient(endpoint) as client:
        assert client.query("select count(*) from guarded") == [[b"1"]]


def test_allow_lets_in_only_its_addresses(new_agent, relay, cluster):
    assert answers(new_agent(relay, cluster, "--allow", "127.0.0.0/8").endpoint)
    found = refusal(new_agent(relay, cluster, "--allow", "192.0.2.0/24").endpoint)
    assert found.state in ("28000", "28P01")


def test_a_share_has_a_name_and_is_reached_by_it(new_agent, relay, cluster):
    endpoint = new_agent(relay, cluster, "--name", "my-db").endpoint
    user = endpoint.user.removesuffix(f".{endpoint.share_id}").removesuffix(".my-db")
    assert answers(replace(endpoint, user=f"{user}.my-db"))
    assert answers(replace(endpoint, user=f"{user}.{endpoint.share_id}"))


def test_the_host_name_reaches_the_share_by_sni(new_agent, new_relay, cluster):
    """OpenSSL takes no wildcard right below a top-level name, so not `*.localhost`."""
    relay = new_relay("--domain", "pgshare.test")
    agent = new_agent(relay, cluster, "--name", "my-db")
    shared = agent.shared
    assert shared["host"] == "my-db.pgshare.test"
    assert shared["user"] == "postgres"
    for host in (shared["host"], f"{shared['id']}.pgshare.test"):
        with WireClient(replace(agent.endpoint, host=host)) as client:
            assert client.query("select 1") == [[b"1"]]


@pytest.mark.parametrize("role", ROLES)
def test_the_agent_logs_in_by_each_method(role, new_agent, relay, cluster):
    password = ROLES[role][0]
    more = {"password": password} if password else {}
    agent = new_agent(relay, cluster, conninfo=cluster.tcp_conninfo(role, **more))
    with WireClient(agent.endpoint) as client:
        assert client.query("select current_user") == [[role.encode()]]
    assert not password or password not in agent.child.everything()


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-ca", "verify-full"])
def test_the_agent_reaches_its_database_by_its_sslmode(mode, new_agent, relay, cluster):
    conninfo = cluster.tcp_conninfo(
        "scrammed", password="scram secret", sslmode=mode,
        sslrootcert=str(cluster.authority.certificate),
    )  # fmt: skip
    with WireClient(new_agent(relay, cluster, conninfo=conninfo).endpoint) as client:
        asked = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        assert client.query(asked) == [[b"f" if mode == "disable" else b"t"]]


def test_the_agent_binds_its_login_to_the_channel(new_agent, relay, cluster):
    conninfo = cluster.tcp_conninfo(
        "scrammed", password="scram secret", sslmode="require", channel_binding="require"
    )
    assert answers(new_agent(relay, cluster, conninfo=conninfo).endpoint)


def test_the_agent_logs_in_by_client_certificate(new_agent, relay, cluster, authority):
    certificate, key = authority.leaf("certified", "certified")
    conninfo = cluster.tcp_conninfo(
        "certified", sslmode="verify-full", sslrootcert=str(authority.certificate),
        sslcert=str(certificate), sslkey=str(key),
    )  # fmt: skip
    with WireClient(new_agent(relay, cluster, conninfo=conninfo).endpoint) as client:
        assert client.query("select current_user") == [[b"certified"]]


def test_the_agent_finds_its_database_as_libpq_does(new_agent, relay, cluster, tmp_path: Path):
    passwords, services = tmp_path / "pgpass", tmp_path / "service.conf"
    passwords.write_text(f"localhost:{cluster.port}:*:scrammed:scram secret\n")
    passwords.chmod(0o600)
    services.write_text(f"[mine]\nhost=localhost\nport={cluster.port}\nuser=scrammed\ndbname=postgres\n")
    files = {"PGPASSFILE": str(passwords), "PGSERVICEFILE": str(services)}
    by_environment = {
        "PGHOST": str(cluster.socket_folder), "PGPORT": str(cluster.port), "PGUSER": "postgres",
        "PGDATABASE": "postgres",
    }  # fmt: skip
    url = f"postgresql://plain:plain%20secret@localhost:{cluster.port}/postgres?sslmode=disable"
    for conninfo, environment, role in (
        ("service=mine", files, b"scrammed"), ("", by_environment, b"postgres"), (url, {}, b"plain"),
    ):  # fmt: skip
        agent = new_agent(relay, cluster, conninfo=conninfo, environment=environment)
        with WireClient(agent.endpoint) as client:
            assert client.query("select current_user") == [[role]]


def test_client_addresses_and_departures_are_told(new_agent, relay, cluster):
    agent = new_agent(relay, cluster)
    seen = len(agent.child.lines)
    with WireClient(agent.endpoint):
        wait_for("a line about the client", lambda: "127.0.0.1" in "\n".join(agent.child.lines[seen:]))
    wait_for("a line about its leaving", lambda: len(agent.child.lines) >= seen + 2)


def test_nothing_secret_is_in_the_logs(new_agent, new_relay, cluster):
    relay = new_relay(environment={"PGSHARE_LOG_LEVEL": "debug"})
    agent = new_agent(relay, cluster)
    with WireClient(agent.endpoint) as client:
        client.query("select 'a secret question'")
    with pytest.raises(Refused):
        WireClient(replace(agent.endpoint, password="a wrong guess"))
    agent.stop()
    relay.stop()
    logs = relay.child.everything() + "\n".join(agent.child.errors)
    assert agent.endpoint.password not in logs
    for secret in (relay.token(), "a secret question", "a wrong guess", "SCRAM-SHA-256$"):
        assert secret not in logs


# Seen from outside


def test_health_and_metrics_tell_the_truth(new_agent, new_relay, cluster):
    relay = new_relay()
    assert relay.request("GET", "/healthz")[0] == 200
    assert relay.request("GET", "/readyz")[0] == 200
    assert relay.metric("shares_online") == 0
    agent = new_agent(relay, cluster)
    assert relay.metric("shares_online") == relay.metric("tunnels_open") == 1
    with WireClient(agent.endpoint) as client:
        client.query("select repeat('x', 100000)")
        client.query(f"select {'1' * 20000}")
        status, text = relay.request("GET", "/metrics")
        assert status == 200
        assert "# TYPE" in text
        assert agent.shared["id"] not in text, "an id became a label"
        assert relay.metric("streams_open") == relay.metric("clients_open") == 1
        wait_for("the bytes to be counted", lambda: relay.metric("bytes_to_client_total") > 120_000)
        assert 20_000 < relay.metric("bytes_to_database_total") < 30_000
    wait_for("the client to be gone", lambda: relay.metric("streams_open") == 0)
    wait_for("its socket to be gone", lambda: relay.metric("clients_open") == 0)
    agent.stop()
    wait_for("the share to be offline", lambda: relay.metric("shares_online") == 0)
    assert relay.metric("links_open") == 0


def test_the_api_answers_errors_in_json(relay):
    for path, token in (("/v1/shares", None), ("/v1/shares", "pgs_wrong"), ("/v1/nowhere", relay.token())):
        status, body = relay.request("GET", path, token=token)
        assert status in (401, 404), body
        assert json.loads(body)
    status, body = relay.request("GET", f"/v1/shares/{'0' * 16}", token=relay.token())
    assert status == 404
    assert json.loads(body)


def test_usage_errors_end_with_2_and_help_with_0():
    assert pgshare("--no-such-flag").returncode == 2
    assert pgshare("shares", "no-such-verb").returncode == 2
    for command in ((), ("relay",), ("share",), ("shares",), ("token",), ("certs",), ("demo",)):
        done = pgshare(*command, "--help")
        assert done.returncode == 0, done.stderr
        assert "USAGE" in done.stdout


def test_the_help_of_deploy_says_what_it_takes():
    brief = pgshare("deploy", "--help").stdout
    for word in ("SOURCE TARGET", "--plan", "--json", "--jobs", "deploy run --help"):
        assert word in brief, brief
    assert "--exclude-schema" in pgshare("deploy", "run", "--help").stdout
    assert "--json" in pgshare("demo", "--help").stdout


def test_certs_init_makes_certificates_that_a_relay_uses(new_relay, new_agent, cluster, tmp_path: Path):
    done = pgshare("certs", "init", "--out", str(tmp_path / "certs"), "--domain", "localhost")
    assert done.returncode == 0, done.stderr
    made = tmp_path / "certs"
    authorities = list(made.glob("ca*.pem"))
    assert authorities
    keys = [path for path in made.iterdir() if "key" in path.name]
    assert keys and all(path.stat().st_mode & 0o077 == 0 for path in keys)


def test_demo_prints_a_psql_line_that_works_and_leaves_nothing_behind(tmp_path: Path):
    child = Child(
        [tools.pgshare_binary(), "demo"],
        {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    tmp_path.chmod(0o755)
    line = child.wait_line("a psql line", lambda line: line.strip().startswith("psql "), seconds=90)
    done = run(["bash", "-c", f"{line.strip()} -X -At -c 'select version()'"])
    assert "PostgreSQL" in done.stdout, done.stderr
    child.signal(signal.SIGINT)
    assert child.wait_end(60) == 0
    assert run(["pgrep", "-s", str(child.pid)]).stdout == "", "processes of the demo are left"
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == []


def test_an_idle_share_stays_up(new_agent, relay, cluster):
    """Longer than the keepalive's 10 s: the tunnel answers PINGs."""
    agent = new_agent(relay, cluster)
    with WireClient(agent.endpoint) as client:
        stays_true("the agent runs", lambda: agent.child.is_running, 12)
        assert client.query("select 1") == [[b"1"]]

"""Methods, parts of a database, levels of verification, plans, exit statuses, the history."""

import json
import signal
import threading
from contextlib import contextmanager

import psycopg
import pytest
from harness.deploy import (
    Deployer,
    assert_schemas_agree,
    entries,
    dump,
    load,
    row_sums,
    state_of,
)
from harness.processes import run
from harness.terminal import Terminal
from harness.waiting import wait_for


@pytest.fixture
def source(cluster, database_on):
    name = database_on(cluster, "option source")
    load(cluster, name, "small.sql")
    return name


@pytest.fixture
def target(cluster, database_on):
    return database_on(cluster, "option target")


@pytest.fixture
def ends(cluster, source, target):
    return cluster.conninfo(source), cluster.conninfo(target)


# Methods and parts


@pytest.mark.parametrize("method", ["in-place", "swap"])
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_both_methods_deploy_redeploy_and_roll_back(
    method, jobs, ends, source, target, cluster, deployer
):
    flags = ["--method", method, *(["--jobs", jobs] if method == "swap" else [])]
    first = deployer.deploy(*ends, *flags)
    assert first.plan["method"] == method
    assert_schemas_agree(cluster, source, cluster, target, first.plan)
    before = state_of(cluster, target)
    cluster.sql("UPDATE shop.items SET price = 1; DROP TABLE public.notes", source)
    second = deployer.deploy(*ends, *flags)
    assert second.plan["removed"] == ["table public.notes"]
    assert_schemas_agree(cluster, source, cluster, target, second.plan)
    assert row_sums(cluster, target) == row_sums(cluster, source)
    deployer.rollback(ends[1])
    assert state_of(cluster, target) == before
    left = cluster.sql("SELECT datname FROM pg_database WHERE datname LIKE 'pgshare_stage%'")
    assert left == ""


def test_definitions_alone(ends, source, target, cluster, deployer):
    done = deployer.deploy(*ends, "--schema-only")
    assert_schemas_agree(cluster, source, cluster, target, done.plan)
    assert cluster.sql("SELECT count(*) FROM shop.items", target) == "0"
    assert done.last["rows"] == 0


def test_rows_alone(ends, source, target, cluster, deployer):
    deployer.deploy(*ends, "--schema-only")
    deployer.deploy(*ends, "--data-only")
    assert row_sums(cluster, target) == row_sums(cluster, source)
    assert cluster.sql("SELECT last_value FROM shop.tickets", target) == "4711"


@pytest.mark.parametrize(
    ("flags", "tables"),
    [
        (["--schema", "shop"], {"shop.items", "shop.orders"}),
        (["--schema", "sh?p"], {"shop.items", "shop.orders"}),
        (["--exclude-schema", "shop"], {"public.notes"}),
        (["--table", "public.notes"], {"public.notes"}),
        (["--table", "public.*"], {"public.notes"}),
    ],
)
def test_parts_of_a_database(flags, tables, ends, target, cluster, deployer):
    deployer.deploy(*ends, *flags)
    assert set(row_sums(cluster, target)) == tables


def test_a_part_that_is_not_there_is_no_deploy(ends, target, cluster, deployer):
    before = state_of(cluster, target)
    done = deployer.fail(*ends, "--table", "public.nothing")
    assert "nothing-selected" in done.findings("blocking")
    assert state_of(cluster, target) == before


# Verification


@pytest.mark.parametrize("level", ["none", "counts", "full"])
def test_levels_of_verification(level, ends, deployer):
    done = deployer.deploy(*ends, "--verify", level)
    seen = [event["level"] for event in done.all("verified")]
    assert seen == ([] if level == "none" else [level])


# What the target does to rows on their way: the extension of a type, an operator, a default and a
# setting of a role may all do so. A domain's function that is the target's own is the plainest.
TAMPERING = """
CREATE FUNCTION public.tamper() RETURNS event_trigger LANGUAGE plpgsql AS $$
begin
    if exists (select from pg_class where oid = to_regclass('shop.items')) then
        create or replace function shop.tampered() returns trigger language plpgsql as
            'begin %s end';
        create or replace trigger tampered before insert on shop.items for each row
            execute function shop.tampered();
    end if;
end $$;
CREATE EVENT TRIGGER tamper ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
    EXECUTE FUNCTION public.tamper();
"""
CHANGE_ONE = "if new.id = 77 then new.price := 0; end if; return new;"
DROP_ONE = "if new.id = 77 then return null; end if; return new;"


@pytest.mark.parametrize("what", [CHANGE_ONE, DROP_ONE], ids=["changed", "lost"])
@pytest.mark.parametrize("method", ["in-place"])
def test_a_difference_fails_the_deploy_and_leaves_the_state_before(
    what, method, ends, target, cluster, deployer
):
    cluster.sql(TAMPERING % what, target)
    before = state_of(cluster, target)
    done = deployer.fail(*ends, "--method", method)
    assert "shop.items" in done.last["message"], done.explain()
    assert done.last["target"] == "untouched"
    assert state_of(cluster, target) == before
    assert deployer.left_files() == []


# Plans


def test_a_plan_changes_nothing_and_says_what_would_be_done(ends, target, cluster, deployer):
    before = dump(cluster, target)
    done = deployer.plan(*ends)
    assert done.status == 0
    assert done.last["outcome"] == "planned"
    plan = done.plan
    assert {table["name"] for table in plan["tables"]} == {"items", "orders", "notes"}
    assert plan["source"]["server_version"] // 10000 == cluster.version
    assert plan["tools"]["pg_dump"]["version"]["major"] >= cluster.version
    text = deployer.plan(*ends, json=False)
    assert text.status == 0, text.explain()
    assert "one snapshot" in text.stdout
    assert dump(cluster, target) == before
    assert deployer.left_files() == []
    # Planned, not run: not in the history.
    assert json.loads(deployer.run("list").stdout)["deployments"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["one"],
        ["postgres://localhost/a", "not-a-url"],
        ["postgres://localhost/a", "postgres://localhost/b", "--jobs", "0"],
        ["postgres://localhost/a", "postgres://localhost/b", "--verify", "much"],
        ["postgres://localhost/a", "postgres://localhost/b", "--method", "magic"],
        ["postgres://localhost/a", "postgres://localhost/b", "--schema-only", "--data-only"],
        ["--no-such-flag", "postgres://localhost/a", "postgres://localhost/b"],
    ],
)
def test_wrong_usage_ends_with_2(arguments, deployer):
    done = deployer.run(*arguments)
    assert done.status == 2, done.explain()


def test_an_end_that_is_not_there_ends_with_1(ends, deployer, cluster):
    nowhere = cluster.conninfo("no such database")
    for pair in ((nowhere, ends[1]), (ends[0], nowhere)):
        done = deployer.run("--yes", *pair)
        assert done.status == 1, done.explain()
        assert "no such database" in done.stdout + done.stderr


# The history


def test_the_history_knows_what_was_done(ends, source, cluster, deployer):
    first = deployer.deploy(*ends).one("started")["id"]
    cluster.sql("DROP TABLE public.notes", source)
    second = deployer.deploy(*ends).one("started")["id"]
    deployer.rollback(ends[1])
    listed = json.loads(deployer.run("list").stdout)["deployments"]
    states = {one["id"]: (one["action"], one["state"]) for one in listed}
    assert states[first] == ("deploy", "succeeded")
    assert states[second] == ("deploy", "rolled_back")
    assert [one["action"] for one in listed] == ["rollback", "deploy", "deploy"]
    shown = json.loads(deployer.run("show", second[:6]).stdout)
    assert shown["id"] == second
    assert shown["plan"]["removed"] == ["table public.notes"]
    assert shown["report"]["verification"]["mismatches"] == []
    for words in (["list"], ["show", first]):
        text = deployer.run(*words, json=False)
        assert text.status == 0
        assert first in text.stdout
    assert deployer.run("show", "0000000000000000").status == 1


def test_a_redeploy_without_anybody_to_ask_is_refused(ends, target, cluster, deployer):
    deployer.deploy(*ends)
    before = state_of(cluster, target)
    done = deployer.run(*ends)
    assert done.status == 1, done.explain()
    assert "--yes" in done.last["hint"]
    assert state_of(cluster, target) == before


def test_at_a_terminal_a_redeploy_asks(ends, source, target, cluster, deployer):
    first = deployer.deploy(*ends).one("started")["id"]
    before = state_of(cluster, target)
    cluster.sql("DROP TABLE public.notes; DELETE FROM shop.orders WHERE id > 900", source)
    for answer, status in (("n", 0), ("y", 0)):
        terminal = Terminal(deployer.command(*ends), deployer.environment)
        try:
            terminal.wait_text("[y/N]", seconds=90)
            assert first in terminal.screen
            assert "3 tables, 1502 rows" in terminal.screen
            assert "public.notes" in terminal.screen
            terminal.type(f"{answer}\n")
            assert terminal.wait_end() == status
        finally:
            terminal.close()
        if answer == "n":
            assert state_of(cluster, target) == before
    assert row_sums(cluster, target) == row_sums(cluster, source)


@contextmanager
def slow_deploy(deployer, ends, cluster, source, *flags):
    """A deploy that stands still while it copies the table shop.items."""
    cluster.sql("INSERT INTO shop.items (name) VALUES ('slow')", source)
    child = deployer.start(*ends, "--yes", *flags)
    try:
        child.wait_json(
            "shop.items to be copied",
            lambda event: event.get("event") == "table_started" and event["name"] == "items",
        )
        yield child
    finally:
        child.stop()


def test_two_deploys_of_one_pair_never_run_at_once(
    ends, source, target, cluster, deployer, tmp_path
):
    with slow_deploy(deployer, ends, cluster, source):
        done = deployer.run("--yes", *ends)
        assert done.status == 1, done.explain()
        assert "running" in done.stdout + done.stderr
        # Nor from another machine, whose history does not know of the first.
        elsewhere = Deployer(tmp_path / "elsewhere")
        done = elsewhere.fail(*ends)
        assert done.last["target"] == "untouched"


@pytest.mark.parametrize("method", ["in-place", "swap"])
def test_ctrl_c_leaves_the_target_as_it_was(method, ends, source, target, cluster, deployer):
    before = dump(cluster, target)
    with slow_deploy(deployer, ends, cluster, source, "--method", method) as child:
        child.signal(signal.SIGINT)
        assert child.wait_end() == 1, child.everything()[-3000:]
        last = json.loads(child.lines[-1])
        assert (last["event"], last["message"], last["target"]) == (
            "failed", "stopped", "untouched",
        )  # fmt: skip
    assert dump(cluster, target) == before
    assert deployer.left_files() == []
    wait_for(
        "the sessions to end",
        lambda: cluster.backends("application_name LIKE 'pgshare%'") == 0,
    )
    left = cluster.sql("SELECT datname FROM pg_database WHERE datname LIKE 'pgshare_stage%'")
    assert left == ""
    listed = json.loads(deployer.run("list").stdout)["deployments"]
    assert [one["state"] for one in listed] == ["failed"]


def test_a_source_that_is_written_gives_one_consistent_snapshot(
    ends, source, target, cluster, deployer
):
    """Every transaction moves an amount from one table to the other: the sum is always 0."""
    cluster.sql(
        "CREATE TABLE a (id serial PRIMARY KEY, n bigint); CREATE TABLE b (id serial PRIMARY KEY, n bigint);"
        " INSERT INTO a (n) SELECT 5 FROM generate_series(1, 20000);"
        " INSERT INTO b (n) SELECT -5 FROM generate_series(1, 20000);",
        source,
    )
    stops = threading.Event()
    written = []

    def write() -> None:
        with psycopg.connect(cluster.conninfo(source), autocommit=True) as session:
            while not stops.is_set():
                session.execute("BEGIN; INSERT INTO a (n) VALUES (7); INSERT INTO b (n) VALUES (-7);"
                                " UPDATE a SET n = n + 1 WHERE id = 1;"
                                " UPDATE b SET n = n - 1 WHERE id = 1; COMMIT")  # fmt: skip
                written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_for("the writer to write", lambda: len(written) > 10)
        deployer.deploy(*ends)
        more = len(written)
        wait_for("the writer to go on", lambda: len(written) > more)
    finally:
        stops.set()
        writer.join()
    sums = "SELECT (SELECT sum(n) FROM a) + (SELECT sum(n) FROM b), count(*) FROM {}"
    counts = [cluster.sql(sums.format(table), target) for table in ("a", "b")]
    assert counts[0] == counts[1]
    assert counts[0].startswith("0|")
    assert counts[0] != cluster.sql(sums.format("a"), source)


def test_events_of_json_tell_the_whole_run(ends, deployer):
    done = deployer.deploy(*ends)
    names = [event["event"] for event in done.events]
    assert names[0] == "started"
    assert names[-1] == "finished"
    phases = [event["phase"] for event in done.all("phase")]
    order = ["connecting", "planning", "schema", "data", "sequences", "indexes", "verifying",
             "committing", "analyzing"]  # fmt: skip
    assert [phase for phase in phases if phase in order] == order
    finished = {(one["schema"], one["name"]): one["rows"] for one in done.all("table_finished")}
    assert finished == {("shop", "items"): 500, ("shop", "orders"): 1000, ("public", "notes"): 2}
    assert done.last["rows"] == 1502
    assert done.one("verified")["mismatches"] == []


def test_plain_lines_are_for_people(ends, deployer):
    done = run([*deployer.command("--yes", *ends)], deployer.environment)
    assert done.returncode == 0, done.stderr
    assert "shop.items: 500 rows" in done.stdout
    assert "\x1b" not in done.stdout
    assert "deployed 3 tables, 1,502 rows" in done.stdout


def test_statistics_are_there_afterwards(ends, target, cluster, deployer):
    deployer.deploy(*ends)
    rows = cluster.sql("SELECT reltuples FROM pg_class WHERE relname = 'orders'", target)
    assert rows == "1000"
    assert entries(dump(cluster, target, "--schema-only"))

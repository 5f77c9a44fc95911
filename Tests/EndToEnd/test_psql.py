"""psql of every version against a server of every version, as a person uses it."""

import uuid
from pathlib import Path

import pytest
from harness import tools
from harness.drivers import check_big_result, psql_of
from harness.endpoint import Endpoint
from harness.processes import run, run_well
from harness.terminal import Terminal
from harness.waiting import wait_for

clients = pytest.mark.parametrize("client", tools.VERSIONS, ids=lambda version: f"psql-{version}")


@pytest.fixture
def psql(client, covers, every_share: Endpoint):
    """Runs psql of a version against a share of a version."""
    covers("psql", tools.full_version(client))

    return psql_of(client, every_share)


@clients
def test_select_version_answers_with_the_real_server_version(psql, every_share):
    done = psql("-At", "-c", "select version()", "-c", "show server_version")
    assert done.returncode == 0, done.stderr
    assert f"PostgreSQL {tools.full_version(every_share.version)}" in done.stdout


@clients
def test_describe_commands_list_what_is_there(psql):
    table = f"described_{uuid.uuid4().hex[:8]}"
    done = psql(stdin=f"create table {table} (id int primary key, word text);\n\\d {table}\n"
                f"\\dt {table}\n\\dn\ndrop table {table};\n")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f'"{table}_pkey" PRIMARY KEY' in done.stdout
    assert "List of schemas" in done.stdout


@clients
def test_copy_in_and_out_returns_the_same_file(psql, tmp_path: Path):
    table = f"copied_{uuid.uuid4().hex[:8]}"
    source, target = tmp_path / "in.tsv", tmp_path / "out.tsv"
    source.write_text("".join(f"{n}\tline {n} \\N\t{'x' * (n % 90)}\n" for n in range(20_000)))
    script = f"create table {table} (a int, b text, c text);\n\\copy {table} from '{source}'\n"
    script += f"\\copy (select * from {table} order by a) to '{target}'\ndrop table {table};\n"
    done = psql("-v", "ON_ERROR_STOP=1", stdin=script)
    assert done.returncode == 0, done.stderr
    assert "COPY 20000" in done.stdout
    assert target.read_text().splitlines() == source.read_text().replace("\\N", "N").splitlines()


@clients
def test_a_big_result_arrives_whole(psql):
    check_big_result(psql)


@clients
def test_notices_and_errors_come_with_their_place_in_the_statement(psql):
    done = psql("-v", "VERBOSITY=verbose", stdin="do $$begin raise notice 'hello %', 7; end$$;\n"
                "select 1 +\n  nonsense;\n")  # fmt: skip
    assert "hello 7" in done.stderr
    assert "42703" in done.stderr
    assert "LINE 2:" in done.stderr
    assert "^" in done.stderr


@clients
def test_listen_hears_notify_of_another_session(psql):
    channel = f"c{uuid.uuid4().hex[:8]}"
    script = f"listen {channel};\n\\! true\nnotify {channel}, 'a word';\nselect 1;\n"
    done = psql(stdin=script)
    assert f'Asynchronous notification "{channel}" with payload "a word"' in done.stdout


@clients
def test_ctrl_c_cancels_the_running_query_and_the_session_goes_on(
    client, covers, every_share, cluster_of
):
    covers("psql", tools.full_version(client))
    mark = f"mark-{uuid.uuid4().hex[:8]}"
    cluster = cluster_of(every_share.version)
    command = [tools.program("psql", client), "-X", "-n", "-At", "-d", every_share.argument()]
    terminal = Terminal(command, every_share.environment(PAGER="cat"))
    try:
        terminal.wait_text("=# ")
        terminal.type(f"select pg_sleep(60) /* {mark} */;\n")
        running = f"state = 'active' AND query LIKE '%{mark}%'"
        wait_for("the query to run", lambda: cluster.backends(running) == 1)
        terminal.interrupt()
        behind = terminal.wait_text("canceling statement due to user request")
        terminal.type("select 'still' || ' here';\n")
        terminal.wait_text("still here", since=behind)
        terminal.type("\\q\n")
        assert terminal.wait_end() == 0
    finally:
        terminal.close()


def test_a_wrong_password_is_refused_as_postgres_would(share):
    done = run(
        [tools.program("psql"), "-X", "-d", share.argument(), "-c", "select 1"],
        share.environment(PGPASSWORD="not it"),
    )
    assert done.returncode == 2
    assert "password authentication failed" in done.stderr


@pytest.mark.relayed
def test_the_printed_url_works_as_pasted(share):
    done = run_well(
        [tools.program("psql"), "-X", "-At", share.url() + "?sslmode=require", "-c", "select 6 * 7"]
    )
    assert done.stdout.strip() == "42"


@pytest.mark.relayed
def test_the_startup_option_names_the_share_too(share):
    user = share.user.removesuffix(f".{share.share_id}")
    words = share.argument(user=user, options=f"-c pgshare.share={share.share_id} -c work_mem=77MB")
    done = run_well(
        [tools.program("psql"), "-X", "-At", "-d", words, "-c", "show work_mem"], share.environment()
    )
    assert done.stdout.strip() == "77MB"


def test_startup_parameters_reach_the_backend(share):
    words = share.argument(application_name="it's me", client_encoding="LATIN1")
    done = run_well(
        [tools.program("psql"), "-X", "-At", "-d", words,
         "-c", "show application_name", "-c", "show client_encoding", "-c", "show TimeZone"],
        share.environment(PGTZ="Asia/Tokyo"),
    )  # fmt: skip
    assert done.stdout.split("\n")[:3] == ["it's me", "LATIN1", "Asia/Tokyo"]

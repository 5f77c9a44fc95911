"""Odd names, wrong ends, missing rights and extensions, secrets, and what runs leave behind."""

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import tools
from harness.deploy import (
    Deployer,
    assert_schemas_agree,
    dump,
    identifier,
    literal,
    load,
    row_sums,
    state_of,
)
from harness.waiting import wait_for
from providers.pooler import Pooler

ODD_NAMES = [
    """it's "a" $HOME`id`; --\\ = %s""",
    "größe € 👾",
    "two\nlines",
    " blanks at both ends ",
    "-h",
    "postgresql://x:y@nowhere/z",
    "host=nowhere port=1",
]


@pytest.fixture
def source(cluster, database_on):
    name = database_on(cluster, "plain source")
    load(cluster, name, "small.sql")
    return name


@pytest.fixture
def target(cluster, database_on):
    return database_on(cluster, "plain target")


@pytest.fixture
def ends(cluster, source, target):
    return cluster.conninfo(source), cluster.conninfo(target)


@pytest.fixture
def new_role(cluster):
    """Makes a role that logs in by TCP and is asked for its password."""
    made = []
    rules = cluster.data / "pg_hba.conf"
    before = rules.read_text()

    def make(name, password, more=""):
        cluster.sql(
            f"DROP ROLE IF EXISTS {identifier(name)};"
            f" CREATE ROLE {identifier(name)} LOGIN PASSWORD {literal(password)} {more}"
        )
        made.append(name)
        # A name of two lines cannot stand in the file; the group it is in can.
        if not cluster.sql("SELECT 1 FROM pg_roles WHERE rolname = 'asked'"):
            cluster.sql("CREATE ROLE asked NOLOGIN")
        cluster.sql(f"GRANT asked TO {identifier(name)}")
        lines = [f"{kind} all +asked 127.0.0.1/32 scram-sha-256" for kind in ("host",)]
        rules.write_text("\n".join([*lines, before]))
        cluster.sql("SELECT pg_reload_conf()")
        return name

    yield make
    rules.write_text(before)
    cluster.sql("SELECT pg_reload_conf()")
    for name in made:
        for database in cluster.sql(
            "SELECT datname FROM pg_database WHERE datallowconn"
            " AND datname NOT LIKE E'%\\n%' AND datname !~ 'template'"
        ).splitlines():
            cluster.sql(
                f"REASSIGN OWNED BY {identifier(name)} TO postgres;"
                f" DROP OWNED BY {identifier(name)} CASCADE",
                database,
            )
        cluster.sql(f"DROP ROLE {identifier(name)}")


# Names


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_of_databases_schemas_and_tables(name, cluster, database_on, deployer):
    source, target = database_on(cluster, f"{name} s"), database_on(cluster, f"{name} t")
    word = identifier(name)
    cluster.sql(
        f"CREATE SCHEMA {word}; CREATE TABLE {word}.{word} ({word} integer PRIMARY KEY, t text);"
        f" INSERT INTO {word}.{word} VALUES (1, {literal(name)}), (2, NULL);"
        f" CREATE SEQUENCE {word}.{identifier(name + ' seq')}; CREATE INDEX ON {word}.{word} (t)",
        source,
    )
    ends = cluster.conninfo(source), cluster.conninfo(target)
    for _ in range(2):
        # As psql's patterns: within quotes letters count as they are.
        done = deployer.deploy(*ends, f"--schema={word}")
        assert_schemas_agree(cluster, source, cluster, target, done.plan)
        assert row_sums(cluster, target) == row_sums(cluster, source)
    deployer.rollback(ends[1])
    deployer.deploy(*ends, f"--table={word}.{word}")
    assert row_sums(cluster, target) == row_sums(cluster, source)
    deployer.rollback(ends[1])
    deployer.deploy(*ends, "--method", "swap")
    assert row_sums(cluster, target) == row_sums(cluster, source)


@pytest.mark.parametrize("name", ODD_NAMES[:4])
def test_odd_names_and_passwords_of_roles(name, cluster, source, target, new_role, deployer):
    password = f"""s3cr3t {name}"""
    role = new_role(f"r {name}", password, "SUPERUSER")
    words = [cluster.tcp_conninfo(role, database) for database in (source, target)]
    passwords = {f"PGSHARE_{side}_PASSWORD": password for side in ("SOURCE", "TARGET")}
    deployer.deploy(*words, environment=passwords)
    assert row_sums(cluster, target) == row_sums(cluster, source)
    wrong = {**passwords, "PGSHARE_TARGET_PASSWORD": "another"}
    done = deployer.run("--yes", *words, environment=wrong)
    assert done.status == 1, done.explain()
    assert "password authentication failed" in done.stdout + done.stderr


# Secrets


class Watch:
    """Looks at every process's arguments and at the run's files while a deploy runs."""

    def __init__(self, state: Path):
        self.state = state
        self.arguments: set[bytes] = set()
        self.modes: dict[str, int] = {}
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stops.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stops.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        self.arguments.add((entry / "cmdline").read_bytes())
                    except OSError:
                        continue
            for path in (self.state / "deploys").rglob("*"):
                try:
                    self.modes[path.name] = path.stat().st_mode & 0o777
                except OSError:
                    continue
            time.sleep(0.002)


def files_with(folder: Path, secret: str) -> list[str]:
    return [
        str(path) for path in folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]  # fmt: skip


@pytest.mark.parametrize("succeeds", [True, False], ids=["success", "failure"])
def test_no_secret_shows_anywhere(
    succeeds, cluster, source, target, new_role, deployer, tmp_path
):
    secret = "never-show-8d1f4c"
    role = new_role("secretive", secret, "SUPERUSER")
    if not succeeds:
        cluster.sql("CREATE TABLE public.notes (other text)", target)
    words = [cluster.tcp_conninfo(role, database) for database in (source, target)]
    passwords = {f"PGSHARE_{side}_PASSWORD": secret for side in ("SOURCE", "TARGET")}
    with Watch(deployer.state) as watch:
        done = deployer.run("--yes", *words, environment=passwords)
    assert done.status == (0 if succeeds else 1), done.explain()
    seen = b"\n".join(watch.arguments)
    assert b"pg_dump" in seen
    assert secret.encode() not in seen
    # Of the files of the run, those that others could read are none.
    assert watch.modes, "no file of the run was seen"
    assert {name: mode for name, mode in watch.modes.items() if mode & 0o077} == {}
    history = deployer.run("list").stdout + deployer.run("show", done.one("started")["id"]).stdout
    assert secret not in done.stdout + done.stderr + history
    assert files_with(tmp_path, secret) == []
    assert deployer.left_files() == []


def test_the_password_of_a_url_is_in_no_output_and_in_no_file(
    cluster, source, target, new_role, deployer, tmp_path
):
    secret = "never-show-77ac0e"
    role = new_role("by_url", secret, "SUPERUSER")
    urls = [
        f"postgresql://{role}:{secret}@127.0.0.1:{cluster.port}/{name.replace(' ', '%20')}"
        for name in (source, target)
    ]
    done = deployer.deploy(*urls)
    listed = deployer.run("list").stdout
    assert role in listed
    shown = deployer.run("show", done.one("started")["id"]).stdout
    for text in (done.stdout, done.stderr, listed, shown, dump(cluster, target)):
        assert secret not in text
    assert secret not in cluster.sql("SELECT string_agg(d::text, '') FROM pgshare.deployment d", target)
    assert files_with(tmp_path, secret) == []
    # What libpq makes of a URL that it cannot read may hold the password as well.
    done = deployer.run("--yes", urls[0] + "?nonsense=1", urls[1])
    assert done.status in (1, 2)
    assert secret not in done.stdout + done.stderr


# Ends


def test_a_target_that_is_the_source_by_any_address_is_refused(cluster, source, deployer):
    before = state_of(cluster, source)
    addresses = [
        cluster.conninfo(source),
        f"host=127.0.0.1 port={cluster.port} user=trusting dbname='{source}' sslmode=disable",
        f"host=localhost port={cluster.port} user=trusting dbname='{source}'",
    ]
    for address in addresses:
        done = deployer.fail(cluster.conninfo(source), address)
        assert "target-is-source" in done.findings("blocking")
        done = deployer.fail(cluster.conninfo(source), address, "--replace")
        assert "target-is-source" in done.findings("blocking")
    assert state_of(cluster, source) == before


OTHERS = """
CREATE SCHEMA crm;
CREATE TABLE crm.customers (id integer PRIMARY KEY, name text);
INSERT INTO crm.customers SELECT i, 'c' || i FROM generate_series(1, 100) i;
CREATE VIEW crm.names AS SELECT name FROM crm.customers;
CREATE TABLE public.prices (id integer);
INSERT INTO public.prices VALUES (1);
"""
IN_THE_WAY = """
CREATE TABLE public.notes (other text);
INSERT INTO public.notes VALUES ('of somebody else');
"""


def test_what_others_have_at_the_target_is_kept(ends, source, target, cluster, deployer):
    cluster.sql(OTHERS, target)
    before = state_of(cluster, target)
    done = deployer.deploy(*ends)
    assert "foreign-objects-kept" in done.findings()
    theirs = {name: sums for name, sums in row_sums(cluster, target).items()
              if name in ("crm.customers", "public.prices")}  # fmt: skip
    assert len(theirs) == 2
    assert row_sums(cluster, target) == row_sums(cluster, source) | theirs
    deployer.deploy(*ends)
    assert row_sums(cluster, target) == row_sums(cluster, source) | theirs
    deployer.rollback(ends[1])
    deployer.rollback(ends[1])
    assert state_of(cluster, target) == before


def test_names_that_others_have_block_and_are_replaced_when_told_so(
    ends, source, target, cluster, deployer
):
    cluster.sql(OTHERS + IN_THE_WAY, target)
    before = state_of(cluster, target)
    done = deployer.fail(*ends)
    assert done.findings("blocking")["object-in-the-way"]["objects"] == ["table public.notes"]
    assert state_of(cluster, target) == before
    done = deployer.deploy(*ends, "--replace")
    assert [one["identity"] for one in done.plan["replaced"]] == ["public.notes"]
    assert row_sums(cluster, target)["public.notes"] == row_sums(cluster, source)["public.notes"]
    deployer.rollback(ends[1])
    assert state_of(cluster, target) == before


def test_a_view_of_others_on_what_a_deploy_made_blocks_the_next(ends, target, cluster, deployer):
    deployer.deploy(*ends)
    cluster.sql("CREATE VIEW public.mine AS SELECT * FROM shop.items", target)
    before = state_of(cluster, target)
    done = deployer.fail(*ends)
    assert "depended-on" in done.findings("blocking")
    assert state_of(cluster, target) == before


# Rights


def test_roles_without_rights_are_told_what_they_lack(
    cluster, source, target, new_role, deployer
):
    role = new_role("powerless", "a password")
    passwords = {f"PGSHARE_{side}_PASSWORD": "a password" for side in ("SOURCE", "TARGET")}
    theirs = [cluster.tcp_conninfo(role, name) for name in (source, target)]
    before = state_of(cluster, target)
    done = deployer.run("--yes", theirs[0], cluster.conninfo(target), environment=passwords)
    assert done.status == 1, done.explain()
    assert "permission denied for schema shop" in done.last["message"], done.explain()
    done = deployer.fail(cluster.conninfo(source), theirs[1], environment=passwords)
    assert "no-create-on-database" in done.findings("blocking")
    assert "GRANT" in done.findings("blocking")["no-create-on-database"]["fix"]
    assert state_of(cluster, target) == before


def test_a_role_that_owns_its_database_and_nothing_else_can_deploy(
    cluster, source, target, new_role, deployer
):
    role = new_role("owner_only", "a password")
    cluster.sql(f"ALTER DATABASE {identifier(target)} OWNER TO {role}")
    passwords = {"PGSHARE_TARGET_PASSWORD": "a password"}
    end = cluster.tcp_conninfo(role, target)
    for _ in range(2):
        done = deployer.deploy(cluster.conninfo(source), end, environment=passwords)
        assert not done.plan["keeps_ownership"]
        assert row_sums(cluster, target) == row_sums(cluster, source)
    deployer.rollback(end, environment=passwords)
    deployer.rollback(end, environment=passwords)


def test_row_security_that_would_hide_rows_blocks(cluster, source, target, new_role, deployer):
    role = new_role("reader", "a password")
    cluster.sql(
        "ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;"
        f" GRANT USAGE ON SCHEMA shop TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {role};"
        f" GRANT SELECT ON ALL SEQUENCES IN SCHEMA shop TO {role};"
        f" GRANT SELECT ON public.notes TO {role}",
        source,
    )
    done = deployer.fail(
        cluster.tcp_conninfo(role, source), cluster.conninfo(target),
        environment={"PGSHARE_SOURCE_PASSWORD": "a password"},
    )  # fmt: skip
    assert "row-security-applies" in done.findings("blocking")


# Extensions, tools, settings, poolers


def test_an_extension_that_the_target_lacks_blocks(cluster_of, database_on, deployer):
    old, new = cluster_of(tools.VERSIONS[0]), cluster_of(tools.VERSIONS[-1])
    source, target = database_on(old, "with postgis"), database_on(new, "without")
    old.sql("CREATE EXTENSION postgis; CREATE TABLE p (at geometry)", source)
    done = deployer.fail(old.conninfo(source), new.conninfo(target))
    finding = done.findings("blocking")["extension-missing"]
    assert "postgis" in finding["sentence"]


def test_an_extension_in_another_schema_blocks_before_the_target_is_touched(
    cluster, source, target, ends, deployer
):
    cluster.sql("CREATE EXTENSION hstore; CREATE TABLE h (h hstore)", source)
    cluster.sql("CREATE SCHEMA extensions; CREATE EXTENSION hstore SCHEMA extensions", target)
    before = state_of(cluster, target)
    done = deployer.fail(*ends)
    assert "extension-other-schema" in done.findings("blocking")
    assert state_of(cluster, target) == before


def test_timeouts_of_the_target_role_do_not_stop_a_deploy(
    cluster, source, target, new_role, deployer
):
    role = new_role("hurried", "a password", "SUPERUSER")
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        cluster.sql(f"ALTER ROLE {role} SET {name} = '1s'")
    cluster.sql("INSERT INTO shop.items (name) VALUES ('slowish')", source)
    deployer.deploy(
        cluster.conninfo(source), cluster.tcp_conninfo(role, target),
        environment={"PGSHARE_TARGET_PASSWORD": "a password"},
    )  # fmt: skip
    assert row_sums(cluster, target) == row_sums(cluster, source)


@contextmanager
def pooler(cluster, mode):
    running = Pooler(cluster, mode)
    try:
        yield running
    finally:
        running.stop()


def test_a_pooler_in_transaction_mode_is_recognised_as_a_target(cluster, source, target, deployer):
    before = state_of(cluster, target)
    words = {"PGSHARE_TARGET_PASSWORD": "scram secret"}
    with pooler(cluster, "transaction") as running:
        end = cluster.tcp_conninfo("scrammed", target, port=str(running.port), sslmode="disable")
        done = deployer.fail(cluster.conninfo(source), end, environment=words)
        finding = done.findings("blocking")["transaction-pooler"]
        assert finding["fix"]
    assert state_of(cluster, target) == before


def test_a_pooler_in_session_mode_takes_a_deploy(cluster, source, target, deployer):
    words = {"PGSHARE_TARGET_PASSWORD": "scram secret"}
    with pooler(cluster, "session") as running:
        end = cluster.tcp_conninfo("scrammed", target, port=str(running.port), sslmode="disable")
        deployer.deploy(cluster.conninfo(source), end, environment=words)
    assert row_sums(cluster, target) == row_sums(cluster, source)


def test_an_older_pg_dump_alone_is_told_what_to_install(cluster_of, database_on, deployer):
    newest = cluster_of(tools.VERSIONS[-1])
    source, target = database_on(newest, "new source"), database_on(newest, "new target")
    load(newest, source, "small.sql")
    before = state_of(newest, target)
    folder = str(tools.POSTGRES[tools.VERSIONS[0]])
    done = deployer.fail(
        newest.conninfo(source), newest.conninfo(target), environment={"PGSHARE_PG_BIN": folder}
    )
    assert f"{newest.version} or later" in done.last["message"]
    assert folder in done.last["message"]
    assert state_of(newest, target) == before
    assert deployer.left_files() == []


def test_variables_of_libpq_do_not_lead_the_tools_astray(
    ends, source, target, cluster, deployer, database_on
):
    database_on(cluster, "astray")
    astray = {
        "PGDATABASE": "astray", "PGHOST": "nowhere.invalid", "PGPORT": "1", "PGUSER": "nobody",
        "PGOPTIONS": "-c search_path=nowhere -c default_transaction_read_only=on",
        "PGSERVICE": "none",
    }  # fmt: skip
    done = deployer.run("--yes", *ends, environment=astray)
    # A service that is not there is libpq's own error; the rest must not matter.
    assert done.status == 1, done.explain()
    del astray["PGSERVICE"], astray["PGOPTIONS"]
    deployer.deploy(*ends, environment=astray)
    assert row_sums(cluster, target) == row_sums(cluster, source)


def test_a_state_folder_that_cannot_be_written_is_said(ends, tmp_path):
    file = tmp_path / "a file"
    file.write_text("")
    done = Deployer(file / "state").run("--yes", *ends)
    assert done.status == 1, done.explain()
    assert os.fspath(file) in done.stdout + done.stderr


def test_a_run_that_was_killed_leaves_nothing_for_long(ends, source, target, cluster, deployer):
    cluster.sql("INSERT INTO shop.items (name) VALUES ('slow')", source)
    before = dump(cluster, target)
    child = deployer.start(*ends, "--yes")
    child.wait_json(
        "rows to be copied",
        lambda event: event.get("event") == "table_started" and event["name"] == "items",
    )
    child.process.kill()
    child.wait_end()
    wait_for(
        "the sessions to end",
        lambda: cluster.backends("application_name LIKE 'pgshare%'") == 0, 60,
    )  # fmt: skip
    assert dump(cluster, target) == before
    cluster.sql("DELETE FROM shop.items WHERE name = 'slow'", source)
    done = deployer.deploy(*ends)
    assert any("crashed" in event["text"] for event in done.all("notice"))
    assert deployer.left_files() == []
    assert row_sums(cluster, target) == row_sums(cluster, source)

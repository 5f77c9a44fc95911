"""`--read-only` against a client that does all it can to write: as owner, superuser, reader, on a standby."""

import contextlib
import os
import re
import signal
import struct
from collections.abc import Callable, Iterator

import pytest
from harness import tools, wire
from harness.certificates import Authority
from harness.endpoint import Endpoint
from harness.pgshare import Agent, Relay
from harness.vault import Vault
from harness.waiting import wait_for
from harness.wire import Refused, WireClient

pytestmark = [pytest.mark.relayed, pytest.mark.timeout(300)]

# Whose roles can write: the share then gets a role of its own.
MIGHTY = ["landlord", "postgres"]
OWN_ROLES = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgshare\\_ro\\_%' ORDER BY 1"


@pytest.fixture(scope="module", params=tools.VERSIONS, ids=lambda version: f"server-{version}")
def vault(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Vault]:
    vault = Vault(request.param, authority)
    yield vault
    vault.remove()


@pytest.fixture
def share_as(vault: Vault, relay: Relay, new_agent) -> Callable[..., Agent]:
    """Shares the vault, as this role, for reading."""

    def share(role: str, *more: str, **options) -> Agent:
        return new_agent(
            relay, vault.cluster, "--read-only", *more, conninfo=vault.conninfo(role), **options
        )

    return share


# Ways to be somebody who may write, or in a transaction that may.

UNDO: dict[str, list[str]] = {
    "nothing": [],
    "the default": ["SET default_transaction_read_only = off"],
    "the default, reset": ["RESET default_transaction_read_only", "RESET ALL", "DISCARD ALL"],
    "the transaction": ["BEGIN", "SET transaction_read_only = off"],
    "the transaction's words": ["BEGIN READ WRITE"],
    "the transaction's late words": ["BEGIN", "SET TRANSACTION READ WRITE"],
    "the session": ["SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"],
    "set_config": ["SELECT set_config('default_transaction_read_only', 'off', false)"],
    "pg_settings": ["UPDATE pg_settings SET setting = 'off' WHERE name = 'default_transaction_read_only'"],
    "the role's default": [
        "SET default_transaction_read_only = off",
        "ALTER ROLE current_user SET default_transaction_read_only = off",
    ],
    "no role": ["RESET ROLE", "SET ROLE NONE", "RESET SESSION AUTHORIZATION"],
    "the landlord's role": ["SET ROLE landlord"],
    "the superuser's role": ["SET ROLE postgres", "SET LOCAL ROLE postgres"],
    "the role as a setting": ["SELECT set_config('role', 'landlord', false)"],
    "the landlord's session": ["SET SESSION AUTHORIZATION landlord"],
    "the superuser's session": ["SET SESSION AUTHORIZATION postgres"],
    "attributes": ["ALTER ROLE current_user SUPERUSER", "ALTER ROLE current_user CREATEROLE BYPASSRLS"],
    "membership": ["GRANT landlord TO current_user", "GRANT pg_write_all_data TO current_user"],
    "grants": ["GRANT ALL ON ALL TABLES IN SCHEMA public TO current_user", "GRANT ALL ON kept TO PUBLIC"],
    "no triggers": ["SET session_replication_role = replica", "SET row_security = off"],
    "old privileges": ["SET lo_compat_privileges = on", "SET allow_system_table_mods = on"],
    "in a function": ["DO $$ BEGIN PERFORM set_config('transaction_read_only', 'off', false); END $$"],
    "another path": ["SET search_path = pg_temp, public, pg_catalog"],
}
# Options of the startup packet; where a session starts, it goes on with WRITES.
STARTUPS = {
    "read-write": "-c default_transaction_read_only=off",
    "a role": "-c role=landlord",
    "the superuser's role": "-c role=postgres",
    "a session": "-c session_authorization=postgres",
    "no triggers": "-c session_replication_role=replica",
    "system tables": "-c allow_system_table_mods=on",
    "no indexes of the system": "-P",
    "old privileges": "-c lo_compat_privileges=on",
    "a library": "-c session_preload_libraries=auto_explain",
}

# What everybody tries behind each of these ways; all must be refused.
WRITES = [
    "INSERT INTO kept (word) VALUES ('new')",
    "UPDATE kept SET word = 'changed'",
    "DELETE FROM kept",
    "TRUNCATE kept",
    "COPY kept FROM PROGRAM 'echo 99'",
    "SELECT nextval('kept_id_seq')",
    "SELECT change()",
    "SELECT definer()",
    "SELECT lo_put(4711, 0, 'changed')",
    "CREATE TABLE public.more (n int)",
    "UPDATE pg_class SET relname = 'x' WHERE relname = 'kept'",
]

# Each is refused by itself, whatever is set.
REFUSED = [
    *WRITES,
    "INSERT INTO ruled VALUES ('x')",
    "INSERT INTO triggered VALUES ('x')",
    "UPDATE guarded SET word = 'x'",
    "DELETE FROM guarded",
    "INSERT INTO numbered (n) VALUES (3)",
    "INSERT INTO numbered_low OVERRIDING SYSTEM VALUE VALUES (9, 3)",
    "UPDATE secrets SET word = 'x'",
    "MERGE INTO kept USING (SELECT 1 AS n) s ON id = n WHEN MATCHED THEN DELETE",
    "INSERT INTO kept VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET word = 'x'",
    "WITH gone AS (DELETE FROM kept RETURNING *) SELECT * FROM gone",
    "EXPLAIN ANALYZE DELETE FROM kept",
    "SELECT * FROM kept FOR UPDATE",
    "SELECT * FROM kept FOR KEY SHARE",
    "LOCK TABLE kept IN ACCESS EXCLUSIVE MODE",
    "SELECT change_too()",
    "CALL proceed()",
    "DO $$ BEGIN UPDATE kept SET word = 'x'; END $$",
    "DO $$ BEGIN EXECUTE 'DROP TABLE kept'; END $$",
    "PREPARE p AS DELETE FROM kept; EXECUTE p",
    "SELECT query_to_xml('DELETE FROM kept RETURNING 1', true, true, '')",
    "DECLARE c CURSOR WITH HOLD FOR SELECT change()",
    "SELECT setval('counter', 1000)",
    "SELECT setval('kept_id_seq', 1, false)",
    "ALTER SEQUENCE counter RESTART 77",
    # Files and programs
    "COPY kept TO '{stolen}'",
    "COPY kept TO PROGRAM 'cat > {stolen}'",
    "COPY (SELECT 'x') TO PROGRAM 'cat > {stolen}'",
    "CREATE TEMP TABLE t (line text); COPY t FROM '/etc/passwd'",
    "CREATE TEMP TABLE t (line text); COPY t FROM PROGRAM 'touch {stolen}'",
    "SELECT lo_export(4711, '{stolen}')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_file_write('{stolen}', 'x', false)",
    "LOAD 'auto_explain'",
    "LOAD '/tmp/evil.so'",
    "CREATE EXTENSION file_fdw",
    "CREATE EXTENSION dblink",
    "CREATE LANGUAGE plperlu",
    "CREATE FUNCTION pg_temp.run(text) RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'system'",
    "CREATE FUNCTION pg_temp.inner_write() RETURNS int LANGUAGE internal AS 'lo_creat'",
    # Large objects
    "SELECT lo_unlink(4711)",
    "SELECT lowrite(lo_open(4711, 131072), 'changed')",
    "SELECT lo_truncate(lo_open(4711, 131072), 0)",
    "ALTER LARGE OBJECT 4711 OWNER TO current_user",
    "GRANT UPDATE ON LARGE OBJECT 4711 TO current_user",
    "COMMENT ON LARGE OBJECT 4711 IS 'x'",
    "DELETE FROM pg_largeobject",
    "INSERT INTO pg_largeobject VALUES (4711, 5, 'x')",
    # Objects
    "CREATE SCHEMA mine",
    "CREATE SCHEMA AUTHORIZATION current_user",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION pg_catalog.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION change() RETURNS void LANGUAGE sql AS ''",
    "CREATE TYPE public.mine AS (a int)",
    "CREATE DOMAIN public.mine AS int",
    "CREATE OPERATOR public.=== (leftarg = int, rightarg = int, function = int4eq)",
    "CREATE CAST (short AS int) WITH INOUT",
    "CREATE RULE r AS ON INSERT TO kept DO NOTHING",
    "CREATE TRIGGER t AFTER INSERT ON kept FOR EACH ROW EXECUTE FUNCTION log_plainly()",
    "CREATE TEMP TABLE t (n int);"
    " CREATE TRIGGER fires AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION audit()",
    "CREATE TEMP TABLE t (n int);"
    " CREATE TRIGGER fires AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION log_plainly();"
    " INSERT INTO t VALUES (1)",
    "CREATE TEMP TABLE t (LIKE kept INCLUDING ALL); INSERT INTO t (word) VALUES ('x')",
    "CREATE TEMP TABLE t (n int DEFAULT nextval('counter')); INSERT INTO t DEFAULT VALUES",
    "CREATE TEMP TABLE t () INHERITS (kept)",
    "CREATE TEMP TABLE t (n int REFERENCES kept)",
    "CREATE TEMP TABLE t (n int, id int); ALTER TABLE numbered ATTACH PARTITION t FOR VALUES FROM (200) TO (300)",
    "CREATE TEMP VIEW v AS SELECT * FROM kept; UPDATE v SET word = 'x'",
    "CREATE TEMP VIEW v AS SELECT * FROM kept;"
    " CREATE RULE r AS ON INSERT TO v DO INSTEAD DELETE FROM kept; INSERT INTO v VALUES (1, 'x')",
    "CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.kept';"
    " SELECT pg_temp.f()",
    "CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE sql SET role = landlord AS 'DELETE FROM public.kept';"
    " SELECT pg_temp.f()",
    "CREATE INDEX ON kept (word)",
    "CREATE STATISTICS s ON id, word FROM kept",
    "CREATE POLICY p ON secrets USING (true)",
    "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION see_ddl()",
    "ALTER EVENT TRIGGER seen DISABLE",
    "CREATE PUBLICATION p FOR TABLE kept",
    "ALTER PUBLICATION all_of_it DROP TABLE kept",
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=vault' PUBLICATION all_of_it",
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE FOREIGN DATA WRAPPER w",
    "CREATE USER MAPPING FOR current_user SERVER loop",
    "IMPORT FOREIGN SCHEMA public FROM SERVER loop INTO public",
    "CREATE TABLESPACE t LOCATION '/tmp'",
    "CREATE DATABASE mine",
    "CREATE ROLE mine",
    "CREATE USER MAPPING FOR PUBLIC SERVER loop",
    "CREATE ACCESS METHOD m TYPE TABLE HANDLER heap_tableam_handler",
    "CREATE COLLATION public.mine FROM \"C\"",
    "CREATE TEXT SEARCH CONFIGURATION public.mine (COPY = simple)",
    "CREATE CONVERSION public.mine FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1",
    "CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION int4out(int))",
    "SELECT * INTO mine FROM kept",
    "CREATE TABLE mine AS SELECT * FROM kept",
    "CREATE UNLOGGED TABLE mine (n int)",
    "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z",
    "ALTER TABLE kept ADD spoiled int",
    "ALTER TABLE kept OWNER TO current_user",
    "ALTER TABLE kept DISABLE RULE also",
    "ALTER TABLE secrets NO FORCE ROW LEVEL SECURITY",
    "ALTER TYPE mood ADD VALUE 'great'",
    "ALTER DOMAIN short DROP CONSTRAINT short_check",
    "ALTER SCHEMA public RENAME TO private",
    "ALTER VIEW ruled OWNER TO current_user",
    "ALTER FUNCTION change() SECURITY DEFINER",
    "DROP TABLE kept CASCADE",
    "DROP OWNED BY landlord",
    "REASSIGN OWNED BY landlord TO current_user",
    "DROP SCHEMA public CASCADE",
    "DROP DATABASE vault",
    "DROP DATABASE postgres",
    "COMMENT ON TABLE kept IS 'mine'",
    "SECURITY LABEL ON TABLE kept IS 'x'",
    "ALTER DEFAULT PRIVILEGES FOR ROLE landlord GRANT ALL ON TABLES TO PUBLIC",
    # Upkeep
    "REINDEX TABLE kept",
    "REINDEX SCHEMA public",
    "REFRESH MATERIALIZED VIEW summary",
    "CLUSTER kept USING kept_pkey",
    "CHECKPOINT",
    # The server
    "ALTER SYSTEM SET work_mem = '9MB'",
    "ALTER SYSTEM RESET ALL",
    "ALTER DATABASE vault SET work_mem = '9MB'",
    "ALTER DATABASE vault OWNER TO current_user",
    "ALTER DATABASE vault ALLOW_CONNECTIONS false",
    "ALTER ROLE landlord PASSWORD 'mine'",
    "ALTER ROLE postgres SET search_path = evil",
    "ALTER ROLE ALL SET search_path = evil",
    "ALTER ROLE neighbour CREATEROLE",
    "ALTER ROLE current_user VALID UNTIL 'infinity' CONNECTION LIMIT 9",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_switch_wal()",
    "SELECT pg_create_restore_point('x')",
    "SELECT pg_stat_reset()",
    "SELECT pg_promote()",
    "SELECT pg_create_physical_replication_slot('mine')",
    "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
    "SELECT pg_drop_replication_slot('kept_slot')",
    "SELECT pg_replication_origin_create('mine')",
    "SELECT pg_import_system_collations('pg_catalog'::regnamespace)",
    "UPDATE pg_database SET datconnlimit = 0",
    "DELETE FROM pg_authid",
    "INSERT INTO pg_auth_members VALUES (1, 1, 1, true)",
]

# What the promise leaves open. It may work; nothing of it may be left.
LEFT_OPEN = [
    "CREATE TEMP TABLE t (n int); INSERT INTO t VALUES (1)",
    "CREATE TEMP SEQUENCE q; SELECT nextval('q')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_advisory_xact_lock_shared(hashtextextended('x', 0))",
    "LISTEN news; NOTIFY news, 'x'",
    "SELECT pg_notify('news', repeat('x', 7000))",
    "SELECT pg_logical_emit_message(false, 'prefix', 'content')",
    "SELECT pg_logical_emit_message(true, 'prefix', 'content')",
    "SELECT txid_current()",
    "VACUUM kept",
    "ANALYZE kept",
    "VACUUM",
    "ANALYZE",
    "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM kept; COMMIT; FETCH ALL FROM c",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'; SELECT pg_temp.f()",
    "CREATE TEMP TABLE pg_roles (rolname name); CREATE TEMP TABLE pg_database (datname name)",
    "CREATE FUNCTION pg_temp.pg_terminate_backend(int, bigint) RETURNS bool LANGUAGE sql AS 'SELECT true'",
    "SELECT pg_export_snapshot()",
    "REINDEX DATABASE vault",
    "SELECT gin_clean_pending_list('kept_pkey'::regclass)",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('postgres', 'scrammed')",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename IN ('postgres', 'landlord', 'scrammed')",
    "SELECT dblink_exec('dbname=vault user=landlord', 'DELETE FROM kept')",
    "SELECT dblink_exec('host={socket} dbname=vault user=postgres password=x', 'DELETE FROM kept')",
    "GRANT ALL ON DATABASE vault TO current_user",
    "GRANT SELECT ON kept TO neighbour WITH GRANT OPTION",
    "REVOKE ALL ON kept FROM reader",
    "SELECT * FROM pg_authid",
    "SELECT pg_try_advisory_lock(hashtextextended(current_user, 0))",
]
# The same, of what a role of its own can do to itself: it goes with the share.
OF_ITS_OWN = [
    "DROP OWNED BY current_user",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(4712, 'mine'); COMMENT ON LARGE OBJECT 4712 IS 'mine';"
    " GRANT ALL ON LARGE OBJECT 4712 TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC",
    "ALTER ROLE current_user IN DATABASE vault SET work_mem = '9MB'",
    "ALTER ROLE current_user IN DATABASE postgres SET search_path = pg_temp",
    "ALTER ROLE current_user RESET ALL",
    "GRANT {me} TO neighbour",
    "REVOKE {me} FROM landlord",
    "REVOKE pg_read_all_data FROM current_user",
    "BEGIN; SELECT lo_create(4713); PREPARE TRANSACTION 'a name of mine'",
    "BEGIN; LOCK TABLE kept IN ACCESS SHARE MODE; PREPARE TRANSACTION 'another'",
]


def attempt(client: WireClient, text: str) -> Refused | None:
    """Sends it as one simple query; whatever transaction it left is undone."""
    try:
        client.query(text)
        return None
    except Refused as error:
        with contextlib.suppress(Refused):
            client.query("ROLLBACK")
        return error


def batches(texts: list[str], size: int) -> list[list[str]]:
    return [texts[at : at + size] for at in range(0, len(texts), size)]


def writable(endpoint: Endpoint) -> WireClient:
    """A client that has undone what can be undone by asking."""
    client = WireClient(endpoint, {"options": "-c default_transaction_read_only=off"})
    client.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
    return client


class Attack:
    """All attempts on one share; each is named if anything has changed behind it."""

    def __init__(self, vault: Vault, endpoint: Endpoint):
        self.vault = vault
        self.endpoint = endpoint
        self.before = vault.tripwire()
        self.succeeded: list[str] = []
        with WireClient(endpoint) as client:
            me = (client.query("SELECT current_user")[0][0] or b"").decode()
        self.words = {"stolen": vault.stolen, "socket": vault.cluster.socket_folder, "me": me}

    def _filled(self, text: str) -> str:
        return re.sub(r"\{(stolen|socket|me)\}", lambda found: str(self.words[found[1]]), text)

    def look(self, *names: str) -> None:
        name = " or ".join(names)
        assert self.vault.tripwire() == self.before, f"something changed: {name}"
        assert not self.vault.stolen.exists(), f"a file was written: {name}"

    def undoing(self, without: str = "") -> None:
        """Every way to undo it, and behind each the writes."""
        for name, steps in UNDO.items():
            if name == without:
                continue
            with WireClient(self.endpoint) as client:
                for step in steps:
                    attempt(client, step)
                self._write(name, client)
        for name, options in STARTUPS.items():
            with contextlib.suppress(Refused):
                with WireClient(self.endpoint, {"options": options}) as client:
                    self._write(name, client)

    def _write(self, name: str, client: WireClient) -> None:
        for text in WRITES:
            attempt(client, "BEGIN READ WRITE")
            if attempt(client, text) is None:
                self.succeeded.append(f"{name}: {text}")
            attempt(client, "COMMIT")
        self.look(name)

    def refused(self) -> None:
        """What is refused leaves nothing in its session either, so one serves for all."""
        with writable(self.endpoint) as client:
            for tried in batches(REFUSED, 12):
                for text in tried:
                    if attempt(client, self._filled(text)) is None:
                        self.succeeded.append(text)
                    attempt(client, "COMMIT")
                self.look(*tried)

    def left_open(self, texts: list[str]) -> None:
        for tried in batches(texts, 6):
            for text in tried:
                with writable(self.endpoint) as client:
                    # One by one: some of these must stand outside a transaction.
                    for part in self._filled(text).split("; "):
                        if attempt(client, part) is not None:
                            break
            self.look(*tried)

    def by_message(self) -> None:
        """The same through the other messages of the protocol."""
        oids = dict(
            line.split("|")
            for line in self.vault.run(
                "SELECT proname, oid FROM pg_proc WHERE proname IN"
                " ('lo_unlink', 'lo_export', 'definer', 'change', 'lo_put', 'nextval', 'pg_reload_conf')"
                " AND (proname <> 'lo_put' OR pronargs = 3)"
            ).splitlines()
        )
        four = struct.pack("!i", 4711)
        calls = {
            "lo_unlink": [four], "lo_export": [four, str(self.vault.stolen).encode()], "definer": [],
            "change": [], "lo_put": [four, bytes(8), b"changed"], "pg_reload_conf": [],
            "nextval": [struct.pack("!I", int(self.vault.run("SELECT 'counter'::regclass::oid")))],
        }  # fmt: skip
        for name, values in calls.items():
            with writable(self.endpoint) as client:
                client.send(wire.function_call(int(oids[name]), *values))
                if not [got for got in client.ready() if got.kind == "E"]:
                    self.succeeded.append(f"FunctionCall {name}")
        self.look(*calls)
        with writable(self.endpoint) as client:
            for text in WRITES:
                client.send(
                    wire.parse("BEGIN READ WRITE") + wire.bind() + wire.execute()
                    + wire.parse(text, "s") + wire.bind(statement="s") + wire.execute()
                    + wire.SYNC + wire.query("COMMIT; " + text) + wire.query("BEGIN; " + text)
                    + wire.query("COMMIT")
                )  # fmt: skip
                if len([got for got in client.ready(4) if got.kind == "E"]) < 3:
                    self.succeeded.append(f"pipelined: {text}")
                client.query("DEALLOCATE ALL")
        self.look("pipelined writes")

    def replication(self) -> None:
        """A walsender may do what no query may."""
        for value in ("database", "true", "on", "1"):
            with contextlib.suppress(Refused, EOFError):
                with WireClient(self.endpoint, {"replication": value}) as client:
                    for text in (
                        "CREATE_REPLICATION_SLOT mine PHYSICAL",
                        "CREATE_REPLICATION_SLOT mine LOGICAL pgoutput",
                        "DROP_REPLICATION_SLOT kept_slot",
                        "START_REPLICATION SLOT kept_slot PHYSICAL 0/0",
                        "BASE_BACKUP",
                    ):
                        if attempt(client, text) is None:
                            self.succeeded.append(f"replication={value}: {text}")
            self.look(f"replication={value}")


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    found = []
    for name, was in before.items():
        gone = set(was.splitlines()) - set(after[name].splitlines())
        come = set(after[name].splitlines()) - set(was.splitlines())
        if was != after[name]:
            found.append(f"{name}: gone {sorted(gone)[:9]}, come {sorted(come)[:9]}")
    return found


def test_no_attempt_of_a_mighty_roles_client_changes_anything(vault, share_as, covers):
    """Of the owner on every server; of the superuser, whose share gets the same role, on the ends."""
    covers("Postgres server", tools.full_version(vault.cluster.version))
    is_end = vault.cluster.version in (tools.VERSIONS[0], tools.VERSIONS[-1])
    for role in MIGHTY if is_end else MIGHTY[:1]:
        no_attempt_changes_anything(role, vault, share_as)


def no_attempt_changes_anything(role: str, vault: Vault, share_as) -> None:
    before = vault.everything()
    agent = share_as(role)
    attack = Attack(vault, agent.endpoint)
    attack.undoing()
    attack.refused()
    attack.by_message()
    attack.replication()
    attack.left_open(LEFT_OPEN + OF_ITS_OWN)
    assert attack.succeeded == []
    assert agent.stop() == 0, agent.child.everything()
    assert vault.run(OWN_ROLES) == ""
    assert differences(before, vault.everything()) == []


@pytest.mark.parametrize("vault", tools.VERSIONS[:1], indirect=True, ids=["server"])
def test_no_attempt_of_a_readers_client_changes_anything(vault, share_as):
    before = vault.everything()
    agent = share_as("reader")
    attack = Attack(vault, agent.endpoint)
    assert vault.run(OWN_ROLES) == "", "a role that cannot write needs no other"
    # What a role may do to itself, its clients may: it is the agent's own (SECURITY.md).
    attack.undoing(without="the role's default")
    attack.refused()
    attack.by_message()
    attack.replication()
    attack.left_open(LEFT_OPEN)
    assert attack.succeeded == []
    assert agent.stop() == 0
    assert differences(before, vault.everything()) == []


def test_a_plain_role_that_may_write_is_refused(vault, share_as):
    vault.run("GRANT INSERT ON kept TO neighbour")
    try:
        agent = share_as("neighbour", wait=False)
        assert agent.child.wait_end() == 1
        assert "kept" in agent.child.everything()
    finally:
        vault.run("REVOKE INSERT ON kept FROM neighbour")


# Ways to write that a role of the share's own would have: what is set, what must be named, and
# what takes it back.
HOLES = {
    "a trigger function that runs as its owner": (
        "GRANT EXECUTE ON FUNCTION audit() TO PUBLIC", "audit()",
        "REVOKE EXECUTE ON FUNCTION audit() FROM PUBLIC"),
    "an event trigger that runs as its owner": (
        "ALTER FUNCTION see_ddl() SECURITY DEFINER", "seen",
        "ALTER FUNCTION see_ddl() SECURITY INVOKER"),
    "a function that runs as its owner, in a schema of nobody's": (
        "CREATE SCHEMA hidden; CREATE FUNCTION hidden.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS"
        " 'SELECT 1'; CREATE VIEW shown AS SELECT hidden.f()", "hidden.f()",
        "DROP SCHEMA hidden CASCADE"),
    "connections to anywhere": ("CREATE EXTENSION dblink", "dblink", "DROP EXTENSION dblink"),
    "connections as anybody": (
        "CREATE EXTENSION dblink; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;"
        "GRANT EXECUTE ON FUNCTION dblink_connect_u(text) TO PUBLIC", "dblink_connect_u",
        "DROP EXTENSION dblink; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;"
        "REVOKE EXECUTE ON FUNCTION definer(), audit() FROM PUBLIC"),
    "a foreign server": (
        "CREATE EXTENSION postgres_fdw; CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw;"
        "GRANT USAGE ON FOREIGN SERVER loop TO PUBLIC", "loop", "DROP EXTENSION postgres_fdw CASCADE"),
    "a foreign data wrapper": (
        "CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO PUBLIC",
        "wrapper postgres_fdw", "DROP EXTENSION postgres_fdw CASCADE"),
    "writing files": (
        "GRANT EXECUTE ON FUNCTION lo_export(oid, text) TO PUBLIC", "lo_export",
        "REVOKE EXECUTE ON FUNCTION lo_export(oid, text) FROM PUBLIC"),
    "the server's settings": (
        "GRANT ALTER SYSTEM ON PARAMETER work_mem TO PUBLIC", "work_mem",
        "REVOKE ALTER SYSTEM ON PARAMETER work_mem FROM PUBLIC"),
    "the privileges of large objects": (
        "GRANT SET ON PARAMETER lo_compat_privileges TO PUBLIC", "lo_compat_privileges",
        "REVOKE SET ON PARAMETER lo_compat_privileges FROM PUBLIC"),
    "upkeep": ("GRANT MAINTAIN ON summary TO PUBLIC", "summary", "REVOKE MAINTAIN ON summary FROM PUBLIC"),
}  # fmt: skip


def test_a_way_to_write_that_everybody_has_is_named_and_nothing_shared(vault, share_as):
    missed = []
    for hole, (dig, name, fill) in HOLES.items():
        if hole == "upkeep" and vault.cluster.version < 17:
            continue
        vault.run(dig)
        agents = [share_as(role, wait=False) for role in ("landlord", "reader")]
        for agent in agents:
            wait_for("a verdict", lambda said=agent.child: not said.is_running or said.lines)
            ended = agent.child.stop()
            if ended != 1 or name not in agent.child.everything():
                missed.append(f"{hole}: {ended} {agent.child.everything()}")
        vault.run(fill)
    assert missed == []
    assert vault.run(OWN_ROLES) == ""


def test_a_clients_password_and_settings_of_the_role_shut_nobody_out(vault, share_as):
    agent = share_as("landlord")
    with writable(agent.endpoint) as client:
        client.query("ALTER ROLE current_user PASSWORD 'mine'")
        client.query("ALTER ROLE current_user SET statement_timeout = 1")
        client.query("ALTER ROLE current_user SET search_path = pg_temp")

    def works() -> bool:
        try:
            with WireClient(agent.endpoint) as other:
                return other.query("SHOW statement_timeout") == [[b"0"]]
        except Refused:
            return False

    wait_for("the role to be as it was", works)


def test_two_read_only_shares_at_once_end_each_for_itself(vault, share_as):
    first, second = share_as("landlord"), share_as("postgres")
    assert len(vault.run(OWN_ROLES).splitlines()) == 2
    with writable(first.endpoint) as mine, WireClient(second.endpoint) as other:
        mine.query("CREATE TEMP TABLE pg_database (datname name, oid oid)")
        mine.query("SET search_path = pg_temp, pg_catalog")
        assert first.stop() == 0
        assert [got.fields["C"] for got in mine.until_end() if got.kind == "E"] in (["57P01"], ["08006"])
        assert len(vault.run(OWN_ROLES).splitlines()) == 1
        assert other.query("SELECT count(*) FROM kept") == [[b"50"]]
    assert second.stop() == 0
    assert vault.run(OWN_ROLES) == ""


def test_the_role_of_a_killed_agent_goes_with_the_next_start(vault, share_as):
    killed = share_as("landlord")
    with writable(killed.endpoint) as client:
        client.query("SELECT lo_create(4714)")
        client.query("BEGIN; SELECT lo_create(4715)")
        client.query("PREPARE TRANSACTION 'left behind'")
    killed.child.stop(signal.SIGKILL)
    left = vault.run(OWN_ROLES)
    assert len(left.splitlines()) == 1
    wait_for(
        "the killed agent's lock to be free",
        lambda: vault.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0",
    )
    following = share_as("postgres")
    assert left not in vault.run(OWN_ROLES)
    assert following.stop() == 0
    assert vault.run(OWN_ROLES) == ""
    assert vault.run("SELECT oid FROM pg_largeobject_metadata") == "4711"
    assert vault.run("SELECT count(*) FROM pg_prepared_xacts") == "0"


def test_the_password_of_the_role_is_nobodys_to_use(vault, share_as):
    """It is in no log, argument, environment or answer; what looks like it opens nothing."""
    said_before = len(vault.cluster.server.errors)
    agent = share_as("landlord")
    role = vault.run(OWN_ROLES)
    with WireClient(agent.endpoint) as client:
        with contextlib.suppress(Refused):
            client.query("SELECT * FROM pg_authid")
        activity = client.query("SELECT coalesce(string_agg(query, ' '), '') FROM pg_stat_activity")
    process = f"/proc/{agent.child.pid}"
    seen = "\n".join(
        [agent.child.everything(), str(activity), *vault.cluster.server.errors[said_before:],
         *(open(f"{process}/{name}", errors="replace").read() for name in ("cmdline", "environ"))]
    )  # fmt: skip
    guesses = {*re.findall(r"\b[0-9a-f]{64}\b", seen), agent.endpoint.password, role, ""}
    for guess in guesses:
        with pytest.raises(Refused) as caught:
            WireClient(vault.by_tcp(role, guess))
        assert caught.value.state == "28P01"
    assert os.listdir(f"{process}/fd")
    agent.stop()
    with pytest.raises(Refused):
        WireClient(vault.by_tcp(role, "anything"))


@pytest.mark.parametrize("vault", tools.VERSIONS[:1], indirect=True, ids=["server"])
def test_a_standby_is_shared_by_who_cannot_promote_it_and_stays_as_it_is(vault, share_as):
    """The last of a server's tests: it stays a standby."""
    vault.become_standby()
    mighty = share_as("postgres", wait=False)
    assert mighty.child.wait_end() == 1
    assert "promote" in mighty.child.everything()
    before = vault.everything()
    agent = share_as("reader")
    attack = Attack(vault, agent.endpoint)
    attack.undoing()
    attack.refused()
    attack.by_message()
    attack.replication()
    attack.left_open(LEFT_OPEN + OF_ITS_OWN)
    assert attack.succeeded == []
    agent.stop()
    assert differences(before, vault.everything()) == []
    assert vault.cluster.sql("SELECT pg_is_in_recovery()") == "t"

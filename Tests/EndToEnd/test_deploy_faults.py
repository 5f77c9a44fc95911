"""Deploys that meet a fault: the tunnel, the share, the target, a disk, other people, a signal."""

import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from harness import tools
from harness.certificates import Authority
from harness.cluster import Cluster
from harness.fault_proxy import FaultProxy
from harness.kill_stage import DATABASE, Deploy, KillStage, State, digest, dump, next_version
from harness.pgshare import Agent
from harness.small_disk import limited_files, small_disk
from harness.terminal import Terminal
from harness.waiting import wait_for

pytestmark = pytest.mark.relayed

METHODS = ["in-place", "swap"]
# As long as a tunnel may be gone without a client's notice.
CUT_SECONDS = 20
# Within a row that is on its way, the relay has no place for a message.
ENDED = "57P01|at the source.* lost"


@pytest.fixture(scope="module")
def stage(authority: Authority) -> Iterator[KillStage]:
    # Not pytest's own folder: the path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="pgshare-faults-", dir="/tmp"))
    folder.chmod(0o755)
    stage = KillStage(folder, authority, rows=3000)
    yield stage
    stage.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def deployed(stage: KillStage, method: str) -> KillStage:
    """A target that holds a deploy, and a source that has gone on since."""
    stage.empty_target()
    succeeds(stage, stage.start("--method", method))
    next_version(stage.source)
    return stage


@pytest.fixture
def bulk(stage: KillStage) -> Iterator[None]:
    """60 MB at the source, more than waits anywhere on the way."""
    stage.source.sql(
        "CREATE TABLE bulk AS SELECT i, string_agg(md5(i || ' ' || j), '') "
        "FROM generate_series(1, 6000) i, generate_series(1, 320) j GROUP BY i",
        DATABASE,
    )
    yield
    stage.source.sql("DROP TABLE bulk", DATABASE)


@pytest.fixture
def shaky(stage: KillStage) -> Iterator[FaultProxy]:
    """The agent reaches the relay by a network that can fail."""
    proxy = FaultProxy(stage.relay.https_port)
    steady = stage.agent
    stage.agent = Agent(
        stage.relay, stage.source, conninfo=stage.source.conninfo(DATABASE),
        url=f"https://localhost:{proxy.port}",
    )  # fmt: skip
    yield proxy
    stage.agent.stop()
    proxy.close()
    stage.agent = steady


def succeeds(stage: KillStage, deploy: Deploy) -> None:
    """It ends well, and the target is what the source is."""
    assert deploy.wait_end(180) == 0, deploy.everything()
    after = State(stage.target)
    assert deploy.id in after.ledger
    assert after.deployed == digest(dump(stage.source))
    assert left_over(stage) == []


def fails(stage: KillStage, deploy: Deploy, before: State, words: str) -> None:
    """It says why in these words, has changed nothing, and leaves nothing behind."""
    assert deploy.wait_end(180) == 1, deploy.everything()
    assert re.search(words, deploy.message()), deploy.everything()
    assert deploy.said == "untouched", deploy.everything()
    if deploy.id:
        assert stage.history()[deploy.id]["state"] == "failed"
    stage.wait_target()
    assert State(stage.target) == before
    assert left_over(stage) == []


def left_over(stage: KillStage) -> list[str]:
    stage.wait_quiet()
    return stage.databases("pgshare_stage_%") + stage.files()


def is_reachable(agent: Agent) -> bool:
    try:
        psycopg.connect(agent.endpoint.conninfo()).close()
    except psycopg.Error:
        return False
    return True


def held_in(stage: KillStage, phase: str, method: str) -> Deploy:
    """A deploy whose target takes no bytes from the beginning of a phase on."""
    deploy = stage.start("--method", method)
    assert deploy.wait_phase(phase), deploy.everything()
    stage.proxy.stall()
    return deploy


# The tunnel and the share


def test_a_tunnel_that_is_gone_for_20_s_is_not_noticed(stage, bulk, shaky):
    stage.empty_target()
    deploy = stage.start("--method", "in-place")
    assert deploy.wait_phase("data")
    shaky.refuses = True
    assert shaky.cut() > 0
    with pytest.raises(Exception, match="timed out"):
        deploy.process.wait(CUT_SECONDS)
    shaky.refuses = False
    succeeds(stage, deploy)


def test_a_tunnel_that_is_gone_for_good_takes_the_deploy_with_it(stage, bulk, shaky):
    stage.empty_target()
    before = State(stage.target)
    deploy = stage.start("--method", "in-place")
    assert deploy.wait_phase("data")
    shaky.refuses = True
    shaky.cut()
    fails(stage, deploy, before, "source.*tunnel|tunnel.*source|08006")


def test_a_share_that_expires_takes_the_deploy_with_it(stage, bulk):
    stage.empty_target()
    before = State(stage.target)
    steady = stage.agent
    stage.agent = Agent(
        stage.relay, stage.source, "--expires", "8s", conninfo=stage.source.conninfo(DATABASE)
    )
    try:
        deploy = held_in(stage, "data", "in-place")
        wait_for("the share to expire", lambda: not is_reachable(stage.agent))
        stage.proxy.flow()
        fails(stage, deploy, before, ENDED)
    finally:
        stage.proxy.flow()
        stage.agent.stop()
        stage.agent = steady


def test_a_share_that_is_revoked_takes_the_deploy_with_it(stage, bulk, method):
    stage.empty_target()
    before = State(stage.target)
    steady = stage.agent
    stage.new_agent()
    try:
        deploy = held_in(stage, "data", method)
        assert stage.relay.command("shares", "revoke", stage.agent.shared["id"]).returncode == 0
        stage.proxy.flow()
        fails(stage, deploy, before, ENDED)
    finally:
        stage.proxy.flow()
        stage.agent.stop()
        stage.agent = steady


# The target


def test_a_disk_of_the_target_that_fills_changes_nothing(stage, bulk, method):
    stage.empty_target()
    before = State(stage.target)
    stage.target.stop()
    try:
        # The log of the transactions is elsewhere: a server without room for that crashes.
        with small_disk(stage.target.data / "base", 80 * 1024) as is_small:
            stage.target.start()
            try:
                if is_small:
                    fails(stage, stage.start("--method", method), before, "No space left.*53100")
                else:
                    with limited_files(stage.target.server.pid, 32 * 1024):
                        fails(stage, stage.start("--method", method), before, "File too large")
            finally:
                stage.target.stop()
    finally:
        stage.target.start()


def test_no_time_limit_of_the_role_ends_a_deploy(stage, bulk, method):
    """Its rows alone take longer than that."""
    stage.empty_target()
    stage.target.sql(
        """
        CREATE ROLE hasty SUPERUSER LOGIN;
        ALTER ROLE hasty SET statement_timeout = '200ms';
        ALTER ROLE hasty SET lock_timeout = '100ms';
        ALTER ROLE hasty SET idle_in_transaction_session_timeout = '100ms';
        """
    )
    try:
        deploy = stage.start("--method", method, target=stage.target_conninfo("hasty"))
        succeeds(stage, deploy)
    finally:
        stage.target.sql("ALTER ROLE hasty RESET ALL")
        stage.empty_target()
        stage.target.sql("DROP ROLE hasty")


def test_a_session_that_is_ended_by_an_administrator_changes_nothing(deployed, method, bulk):
    before = State(deployed.target)
    deploy = held_in(deployed, "data", method)
    ended = deployed.target.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name LIKE 'pgshare%'"
    )
    deployed.proxy.flow()
    assert int(ended) > 0
    fails(deployed, deploy, before, "target.*(terminat|57P01|closed|lost)|terminating connection")


def test_a_reader_that_does_not_let_go_makes_a_deploy_give_up(stage):
    stage.empty_target()
    succeeds(stage, stage.start("--method", "in-place"))
    before = State(stage.target)
    with psycopg.connect(stage.target.conninfo(DATABASE)) as reader:
        reader.execute("SELECT count(*) FROM public.orders")
        deploy = stage.start("--method", "in-place")
        assert deploy.wait_end(120) == 1
        assert reader.execute("SELECT count(*) FROM public.orders").fetchone()[0] > 0
    fails(stage, deploy, before, "holds locks.*did not let go within")
    succeeds(stage, stage.start("--method", "in-place"))


def test_readers_see_the_old_state_or_the_new_and_no_mixture(deployed, method):
    """Two tables of every read belong together."""
    query = (
        "SELECT v.number, (SELECT sum(price) FROM public.orders), "
        "(SELECT count(*) FROM \"Größe & Co\".\"Ereignis\") FROM public.version AS v"
    )
    old = deployed.target.sql(query, DATABASE)
    new = deployed.source.sql(query, DATABASE)
    assert old != new
    seen: list[str] = []
    troubles: list[str] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                with psycopg.connect(deployed.target.conninfo(DATABASE), autocommit=True) as reader:
                    while not over.is_set():
                        rows = reader.execute(query).fetchall()
                        seen.append("\n".join("|".join(map(str, row)) for row in rows))
            except psycopg.Error as error:
                troubles.append(error.sqlstate or str(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    deploy = deployed.start("--method", method)
    # A swap does not begin while others are connected.
    assert deploy.wait_phase("schema" if method == "swap" else "connecting")
    for reader in readers:
        reader.start()
    try:
        status = deploy.wait_end(120)
        count = len(seen)
        wait_for("the readers to read on", lambda: len(seen) > count + 10)
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert status == 0, deploy.everything()
    assert set(seen) == {old, new}
    assert seen[-1] == new
    # A swap ends the sessions of the database that goes, and lets none in meanwhile.
    allowed = {"40P01"} if method == "in-place" else {"57P01", "3D000", "55006"}
    assert all(trouble in allowed or "connection" in trouble for trouble in troubles), troubles


def test_too_few_locks_at_the_target_are_known_beforehand(stage, authority):
    stage.source.sql("CREATE DATABASE many")
    stage.source.sql(
        "DO $$ BEGIN FOR i IN 1..700 LOOP "
        "EXECUTE format('CREATE TABLE t%s (id integer PRIMARY KEY, note text)', i); "
        "END LOOP; END $$",
        "many",
    )
    small = Cluster(
        tools.MAIN_VERSION, authority, {"max_locks_per_transaction": "10", "max_connections": "15"}
    )
    try:
        small.sql(f"CREATE DATABASE {DATABASE}")
        before = dump(small)
        deploy = stage.start(
            "--method", "in-place", source=stage.source.conninfo("many"),
            target=small.conninfo(DATABASE),
        )  # fmt: skip
        assert deploy.wait_end(180) == 1, deploy.everything()
        text = deploy.everything()
        assert "max_locks_per_transaction" in text, text
        assert deploy.said == "untouched"
        assert dump(small) == before
    finally:
        small.remove()
        stage.source.sql("DROP DATABASE many")


# The machine of the deploy


def test_a_disk_that_is_full_where_the_deploy_keeps_its_files(stage):
    stage.empty_target()
    before = State(stage.target)
    runs = stage.state / "deploys"
    runs.mkdir(parents=True, exist_ok=True)
    with small_disk(runs, 16) as is_small:
        deploy = stage.start("--method", "in-place")
        if is_small:
            fails(stage, deploy, before, "No space left|disk full")
        else:
            with limited_files(deploy.pid, 4):
                deploy.wait_end()
            fails(stage, deploy, before, "too large|signal")
    succeeds(stage, stage.start("--method", "in-place"))


# Other deploys


def test_a_second_deploy_of_the_same_pair_is_refused(deployed, method):
    first = held_in(deployed, "data", method)
    second = deployed.deploy("--method", method)
    deployed.proxy.flow()
    assert second.process.returncode == 1
    assert re.search(f"running|{first.id}", second.everything()), second.everything()
    succeeds(deployed, first)


def test_a_second_deploy_from_another_machine_is_refused(deployed, method, tmp_path):
    first = held_in(deployed, "data", method)
    direct = deployed.target_conninfo(port=deployed.target.port)
    second = deployed.deploy("--method", method, target=direct, state=deployed.folder / "e")
    deployed.proxy.flow()
    assert second.process.returncode == 1
    assert "another deploy" in second.message(), second.everything()
    assert second.said == "untouched"
    succeeds(deployed, first)


# Signals

PHASES = {
    "in-place": ["connecting", "planning", "setting-aside", "schema", "data", "large-objects",
                 "indexes", "verifying", "committing", "analyzing"],
    "swap": ["planning", "schema", "data", "large-objects", "indexes", "verifying", "analyzing",
             "swapping"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "phase"), [(method, phase) for method in METHODS for phase in PHASES[method]]
)
def test_a_deploy_that_is_told_to_stop_is_not_half_done(stage, method, phase):
    """Ctrl-C, or SIGTERM of a service manager."""
    if not State(stage.target).ledger:
        succeeds(stage, stage.start("--method", "in-place"))
    next_version(stage.source)
    before = State(stage.target)
    deploy = stage.start("--method", method, "--replace")
    assert deploy.wait_phase(phase), deploy.everything()
    deploy.signal(signal.SIGINT if PHASES[method].index(phase) % 2 else signal.SIGTERM)
    status = deploy.wait_end(60)
    if status == 0:
        # It was too late to stop.
        assert phase in ("committing", "analyzing", "swapping", "verifying")
        assert deploy.named("finished")
        succeeds(stage, deploy)
    else:
        fails(stage, deploy, before, "^stopped")


def test_ctrl_c_at_the_question_changes_nothing(stage):
    stage.empty_target()
    succeeds(stage, stage.start("--method", "in-place"))
    before = State(stage.target)
    endpoint = stage.agent.endpoint
    terminal = Terminal(
        [tools.pgshare_binary(), "deploy", endpoint.argument(), stage.target_conninfo(),
         "--state", str(stage.state)],
        {"PGSHARE_SOURCE_PASSWORD": endpoint.password, "TMPDIR": str(stage.temporary)},
    )  # fmt: skip
    try:
        terminal.wait_text("[y/N]")
        terminal.interrupt()
        assert terminal.wait_end() == 1, terminal.screen
    finally:
        terminal.close()
    assert State(stage.target) == before
    assert left_over(stage) == []

"""`pgshare deploy` to Supabase, Neon and RDS: local servers of their APIs, real Postgres behind.

A fault is injected at every step of each API, one kind of fault a run. Whatever happens, the target
is complete or untouched, and what was made is found again by the next run.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.certificates import Authority
from harness.cluster import Cluster
from harness.tools import MAIN_VERSION
from harness.waiting import wait_for
from providers.deploying import SHOP, Deploying, is_untouched
from providers.neon_api import NeonAPI
from providers.rds_api import RDSAPI
from providers.shapes import NeonShape, RDSShape, Shape, SupabaseShape
from providers.supabase_api import SupabaseAPI

TOKEN = "sbp_0123456789abcdef0123456789abcdef01234567"

# Every way in which one answer of an API of JSON can be spoiled and the next can be good.
TRANSIENT = {
    "status-500": {"kind": "status", "status": 500},
    "status-503": {"kind": "status", "status": 503},
    "throttled": {"kind": "status", "status": 429, "retry_after": "1"},
    "cut-before": {"kind": "cut_before"},
    "cut-after": {"kind": "cut_after"},
    "cut-inside": {"kind": "cut_inside"},
    "garbage": {"kind": "garbage"},
}

pytestmark = pytest.mark.relayed


def _fail_each(api: SupabaseAPI | NeonAPI, steps: list[str], fault: str) -> None:
    """The next answer of each step is spoiled."""
    for step in steps:
        api.fail(step, **TRANSIENT[fault])


def _check_spoiled(api: SupabaseAPI | NeonAPI | RDSAPI) -> None:
    """Every planned fault has happened: a step that is never asked tests nothing."""
    assert [fault for fault in api.faults if fault.times > 0] == []


def _succeeds_in_the_end(machine: Deploying, api: SupabaseAPI | NeonAPI, target: str) -> None:
    """A creation of which nobody knows whether it was done is never repeated blindly: that run may
    end, and the next goes on with what is there. There is one project at the end."""
    done = machine.run(target)
    if done.status != 0:
        assert len(api.steps("create-project")) == 1, done.text
        assert is_untouched(api.database), done.text
        machine.succeeds(target)
    assert len(api.state.projects) == 1
    _check_spoiled(api)
    assert machine.arrived(api.database)


@pytest.fixture(scope="module")
def shape_of(authority: Authority) -> Iterator[Callable[[type[Shape]], Shape]]:
    """One server a shape for the module."""
    shapes: dict[type[Shape], Shape] = {}

    def get(kind: type[Shape]) -> Shape:
        if kind not in shapes:
            shapes[kind] = kind(MAIN_VERSION, authority)
        shapes[kind].reset()
        return shapes[kind]

    yield get
    for shape in shapes.values():
        shape.stop()


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[str]:
    """The source."""
    cluster.sql("DROP DATABASE IF EXISTS shop WITH (FORCE)")
    cluster.sql("CREATE DATABASE shop")
    cluster.sql(SHOP, "shop")
    yield "shop"
    cluster.sql("DROP DATABASE shop WITH (FORCE)")


@pytest.fixture
def deploying(cluster: Cluster, shop: str, tmp_path: Path) -> Callable[[dict], Deploying]:
    """A machine with a fresh state folder."""

    def make(environment: dict[str, str]) -> Deploying:
        clean = {"HOME": str(tmp_path), "AWS_PROFILE": "", "PGSHARE_TOKEN": ""}
        return Deploying(cluster, shop, tmp_path / "state", clean | environment)

    return make


# Supabase


@pytest.fixture
def supabase(shape_of) -> Iterator[SupabaseAPI]:
    """A fresh project's Postgres, and the API in front of it; `api.database` is the shape."""
    shape = shape_of(SupabaseShape)
    api = SupabaseAPI(
        TOKEN, shape, "localhost", shape.cluster.port, shape.session_pooler.port,
        shape.transaction_pooler.port,
    )  # fmt: skip
    api.polls, api.health_polls = 1, 0
    yield api
    api.stop()


@pytest.fixture
def with_supabase(supabase: SupabaseAPI, deploying) -> Deploying:
    return deploying({"SUPABASE_ACCESS_TOKEN": TOKEN, "PGSHARE_SUPABASE_URL": supabase.url})


NEW_SUPABASE = "supabase:new?name=shop&region=eu-central-1"
SUPABASE_STEPS = [
    "list-organizations", "list-projects", "create-project", "show-project", "show-health",
]  # fmt: skip


def _check_supabase(with_supabase: Deploying, shape: Shape, managed: str) -> None:
    assert with_supabase.arrived(shape)
    assert shape.manages() == managed, "what the provider looks after has changed"
    assert shape.sql("SELECT to_regclass('auth.mine') IS NULL") == "t"


def test_a_new_supabase_project_gets_all_and_its_own_roles_see_it(supabase, with_supabase):
    shape = supabase.database
    managed = shape.manages()
    done = with_supabase.succeeds(NEW_SUPABASE)
    _check_supabase(with_supabase, shape, managed)
    for role in SupabaseShape.api_roles:
        for table in ("public.customers", "public.totals", "stock.items"):
            assert shape.sql(f"SELECT has_table_privilege('{role}', '{table}', 'SELECT')") == "t"
    assert shape.sql("SET ROLE anon; SELECT count(*) FROM public.orders") == "3000"
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'stock')"
    assert shape.sql(owners) == "postgres"
    assert done.named("finished")[0]["outcome"] == "deployed"
    urls = [each["url"] for each in done.named("finished")[0]["connections"]]
    assert any(f":{shape.cluster.port}/" in url for url in urls), urls
    assert all("@localhost" in url and shape.owner.password not in url for url in urls)


@pytest.mark.parametrize("fault", TRANSIENT)
def test_each_step_of_supabase_fails_once_and_the_deploy_goes_on(supabase, with_supabase, fault):
    managed = supabase.database.manages()
    _fail_each(supabase, SUPABASE_STEPS, fault)
    _succeeds_in_the_end(with_supabase, supabase, NEW_SUPABASE)
    _check_supabase(with_supabase, supabase.database, managed)


@pytest.mark.parametrize("status", ["INIT_FAILED", "REMOVED", "RESTORE_FAILED", "PAUSE_FAILED"])
def test_a_supabase_project_that_fails_ends_the_deploy(supabase, with_supabase, status):
    supabase.final_status = status
    with_supabase.fails(NEW_SUPABASE, status)
    assert is_untouched(supabase.database)


def test_supabase_says_why_it_makes_no_project(supabase, with_supabase):
    supabase.quota = 0
    with_supabase.fails(NEW_SUPABASE, "maximum limits for the number of active free projects")
    assert is_untouched(supabase.database)


def test_an_existing_supabase_project_is_entered_by_a_temporary_role(supabase, with_supabase):
    shape = supabase.database
    managed = shape.manages()
    ref = supabase.add("elsewhere")
    with_supabase.succeeds(f"supabase:{ref}")
    _check_supabase(with_supabase, shape, managed)
    assert supabase.steps("make-login-role") and supabase.steps("drop-login-roles")
    assert shape.sql(r"SELECT count(*) FROM pg_roles WHERE rolname LIKE 'cli\_%'") == "0"
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'stock')"
    assert shape.sql(owners) == "postgres"


@pytest.mark.parametrize("fault", TRANSIENT)
def test_entering_supabase_by_role_and_pooler_survives_faults(supabase, with_supabase, fault):
    ref = supabase.add("elsewhere")
    supabase.direct = False
    _fail_each(supabase, ["show-project", "show-pooler", "make-login-role"], fault)
    with_supabase.succeeds(f"supabase:{ref}")
    _check_spoiled(supabase)
    assert with_supabase.arrived(supabase.database)


def test_a_paused_supabase_project_is_woken(supabase, with_supabase):
    ref = supabase.add("sleeper", status="INACTIVE")
    with_supabase.succeeds(f"supabase:{ref}")
    assert with_supabase.arrived(supabase.database)


def test_where_the_direct_host_has_no_address_the_session_pooler_is_taken(supabase, with_supabase):
    supabase.direct = False
    with_supabase.succeeds(NEW_SUPABASE)
    assert with_supabase.arrived(supabase.database)


def test_a_supabase_orphan_of_a_killed_run_is_adopted(supabase, with_supabase):
    supabase.polls = 1_000_000
    first = with_supabase.start(NEW_SUPABASE)
    wait_for("the project to be looked at", lambda: supabase.steps("show-project"))
    first.stop(signal.SIGKILL)
    supabase.polls = 0
    with_supabase.succeeds(NEW_SUPABASE)
    assert with_supabase.arrived(supabase.database)
    assert len(supabase.state.projects) == 1 and len(supabase.steps("create-project")) == 1


def test_a_wrong_token_is_said_and_not_shown(supabase, deploying):
    stranger = deploying({"SUPABASE_ACCESS_TOKEN": "sbp_wrong", "PGSHARE_SUPABASE_URL": supabase.url})
    stranger.fails(NEW_SUPABASE, "SUPABASE_ACCESS_TOKEN")


# Supabase as a plain URL


def test_a_pooler_in_transaction_mode_is_recognised_and_explained(shape_of, deploying):
    shape = shape_of(SupabaseShape)
    machine = deploying({})
    done = machine.fails(shape.endpoint(shape.transaction_pooler.port).url(), "transaction")
    assert "pooler" in done.text
    assert is_untouched(shape)


def test_a_pooler_in_session_mode_takes_a_deploy(shape_of, deploying):
    shape = shape_of(SupabaseShape)
    managed = shape.manages()
    machine = deploying({})
    machine.succeeds(shape.endpoint(shape.session_pooler.port).url(), "--exclude-schema", "auth")
    _check_supabase(machine, shape, managed)


# Neon


@pytest.fixture
def neon(shape_of) -> Iterator[NeonAPI]:
    shape = shape_of(NeonShape)
    api = NeonAPI(TOKEN, shape, "localhost", shape.cluster.port, shape.pooler.port)
    api.polls = 1
    yield api
    api.stop()


@pytest.fixture
def with_neon(neon: NeonAPI, deploying) -> Deploying:
    return deploying({"NEON_API_KEY": TOKEN, "PGSHARE_NEON_URL": neon.url})


NEW_NEON = "neon:new?name=shop&region=aws-eu-central-1"


def test_a_new_neon_project_gets_all(neon, with_neon):
    managed = neon.database.manages()
    done = with_neon.succeeds(NEW_NEON)
    assert with_neon.arrived(neon.database)
    assert neon.database.manages() == managed
    # The pooler is told to the person and never deployed through.
    urls = [each["url"] for each in done.named("finished")[0]["connections"]]
    assert any(f":{neon.database.cluster.port}/" in url for url in urls), urls


@pytest.mark.parametrize("fault", TRANSIENT)
def test_each_step_of_neon_fails_once_and_the_deploy_goes_on(neon, with_neon, fault):
    _fail_each(neon, ["list-projects", "create-project", "show-operation"], fault)
    _succeeds_in_the_end(with_neon, neon, NEW_NEON)


@pytest.mark.parametrize("status", ["failed", "error", "cancelled"])
def test_a_neon_operation_that_fails_ends_the_deploy(neon, with_neon, status):
    neon.final_status = status
    with_neon.fails(NEW_NEON, status)
    assert is_untouched(neon.database)


@pytest.mark.parametrize("status", [423, 503])
def test_neon_being_locked_is_waited_for(neon, with_neon, status):
    neon.fail("create-project", "status", status=status, times=2)
    with_neon.succeeds(NEW_NEON)
    assert with_neon.arrived(neon.database)


def test_a_neon_orphan_of_a_killed_run_is_adopted(neon, with_neon):
    neon.polls = 1_000_000
    first = with_neon.start(NEW_NEON)
    wait_for("the operation to be looked at", lambda: neon.steps("show-operation"))
    first.stop(signal.SIGKILL)
    neon.polls = 0
    with_neon.succeeds(NEW_NEON)
    assert with_neon.arrived(neon.database)
    assert len(neon.state.projects) == 1


@pytest.mark.parametrize("fault", TRANSIENT)
def test_an_existing_neon_project_takes_a_deploy_through_faults(neon, with_neon, fault):
    project = neon.add("elsewhere", "aws-eu-central-1", 15)
    _fail_each(neon, ["list-branches", "list-databases", "show-connection"], fault)
    with_neon.succeeds(f"neon:{project}")
    _check_spoiled(neon)
    assert with_neon.arrived(neon.database)


def test_neons_pooler_as_a_url_is_recognised_and_explained(shape_of, deploying):
    shape = shape_of(NeonShape)
    done = deploying({}).fails(shape.endpoint(shape.pooler.port).url(), "transaction")
    assert "pooler" in done.text
    assert is_untouched(shape)


# RDS


@pytest.fixture
def rds(shape_of) -> Iterator[RDSAPI]:
    shape = shape_of(RDSShape)
    api = RDSAPI("127.0.0.1", shape.cluster.port, shape.made)
    api.shape = shape
    yield api
    api.stop()


@pytest.fixture
def with_rds(rds: RDSAPI, deploying, authority: Authority) -> Deploying:
    quick = {"PGSHARE_RDS_POLL_SECONDS": "0.05", "PGSHARE_RDS_CA_FILE": str(authority.certificate)}
    return deploying(rds.environment | quick)


NEW_RDS = "rds:new?name=shop&public=yes"
RDS_FAULTS = [
    "throttle", "error500", "unavailable", "cut_before", "cut_after", "cut_inside", "garbage",
    "too_large",
]  # fmt: skip


def test_a_new_rds_instance_gets_all_over_verified_tls(rds, with_rds):
    done = with_rds.succeeds(NEW_RDS)
    assert with_rds.arrived(rds.shape)
    made = next(each for each in rds.requests if each["Action"] == "CreateDBInstance")
    assert made["DBInstanceIdentifier"] == "shop" and made["PubliclyAccessible"] == "true"
    assert made["StorageEncrypted"] == "true" and made["Tags.Tag.1.Key"] == "pgshare:deployment"
    assert made["MasterUserPassword"] == rds.shape.owner.password
    urls = [each["url"] for each in done.named("finished")[0]["connections"]]
    assert urls == [
        f"postgresql://postgres@127.0.0.1:{rds.shape.cluster.port}/app?sslmode=verify-full"
    ]


@pytest.mark.parametrize("fault", RDS_FAULTS)
def test_each_step_of_rds_fails_once_and_the_deploy_goes_on(rds, with_rds, fault):
    rds.fail("DescribeDBInstances", fault)
    rds.fail("CreateDBInstance", fault)
    # The first two looks ask whether there is one already; the others wait for it.
    rds.fail("DescribeDBInstances", fault, skip=2)
    with_rds.succeeds(NEW_RDS)
    _check_spoiled(rds)
    assert with_rds.arrived(rds.shape)


@pytest.mark.parametrize(
    "status",
    [
        "deleted", "deleting", "failed", "incompatible-restore", "incompatible-parameters",
        "incompatible-network", "insufficient-capacity",
    ],
)  # fmt: skip
def test_an_instance_that_fails_ends_the_deploy(rds, with_rds, status):
    rds.walk.statuses = ["creating", status]
    with_rds.fails(NEW_RDS, f"is {status}")
    assert is_untouched(rds.shape)


def test_an_endpoint_that_comes_late_is_waited_for(rds, with_rds):
    rds.walk.looks_without_endpoint = 5
    with_rds.succeeds(NEW_RDS)
    assert with_rds.arrived(rds.shape)


@pytest.mark.parametrize("fault, words", [("denied", "AccessDenied"), ("quota", "QuotaExceeded")])
def test_what_rds_refuses_is_said(rds, with_rds, fault, words):
    rds.fail("CreateDBInstance", fault)
    with_rds.fails(NEW_RDS, words)
    assert is_untouched(rds.shape)


def test_an_rds_orphan_of_a_killed_run_is_adopted_with_its_password(rds, with_rds):
    rds.walk.statuses = ["creating"] * 1_000_000 + ["available"]
    first = with_rds.start(NEW_RDS)
    wait_for("the instance to be looked at", lambda: rds.count("DescribeDBInstances") > 2)
    first.stop(signal.SIGKILL)
    rds.walk.statuses = ["creating", "available"]
    with_rds.succeeds(NEW_RDS)
    assert with_rds.arrived(rds.shape)
    assert rds.count("CreateDBInstance") == 1


def test_an_rds_instance_of_somebody_else_needs_its_password(rds, with_rds):
    rds.make("theirs", "postgres", "app")
    with_rds.fails("rds:theirs", "password")
    assert is_untouched(rds.shape)
    with_rds.environment["PGSHARE_TARGET_PASSWORD"] = rds.shape.owner.password
    with_rds.succeeds("rds:theirs")
    assert with_rds.arrived(rds.shape)


def test_a_temporary_key_is_signed_with_its_token(rds, with_rds):
    rds.session_token = "FwoGZXIvYXdzEXAMPLETOKEN=="
    with_rds.fails(NEW_RDS, "InvalidClientTokenId")
    with_rds.environment["AWS_SESSION_TOKEN"] = rds.session_token
    with_rds.succeeds(NEW_RDS)

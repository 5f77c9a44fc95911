"""Fixtures: one server a version, one relay and one agent a server for a whole run.

A test that breaks things (kills, expires, cuts) makes its own relay and agent with `new_relay` and
`new_agent`. With PGSHARE_TEST_DIRECT=1 the shares are the servers themselves: that tests the harness.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import tools  # noqa: E402
from harness.browser import BrowserStage, PageRelay, Tab  # noqa: E402
from harness.certificates import Authority  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.deploy import Deployer, literal  # noqa: E402
from harness.endpoint import Endpoint  # noqa: E402
from harness.fault_proxy import FaultProxy  # noqa: E402
from harness.pgshare import Agent, Relay  # noqa: E402
from harness.token_issuer import Issuer  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "relayed: needs pgshare; has no meaning directly")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Directly, only what compares with a plain server can run."""
    if not tools.DIRECT:
        return
    left_out = [item for item in items if item.get_closest_marker("relayed")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("relayed")]


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder of the run that everybody may read; removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="pgshare-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def authority(folder: Path) -> Authority:
    """Signs the certificates of the Postgres servers, not the relay's."""
    path = folder / "authority"
    path.mkdir()
    return Authority(path)


@pytest.fixture(scope="session")
def cluster_of(authority: Authority) -> Iterator[Callable[[int], Cluster]]:
    """The server of a version, started when the first test asks for it."""
    clusters: dict[int, Cluster] = {}

    def get(version: int) -> Cluster:
        if version not in clusters:
            clusters[version] = Cluster(version, authority)
        return clusters[version]

    yield get
    for cluster in clusters.values():
        cluster.remove()


@pytest.fixture(scope="session")
def cluster(cluster_of: Callable[[int], Cluster]) -> Cluster:
    """The server of the main version."""
    return cluster_of(tools.MAIN_VERSION)


@pytest.fixture(scope="session")
def relay(folder: Path) -> Iterator[Relay]:
    """The relay that the harmless tests share."""
    relay = Relay(folder / "relay")
    yield relay
    relay.stop()


@pytest.fixture(scope="session")
def share_of(
    cluster_of: Callable[[int], Cluster], request: pytest.FixtureRequest
) -> Iterator[Callable[[int], Endpoint]]:
    """The share of the server of a version."""
    agents: dict[int, Agent] = {}

    def get(version: int) -> Endpoint:
        cluster = cluster_of(version)
        if tools.DIRECT:
            return cluster.direct()
        if version not in agents:
            relay = request.getfixturevalue("relay")
            agents[version] = Agent(relay, cluster, "--max-connections", "100")
        return agents[version].endpoint

    yield get
    for agent in agents.values():
        agent.stop()


@pytest.fixture(params=tools.VERSIONS, ids=lambda version: f"server-{version}")
def every_share(
    request: pytest.FixtureRequest,
    share_of: Callable[[int], Endpoint],
    covers: Callable[[str, str], None],
) -> Endpoint:
    """A share of each version of Postgres in turn."""
    covers("Postgres server", tools.full_version(request.param))
    return share_of(request.param)


@pytest.fixture
def share(share_of: Callable[[int], Endpoint]) -> Endpoint:
    """The share of the main version."""
    return share_of(tools.MAIN_VERSION)


@pytest.fixture
def covers(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Notes what a test covers if it passes: covers("psql", "17.10")."""

    def note(what: str, version: str) -> None:
        record_property(f"covers {what}", version)

    return note


# For the tests that break things


@pytest.fixture
def new_relay(tmp_path: Path) -> Iterator[Callable[..., Relay]]:
    """Starts a relay of the test's own."""
    relays: list[Relay] = []

    def start(*more: str, state: str = "state", **options) -> Relay:
        relays.append(Relay(tmp_path / state, *more, **options))
        return relays[-1]

    yield start
    for relay in relays:
        relay.stop()


@pytest.fixture
def new_agent() -> Iterator[Callable[..., Agent]]:
    """Starts an agent of the test's own."""
    agents: list[Agent] = []

    def start(*arguments, **options) -> Agent:
        agents.append(Agent(*arguments, **options))
        return agents[-1]

    yield start
    for agent in agents:
        agent.stop()


@pytest.fixture
def new_proxy() -> Iterator[Callable[[int], FaultProxy]]:
    """Starts a TCP proxy in front of a port."""
    proxies: list[FaultProxy] = []

    def start(port: int) -> FaultProxy:
        proxies.append(FaultProxy(port))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def new_database(cluster: Cluster) -> Iterator[Callable[[str], str]]:
    """Creates an empty database on the main server; dropped after the test."""
    names: list[str] = []

    def drop(name: str) -> str:
        quoted = name.replace('"', '""')
        cluster.sql(f'DROP DATABASE IF EXISTS "{quoted}" WITH (FORCE)')
        return quoted

    def create(name: str) -> str:
        cluster.sql(f'CREATE DATABASE "{drop(name)}"')
        names.append(name)
        return name

    yield create
    for name in names:
        drop(name)


# For the tests of deploys


@pytest.fixture
def deployer(tmp_path: Path) -> Deployer:
    """`pgshare deploy` with a history of its own."""
    return Deployer(tmp_path / "deploy-state")


@pytest.fixture
def database_on() -> Iterator[Callable[..., str]]:
    """Creates an empty database of that name on a server; dropped after the test."""
    made: list[tuple[Cluster, str]] = []

    def drop(cluster: Cluster, name: str) -> str:
        quoted = '"' + name.replace('"', '""') + '"'
        # A database with a subscription cannot be dropped.
        if cluster.sql(f"SELECT 1 FROM pg_database WHERE datname = {literal(name)}"):
            for subscription in cluster.sql(
                "SELECT quote_ident(subname) FROM pg_subscription s JOIN pg_database d"
                f" ON d.oid = s.subdbid WHERE d.datname = {literal(name)}"
            ).splitlines():
                cluster.sql(
                    f"ALTER SUBSCRIPTION {subscription} DISABLE;"
                    f" ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE);"
                    f" DROP SUBSCRIPTION {subscription}",
                    name,
                )
        cluster.sql(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
        return quoted

    def create(cluster: Cluster, name: str, more: str = "") -> str:
        made.append((cluster, name))
        cluster.sql(f"CREATE DATABASE {drop(cluster, name)} {more}")
        return name

    yield create
    for cluster, name in made:
        drop(cluster, name)


# For the tests of databases in browsers


@pytest.fixture(scope="session")
def stage() -> Iterator[BrowserStage]:
    """One Chromium and one server of pages."""
    stage = BrowserStage()
    yield stage
    stage.close()


@pytest.fixture(scope="session")
def page_relay(folder: Path) -> Iterator[PageRelay]:
    """The relay that the harmless tests of browsers share."""
    relay = PageRelay(folder / "page-relay")
    yield relay
    relay.stop()


@pytest.fixture(scope="session")
def common_tabs(stage: BrowserStage) -> Iterator[list[Tab]]:
    """The tab that the harmless tests share, if there is one by now."""
    tabs: list[Tab] = []
    yield tabs
    for tab in tabs:
        tab.close()


class DirectTab:
    """A server's database in the place of a tab's: what a client must see anyway."""

    def __init__(self, cluster: Cluster, database: str):
        self.shared_at = cluster.direct().with_database(database)
        self._ask = partial(cluster.sql, database=database)

    def query(self, sql: str) -> list[list[str]]:
        return [line.split("|") for line in self._ask(sql).splitlines()]


@pytest.fixture
def tab(request: pytest.FixtureRequest, covers: Callable[[str, str], None]) -> Iterator[Tab | DirectTab]:
    """A tab with an empty database that is shared; a test that hurts it gets the next one a new one."""
    if tools.DIRECT:
        new_database = request.getfixturevalue("new_database")
        yield DirectTab(request.getfixturevalue("cluster"), new_database("tab"))
        return
    stage, page_relay, common_tabs = map(
        request.getfixturevalue, ("stage", "page_relay", "common_tabs")
    )
    covers("Chromium", stage.chromium.version)
    if not common_tabs:
        common_tabs.append(stage.tab())
        common_tabs[0].boot()
        common_tabs[0].share(page_relay)
    tab = common_tabs[0]
    yield tab
    try:
        tab.ask("tab.clean")
    except Exception:
        common_tabs.remove(tab)
        tab.close()
        raise


@pytest.fixture
def tab_share(tab: Tab) -> Endpoint:
    """Where clients reach the database of the common tab."""
    return tab.shared_at


@pytest.fixture
def new_tab(
    stage: BrowserStage, page_relay: PageRelay, covers: Callable[[str, str], None]
) -> Iterator[Callable[..., Tab]]:
    """Opens a tab of the test's own, with an engine, and shares it."""
    covers("Chromium", stage.chromium.version)
    tabs: list[Tab] = []

    def open_tab(at: PageRelay | None = None, boot: dict | None = None, **options) -> Tab:
        tabs.append(stage.tab())
        tabs[-1].boot(**(boot or {}))
        tabs[-1].share(at or page_relay, **options)
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        tab.close()


@pytest.fixture
def new_page_relay(tmp_path: Path) -> Iterator[Callable[..., PageRelay]]:
    """Starts a relay of the test's own that pages reach."""
    relays: list[PageRelay] = []

    def start(*more: str, **options) -> PageRelay:
        relays.append(PageRelay(tmp_path / f"page-relay-{len(relays)}", *more, **options))
        return relays[-1]

    yield start
    for relay in relays:
        relay.stop()


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    """An issuer of JSON Web Tokens, for a relay that is started with its `options`."""
    return Issuer(tmp_path)

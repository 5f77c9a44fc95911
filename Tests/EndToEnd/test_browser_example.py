"""The example page as a person uses it: served by web/serve.py, opened in Chromium, shared by its button."""

import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from harness import tools
from harness.browser import BrowserStage, PageRelay, Tab
from harness.processes import Child, run
from harness.waiting import wait_for

pytestmark = pytest.mark.relayed

POOL = 10
TURNS = 15


class ExamplePage:
    """The page, by what a person sees and does there."""

    def __init__(self, stage: BrowserStage, url: str):
        self.tab: Tab = stage.chromium.new_tab()
        self._run = self.tab.chromium.run
        self.page = self.tab.page
        self._run(self.page.goto(url))
        self._run(self.page.wait_for_selector("body[data-state=ready]"), 60)

    def text(self, selector: str) -> str:
        return self._run(self.page.inner_text(selector))

    def is_visible(self, selector: str) -> bool:
        return self._run(self.page.is_visible(selector))

    def buttons(self) -> list[str]:
        """Labels of the buttons that can be seen."""
        found = self._run(self.page.query_selector_all("button:visible"))
        return [self._run(button.inner_text()) for button in found]

    def fill(self, selector: str, value: str) -> None:
        self._run(self.page.fill(selector, value))

    def click(self, selector: str) -> None:
        self._run(self.page.click(selector))

    def query(self, sql: str) -> list[str]:
        """What the page shows below its Run button: the cells of a result, or its error."""
        self._run(self.page.evaluate("() => document.getElementById('result').replaceChildren()"))
        self.fill("#sql", sql)
        self.click("#run")
        self._run(self.page.wait_for_selector("#result > *"))
        cells = self._run(self.page.query_selector_all("#result td"))
        return [self._run(cell.inner_text()) for cell in cells] or [self.text("#result")]

    def share(self, relay: PageRelay) -> None:
        self.fill("#relay", relay.http_url)
        self.fill("#token", relay.token())
        self.click("#share")
        self._run(self.page.wait_for_selector("#url:visible"))

    def close(self) -> None:
        self.tab.close()


@pytest.fixture(scope="module")
def example_url() -> Iterator[str]:
    """web/serve.py as the README says."""
    server = Child([sys.executable, str(tools.ROOT / "web" / "serve.py")])
    yield server.wait_line("the page's address", lambda line: line.startswith("http"))
    server.stop()


@pytest.fixture
def example(stage: BrowserStage, example_url: str) -> Iterator[ExamplePage]:
    page = ExamplePage(stage, example_url)
    yield page
    page.close()


@pytest.fixture
def pool_of() -> Iterator[Callable[[str], sqlalchemy.Engine]]:
    """Makes a SQLAlchemy pool of ten of a connection string."""
    engines: list[sqlalchemy.Engine] = []

    def make(url: str, relay: PageRelay) -> sqlalchemy.Engine:
        engines.append(sqlalchemy.create_engine(
            url.replace("postgres://", "postgresql+psycopg://"),
            pool_size=POOL, max_overflow=0,
            connect_args={"sslmode": "verify-full", "sslrootcert": str(relay.ca_file)},
        ))  # fmt: skip
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


def psql(command: str, relay: PageRelay, sql: str) -> subprocess.CompletedProcess:
    """The command as the page shows it, with the certificate of a relay of this machine."""
    name, url = shlex.split(command)
    assert name == "psql"
    words = [tools.program("psql"), "-XAt", "-v", "ON_ERROR_STOP=1", url]
    return run(words, {"PGSSLROOTCERT": str(relay.ca_file)}, stdin=sql)


def add_moons(pool: sqlalchemy.Engine, worker: int, gate: threading.Barrier) -> None:
    """Transactions of three statements; all ten hold a connection at the same time first."""
    with pool.connect() as connection:
        connection.execute(sqlalchemy.text("select 1"))
        connection.commit()  # in a transaction it would keep the others out
        gate.wait(60)
    for turn in range(TURNS):
        with pool.begin() as connection:
            words = {"planet": worker % 8 + 1, "name": f"moon {worker} {turn}"}
            moons = connection.execute(
                sqlalchemy.text("select moons from planets where id = :planet for update"), words
            ).scalar_one()
            connection.execute(
                sqlalchemy.text("update planets set moons = :moons where id = :planet"),
                words | {"moons": moons + 1},
            )
            connection.execute(sqlalchemy.text("insert into found (name) values (:name)"), words)


def test_the_example_is_shared_to_psql_and_a_pool_of_ten_at_once(
    example: ExamplePage, page_relay: PageRelay, pool_of, covers
):
    covers("SQLAlchemy", sqlalchemy.__version__)
    assert example.buttons().count("Share") == 1
    assert not example.is_visible("#url")
    example.share(page_relay)
    url, command = example.text("#url"), example.text("#psql")
    assert url.startswith("postgres://") and url in command
    assert "Share" not in example.buttons()
    done = psql(command, page_relay, "create table found (name text primary key);\n")
    assert done.returncode == 0, done.stderr

    before = int(example.query("select sum(moons) from planets")[0])
    pool = pool_of(url, page_relay)
    gate = threading.Barrier(POOL)
    with ThreadPoolExecutor(POOL + 1) as threads:
        workers = [threads.submit(add_moons, pool, worker, gate) for worker in range(POOL)]
        script = "begin; insert into found values (:'name'); select count(*) > 0 from planets; commit;\n"
        script = "".join(f"\\set name 'psql {turn}'\n{script}" for turn in range(TURNS))
        beside = threads.submit(psql, command, page_relay, script)
        wait_for("the page to count its clients", lambda: f"{POOL} clients" in example.text("#client-count")
                 or f"{POOL + 1} clients" in example.text("#client-count"))  # fmt: skip
        # The page's own queries, while all of them work.
        seen = [int(example.query("select sum(moons) from planets")[0]) for _ in range(5)]
        for worker in workers:
            worker.result(120)
        told = beside.result(120)
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == ["BEGIN", "INSERT", "0", "1", "t", "COMMIT"] * TURNS
    assert seen == sorted(seen)
    assert int(example.query("select sum(moons) from planets")[0]) == before + POOL * TURNS
    assert example.query("select count(*) from found") == [str((POOL + 1) * TURNS)]
    assert "client-connected · psql · 127.0.0.1" in example.text("#events")


def test_the_examples_stop_button_ends_its_clients_and_it_can_be_shared_again(
    example: ExamplePage, page_relay: PageRelay, pool_of
):
    example.share(page_relay)
    first = example.text("#url")
    client = pool_of(first, page_relay).connect()
    assert client.execute(sqlalchemy.text("select count(*) from planets")).scalar_one() == 8
    wait_for("the page to name its client", lambda: "One client" in example.text("#client-count"))
    example.click("#stop")
    wait_for("the Share button", lambda: "Share" in example.buttons())
    assert not example.is_visible("#url")
    with pytest.raises(sqlalchemy.exc.OperationalError):
        client.execute(sqlalchemy.text("select 1"))
    done = psql(f"psql '{first}'", page_relay, "select 1;\n")
    assert done.returncode != 0
    assert example.query("select name from planets where id = 3") == ["Earth"]
    example.share(page_relay)
    done = psql(example.text("#psql"), page_relay, "select name from planets where id = 4;\n")
    assert done.stdout == "Mars\n", done.stderr


def test_the_example_says_why_it_cannot_be_shared_and_shows_errors_of_its_own_queries(
    example: ExamplePage, page_relay: PageRelay
):
    example.fill("#relay", page_relay.http_url)
    example.fill("#token", "not-a-token")
    example.click("#share")
    wait_for("the reason", lambda: example.is_visible("#share-error"))
    assert "refused" in example.text("#share-error")
    assert "nowhere" in example.query("select * from nowhere")[0]
    example.share(page_relay)
    assert not example.is_visible("#share-error")

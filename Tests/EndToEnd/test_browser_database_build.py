"""database.build's own browser side, unmodified as far as its wire goes, against our relay.

The page is a double that was written from what is known of its wire; the engine behind it is real.
"""

import json
import os
import random
import signal
import string
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from harness import tools, wire
from harness.browser import BrowserStage, PageRelay, Tab
from harness.endpoint import Endpoint
from harness.fault_proxy import FaultProxy
from harness.processes import run_well
from harness.waiting import stays_true, wait_for
from harness.wire import Refused, WireClient

pytestmark = pytest.mark.relayed


def codes(messages) -> list[str]:
    return [got.fields["C"] for got in messages if got.kind == "E"]


class Build:
    """A tab with that page, connected as the database of an id."""

    def __init__(self, tab: Tab, relay: PageRelay, token: str):
        self.tab = tab
        self.relay = relay
        self.token = token
        self.id = "".join(random.choices(string.ascii_lowercase + string.digits, k=16))

    def connect(
        self, share_id: str | None = None, token: str | None = None, port: int | None = None
    ) -> None:
        """`wss://ID.DOMAIN?token=…`, here without TLS."""
        address = f"{share_id or self.id}.localhost:{port or self.relay.http_port}"
        self.tab.ask("build.connect", f"ws://{address}?token={token or self.token}")

    def share(self) -> None:
        """Connects, and waits until the relay serves it."""
        self.connect()
        asked = ("GET", f"/v1/shares/{self.id}", self.token)
        wait_for("the share to be served", lambda: '"online"' in self.relay.request(*asked)[1])

    def refused(self, **options) -> bool:
        """Whether a connection is refused before it is one."""
        try:
            self.connect(**options)
        except Exception as error:
            return "the WebSocket failed" in str(error)
        return False

    def closed(self) -> list:
        """The code and the reason that its last WebSocket was closed with."""
        wait_for("the WebSocket to be closed", lambda: self.tab.ask("build.isClosed"))
        return self.facts["closes"][-1]

    def endpoint(self) -> Endpoint:
        """The connection string of the share: its owner asks for a new password."""
        done = self.relay.command("shares", "password", self.id, "--json", token=self.token)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return Endpoint(
            told["host"], int(told["port"]), told["user"], told["password"], told["database"],
            self.relay.ca_file, 17, self.id,
        )  # fmt: skip

    def take_over(self, token: str) -> None:
        """Connects once more; what is asked from here on is asked of the new connection."""
        self.connect(token=token)
        wait_for("the one before to be closed", lambda: 1008 in dict(self.facts["closes"]))

    @property
    def facts(self) -> dict:
        return self.tab.ask("build.facts")


@pytest.fixture
def new_build(stage: BrowserStage, page_relay: PageRelay, covers) -> Iterator[Callable[..., Build]]:
    """Opens the page with an engine and connects it."""
    covers("Chromium", stage.chromium.version)
    tabs: list[Tab] = []

    def open_build(token: str | None = None, relay: PageRelay | None = None) -> Build:
        relay = relay or page_relay
        tab = stage.tab("/pages/database_build.html")
        tabs.append(tab)
        tab.ask("build.boot", {})
        build = Build(tab, relay, token or relay.token("builder"))
        build.share()
        return build

    yield open_build
    for tab in tabs:
        tab.close()


@pytest.fixture
def build(new_build) -> Iterator[Build]:
    """A page that is connected; what a relay must never send it was not sent."""
    build = new_build()
    yield build
    assert build.facts["wrong"] == []


def test_two_psqls_work_at_once(build, covers):
    covers("psql", tools.full_version(tools.MAIN_VERSION))
    endpoint = build.endpoint()
    command = [tools.program("psql"), "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", endpoint.argument()]
    run_well([*command, "-c", "create table things (who text, n int)"], endpoint.environment())
    script = "".join(
        f"begin; insert into things values (:'who', {n}); insert into things values (:'who', {n}); commit;\n"
        for n in range(20)
    )
    both = [
        subprocess.Popen(
            [*command, "-v", f"who={who}"], env={**os.environ, **endpoint.environment()}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for who in ("one", "two")
    ]  # fmt: skip
    with ThreadPoolExecutor(2) as threads:
        ends = list(threads.map(lambda psql: psql.communicate(script, timeout=120), both))
    assert [psql.returncode for psql in both] == [0, 0], ends
    asked = "select who, count(*), sum(n) from things group by 1 order by 1"
    assert build.tab.ask("build.query", asked) == [["one", "40", "380"], ["two", "40", "380"]]


def test_psql_describes_copies_and_pg_dump_dumps(build, tmp_path):
    endpoint = build.endpoint()
    source = tmp_path / "in.tsv"
    source.write_text("".join(f"{n}\tline {n}\n" for n in range(3000)))
    script = f"create table copied (a int, b text);\n\\copy copied from '{source}'\n\\d copied\n"
    done = run_well(
        [tools.program("psql", 18), "-X", "-v", "ON_ERROR_STOP=1", "-d", endpoint.argument()],
        endpoint.environment(), stdin=script,
    )  # fmt: skip
    assert "COPY 3000" in done.stdout
    dumped = run_well([tools.program("pg_dump", 18), "-d", endpoint.argument()], endpoint.environment()).stdout
    assert source.read_text() in dumped


def test_clients_are_kept_apart(build):
    endpoint = build.endpoint()
    with WireClient(endpoint) as one, WireClient(endpoint) as two:
        one.send(wire.parse("select 'one'", "same") + wire.SYNC)
        one.ready()
        two.send(wire.parse("select 'two'", "same") + wire.SYNC)
        two.ready()
        one.query("set app.owner = 'one'")
        for client, name in ((one, b"one"), (two, b"two")):
            client.send(wire.bind(statement="same") + wire.execute() + wire.SYNC)
            assert name in next(got for got in client.ready() if got.kind == "D").body
        assert two.query("select current_setting('app.owner', true)") in ([[None]], [[b""]])
        with psycopg.connect(endpoint.conninfo(), autocommit=True) as three, three.pipeline():
            cursors = [three.execute("select %s::int", (number,)) for number in range(50)]
            assert [cursor.fetchone()[0] for cursor in cursors] == list(range(50))


def test_the_page_is_told_of_startups_as_it_knows_them(build):
    with WireClient(build.endpoint()) as client:
        assert client.query("select 1") == [[b"1"]]
        (first, *_) = build.facts["startups"]
        assert first["length"] == first["whole"]
        assert (first["user"], first["database"]) == ("postgres", "postgres")
        assert first["client_ip"] == "127.0.0.1"


def test_the_greeting_is_the_engines_own_and_there_is_a_key_to_cancel_with(build):
    with WireClient(build.endpoint()) as one, WireClient(build.endpoint()) as _:
        pass
    endpoint = build.endpoint()
    with WireClient(endpoint) as one, WireClient(endpoint) as two:
        versions = [got.body for got in one.transcript if got.kind == "S" and got.body.startswith(b"server_version\0")]
        assert versions == [b"server_version\0" + one.query("show server_version")[0][0] + b"\0"]
        one.query("begin")
        two.send(wire.query("select 1"))
        two.cancel()
        assert codes(two.ready()) == ["57014"]
        one.query("commit")
        assert two.query("select 2") == [[b"2"]]


def test_a_password_is_needed_and_a_new_one_replaces_the_old(build):
    first = build.endpoint()
    with WireClient(first) as client:
        assert client.query("select 1") == [[b"1"]]
    with pytest.raises(Refused) as caught:
        WireClient(replace(first, password="postgres"))
    assert caught.value.state == "28P01"
    second = build.endpoint()
    assert second.password != first.password
    with pytest.raises(Refused) as caught:
        WireClient(first)
    assert caught.value.state == "28P01"
    with WireClient(second) as client:
        assert client.query("select 1") == [[b"1"]]


def test_another_owner_can_not_take_the_id_or_ask_for_its_password(build, new_build, page_relay):
    stranger = page_relay.token("another-builder")
    done = page_relay.command("shares", "password", build.id, "--json", token=stranger)
    assert done.returncode != 0
    other = new_build(token=stranger)
    other.connect(build.id)
    code, reason = other.closed()
    assert code == 1008
    assert "another owner" in reason
    with WireClient(build.endpoint()) as client:
        assert client.query("select 1") == [[b"1"]]


def test_another_tab_of_the_same_owner_takes_over(build, new_build):
    endpoint = build.endpoint()
    with WireClient(endpoint) as client:
        client.query("set app.mine = 'yes'")
        with WireClient(endpoint) as another:
            another.query("select 1")
        other = new_build()
        other.tab.ask("build.query", "create table here (n int)")
        other.connect(build.id)
        code, reason = build.closed()
        assert code == 1008
        assert "another" in reason
        # Another tab is another session, and what a client had set in it is set again.
        assert client.query("select count(*), current_setting('app.mine') from here") == [[b"0", b"yes"]]
    with WireClient(endpoint) as client:
        assert client.query("select count(*) from here") == [[b"0"]]


def test_a_wrong_token_is_refused_and_none_is_ever_logged(build, page_relay):
    assert build.refused(token="pgs_" + "A" * 43)
    assert build.refused(token="a.b.c")
    said = page_relay.child.everything()
    counted = page_relay.request("GET", "/metrics")[1]
    for secret in (build.token, "A" * 43, "a.b.c"):
        assert secret not in said
        assert secret not in counted


def test_a_page_that_reconnects_keeps_its_share_and_its_password(build, page_relay):
    proxy = FaultProxy(page_relay.http_port)
    build.connect(port=proxy.port)
    endpoint = build.endpoint()
    with WireClient(endpoint) as client:
        client.query("create table kept (n int); insert into kept values (1)")
        client.query("set app.mine = 'yes'; prepare mine as select 'prepared'")
        # Once another has had its turn, what this one has set is known.
        with WireClient(endpoint) as other:
            other.query("select 1")
        proxy.close()
        assert build.closed()[0] == 1006
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(client.query, "select count(*), current_setting('app.mine') from kept")
            stays_true("the client waits for the page", lambda: not waiting.done(), 0.5)
            build.connect()
            assert waiting.result(30) == [[b"1", b"yes"]]
        assert client.query("execute mine") == [[b"prepared"]]
    with WireClient(endpoint) as client:
        assert client.query("select count(*) from kept") == [[b"1"]]


def test_a_page_that_stops_sharing_ends_its_clients_and_may_share_again(build):
    endpoint = build.endpoint()
    with WireClient(endpoint) as client:
        client.query("begin; create table kept (n int)")
        build.tab.ask("build.disconnect")
        assert codes(client.until_end()) == ["57P01"]
    with pytest.raises(Refused) as caught:
        WireClient(endpoint)
    assert caught.value.state == "57P03"
    build.share()
    with WireClient(endpoint) as client:
        assert client.query("select to_regclass('kept')") == [[None]]


def test_a_client_that_vanishes_in_a_transaction_leaves_nothing(build):
    endpoint = build.endpoint()
    with WireClient(endpoint) as other:
        other.query("create table widowed (n int)")
        one = WireClient(endpoint)
        one.query("begin; insert into widowed values (1)")
        one.vanish()
        assert other.query("select count(*) from widowed") == [[b"0"]]


def test_a_share_ends_when_its_owner_revokes_it(build, page_relay):
    with WireClient(build.endpoint()) as client:
        done = page_relay.command("shares", "revoke", build.id, token=build.token)
        assert done.returncode == 0, done.stderr
        assert codes(client.until_end()) == ["57P01"]
    assert build.closed() == [1008, "this share has ended; ask for a fresh link"]


def test_a_relay_that_drains_lets_go_of_a_page_without_clients(
    new_build, new_page_relay, new_agent, cluster
):
    relay = new_page_relay("--drain-timeout", "60s")
    build = new_build(relay=relay)
    with WireClient(new_agent(relay, cluster).endpoint) as client:
        client.query("begin")
        relay.child.signal(signal.SIGTERM)
        assert build.closed()
        assert client.query("select 'still here'") == [[b"still here"]]
        client.query("commit")
    assert relay.child.wait_end() == 0


def test_tokens_of_an_issuer_are_believed_and_their_subject_is_the_owner(
    new_build, new_page_relay, issuer
):
    relay = new_page_relay(*issuer.options)
    build = new_build(relay=relay, token=issuer.token("ada"))
    endpoint = build.endpoint()
    with WireClient(endpoint) as client:
        assert client.query("select 1") == [[b"1"]]
        # The same user with another token, and somebody of the same name with a token of ours.
        build.take_over(issuer.token("ada", algorithm="EdDSA"))
        assert client.query("select 2") == [[b"2"]]
        stranger = new_build(relay=relay, token=relay.token("ada"))
        stranger.connect(build.id)
        assert stranger.closed()[0] == 1008
        assert client.query("select 3") == [[b"3"]]


def test_tokens_that_no_issuer_made_so_are_refused(new_build, new_page_relay, issuer, tmp_path):
    relay = new_page_relay(*issuer.options)
    build = new_build(relay=relay)
    (tmp_path / "other").mkdir()
    other = type(issuer)(tmp_path / "other")
    wrong = {
        "expired": issuer.token("ada", seconds=-500),
        "without an expiry": issuer.token("ada", exp=None),
        "for another service": issuer.token("ada", aud="another"),
        "for nobody": issuer.token("ada", aud=None),
        "of another issuer": issuer.token("ada", iss="https://another.test"),
        "of no algorithm": issuer.token("ada", algorithm="none"),
        "of an unknown key": issuer.token("ada", algorithm="EdDSA", key_id="last-year"),
        "of another key": other.token("ada", algorithm="EdDSA"),
        "of another secret": other.token("ada"),
        "of nobody": issuer.token("ada", sub=None),
    }
    assert [name for name, token in wrong.items() if not build.refused(token=token)] == []
    said = relay.child.everything()
    assert [name for name, token in wrong.items() if token in said or token.split(".")[1] in said] == []


def test_a_share_outlives_the_token_that_opened_it(new_build, new_page_relay, issuer):
    """That of a page of database.build is good for an hour; clocks may be a minute apart."""
    relay = new_page_relay(*issuer.options)
    token = issuer.token("ada", seconds=-50)
    build = new_build(relay=relay, token=token)
    endpoint = build.endpoint()
    with WireClient(endpoint) as client:
        asked = ("GET", "/v1/shares", token)
        wait_for("the token to expire", lambda: relay.request(*asked)[0] == 401)
        assert build.refused(token=token)
        assert client.query("select 1") == [[b"1"]]
        build.take_over(issuer.token("ada"))
        assert client.query("select 2") == [[b"2"]]

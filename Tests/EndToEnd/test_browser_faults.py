"""What happens to tabs: closed, frozen, reloaded, asleep, cut off, killed, out of memory."""

import select
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import tools, wire
from harness.browser import BrowserStage, Chromium, PageRelay, Tab, stopped
from harness.processes import run_well
from harness.token_issuer import Issuer
from harness.waiting import stays_true, wait_for
from harness.wire import Refused, WireClient, answers

pytestmark = pytest.mark.relayed


def codes(messages) -> list[str]:
    return [got.fields["C"] for got in messages if got.kind == "E"]


def ends(client: WireClient) -> list[str]:
    """The SQLSTATEs that a client is given at its end."""
    return codes(client.until_end())


# Faults that take a minute by their nature: they begin with the module and run beside its other
# tests. The relay gives a link up after 25 s of silence (PROTOCOL.md 3) and keeps its place for
# 60 s more (PROTOCOL.md 7): a minute is long enough to lose the link and short enough to be back.


class SlowFaults:
    """Each on a tab, or a whole Chromium, of its own."""

    def __init__(self, stage: BrowserStage, relay: PageRelay, folder: Path) -> None:
        self.relay = relay
        self.issuer = Issuer(folder)
        self.own_relay = PageRelay(folder / "relay", *self.issuer.options)
        self.with_text, self.with_function = stage.tab(), stage.tab()
        self.freezer, self.sleeper = Chromium(), Chromium()
        self.frozen = self._shared(stage.tab(chromium=self.freezer))
        self.killed = self._shared(stage.tab())
        self.asleep = self._shared(stage.tab(chromium=self.sleeper))
        self._threads = ThreadPoolExecutor(4)
        self.results: dict[str, Future[Any]] = {
            "expired": self._threads.submit(self._expire),
            "frozen": self._threads.submit(self._stop, self.frozen, self.freezer.renderers, 60),
            "asleep": self._threads.submit(self._stop, self.asleep, self.sleeper.everything(), 50),
            "killed": self._threads.submit(self._kill),
        }

    def _shared(self, tab: Tab) -> Tab:
        tab.boot()
        tab.share(self.relay)
        return tab

    def _stop(self, tab: Tab, pids: list[int], seconds: float) -> list[list[bytes | None]]:
        """A client in a transaction asks while nothing runs; what it gets after that, and another."""
        with WireClient(tab.shared_at, seconds=150) as one, WireClient(tab.shared_at) as two:
            one.query("create table survived (n int); insert into survived values (1)")
            two.query("set app.mine = 'two'")
            one.query("begin; insert into survived values (2)")
            with stopped(pids):
                one.send(wire.query("insert into survived values (3)"))
                stays_true("the client is not ended", lambda: not readable(one), seconds)
            assert codes(one.ready()) == []
            one.query("commit")
            return two.query("select count(*), current_setting('app.mine') from survived")

    def _kill(self) -> list[list[bytes | None]]:
        with WireClient(self.killed.shared_at, seconds=150) as client:
            start = time.monotonic()
            self.killed.crash()
            found = [[code.encode()] for code in ends(client)]
            assert time.monotonic() - start < 130
            return found

    def _expire(self) -> list[object]:
        """Two pages with tokens of 20 s; one of them has a new one when it is asked."""
        tabs = (self.with_text, self.with_function)
        for tab in tabs:
            tab.boot()
        # A relay takes a token for a minute more, as clocks differ.
        ends = time.time() + 20
        short, long = self.issuer.token("ada", 20 - 60), self.issuer.token("ada", 600)
        self.with_text.share(self.own_relay, token=short)
        self.with_function.share(self.own_relay, tokens=[short, long])
        wait_for("the tokens to expire", lambda: time.time() > ends + 1)
        found: list[object] = [answers(tab.shared_at) for tab in tabs]
        self.own_relay.stop()
        self.own_relay.start()
        wait_for("one share to be back", lambda: answers(self.with_function.shared_at), 60)
        wait_for("the other page to know", lambda: self.with_text.ask("tab.state") == "closed", 60)
        return [*found, answers(self.with_text.shared_at), self.with_text.query("select 1")]

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        for tab in (self.killed, self.with_text, self.with_function):
            tab.close()
        self.own_relay.stop()
        for chromium in (self.freezer, self.sleeper):
            chromium.close()


def readable(client: WireClient) -> bool:
    """Whether something came, an end included."""
    return bool(select.select([client.socket], [], [], 0)[0])


@pytest.fixture(scope="module", autouse=True)
def slow_faults(
    stage: BrowserStage, page_relay: PageRelay, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SlowFaults]:
    """Begins with the first test of this file; the last ones ask how they went."""
    faults = SlowFaults(stage, page_relay, tmp_path_factory.mktemp("slow-faults"))
    yield faults
    faults.close()


# The tab goes


def test_a_closed_tab_ends_its_clients_at_once(new_tab):
    tab = new_tab()
    idle, busy = WireClient(tab.shared_at, seconds=20), WireClient(tab.shared_at, seconds=20)
    busy.query("begin")
    tab.close()
    # The page still says that it goes: nobody waits for it to come back.
    assert ends(idle) == ["57P01"]
    assert ends(busy) == ["57P01"]
    with pytest.raises(Refused) as caught:
        WireClient(tab.shared_at)
    assert caught.value.state in ("57P03", "28P01")


def test_a_tab_reloaded_in_mid_query_ends_its_clients_and_can_share_again(new_tab, page_relay):
    tab = new_tab(password="kept over the reload")
    busy = WireClient(tab.shared_at, seconds=18)
    busy.send(wire.query("select pg_sleep(20)"))
    tab.reload()
    assert ends(busy) == ["57P01"]
    before = tab.shared
    tab.boot()
    again = tab.share(page_relay, id=before["id"], password="kept over the reload")
    assert tab.shared["id"] == before["id"]
    with WireClient(again) as client:
        assert client.query("select 1") == [[b"1"]]


def test_a_second_tab_with_the_same_database_takes_over(new_tab):
    first = new_tab(password="of both tabs")
    client = WireClient(first.shared_at)
    client.query("create table of_the_first (n int)")
    second = new_tab(id=first.shared["id"], password="of both tabs")
    assert second.shared["id"] == first.shared["id"]
    assert ends(client) == ["08006"]
    with WireClient(second.shared_at) as client:
        assert client.query("select to_regclass('of_the_first') is null") == [[b"t"]]
        wait_for("the first tab to know", lambda: first.ask("tab.state") == "closed")
        assert first.query("select count(*) from of_the_first") == [["0"]]
        assert client.query("select 1") == [[b"1"]]


def test_a_tab_that_stands_still_for_a_moment_answers_when_it_is_back(new_tab):
    tab = new_tab()
    with WireClient(tab.shared_at) as client:
        client.query("create table rows_kept (n int)")
        with stopped(tab.chromium.renderers):
            client.send(wire.query("insert into rows_kept values (1)"))
            stays_true("the client waits", lambda: not readable(client), 1)
        assert codes(client.ready()) == []
        assert client.query("select count(*) from rows_kept") == [[b"1"]]


# The network goes


def test_a_cut_websocket_is_resumed_and_nothing_is_lost(new_tab, new_proxy, page_relay):
    proxy = new_proxy(page_relay.http_port)
    tab = new_tab(relay=f"http://127.0.0.1:{proxy.port}")
    with WireClient(tab.shared_at) as client, WireClient(tab.shared_at) as other:
        client.query("create table whole (n int)")
        client.query("begin")
        for number in range(6):
            client.query(f"insert into whole values ({number})")
            assert proxy.cut() == 1
        client.send(wire.query("select repeat('0123456789abcdef', 65536 * 8) from generate_series(1, 2)"))
        client.until("T")
        proxy.cut()
        rows = [got for got in client.ready() if got.kind == "D"]
        assert [len(row.body) for row in rows] == [2 + 4 + 16 * 65536 * 8] * 2
        client.query("commit")
        assert other.query("select count(*) from whole") == [[b"6"]]
    assert proxy.accepted >= 7


def test_a_share_whose_relay_restarts_is_back_by_itself(new_tab, new_page_relay):
    relay = new_page_relay()
    tab = new_tab(relay)
    assert answers(tab.shared_at)
    relay.stop()
    relay.start()
    wait_for("the tab to come back", lambda: answers(tab.shared_at), 60)


def test_a_token_that_is_revoked_ends_the_share_and_the_page_is_told(new_tab, new_page_relay):
    relay = new_page_relay()
    tab = new_tab(relay, token=relay.token("short-lived"))
    client = WireClient(tab.shared_at)
    run_well([tools.pgshare_binary(), "token", "revoke", "short-lived", "--state", str(relay.state)])
    assert ends(client) in (["57P01"], ["08006"])
    wait_for("the page to know", lambda: tab.ask("tab.state") == "closed", 60)
    assert tab.query("select 1") == [["1"]]


# The engine fails


EXHAUSTING = "select length(array_agg(repeat(md5(n::text), 300000))::text) from generate_series(1, 600) n"


def test_a_result_that_exhausts_the_engine_fails_its_own_client_alone(new_tab):
    tab = new_tab()
    with WireClient(tab.shared_at) as other:
        other.query("create table kept as select n from generate_series(1, 100) n")
        other.query("set app.mine = 'still'; prepare mine as select 'prepared'")
        greedy = WireClient(tab.shared_at, seconds=120)
        greedy.send(wire.query(EXHAUSTING))
        got = greedy.until("ZE")
        assert codes(got) and codes(got)[0] in ("53200", "54000", "58000"), got
        assert other.query("select count(*) from kept") == [[b"100"]]
        assert other.query("show app.mine") == [[b"still"]]
        assert other.query("execute mine") == [[b"prepared"]]
        assert answers(tab.shared_at)


def test_many_clients_that_come_and_vanish_leave_the_session_clean(new_tab):
    tab = new_tab()

    def visit(number: int) -> None:
        client = WireClient(tab.shared_at)
        client.query(f"set app.visitor = '{number}'")
        client.send(wire.parse(f"select {number}", "named") + wire.SYNC)
        client.ready()
        if number % 3 == 0:
            client.query("begin")
            client.query("create table never (n int)")
        if number % 3 == 1:
            client.send(wire.query("select n, repeat('x', 1000) from generate_series(1, 2000) n"))
        client.vanish()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(visit, range(30)))
    with WireClient(tab.shared_at) as client:
        asked = "select to_regclass('never') is null, coalesce(current_setting('app.visitor', true), '')"
        assert client.query(asked) == [[b"t", b""]]
    left = "select count(*) from pg_prepared_statements"
    wait_for("their statements to be closed", lambda: tab.query(left) == [["0"]])
    wait_for("the clients to be gone", lambda: len(tab.events("client-disconnected")) == 31)


def test_a_client_that_reads_nothing_does_not_keep_the_session_for_ever(new_tab):
    tab = new_tab(idle=2)
    stuck = WireClient(tab.shared_at)
    stuck.send(wire.query("select n, repeat('x', 1000) from generate_series(1, 24000) n"))
    with WireClient(tab.shared_at) as other:
        assert other.query("select 1") == [[b"1"]]
    stuck.vanish()


# How the slow ones went


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["frozen", "asleep"])
def test_a_tab_that_stood_still_for_a_minute_goes_on_where_it_was(fault, slow_faults):
    assert slow_faults.results[fault].result(200) == [[b"3", b"two"]]


@pytest.mark.timeout(240)
def test_an_expired_token_is_asked_anew_at_the_next_dial_or_ends_the_share_there(slow_faults):
    """What was opened with a good token goes on; only the page can bring the next one."""
    assert slow_faults.results["expired"].result(200) == [True, True, False, [["1"]]]


@pytest.mark.timeout(240)
def test_a_tab_that_was_killed_gives_its_clients_an_error_in_the_end(slow_faults):
    assert slow_faults.results["killed"].result(200) == [[b"08006"]]

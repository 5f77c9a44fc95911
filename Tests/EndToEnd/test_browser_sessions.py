"""What clients of one session see of each other: nothing that they would not see on a real Postgres."""

import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from harness import wire
from harness.waiting import stays_true, wait_for
from harness.wire import Refused, WireClient, answers

# Not marked: what holds of any two sessions of a real Postgres, and must hold of clients of one.
relayed = pytest.mark.relayed


def codes(messages) -> list[str]:
    return [got.fields["C"] for got in messages if got.kind == "E"]


def notices(messages) -> list[str]:
    return [got.fields["M"] for got in messages if got.kind == "N"]


def kinds(messages) -> str:
    """The types of messages in their order; what may come at any time is left out."""
    return "".join(got.kind for got in messages if got.kind not in "NSA")


def refused(client: WireClient, sql: str) -> str:
    with pytest.raises(Refused) as caught:
        client.query(sql)
    return caught.value.state


# Statements


def test_statements_of_the_same_name_are_each_clients_own(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two:
        for client, sql in ((one, "select 'one'"), (two, "select 'two', 2")):
            client.send(wire.parse(sql, "same") + wire.SYNC)
            assert kinds(client.ready()) == "1Z"
        for client, value in ((one, b"one"), (two, b"two"), (one, b"one")):
            client.send(wire.describe("S", "same") + wire.bind(statement="same") + wire.execute() + wire.SYNC)
            rows = [got for got in client.ready() if got.kind == "D"]
            assert value in rows[0].body
        one.send(wire.close("S", "same") + wire.SYNC)
        one.ready()
        two.send(wire.bind(statement="same") + wire.execute() + wire.SYNC)
        assert kinds(two.ready()) == "2DCZ"
        one.send(wire.bind(statement="same") + wire.execute() + wire.SYNC)
        assert codes(one.ready()) == ["26000"]


def test_the_unnamed_statement_is_each_clients_own(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two:
        for client, sql in ((one, "select 'one'"), (two, "select 'two'")):
            client.send(wire.parse(sql) + wire.SYNC)
            client.ready()
        for client, value in ((one, b"one"), (two, b"two")):
            client.send(wire.bind() + wire.execute() + wire.SYNC)
            assert value in next(got for got in client.ready() if got.kind == "D").body


def test_sql_prepare_execute_and_deallocate_are_each_clients_own(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two:
        one.query("prepare p as select 'one'")
        two.query("prepare p (int) as select 'two', $1")
        assert one.query("execute p") == [[b"one"]]
        assert two.query("execute p (2)") == [[b"two", b"2"]]
        one.query("deallocate all")
        with pytest.raises(Refused) as caught:
            one.query("execute p")
        assert caught.value.state == "26000"
        assert '"p"' in caught.value.text
        assert two.query("execute p (3)") == [[b"two", b"3"]]


# Settings


@relayed
def test_settings_of_one_client_are_not_seen_by_others_or_by_the_page(tab_share, tab):
    with WireClient(tab_share) as one, WireClient(tab_share, {"TimeZone": "Asia/Tokyo"}) as two:
        one.query("create schema apart; create table apart.here (n int)")
        one.query("set search_path to apart; set timezone to 'Europe/Berlin'; set app.person = 'ada'")
        one.query("select set_config('app.other', 'x', false)")
        two.query("set app.person = 'bob'; set statement_timeout = '7s'; set datestyle to 'German'")
        asked = (
            "select current_setting('search_path'), current_setting('timezone'), "
            "current_setting('app.person', true), current_setting('statement_timeout'), "
            "to_regclass('here') is not null, date '2026-11-21'::text"
        )
        for _ in range(2):
            assert one.query(asked) == [[b"apart", b"Europe/Berlin", b"ada", b"0", b"t", b"2026-11-21"]]
            assert two.query(asked)[0][1:] == [b"Asia/Tokyo", b"bob", b"7s", b"f", b"21.11.2026"]
            ((path, _, user, limit, seen, date),) = tab.query(asked)
            assert (path != "apart", user or "", limit, seen, date) == (True, "", "0", "f", "2026-11-21")
        one.query("reset all")
        assert one.query("select current_setting('app.person', true), current_setting('search_path')")[0][1] != b"apart"
        assert two.query("show app.person") == [[b"bob"]]


def test_pg_dumps_empty_search_path_poisons_nobody(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two:
        two.query("create table plain (n int)")
        one.query("select pg_catalog.set_config('search_path', '', false)")
        assert refused(one, "select * from plain") == "42P01"
        assert two.query("select count(*) from plain") == [[b"0"]]


def test_settings_that_are_local_to_a_transaction_end_with_it(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two:
        one.query("begin; set local app.x = 'inside'; set app.y = 'stays'")
        one.query("commit")
        two.query("set app.x = 'two'")
        assert one.query("select current_setting('app.x', true), current_setting('app.y')")[0][1] == b"stays"
        one.query("begin; set app.y = 'gone'; rollback")
        assert one.query("show app.y") == [[b"stays"]]
        assert two.query("show app.x") == [[b"two"]]


def test_the_greeting_tells_the_engines_own_values(tab_share, tab):
    with WireClient(tab_share, {"application_name": "me", "DateStyle": "SQL, DMY"}) as client:
        told = {}
        for got in client.transcript:
            if got.kind == "S":
                name, value, _ = got.body.split(b"\0")
                told[name.decode()] = value.decode()
        assert told["server_version"] == tab.query("show server_version")[0][0]
        assert told["application_name"] == "me"
        assert told["DateStyle"] == "SQL, DMY"
        assert client.query("show datestyle") == [[b"SQL, DMY"]]
        assert {"client_encoding", "server_encoding", "integer_datetimes", "TimeZone"} <= set(told)


def test_clients_that_come_right_behind_each_other_are_greeted(tab_share):
    """The session is still with the relay then, so the next greeting is there without a call."""
    clients = [psycopg.connect(tab_share.conninfo(connect_timeout="15")) for _ in range(6)]
    for client in clients:
        assert client.execute("select 1").fetchone() == (1,)
        client.close()


def test_a_client_is_told_what_it_sets_and_only_that(tab_share):
    """Drivers decode times by what they were told."""

    def told(client: WireClient, sql: str) -> dict[bytes, bytes]:
        client.send(wire.query(sql))
        parts = [got.body.split(b"\0") for got in client.ready() if got.kind == "S"]
        return {name: value for name, value, _ in parts}

    with WireClient(tab_share) as one, WireClient(tab_share, {"TimeZone": "Asia/Tokyo"}) as two:
        assert told(one, "set timezone to 'Europe/Berlin'") == {b"TimeZone": b"Europe/Berlin"}
        assert told(two, "select now()") == {}
        assert told(one, "select set_config('datestyle', 'German', false)") == {b"DateStyle": b"German, DMY"}
        assert told(one, "select 1") == {}
        assert told(one, "begin; set local timezone to 'UTC'") == {b"TimeZone": b"UTC"}
        assert told(one, "rollback") == {b"TimeZone": b"Europe/Berlin"}
        assert told(two, "reset timezone") == {}


@relayed
def test_clients_of_protocol_3_2_are_served_and_an_encoding_that_the_engine_lacks_is_its_clients_own_fault(tab_share):
    with WireClient(tab_share, minor=2) as new, WireClient(tab_share, {"client_encoding": "SQL_ASCII"}) as old:
        assert new.query("select 'gr' || chr(252) || 'n'") == [["grün".encode()]]
        assert len(new.key) > 8
        # PGlite comes without the conversions: the error is its own.
        with pytest.raises(Refused) as caught:
            WireClient(tab_share, {"client_encoding": "LATIN1"})
        assert (caught.value.state, caught.value.fields["S"]) == ("42883", "FATAL")
        assert old.query("show client_encoding") == [[b"SQL_ASCII"]]
        assert new.query("show client_encoding") == [[b"UTF8"]]


# Transactions and turns


@relayed
def test_a_transaction_keeps_others_out_until_it_ends(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two, ThreadPoolExecutor(1) as threads:
        one.query("create table turns (n int)")
        one.query("begin")
        one.query("insert into turns values (1)")
        waiting = threads.submit(two.query, "select count(*) from turns")
        one.query("insert into turns values (2)")
        assert not waiting.done()
        one.query("rollback")
        assert waiting.result(20) == [[b"0"]]


@relayed
def test_who_waits_is_told_for_whom_and_at_last_gets_55p03(new_tab):
    endpoint = new_tab(wait=8, idle=60).shared_at
    with WireClient(endpoint, {"application_name": "the holder"}) as one, WireClient(endpoint) as two:
        one.query("begin")
        start = time.monotonic()
        two.send(wire.query("select 1"))
        got = two.ready()
        assert 7 < time.monotonic() - start < 40
        assert codes(got) == ["55P03"]
        (error,) = [message.fields for message in got if message.kind == "E"]
        assert "the holder" in error["M"] + error.get("D", "") + error.get("H", "")
        assert any("the holder" in text for text in notices(got))
        assert one.query("select 2") == [[b"2"]]
        one.query("commit")
        assert two.query("select 3") == [[b"3"]]


@relayed
def test_who_idles_in_a_transaction_while_others_wait_is_rolled_back_with_25p03(new_tab):
    endpoint = new_tab(wait=60, idle=2).shared_at
    with WireClient(endpoint) as one, WireClient(endpoint) as two:
        one.query("create table left_open (n int)")
        one.query("begin; insert into left_open values (1)")
        stays_true("nobody waits, so it may idle", lambda: not readable(one), 3)
        assert two.query("select count(*) from left_open") == [[b"0"]]
        assert codes(one.until_end()) == ["25P03"]


def readable(client: WireClient) -> bool:
    return bool(select.select([client.socket], [], [], 0)[0])


def test_a_client_that_dies_in_a_transaction_is_rolled_back_before_the_next(tab_share, tab):
    with WireClient(tab_share) as two:
        two.query("create table widowed (n int)")
        one = WireClient(tab_share)
        one.query("begin; insert into widowed values (1)")
        one.query("set app.ghost = 'boo'; prepare ghost as select 1")
        one.vanish()
        assert two.query("select count(*) from widowed") == [[b"0"]]
        assert two.query("select current_setting('app.ghost', true)") in ([[None]], [[b""]])
        # Statements without a client go when the page gets its session back.
        left = "select count(*) from pg_prepared_statements"
        wait_for("the statements to be closed", lambda: tab.query(left) == [["0"]])


@relayed
def test_clients_that_lock_against_each_other_by_design_are_ended_in_bounded_time(new_tab):
    """One session cannot deadlock by row locks; two clients that each wait for the other's next
    step can, as an application that holds a transaction open while its pool asks for a second
    connection does."""
    endpoint = new_tab(wait=3, idle=30).shared_at
    with WireClient(endpoint) as one, WireClient(endpoint) as two, ThreadPoolExecutor(1) as threads:
        one.query("create table rows_of_two (id int primary key, n int)")
        one.query("insert into rows_of_two values (1, 0), (2, 0)")
        one.query("begin; update rows_of_two set n = 1 where id = 1")
        crossing = threads.submit(refused, two, "update rows_of_two set n = 2 where id = 2")
        assert crossing.result(30) == "55P03"
        one.query("update rows_of_two set n = 1 where id = 2")
        one.query("commit")
        two.query("begin; update rows_of_two set n = 2 where id = 2; update rows_of_two set n = 2 where id = 1; commit")
        assert one.query("select n from rows_of_two order by id") == [[b"2"], [b"2"]]


@relayed
def test_temporary_tables_keep_the_session_until_they_are_gone(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two, ThreadPoolExecutor(1) as threads:
        one.query("create temp table mine (n int)")
        waiting = threads.submit(two.query, "select to_regclass('mine') is null")
        for number in range(5):
            one.query(f"insert into mine values ({number})")
        assert not waiting.done()
        one.query("drop table mine")
        assert waiting.result(20) == [[b"t"]]


@relayed
def test_advisory_locks_and_holdable_cursors_keep_the_session(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two:
        for take, give in (
            ("select pg_advisory_lock(7)", "select pg_advisory_unlock(7)"),
            ("declare kept cursor with hold for select n from generate_series(1, 9) n", "close kept"),
        ):
            one.query(take)
            two.send(wire.query("select count(*) from pg_cursors"))
            stays_true("the other one waits", lambda: not readable(two), 0.3)
            one.query("select 1")
            assert not readable(two)
            one.query(give)
            (row,) = [got for got in two.ready() if got.kind == "D"]
            assert row.body[-1:] == b"0"


# Notifications


def heard(client: WireClient) -> tuple[str, str]:
    got = client.until("A")[-1].body[4:]
    channel, payload, _ = got.split(b"\0")
    return channel.decode(), payload.decode()


def test_notifications_reach_idle_clients_at_once_and_only_who_listens(tab_share, tab):
    with WireClient(tab_share) as one, WireClient(tab_share) as two, WireClient(tab_share) as three:
        one.query("listen news")
        two.query("listen news; listen other")
        three.query("notify news, 'from three'")
        assert heard(one) == heard(two) == ("news", "from three")
        tab.query("notify news, 'from the page'")
        assert heard(one) == heard(two) == ("news", "from the page")
        one.query("unlisten *")
        three.query("begin; notify news, 'x'; notify other, 'y'; rollback")
        three.query("notify other, 'z'")
        assert heard(two) == ("other", "z")
        assert kinds(three.transcript).count("A") == 0
        assert not readable(one)


@relayed
def test_a_client_in_a_transaction_hears_when_it_ends(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two, ThreadPoolExecutor(1) as threads:
        one.query("listen later")
        one.query("begin")
        told = threads.submit(two.query, "notify later, 'now'")
        assert one.query("select 1") == [[b"1"]]
        one.query("commit")
        told.result(20)
        assert heard(one) == ("later", "now")


# Cancel


def cancel_until_answered(client: WireClient) -> None:
    """A cancel request may overtake the query, and then has no effect."""

    def is_answered() -> bool:
        client.cancel()
        return bool(select.select([client.socket], [], [], 0.2)[0])

    wait_for("an answer to the cancel request", is_answered)


@relayed
def test_a_waiting_query_is_cancelled_at_once(tab_share):
    with WireClient(tab_share) as one, WireClient(tab_share) as two:
        one.query("begin")
        two.send(wire.parse("select 1") + wire.bind() + wire.execute() + wire.SYNC)
        cancel_until_answered(two)
        got = two.ready()
        assert codes(got) == ["57014"]
        assert kinds(got)[-1] == "Z"
        one.query("commit")
        assert two.query("select 2") == [[b"2"]]


@relayed
def test_a_running_query_ends_by_itself_and_its_client_is_told_why(tab_share):
    with WireClient(tab_share) as one:
        one.send(wire.query("select pg_sleep(3), 'slept'"))
        cancel_until_answered(one)
        got = one.ready()
        assert kinds(got) in ("TDCZ", "EZ")
        assert any("cannot interrupt" in text for text in notices(got)) or codes(got) == ["57014"]
        assert one.query("select 1") == [[b"1"]]


@relayed
def test_psycopg_cancels_what_waits(tab_share):
    with psycopg.connect(tab_share.conninfo(), autocommit=True) as one:
        with psycopg.connect(tab_share.conninfo(), autocommit=True) as two:
            one.execute("begin")
            over = threading.Event()

            def cancel() -> None:
                while not over.wait(0.2):
                    two.cancel_safe()

            with ThreadPoolExecutor(1) as threads:
                cancelling = threads.submit(cancel)
                with pytest.raises(psycopg.errors.QueryCanceled):
                    two.execute("select 1")
                over.set()
                cancelling.result(30)
            one.execute("rollback")
            assert two.execute("select 2").fetchone() == (2,)


# Sizes


@pytest.mark.parametrize("megabytes", [1, 24])
def test_a_large_result_arrives_whole(megabytes, tab_share):
    with WireClient(tab_share) as client:
        ((value,),) = client.query(f"select repeat('0123456789abcdef', {megabytes << 16})")
        assert value == b"0123456789abcdef" * (megabytes << 16)


def test_large_parameters_are_taken_in_both_formats(tab_share):
    big = b"0123456789abcdef" * (8 << 16)
    with WireClient(tab_share) as client, WireClient(tab_share) as other:
        client.send(wire.parse("select length($1::text), md5($1::text)"))
        client.send_while_reading(wire.bind((big,)) + wire.execute() + wire.SYNC)
        assert b"%d" % len(big) in next(got for got in client.ready() if got.kind == "D").body
        assert other.query("select 1") == [[b"1"]]
        client.query("create table blobs (b bytea)")
        client.send(wire.parse("insert into blobs values ($1)", types=(17,)))
        client.send_while_reading(wire.bind((big,), formats=(1,)) + wire.execute() + wire.SYNC)
        client.ready()
        assert other.query("select octet_length(b) from blobs") == [[b"%d" % len(big)]]


def test_a_large_copy_in_is_taken_and_one_that_fails_leaves_nothing(tab_share):
    line = b"0123456789abcdef" * 63 + b"\n"
    with WireClient(tab_share) as client, WireClient(tab_share) as other:
        client.query("create table copied (t text)")
        for ending, expected in ((wire.COPY_DONE, b"20000"), (wire.copy_fail("enough"), b"20000")):
            client.send(wire.query("copy copied from stdin"))
            assert client.until("GE")[-1].kind == "G"
            client.send_while_reading(b"".join(wire.copy_data(line * 100) for _ in range(200)) + ending)
            client.ready()
            assert other.query("select count(*) from copied") == [[expected]]


def test_pipelines_flushes_and_errors_end_as_in_postgres(tab_share):
    with WireClient(tab_share) as client:
        one = wire.parse("select 1") + wire.bind() + wire.execute()
        bad = wire.parse("select nonsense") + wire.bind() + wire.execute()
        client.send(one + wire.SYNC + bad + one + wire.SYNC + one + wire.SYNC)
        assert kinds(client.ready(3)) == "12DCZEZ12DCZ"
        client.send(one + wire.FLUSH)
        assert kinds(client.until("C")) == "12DC"
        client.send(wire.SYNC)
        assert kinds(client.ready()) == "Z"
        client.send(wire.query("select 1; select 1/0; select 2") + wire.query("select 3"))
        assert kinds(client.ready(2)) == "TDCEZTDCZ"
        client.send(wire.query(""))
        assert kinds(client.ready()) == "IZ"
        rows = wire.parse("select n from generate_series(1, 5) n") + wire.bind(portal="p")
        client.send(rows + wire.execute("p", 2) + wire.execute("p", 2) + wire.execute("p") + wire.SYNC)
        assert kinds(client.ready()) == "12DDsDDsDCZ"


# The page


def test_the_pages_own_queries_run_beside_the_clients(tab_share, tab):
    with WireClient(tab_share) as client:
        client.query("create table shared_rows (n int)")
        over = threading.Event()

        def page_writes() -> int:
            count = 0
            while not over.is_set():
                tab.query(f"insert into shared_rows values ({count})")
                count += 1
            return count

        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(page_writes)
            wait_for("the page's rows", lambda: client.query("select count(*) from shared_rows") != [[b"0"]])

            def has_five_more_rows() -> bool:
                for _ in range(20):
                    client.send(wire.parse("select 1") + wire.bind() + wire.execute() + wire.SYNC)
                    assert kinds(client.ready()) == "12DCZ"
                return client.query("select count(*) > 5 from shared_rows") == [[b"t"]]

            try:
                wait_for("the page's turns between those of a client without a pause", has_five_more_rows)
            finally:
                over.set()
            count = writing.result(60)
        assert client.query("select count(*) from shared_rows") == [[b"%d" % count]]


@relayed
def test_a_transaction_of_the_page_is_not_broken_by_clients(tab_share, tab):
    with WireClient(tab_share) as client:
        client.query("create table atomic (n int)")
        work = tab.start("tab.transaction", ["begin", "insert into atomic values (1)", "select pg_sleep(0.3)",
                                             "insert into atomic values (2)", "commit"])  # fmt: skip
        seen = set()
        while not work.done():
            seen.add(client.query("select count(*) from atomic")[0][0])
        work.result(30)
        assert client.query("select count(*) from atomic") == [[b"2"]]
        assert seen <= {b"0", b"2"}


@relayed
def test_the_page_is_told_of_clients_that_come_and_go(tab_share, tab):
    with WireClient(tab_share, {"application_name": "a guest"}):
        event = tab.wait_event("client-connected")
        assert "127.0.0.1" in str(event)
        assert "a guest" in str(event)
    tab.wait_event("client-disconnected")


# Policies of the share


@relayed
def test_an_exclusive_share_takes_one_client_at_a_time(new_tab):
    endpoint = new_tab(exclusive=True).shared_at
    first = WireClient(endpoint)
    with pytest.raises(Refused) as caught:
        WireClient(endpoint)
    assert caught.value.state == "53300"
    assert first.query("select 1") == [[b"1"]]
    first.close()
    wait_for("the place of the client that left", lambda: answers(endpoint))


@relayed
def test_the_password_is_asked_and_may_be_the_pages_own(new_tab, page_relay):
    endpoint = new_tab(password="a secret of the page").shared_at
    assert endpoint.password == "a secret of the page"
    assert answers(endpoint)
    with pytest.raises(Refused) as caught:
        WireClient(replace(endpoint, password="another"))
    assert caught.value.state == "28P01"
    assert "a secret of the page" not in page_relay.child.everything()


@relayed
def test_an_expired_share_ends_its_clients_with_57p01(new_tab):
    tab = new_tab(expires="8s")
    idle, busy = WireClient(tab.shared_at), WireClient(tab.shared_at)
    busy.query("begin")
    assert codes(idle.until_end()) == ["57P01"]
    assert codes(busy.until_end()) == ["57P01"]
    with pytest.raises(Refused) as caught:
        WireClient(tab.shared_at)
    assert caught.value.state == "28P01"
    assert tab.query("select 'the page goes on'") == [["the page goes on"]]
    wait_for("the page to know", lambda: tab.ask("tab.state") in ("closed", "ended", "expired"))


@relayed
def test_a_revoked_share_ends_its_clients_with_57p01(new_tab, page_relay):
    tab = new_tab()
    client = WireClient(tab.shared_at)
    client.query("begin")
    done = page_relay.command("shares", "revoke", tab.shared["id"])
    assert done.returncode == 0, done.stderr
    assert codes(client.until_end()) == ["57P01"]
    assert tab.query("select 'the page goes on'") == [["the page goes on"]]
    wait_for("the page to know", lambda: tab.ask("tab.state") in ("closed", "ended", "revoked"))


@relayed
def test_a_share_that_the_page_closes_ends_its_clients(new_tab):
    tab = new_tab()
    client = WireClient(tab.shared_at)
    tab.ask("tab.unshare")
    assert codes(client.until_end()) in (["57P01"], ["08006"])
    assert tab.query("select 1") == [["1"]]

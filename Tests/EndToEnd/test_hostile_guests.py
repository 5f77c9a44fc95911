"""Clients that know the password and break the rules: of what they leave nothing stays."""

import contextlib
import random
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import strangers, wire
from harness.endpoint import Endpoint
from harness.strangers import Login, in_tls, source
from harness.waiting import wait_for
from harness.wire import Refused, WireClient

pytestmark = [pytest.mark.relayed, pytest.mark.timeout(180)]


def state_of(endpoint: Endpoint, **more) -> str:
    """The SQLSTATE of who is refused."""
    with pytest.raises(Refused) as caught:
        WireClient(endpoint, **more)
    return caught.value.state


def test_no_way_of_leaving_leaves_a_backend_behind(share, cluster, relay):
    alive = "query LIKE '%leaves_so%' AND pid <> pg_backend_pid()"
    ask = wire.query("select 'leaves_so', pg_sleep(0.2), repeat('x', 1000) from generate_series(1, 20)")

    def pipelined_terminate(client: WireClient) -> None:
        client.send(ask + wire.TERMINATE + ask * 20)
        client.until_end()

    def bytes_behind_terminate(client: WireClient) -> None:
        client.send(wire.TERMINATE + random.Random(1).randbytes(60_000))
        client.until_end()

    def half_closed(client: WireClient) -> None:
        client.send(ask)
        socket.socket.shutdown(client.socket, socket.SHUT_WR)
        client.until_end()

    def reset(client: WireClient) -> None:
        client.send(ask * 3)
        client.vanish()

    def half_a_message(client: WireClient) -> None:
        client.send(ask[:9])
        client.socket.close()

    def never_reads(client: WireClient) -> None:
        client.send(wire.query("select 'leaves_so', repeat('x', 1000) from generate_series(1, 1000000)"))
        wait_for("it to be stuck", lambda: cluster.backends(alive + " AND state = 'active'"))
        client.socket.close()

    def noise(client: WireClient) -> None:
        client.send(random.Random(2).randbytes(100_000))
        client.until_end()

    def in_a_copy(client: WireClient) -> None:
        client.query("create temp table leaves_so (t text)")
        client.send(wire.query("copy leaves_so from stdin") + wire.copy_data(b"x\n" * 100))
        client.until("G")
        client.vanish()

    ways = [
        pipelined_terminate, bytes_behind_terminate, half_closed, reset, half_a_message, never_reads,
        noise, in_a_copy,
    ]  # fmt: skip

    def leave(way) -> None:
        client = WireClient(share)
        with contextlib.suppress(OSError, EOFError):
            way(client)
        client.socket.close()

    streams = relay.metric("streams_open")
    with ThreadPoolExecutor(len(ways)) as threads:
        for way, done in [(way, threads.submit(leave, way)) for way in ways]:
            assert done.exception(60) is None, (way.__name__, done.exception())
    wait_for("their backends to be gone", lambda: cluster.backends(alive) == 0)
    wait_for("their streams to be gone", lambda: relay.metric("streams_open") <= streams)


@pytest.mark.parametrize("minor", [1, 99, 9999])
def test_newer_minors_and_greased_options_are_negotiated_down(minor, share):
    with WireClient(share, {"_pq_.grease": "x", "_pq_.more": ""}, minor=minor) as client:
        assert client.negotiated is not None
        (agreed, count) = struct.unpack("!ii", client.negotiated.body[:8])
        assert agreed in (0x30000, 0x30002, 0, 2)
        assert count == 2
        assert {b"_pq_.grease", b"_pq_.more"} == set(client.negotiated.body[8:].split(b"\0")[:2])
        assert client.query("select 1") == [[b"1"]]


@pytest.mark.parametrize("version", [(2, 0), (1, 0), (4, 0), (3, -1)])
def test_other_majors_are_refused_inside_tls(version, share):
    with in_tls(share, source(70_000)) as tls:
        major, minor = version
        tls.sendall(wire.startup({"user": share.user}, major=major, minor=minor))
        got = tls.recv(4096)
    assert got[:1] in (b"E", b"R", b"v")
    assert major == 3 or got[:1] == b"E"


def test_replication_of_one_database_is_no_way_into_another(share):
    for words in (
        {"replication": "database", "database": "template1"},
        {"replication": "DATABASE", "database": "template1"},
        {"replication": "false", "database": "template1"},
        {"options": "-c replication=true", "database": "template1"},
    ):
        assert state_of(share, parameters=words) in ("3D000", "28000", "42501", "42704", "55P02")


def test_of_two_names_none_leads_past_the_policy(share):
    """The first and the last of a parameter: policy and Postgres must mean the same one."""
    user, database = share.user.encode(), share.database.encode()
    for words in (
        [(b"user", user), (b"database", database), (b"database", b"template1")],
        [(b"user", user), (b"database", b"template1"), (b"database", database)],
        [(b"user", user), (b"user", b"scrammed"), (b"database", database)],
        [(b"user", user), (b"database", database), (b"replication", b"true"), (b"database", b"template1")],
        [(b"user", user), (b"database", database), (b"replication", b"true"), (b"replication", b"database"),
         (b"database", b"template1")],
    ):  # fmt: skip
        with contextlib.suppress(OSError, EOFError):
            with Login.of_packet(share, strangers.packet(words)) as login:
                login.read()
                login.first()
                login.final(login.read().body[4:], share.password)
                while (got := login.read()).kind not in "ZE":
                    pass
                if got.kind == "E":
                    continue
                login.socket.sendall(wire.query("select current_database() || ' ' || session_user"))
                rows = []
                while (got := login.read()).kind not in "ZE":
                    rows.append(got.body)
                assert b"postgres postgres" in b"".join(rows) or got.kind == "E", rows

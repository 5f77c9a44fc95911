"""The bad network itself: each fault does to two plain sockets what its name says."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from harness.fault_proxy import FaultProxy, Way
from harness.waiting import wait_for

# A fault that does nothing would make every test that uses it worthless.
SECONDS = 5


class Pair:
    """Both ends of one connection through the proxy."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.proxy = FaultProxy(self._listener.getsockname()[1], seed=1)
        self.near, self.far = self.connect()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        before = self.proxy.accepted
        near = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=SECONDS)
        far, _ = self._listener.accept()
        far.settimeout(SECONDS)
        wait_for("the proxy to pass it on", lambda: self.proxy.accepted > before, SECONDS)
        return near, far

    def close(self) -> None:
        self.proxy.close()
        for end in (self.near, self.far, self._listener):
            end.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def get(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := end.recv(count - len(data))):
        data += more
    return data


def is_silent(end: socket.socket, seconds: float = 0.3) -> bool:
    """Neither a byte nor an end."""
    end.settimeout(seconds)
    try:
        end.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        end.settimeout(SECONDS)
    return False


def is_reset(end: socket.socket) -> bool:
    try:
        end.recv(1)
    except ConnectionResetError:
        return True
    return False


def test_in_fair_weather_every_byte_passes_and_ends_are_passed_on(pair):
    data = bytes(range(256)) * 8000
    sender = threading.Thread(target=pair.near.sendall, args=(data,))
    sender.start()
    assert get(pair.far, len(data)) == data
    sender.join()
    pair.near.shutdown(socket.SHUT_WR)
    assert pair.far.recv(1) == b""
    pair.far.sendall(b"still there")
    assert get(pair.near, 11) == b"still there"


@pytest.mark.parametrize("way", Way)
def test_a_freeze_holds_one_direction_and_loses_nothing(pair, way):
    ends = {Way.UP: (pair.near, pair.far), Way.DOWN: (pair.far, pair.near)}
    source, target = ends.pop(way)
    ((back, forth),) = ends.values()
    pair.proxy.stall(way)
    source.sendall(b"late")
    assert is_silent(target)
    back.sendall(b"as ever")
    assert get(forth, 7) == b"as ever"
    pair.proxy.flow()
    assert get(target, 4) == b"late"


def test_a_cut_resets_both_and_a_shut_does_not(pair):
    assert pair.proxy.cut() == 1
    assert is_reset(pair.near) and is_reset(pair.far)
    pair.near, pair.far = pair.connect()
    assert pair.proxy.shut() == 1
    assert pair.near.recv(1) == b"" and pair.far.recv(1) == b""
    pair.proxy.refuses = True
    with socket.create_connection(("127.0.0.1", pair.proxy.port), timeout=SECONDS) as refused:
        assert is_reset(refused)


def test_half_open_tells_one_end_only(pair):
    pair.proxy.half_open(Way.UP, 1)
    assert is_reset(pair.far)
    pair.near.sendall(b"to nobody")
    assert is_silent(pair.near)
    assert is_reset(pair.near)


@pytest.mark.parametrize("reset", [True, False])
def test_half_close_ends_one_direction_first(pair, reset):
    pair.proxy.half_close(Way.UP, 0.5, reset)
    assert pair.far.recv(1) == b""
    pair.far.sendall(b"still there")
    assert get(pair.near, 11) == b"still there"
    assert is_reset(pair.near) if reset else pair.near.recv(1) == b""


@pytest.mark.parametrize("reset", [True, False])
def test_truncation_ends_in_the_middle(pair, reset):
    pair.proxy.truncate(Way.UP, 1000, reset)
    pair.near.sendall(bytes(5000))
    if reset:
        with pytest.raises(ConnectionResetError):
            assert len(get(pair.far, 5000)) <= 1000
    else:
        assert len(get(pair.far, 5000)) == 1000


def test_weather_delays_throttles_and_cuts_into_bytes(pair):
    pair.proxy.change(Way.UP, latency=0.3, jitter=0.1)
    start = time.monotonic()
    pair.near.sendall(b"late")
    assert get(pair.far, 4) == b"late"
    assert 0.3 <= time.monotonic() - start < 3
    pair.proxy.clear_up()
    pair.proxy.change(Way.UP, rate=10_000, chunk=1000)
    start = time.monotonic()
    pair.near.sendall(bytes(5000))
    assert len(get(pair.far, 5000)) == 5000
    assert time.monotonic() - start > 0.35
    pair.proxy.clear_up()
    pair.proxy.change(chunk=1)
    pair.near.sendall(bytes(range(200)))
    assert get(pair.far, 200) == bytes(range(200))


def test_connections_end_at_their_age(pair):
    pair.proxy.max_age = 0.3
    wait_for("the end of the connection", lambda: pair.proxy.open_connections == 0, SECONDS)
    assert pair.near.recv(1) == b"" and pair.far.recv(1) == b""

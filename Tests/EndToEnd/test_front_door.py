"""Proxies that name their clients, and a relay with few descriptors."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness import tools, wire
from harness.waiting import stays_true, wait_for
from harness.wire import Refused, WireClient, answers

pytestmark = pytest.mark.relayed

# Only this address of the machine is a proxy's: agents come from another.
PROXY = "127.0.0.2"


class HeaderProxy:
    """Passes connections on from PROXY's address, with a header in front."""

    def __init__(self, target_port: int, header: bytes):
        self._target = target_port
        self._header = header
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(
                    ("127.0.0.1", self._target), source_address=(PROXY, 0)
                )
                far.sendall(self._header)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def text_header(client: str) -> bytes:
    return f"PROXY TCP4 {client} 198.51.100.1 40000 5432\r\n".encode()


def binary_header(client: str) -> bytes:
    start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + (12 + 6).to_bytes(2, "big")
    tlv = b"\x05\0\x03abc"
    return start + socket.inet_aton(client) + bytes([198, 51, 100, 1, 0x9C, 0x40, 0x15, 0x38]) + tlv


@pytest.fixture
def behind(new_relay, new_agent, cluster) -> Iterator:
    """Starts proxies in front of a relay that believes them; returns a share's endpoint there."""
    relay = new_relay("--proxy-protocol", f"192.0.2.200,{PROXY}/32")
    agent = new_agent(relay, cluster, "--allow", "192.0.2.0/24")
    proxies = []

    def endpoint(header: bytes):
        proxies.append(HeaderProxy(agent.endpoint.port, header))
        return replace(agent.endpoint, port=proxies[-1].port)

    endpoint.direct = agent.endpoint
    endpoint.agent = agent
    yield endpoint
    for proxy in proxies:
        proxy.close()


def test_a_proxy_names_its_clients_and_nobody_else_does(behind):
    for header in (text_header, binary_header):
        with WireClient(behind(header("192.0.2.7"))) as client:
            assert client.query("select 1") == [[b"1"]]
        with pytest.raises(Refused) as refused, WireClient(behind(header("198.51.100.7"))):
            pass
        assert refused.value.state == "28000"
    # The agent is told the client's own address.
    wait_for("the agent to tell of the client", lambda: "192.0.2.7" in behind.agent.child.everything())
    # A proxy that sends none, and a stranger who sends one.
    assert not answers(behind(b""))
    assert not answers(behind.direct)
    with socket.create_connection(("127.0.0.1", behind.direct.port), timeout=30) as stranger:
        stranger.sendall(text_header("192.0.2.7"))
        assert stranger.recv(1) == b"E"


def test_a_cancel_request_reaches_the_relay_before_behind_a_proxy_of_this_machine(
    new_relay, new_agent, cluster
):
    relay = new_relay("--proxy-protocol", f"127.0.0.1,{PROXY}", "--drain-timeout", "60s")
    doors = [HeaderProxy(relay.https_port, text_header("192.0.2.1"))]
    agent = new_agent(relay, cluster, url=f"https://localhost:{doors[0].port}")
    doors.append(HeaderProxy(agent.endpoint.port, text_header("192.0.2.7")))
    client = WireClient(replace(agent.endpoint, port=doors[1].port))
    client.query("begin")
    old = relay.take_over()
    client.send(wire.query("select pg_sleep(61)"))
    running = "query = 'select pg_sleep(61)' and state = 'active'"
    wait_for("the query to run", lambda: cluster.backends(running))

    def is_cancelled() -> bool:
        # The new relay knows where the old one takes cancels after its next look at the store.
        client.cancel()
        return cluster.backends(running) == 0

    wait_for("the query to be cancelled", is_cancelled)
    assert [got.fields["C"] for got in client.until("Z") if got.kind == "E"] == ["57014"]
    client.query("rollback")
    assert old.wait_end() == 0
    for door in doors:
        door.close()


def processor_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_a_relay_with_few_descriptors_serves_clients_among_silent_strangers(
    new_relay, new_agent, cluster, tmp_path, monkeypatch
):
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -n 256; ulimit -Sn 200; exec {tools.pgshare_binary()} "$@"\n')
    limited.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(tools, "pgshare_binary", lambda: str(limited))
        relay = new_relay()
    pid = relay.child.pid
    # The relay raises what it may, and gives strangers a part of it.
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (256, 256)
    agent = new_agent(relay, cluster)
    silent = []
    try:
        for number in range(600):
            door = relay.postgres_port if number % 2 else relay.https_port
            source = (f"127.0.1.{number % 200 + 1}", 0)
            with contextlib.suppress(OSError):
                silent.append(
                    socket.create_connection(("127.0.0.1", door), timeout=30, source_address=source)
                )
        with WireClient(agent.endpoint) as client:
            assert client.query("select 1") == [[b"1"]]
            assert relay.child.open_files() < 230
            # None left at all: it neither dies nor spins, and goes on when there are some again.
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (relay.child.open_files(), 256))
            ticks = processor_ticks(pid)
            late = [socket.create_connection(("127.0.0.1", relay.postgres_port)) for _ in range(8)]
            stays_true("the relay runs", lambda: relay.child.is_running, 3)
            assert processor_ticks(pid) - ticks < 150, "the relay spins"
            assert client.query("select 2") == [[b"2"]]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (256, 256))
            wait_for("a client to be served again", lambda: answers(agent.endpoint), 30)
            for connection in late:
                connection.close()
    finally:
        for connection in silent:
            connection.close()

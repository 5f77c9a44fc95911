"""A relay that lies: it speaks the tunnel's protocol with an agent of ours, and says what it is told.

Independent of our own Swift code. Source: PROTOCOL.md.
"""

import contextlib
import os
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from . import tunnel
from .certificates import Authority
from .tunnel import Frame, FrameSocket

#: The answer to a raw upgrade.
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: pgshare/1\r\n\r\n"


class AgentLink(FrameSocket):
    """One connection that an agent has dialled."""

    peer = "agent"

    def __init__(self, connection: ssl.SSLSocket, head: bytes):
        super().__init__()
        self.socket = connection
        self.head = head
        self.hello: dict = {}
        self._lock = threading.Lock()
        # What the peer sent of streams: it waits to hear that this has come.
        self._counted = 0

    def send(self, data: bytes) -> None:
        with self._lock:
            super().send(data)

    def read(self) -> Frame:
        """As every end's; says of streams' frames that they came."""
        got = super().read()
        if 0x10 <= got.type <= 0x7F:
            self._counted += 8 + len(got.payload)
            with contextlib.suppress(OSError):
                self.send_frame(tunnel.ACK, struct.pack("!Q", self._counted))
        return got

    def until(self, *kinds: int, stream: int | None = None) -> Frame:
        """Reads through the first frame of one of these types (and of this stream)."""
        while True:
            got = self.read()
            if got.type == tunnel.PING:
                self.send_frame(tunnel.PONG, got.payload)
            if got.type == tunnel.ERROR and tunnel.ERROR not in kinds:
                raise EOFError(f"the agent ends the link: {got.payload!r}")
            if got.type in kinds and stream in (None, got.stream):
                return got

    def welcome(self, **more) -> None:
        """Answers the agent's HELLO."""
        self.hello = self.until(tunnel.HELLO).json
        self.send_json(tunnel.HELLO_OK, welcome(**more))

    def open(self, stream: int, parameters: list | None = None, **more) -> None:
        """OPEN of a session, as a relay writes it."""
        words = [["user", "anybody"], ["database", "postgres"]] if parameters is None else parameters
        value = {
            "kind": "session", "window": 1 << 18, "client": "127.0.0.1:4711", "parameters": words,
            **more,
        }  # fmt: skip
        self.send_json(tunnel.OPEN, value, stream)

    def verdict(self, stream: int) -> str:
        """Of an OPEN: "in", or the SQLSTATE of its RESET."""
        got = self.until(tunnel.OPEN_OK, tunnel.RESET, stream=stream)
        return "in" if got.type == tunnel.OPEN_OK else got.payload[1:6].decode()

    def is_alive(self) -> bool:
        """Whether the agent still answers on this link."""
        question = os.urandom(8)
        self.send_frame(tunnel.PING, question)
        while self.until(tunnel.PONG).payload != question:
            pass
        return True

    def data(self, stream: int, until: bytes) -> bytes:
        """What the backend says, through these bytes."""
        said = b""
        while until not in said:
            got = self.until(tunnel.DATA, tunnel.RESET, stream=stream)
            if got.type == tunnel.RESET:
                raise EOFError(got.payload.decode(errors="replace"))
            said += got.payload
            self.send_frame(tunnel.WINDOW, struct.pack("!Q", len(got.payload)), stream)
        return said

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()


def welcome(**more) -> dict:
    return {
        "version": 1, "share": "0123456789abcdef", "host": "localhost", "port": 5432,
        "domain": "localhost", "expiresAt": 4_000_000_000.0, "generation": 1, "tunnel": "0" * 32,
        "tunnelSecret": "1" * 32, "links": 1, "isSpare": False, "session": "2" * 32,
        "resumeSecret": "3" * 32, "graceSeconds": 1, "replayBytes": 1 << 20, **more,
    }  # fmt: skip


class RelayDouble:
    """Listens as a relay; every link that comes is handed out, or answered by `answer`."""

    def __init__(
        self,
        authority: Authority,
        leaf: tuple[Path, Path],
        answer: Callable[[ssl.SSLSocket, bytes], bool] | None = None,
    ):
        """`leaf` is for localhost. `answer` says whether it has answered the upgrade itself."""
        self.ca_file: Path = authority.certificate
        self._answer = answer
        self._links: queue.Queue[AgentLink] = queue.Queue()
        self.dials = 0
        self._all: list[ssl.SSLSocket] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*leaf)
        self._context.set_alpn_protocols(["http/1.1"])
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def token(self) -> str:
        return "pgs_" + "A" * 43

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.dials += 1
            threading.Thread(target=self._greet, args=(plain,), daemon=True).start()

    def _greet(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection = self._context.wrap_socket(plain, server_side=True)
            connection.settimeout(60)
            self._all.append(connection)
            head = b""
            while b"\r\n\r\n" not in head:
                more = connection.recv(4096)
                if not more:
                    return
                head += more
            if self._answer is not None and self._answer(connection, head):
                return
            connection.sendall(SWITCH)
            self._links.put(AgentLink(connection, head))

    def link(self, seconds: float = 30) -> AgentLink:
        """The next link that an agent dials."""
        return self._links.get(timeout=seconds)

    def close(self) -> None:
        self._listener.close()
        for connection in self._all:
            with contextlib.suppress(OSError):
                connection.close()

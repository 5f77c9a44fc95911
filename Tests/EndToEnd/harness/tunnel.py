"""The agent's end of one raw link, which says whatever it is told: a peer that may lie.

Independent of our own Swift code. Source: PROTOCOL.md.
"""

import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import struct
from dataclasses import dataclass

from .endpoint import Endpoint
from .pgshare import Relay

HELLO, HELLO_OK, RESUME, RESUME_OK, ACK, PING, PONG, GOAWAY, ERROR = range(0x01, 0x0A)
OPEN, OPEN_OK, DATA, WINDOW, RESET = range(0x10, 0x15)
FIN = 0x01


@dataclass(frozen=True)
class Frame:
    type: int
    flags: int
    stream: int
    payload: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.payload)


class UpgradeRefused(Exception):
    """The relay answered the upgrade with another status than 101."""

    def __init__(self, status: int, body: str):
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


def frame(kind: int, payload: bytes = b"", stream: int = 0, flags: int = 0) -> bytes:
    return struct.pack("!BBHI", kind, flags, len(payload), stream) + payload


def verifier(password: str) -> str:
    """What the relay keeps of a password. Source: RFC 5803 and PostgreSQL's pg_authid."""
    salt, rounds = os.urandom(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    server_key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    salt64, stored, server = (
        base64.b64encode(data).decode()
        for data in (salt, hashlib.sha256(client_key).digest(), server_key)
    )
    return f"SCRAM-SHA-256${rounds}:{salt64}${stored}:{server}"


class FrameSocket:
    """Frames over a connection, from either end of a link."""

    #: Who is at the other end.
    peer = "relay"
    socket: ssl.SSLSocket

    def __init__(self) -> None:
        self._buffer = bytearray()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_frame(self, kind: int, payload: bytes = b"", stream: int = 0, flags: int = 0) -> None:
        self.send(frame(kind, payload, stream, flags))

    def send_json(self, kind: int, value: object, stream: int = 0) -> None:
        self.send_frame(kind, json.dumps(value).encode(), stream)

    def _fill(self) -> None:
        try:
            data = self.socket.recv(1 << 18)
        except (ssl.SSLEOFError, ConnectionResetError, BrokenPipeError):
            data = b""
        if not data:
            raise EOFError(f"the {self.peer} closed the connection")
        self._buffer += data

    def read(self) -> Frame:
        """The next frame; EOFError at the end of the connection."""
        while len(self._buffer) < 8:
            self._fill()
        kind, flags, length, stream = struct.unpack("!BBHI", self._buffer[:8])
        while len(self._buffer) < 8 + length:
            self._fill()
        payload = bytes(self._buffer[8 : 8 + length])
        del self._buffer[: 8 + length]
        return Frame(kind, flags, stream, payload)


class RawLink(FrameSocket):
    """One connection of a tunnel, upgraded, and nothing said yet."""

    def __init__(
        self, relay: Relay, token: str | None, seconds: float = 60, behind: bytes = b""
    ):
        super().__init__()
        self.relay = relay
        self.welcome: dict = {}
        self.password = "the password of a liar"
        plain = socket.create_connection(("127.0.0.1", relay.https_port), timeout=seconds)
        context = ssl.create_default_context(cafile=str(relay.ca_file))
        context.set_alpn_protocols(["http/1.1"])
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self._upgrade(token, behind)

    def _upgrade(self, token: str | None, behind: bytes) -> None:
        lines = ["GET /v1/tunnel HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: pgshare/1"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        self.send("".join(f"{line}\r\n" for line in [*lines, ""]).encode() + behind)
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            self.close()
            raise UpgradeRefused(status, head.decode() + self._buffer.decode())

    # Talk

    def until(self, *kinds: int) -> Frame:
        """Reads through the first frame of one of these types."""
        while True:
            got = self.read()
            if got.type in kinds:
                return got
            assert got.type != ERROR, got.payload

    def error(self) -> dict:
        """The ERROR that ends the link; the relay must close behind it."""
        found = self._error()
        try:
            while True:
                self.read()
        except EOFError:
            return found

    def _error(self) -> dict:
        while True:
            got = self.read()
            if got.type == ERROR:
                return got.json

    def hello(self, **more) -> Frame:
        """Asks for a share; HELLO_OK or ERROR."""
        share = {
            "verifier": verifier(self.password), "auth": "scram", "database": "lies", "user": "liar",
            "maxConnections": 5, "readOnly": False, "allow": [], **more,
        }  # fmt: skip
        self.send_json(HELLO, {"version": 1, "agent": "liar/1", "share": share})
        while True:
            got = self.read()
            if got.type in (HELLO_OK, ERROR):
                if got.type == HELLO_OK:
                    self.welcome = got.json
                return got

    @property
    def endpoint(self) -> Endpoint:
        share = self.welcome["share"]
        return Endpoint(
            "localhost", self.relay.postgres_port, f"liar.{share}", self.password, "lies",
            self.relay.ca_file, 15, share,
        )  # fmt: skip

    def is_alive(self) -> bool:
        """Whether the relay still answers on this link."""
        question = os.urandom(8)
        self.send_frame(PING, question)
        while True:
            got = self.until(PONG)
            if got.payload == question:
                return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "RawLink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def greeting() -> bytes:
    """What a backend says behind AuthenticationOk: a parameter, its key, ReadyForQuery."""
    parameter = b"server_version\x0015.0\0"
    return (
        b"S" + struct.pack("!i", 4 + len(parameter)) + parameter
        + b"K" + struct.pack("!iii", 12, 1234, 5678)
        + b"Z" + struct.pack("!i", 5) + b"I"
    )  # fmt: skip

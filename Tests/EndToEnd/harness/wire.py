"""A Postgres client that hides nothing: it sends the bytes it is told and keeps every message.

Independent of libpq and of our own Swift code, so that it can judge both.
Source: PostgreSQL documentation, "Frontend/Backend Protocol"; RFC 5802, 5929 and 7677.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass

from .endpoint import Endpoint

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSS_REQUEST = struct.pack("!ii", 8, 80877104)


@dataclass(frozen=True)
class Message:
    """One backend message: its type letter and what follows the length."""

    kind: str
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """Of an ErrorResponse or NoticeResponse: code letter to text."""
        parts = self.body.rstrip(b"\0").split(b"\0")
        return {part[:1].decode(): part[1:].decode(errors="replace") for part in parts if part}


class Refused(Exception):
    """The server said FATAL or ERROR before the session began."""

    def __init__(self, fields: dict[str, str]):
        super().__init__(str(fields))
        self.fields = fields
        self.state = fields.get("C", "")
        self.text = fields.get("M", "")


def _string(text: str) -> bytes:
    return text.encode() + b"\0"


def message(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def startup(parameters: dict[str, str], major: int = 3, minor: int = 0) -> bytes:
    body = struct.pack("!hh", major, minor)
    body += b"".join(_string(name) + _string(value) for name, value in parameters.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def cancel_request(key: bytes) -> bytes:
    """`key` is the body of BackendKeyData: process id and secret."""
    return struct.pack("!ii", len(key) + 8, 80877102) + key


def query(sql: str) -> bytes:
    return message("Q", _string(sql))


def parse(sql: str, name: str = "", types: tuple[int, ...] = ()) -> bytes:
    oids = struct.pack(f"!h{len(types)}I", len(types), *types)
    return message("P", _string(name) + _string(sql) + oids)


def bind(
    values: tuple[bytes | None, ...] = (),
    portal: str = "",
    statement: str = "",
    formats: tuple[int, ...] = (),
    results: tuple[int, ...] = (),
) -> bytes:
    body = _string(portal) + _string(statement)
    body += struct.pack(f"!h{len(formats)}h", len(formats), *formats)
    body += struct.pack("!h", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack(f"!h{len(results)}h", len(results), *results))


def describe(kind: str, name: str = "") -> bytes:
    return message("D", kind.encode() + _string(name))


def close(kind: str, name: str = "") -> bytes:
    return message("C", kind.encode() + _string(name))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message("E", _string(portal) + struct.pack("!i", rows))


def function_call(oid: int, *values: bytes) -> bytes:
    body = struct.pack("!Ihhh", oid, 1, 1, len(values))
    body += b"".join(struct.pack("!i", len(value)) + value for value in values)
    return message("F", body + struct.pack("!h", 1))


SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")
COPY_DONE = message("c")


def copy_data(data: bytes) -> bytes:
    return message("d", data)


def copy_fail(reason: str) -> bytes:
    return message("f", _string(reason))


class WireClient:
    """One connection. `transcript` holds every message from AuthenticationOk on."""

    def __init__(
        self,
        endpoint: Endpoint,
        parameters: dict[str, str] | None = None,
        minor: int = 0,
        negotiation: str = "request",
        server_name: str | None = None,
        channel_binding: bool = False,
        seconds: float = 60,
    ):
        self.endpoint = endpoint
        self.transcript: list[Message] = []
        self.mechanisms: list[str] = []
        self.key = b""
        self.negotiated: Message | None = None
        self._buffer = bytearray()
        self.socket = open_socket(endpoint, negotiation, server_name, seconds)
        words = {"user": endpoint.user, "database": endpoint.database, **(parameters or {})}
        self.send(startup(words, minor=minor))
        self._authenticate(channel_binding)
        greeting = self.until("ZE")
        if greeting[-1].kind == "E":
            raise Refused(greeting[-1].fields)

    # Log-in

    def _authenticate(self, channel_binding: bool) -> None:
        scram: _Scram | None = None
        while True:
            got = self.read()
            if got.kind == "E":
                raise Refused(got.fields)
            if got.kind == "v":
                self.negotiated = got
                continue
            assert got.kind == "R", got
            (code,) = struct.unpack("!i", got.body[:4])
            rest = got.body[4:]
            if code == 0:
                self.transcript.append(got)
                return
            if code == 3:
                self.send(message("p", _string(self.endpoint.password)))
            elif code == 10:
                self.mechanisms = [name.decode() for name in rest.split(b"\0") if name]
                binding = certificate_hash(self.socket) if channel_binding else None
                scram = _Scram(self.endpoint.password, binding)
                first = scram.first()
                body = _string(scram.mechanism) + struct.pack("!i", len(first)) + first
                self.send(message("p", body))
            elif code == 11 and scram is not None:
                self.send(message("p", scram.proof(rest)))
            elif code == 12 and scram is not None:
                scram.check(rest)
            else:
                raise AssertionError(f"authentication request {code}")

    # Talk

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_while_reading(self, data: bytes, seconds: float = 60) -> None:
        """Sends all of `data` and meanwhile takes in what comes: both directions may be full."""
        rest = memoryview(data)
        deadline = time.monotonic() + seconds
        self.socket.settimeout(0)
        try:
            while rest:
                assert time.monotonic() < deadline, "the server takes no more bytes"
                with contextlib.suppress(ssl.SSLWantReadError, BlockingIOError):
                    self._fill()
                    continue
                with contextlib.suppress(ssl.SSLWantWriteError, BlockingIOError):
                    rest = rest[self.socket.send(rest[:16384]) :]
                    continue
                select.select([self.socket], [self.socket], [], 1)
        finally:
            self.socket.settimeout(seconds)

    def read(self) -> Message:
        """The next message; raises EOFError at the end of the connection."""
        while len(self._buffer) < 5:
            self._fill()
        (length,) = struct.unpack("!i", self._buffer[1:5])
        while len(self._buffer) < 1 + length:
            self._fill()
        kind, body = chr(self._buffer[0]), bytes(self._buffer[5 : 1 + length])
        del self._buffer[: 1 + length]
        return Message(kind, body)

    def _fill(self) -> None:
        try:
            data = self.socket.recv(1 << 20)
        except (ssl.SSLEOFError, ConnectionResetError):
            data = b""
        if not data:
            raise EOFError("the server closed the connection")
        self._buffer += data

    def _next(self) -> Message:
        got = self.read()
        self.transcript.append(got)
        if got.kind == "K":
            self.key = got.body
        return got

    def until(self, kinds: str) -> list[Message]:
        """Reads through the first message of one of these types."""
        messages = [self._next()]
        while messages[-1].kind not in kinds:
            messages.append(self._next())
        return messages

    def ready(self, count: int = 1) -> list[Message]:
        """Reads through that many ReadyForQuery."""
        messages: list[Message] = []
        for _ in range(count):
            messages += self.until("Z")
        return messages

    def until_end(self) -> list[Message]:
        """Reads until the server closes."""
        messages = []
        try:
            while True:
                messages.append(self._next())
        except EOFError:
            return messages

    def query(self, sql: str) -> list[list[bytes | None]]:
        """A simple query; its rows, or Refused."""
        self.send(query(sql))
        rows, error = [], None
        for got in self.ready():
            if got.kind == "D":
                rows.append(_row(got.body))
            elif got.kind == "E":
                error = got.fields
        if error is not None:
            raise Refused(error)
        return rows

    def cancel(self, negotiation: str = "none") -> None:
        """Asks to cancel what runs, as libpq does: a connection of its own, closed by the server."""
        with open_socket(self.endpoint, negotiation, None, 30) as other:
            other.sendall(cancel_request(self.key))
            assert other.recv(1) == b"", "a cancel request must not be answered"

    def close(self) -> None:
        """Leaves politely."""
        try:
            self.send(TERMINATE)
        except OSError:
            pass
        self.socket.close()

    def vanish(self) -> None:
        """Resets the connection, as a crashed machine would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.close(self.socket)

    def __enter__(self) -> "WireClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answers(endpoint: Endpoint) -> bool:
    """Whether a new client is served."""
    try:
        with WireClient(endpoint) as client:
            return client.query("select 1") == [[b"1"]]
    except (Refused, OSError, EOFError, AssertionError):
        return False


def _row(body: bytes) -> list[bytes | None]:
    (count,) = struct.unpack("!h", body[:2])
    values: list[bytes | None] = []
    at = 2
    for _ in range(count):
        (length,) = struct.unpack("!i", body[at : at + 4])
        at += 4
        values.append(None if length < 0 else body[at : at + length])
        at += max(length, 0)
    return values


def tls_context(endpoint: Endpoint, alpn: tuple[str, ...] = ("postgresql",)) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(endpoint.ca_file))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def open_tcp(endpoint: Endpoint, seconds: float = 30) -> socket.socket:
    """A plain connection to the front door."""
    plain = socket.create_connection(("127.0.0.1", endpoint.port), timeout=seconds)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


def open_socket(
    endpoint: Endpoint, negotiation: str, server_name: str | None, seconds: float
) -> socket.socket:
    """Connects; negotiation is none, request (SSLRequest) or direct."""
    plain = open_tcp(endpoint, seconds)
    if negotiation == "none" or endpoint.ca_file is None:
        return plain
    if negotiation == "request":
        plain.sendall(SSL_REQUEST)
        answer = plain.recv(1)
        assert answer == b"S", answer
    context = tls_context(endpoint)
    return context.wrap_socket(plain, server_hostname=server_name or endpoint.host)


def certificate_hash(connection: socket.socket) -> bytes:
    """tls-server-end-point; the tests' certificates are signed with SHA-256."""
    assert isinstance(connection, ssl.SSLSocket)
    certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return hashlib.sha256(certificate).digest()


class _Scram:
    """The client's half of SCRAM-SHA-256, with or without channel binding."""

    def __init__(self, password: str, binding: bytes | None):
        self.password = password
        self.mechanism = "SCRAM-SHA-256-PLUS" if binding is not None else "SCRAM-SHA-256"
        self._header = b"p=tls-server-end-point,," if binding is not None else b"n,,"
        self._binding = binding or b""
        self._nonce = base64.b64encode(os.urandom(18))
        self._signature = b""

    def first(self) -> bytes:
        self._bare = b"n=,r=" + self._nonce
        return self._header + self._bare

    def proof(self, server_first: bytes) -> bytes:
        words = dict(word.split(b"=", 1) for word in server_first.split(b","))
        assert words[b"r"].startswith(self._nonce), "the server made up its own nonce"
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password.encode(), base64.b64decode(words[b"s"]), int(words[b"i"])
        )
        client_key = _hmac(salted, b"Client Key")
        bound = base64.b64encode(self._header + self._binding)
        without_proof = b"c=" + bound + b",r=" + words[b"r"]
        everything = b",".join([self._bare, server_first, without_proof])
        signature = _hmac(hashlib.sha256(client_key).digest(), everything)
        self._signature = _hmac(_hmac(salted, b"Server Key"), everything)
        proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
        return without_proof + b",p=" + base64.b64encode(proof)

    def check(self, server_final: bytes) -> None:
        assert server_final == b"v=" + base64.b64encode(self._signature), "not the real server"


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()

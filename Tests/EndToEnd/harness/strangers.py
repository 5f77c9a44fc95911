"""Clients that break the rules: from many addresses, below TLS's API, with a login that lies."""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable

from . import wire
from .endpoint import Endpoint
from .wire import Message


def source(number: int) -> str:
    """The address of stranger number `number`; all of 127.0.0.0/8 is this machine."""
    return f"127.{100 + (number >> 16) % 100}.{(number >> 8) % 256}.{number % 254 + 1}"


def connect(endpoint: Endpoint, address: str = "127.0.0.1", seconds: float = 30) -> socket.socket:
    """A plain connection to the front door that comes from `address`."""
    plain = socket.create_connection(
        ("127.0.0.1", endpoint.port), timeout=seconds, source_address=(address, 0)
    )
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


def in_tls(endpoint: Endpoint, address: str = "127.0.0.1", name: str = "localhost") -> ssl.SSLSocket:
    """The same, behind SSLRequest and a handshake."""
    plain = connect(endpoint, address)
    plain.sendall(wire.SSL_REQUEST)
    answer = plain.recv(1)
    if answer != b"S":
        raise ConnectionError(f"no TLS: {answer!r}")
    context = wire.tls_context(endpoint)
    context.check_hostname = name == "localhost"
    return context.wrap_socket(plain, server_hostname=name)


def packet(words: list[tuple[bytes, bytes]]) -> bytes:
    """A startup packet with these parameters, whatever they hold and however often."""
    body = b"\0\3\0\0" + b"".join(name + b"\0" + value + b"\0" for name, value in words) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def hello_bytes(endpoint: Endpoint) -> bytes:
    """A ClientHello as one TLS record."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = wire.tls_context(endpoint).wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def in_records_of(record: bytes, size: int) -> bytes:
    """The same handshake message in TLS records of that many bytes."""
    head, body = record[:3], record[5:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(head + struct.pack("!H", len(part)) + part for part in parts)


def until_closed(connection: socket.socket, seconds: float) -> bytes:
    """What comes until the other side closes; TimeoutError if it does not."""
    connection.settimeout(seconds)
    got = b""
    try:
        while data := connection.recv(65536):
            got += data
    except TimeoutError:
        raise
    except OSError:
        pass
    return got


class Login:
    """One login step by step: what is sent is the caller's own."""

    def __init__(self, endpoint: Endpoint, address: str, user: str | None = None):
        self.endpoint = endpoint
        self.socket = in_tls(endpoint, address)
        self.nonce = base64.b64encode(os.urandom(18))
        self.took = 0.0
        self._send(wire.startup({"user": user or endpoint.user, "database": endpoint.database}))

    @classmethod
    def of_packet(cls, endpoint: Endpoint, packet: bytes, address: str = "127.0.0.1") -> "Login":
        """A login that begins with this startup packet."""
        login = cls.__new__(cls)
        login.endpoint, login.took = endpoint, 0.0
        login.socket = in_tls(endpoint, address)
        login.nonce = base64.b64encode(os.urandom(18))
        login._send(packet)
        return login

    def _send(self, data: bytes) -> None:
        self._sent_at = time.perf_counter()
        self.socket.sendall(data)

    def read(self) -> Message:
        """The next message; adds the relay's time for it to `took`."""
        head = self._exactly(5)
        self.took += time.perf_counter() - self._sent_at
        (length,) = struct.unpack("!i", head[1:])
        self._sent_at = time.perf_counter()
        return Message(chr(head[0]), self._exactly(length - 4))

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError("the relay closed the connection")
            data += more
        return data

    def say(self, body: bytes) -> None:
        self._send(wire.message("p", body))

    def first(
        self, bare: bytes | None = None, header: bytes = b"n,,", mechanism: bytes = b"SCRAM-SHA-256"
    ) -> None:
        """The first message of SCRAM."""
        self.header = header
        self.bare = b"n=,r=" + self.nonce if bare is None else bare
        initial = header + self.bare
        self.say(mechanism + b"\0" + struct.pack("!i", len(initial)) + initial)

    def final(self, server_first: bytes, password: str, **changes) -> None:
        """Sends the last message; `changes` as `final_text` takes them."""
        self.say(self.final_text(server_first, password, **changes))

    def final_text(
        self,
        server_first: bytes,
        password: str,
        nonce: bytes | None = None,
        bound: bytes | None = None,
        change: Callable[[bytes], bytes] = lambda proof: proof,
    ) -> bytes:
        """The last message, right unless the caller says otherwise. `bound`: what c= holds."""
        words = dict(word.split(b"=", 1) for word in server_first.split(b","))
        salt, rounds = base64.b64decode(words[b"s"]), int(words[b"i"])
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
        key = hmac.new(salted, b"Client Key", "sha256").digest()
        channel = base64.b64encode(self.header if bound is None else bound)
        without = b"c=" + channel + b",r=" + (words[b"r"] if nonce is None else nonce)
        everything = b",".join([self.bare, server_first, without])
        signature = hmac.new(hashlib.sha256(key).digest(), everything, "sha256").digest()
        proof = bytes(left ^ right for left, right in zip(key, signature, strict=True))
        return without + b",p=" + base64.b64encode(change(proof))

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Login":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

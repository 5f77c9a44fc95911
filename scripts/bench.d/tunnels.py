"""Opens idle tunnels at a relay: agents with nothing behind them, in one process.

PROTOCOL.md, raw transport: `Upgrade: pgshare/1` inside TLS, then HELLO, HELLO_OK, and a PONG for
every PING. Each tunnel is a share of its own, with one link.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import ssl
import struct
import threading

from pgshare_peer import PgShare
from procs import BenchError

HEADER = struct.Struct("!BBHI")
HELLO, HELLO_OK, PING, PONG, ERROR = 0x01, 0x02, 0x06, 0x07, 0x09

#: Handshakes that run at once: the relay may bound the unauthenticated sockets of an address.
AT_ONCE = 8

#: Tunnels that one token opens: a relay admits 100 shares of an owner unless told otherwise.
TUNNELS_A_TOKEN = 90

#: The password of every share that is opened here.
PASSWORD = "idle-but-not-short"

#: How long one tunnel may take to stand, in seconds.
OPEN_SECONDS = 20


def frame(kind: int, payload: bytes) -> bytes:
    """A link frame: stream 0, no flags."""
    return HEADER.pack(kind, 0, len(payload), 0) + payload


def scram_verifier(password: str, iterations: int = 4096) -> str:
    """What Postgres would store for the password (RFC 5803 in Postgres's own writing)."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    text = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{text[0]}${text[1]}:{text[2]}"


class IdleTunnels:
    """`with IdleTunnels(peer, 1000): …` holds them open; they live on a thread of their own."""

    def __init__(self, peer: PgShare, count: int, clients: int = 20) -> None:
        self._peer = peer
        self._count = count
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._keepers: list[asyncio.Task] = []
        self._trust = ssl.create_default_context(cafile=str(peer.authority))
        self.share = {
            "verifier": scram_verifier(PASSWORD), "auth": "scram", "database": "bench",
            "user": "bench", "maxConnections": clients, "readOnly": False, "allow": [],
        }
        #: What the relay said of each tunnel that stands.
        self.welcomes: list[dict] = []
        hello = {"version": 1, "agent": "bench/1", "share": self.share}
        self._hello = frame(HELLO, json.dumps(hello).encode())
        owners = -(-count // TUNNELS_A_TOKEN)
        self._requests = [
            (
                "GET /v1/tunnel HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                f"Upgrade: pgshare/1\r\nAuthorization: Bearer {token}\r\n\r\n"
            ).encode()
            for token in (peer.create_token(f"idle-{owner}") for owner in range(owners))
        ]

    def __enter__(self) -> IdleTunnels:
        self._thread.start()
        try:
            bound = OPEN_SECONDS + self._count * 0.2
            asyncio.run_coroutine_threadsafe(self._open_all(), self._loop).result(bound)
        except BaseException as error:
            self._end()
            if isinstance(error, (OSError, TimeoutError, EOFError)):
                raise BenchError(f"a tunnel did not open: {error!r}") from None
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        ended = sum(keeper.done() for keeper in self._keepers)
        self._end()
        if ended and kind is None:
            raise BenchError(f"{ended} of {self._count} idle tunnels were lost meanwhile")

    def _end(self) -> None:
        async def cancel() -> None:
            for keeper in self._keepers:
                keeper.cancel()
            await asyncio.gather(*self._keepers, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cancel(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open_all(self) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with gate:
                reader, writer = await asyncio.wait_for(
                    self._open(self._requests[number // TUNNELS_A_TOKEN]), OPEN_SECONDS
                )
            self._keepers.append(asyncio.create_task(self._keep(reader, writer)))

        await asyncio.gather(*(one(number) for number in range(self._count)))

    async def _open(
        self, request: bytes
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._peer.https_port, ssl=self._trust, server_hostname="localhost"
        )
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101"):
            raise BenchError(f"the relay answered {answer[:80]!r}")
        writer.write(self._hello)
        kind, payload = await self._read(reader)
        if kind != HELLO_OK:
            raise BenchError(f"the relay answered HELLO with frame {kind:#x}: {payload[:200]!r}")
        self.welcomes.append(json.loads(payload))
        return reader, writer

    async def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers PING until cancelled, or until the relay ends the link."""
        try:
            while True:
                kind, payload = await self._read(reader)
                if kind == PING:
                    writer.write(frame(PONG, payload))
                if kind == ERROR:
                    return
        finally:
            writer.transport.abort()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        kind, _, length, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
        return kind, await reader.readexactly(length)

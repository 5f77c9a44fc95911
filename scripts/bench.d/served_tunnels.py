"""Tunnels whose agents answer: a scripted Postgres behind each, many tunnels in one process.

PROTOCOL.md 4, 7: OPEN is answered OPEN_OK and a greeting, a query with the row of `select 1`; what
comes is acknowledged, so that the relay keeps nothing for replay.
"""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import dataclass, field

from pgshare_peer import PgShare
from tunnels import ERROR, HEADER, PING, PONG, IdleTunnels, frame

ACK, OPEN, OPEN_OK, DATA, RESET = 0x05, 0x10, 0x11, 0x12, 0x14
FIN = 0x01

#: The credit of a stream: far more than `select 1` needs.
WINDOW = 256 * 1024

#: What an acknowledgement waits for more bytes, in seconds: as long as an agent lets it.
ACK_SECONDS = 0.1


def message(kind: bytes, payload: bytes) -> bytes:
    """A message of Postgres."""
    return kind + struct.pack("!i", len(payload) + 4) + payload


#: What a backend says behind AuthenticationOk.
GREETING = (
    message(b"S", b"server_version\x0015.0\0") + message(b"S", b"client_encoding\0UTF8\0")
    + message(b"K", struct.pack("!ii", 1, 2)) + message(b"Z", b"I")
)

#: The result of `select 1`.
ROW = (
    message(b"T", b"\0\1c\0" + struct.pack("!ihihih", 0, 0, 23, 4, -1, 0))
    + message(b"D", b"\0\1\0\0\0\x011") + message(b"C", b"SELECT 1\0") + message(b"Z", b"I")
)


def stream_frame(kind: int, stream: int, payload: bytes, flags: int = 0) -> bytes:
    """A frame of a stream, counted."""
    return HEADER.pack(kind, flags, len(payload), stream) + payload


@dataclass
class _Link:
    """One tunnel's only link: what came, and what was said of it."""

    writer: asyncio.StreamWriter
    taken: int = 0
    acknowledged: int = 0
    timer: asyncio.TimerHandle | None = None
    #: Bytes of each stream that are no whole message yet.
    unread: dict[int, bytes] = field(default_factory=dict)

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """One frame of a stream."""
        self.taken += HEADER.size + len(payload)
        if kind == OPEN:
            self._open(stream, json.loads(payload))
        elif kind == DATA and stream in self.unread:
            self._data(stream, payload)
            if flags & FIN and self.unread.pop(stream, None) is not None:
                self.writer.write(stream_frame(DATA, stream, b"", FIN))
        elif kind == RESET:
            self.unread.pop(stream, None)
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(ACK_SECONDS, self._acknowledge)

    def _open(self, stream: int, request: dict) -> None:
        if request["kind"] != "session":
            self.writer.write(stream_frame(RESET, stream, b"\x030A000not here"))
            return
        self.unread[stream] = b""
        window = json.dumps({"window": WINDOW}).encode()
        self.writer.write(
            stream_frame(OPEN_OK, stream, window) + stream_frame(DATA, stream, GREETING)
        )

    def _data(self, stream: int, payload: bytes) -> None:
        waiting = self.unread[stream] + payload
        while len(waiting) >= 5:
            size = 1 + struct.unpack("!i", waiting[1:5])[0]
            if len(waiting) < size:
                break
            if waiting[:1] == b"Q":
                self.writer.write(stream_frame(DATA, stream, ROW))
            waiting = waiting[size:]
        self.unread[stream] = waiting

    def _acknowledge(self) -> None:
        self.timer = None
        if self.taken > self.acknowledged:
            self.acknowledged = self.taken
            self.writer.write(frame(ACK, struct.pack("!Q", self.taken)))


class ServedTunnels(IdleTunnels):
    """`with ServedTunnels(peer, 1000, clients=10) as tunnels: tunnels.users`."""

    def __init__(self, peer: PgShare, count: int, clients: int) -> None:
        super().__init__(peer, count, clients=clients)

    @property
    def users(self) -> list[str]:
        """Whom a client names to log in, one a tunnel; the password is tunnels.PASSWORD."""
        return [f"{self.share['user']}.{welcome['share']}" for welcome in self.welcomes]

    async def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves its streams until cancelled, or until the relay ends the link."""
        link = _Link(writer)
        try:
            while True:
                kind, flags, length, stream = HEADER.unpack(await reader.readexactly(HEADER.size))
                payload = await reader.readexactly(length)
                if kind >= OPEN:
                    link.take(kind, flags, stream, payload)
                elif kind == PING:
                    writer.write(frame(PONG, payload))
                elif kind == ERROR:
                    return
        finally:
            writer.transport.abort()

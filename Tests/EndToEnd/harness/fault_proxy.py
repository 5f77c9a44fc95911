"""A TCP proxy that stands for a bad network. What it does is decided by the test, never by chance:
jitter comes from a seed.

Between an agent and a relay, a client and a relay, or an agent and its database: it freezes, resets,
half-opens, cuts bytes into single ones, delays, throttles, closes in any order and loses the end.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any

# Closes with a reset instead of a FIN: what a mobile network or a crashed NAT box does.
_RESET = struct.pack("ii", 1, 0)
_CHUNK = 65536


class Way(Enum):
    """A direction of bytes."""

    # From whoever connected to the port behind the proxy.
    UP = "up"
    # And back.
    DOWN = "down"


BOTH = (Way.UP, Way.DOWN)


@dataclass
class Weather:
    """What happens to the bytes of one direction, of every connection."""

    # Most bytes of one write; 1 makes a segment of every byte.
    chunk: int = _CHUNK
    # Seconds that every byte is late, and up to how many more, without changing the order.
    latency: float = 0
    jitter: float = 0
    # Bytes a second of each connection; 0: as fast as it goes.
    rate: float = 0


class FaultProxy:
    """Listens on a port of its own and passes every connection on to `target_port`.

    Its connections live in a thread of their own; everything here may be called from any other.
    """

    def __init__(self, target_port: int, seed: int = 0, address: str = "127.0.0.1"):
        self.target_port = target_port
        # Resets whoever comes, instead of passing it on.
        self.refuses = False
        # Seconds after which a connection is closed, as some load balancers do; 0: never.
        self.max_age = 0.0
        # The same for one over which no byte came for so long.
        self.max_idle = 0.0
        # How many connections came through.
        self.accepted = 0
        self.weather = {way: Weather() for way in BOTH}
        self._random = random.Random(seed)
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task] = set()
        self._loop = asyncio.new_event_loop()
        self._flows = {way: asyncio.Event() for way in BOTH}
        self._listener = socket.create_server((address, 0), backlog=1024)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.flow()

    # Faults

    def cut(self) -> int:
        """Resets both ends of every connection; returns how many there were."""
        return self._end_all(lambda each: each.end(reset=BOTH))

    def shut(self) -> int:
        """Ends every connection politely, FIN to both; what was on its way is lost."""
        return self._end_all(lambda each: each.end(reset=()))

    def half_open(self, told: Way, seconds: float) -> int:
        """Resets one end; the other hears nothing more, until it is reset `seconds` later.

        `Way.UP` tells the end behind the proxy, `Way.DOWN` the one that connected.
        """
        return self._end_all(lambda each: each.half_open(told, seconds))

    def half_close(self, first: Way, seconds: float, reset: bool) -> int:
        """FIN to one end first, behind what was on its way there; the rest `seconds` later.

        The other direction still flows meanwhile. `reset`: the rest is a reset, a RST behind a FIN.
        """
        return self._end_all(lambda each: each.half_close(first, seconds, reset))

    def truncate(self, way: Way, after: int, reset: bool) -> int:
        """Lets `after` more bytes through in one direction, and ends each connection there.

        That is in the middle of a record, mostly. With `reset` by a reset, else by FIN.
        """

        async def limit() -> int:
            for each in self._open:
                each.limit(way, after, reset)
            return len(self._open)

        return self._await(limit())

    def stall(self, *ways: Way) -> None:
        """Lets no byte through any more (both directions, if none is named); nothing is closed."""
        for way in ways or BOTH:
            self._call(self._flows[way].clear)

    def flow(self) -> None:
        """Lets bytes through again."""
        for way in BOTH:
            self._call(self._flows[way].set)

    def change(self, *ways: Way, **weather: float) -> None:
        """Sets parts of the weather (both directions, if none is named)."""
        for way in ways or BOTH:
            for name, value in weather.items():
                setattr(self.weather[way], name, value)

    def clear_up(self) -> None:
        """Fair weather: everything passes at once, new connections too."""
        self.refuses = False
        self.max_age = self.max_idle = 0.0
        self.change(chunk=_CHUNK, latency=0, jitter=0, rate=0)
        self.flow()

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """Ends everything. Closing twice is the same as once."""
        if self._loop.is_closed():
            return
        self.cut()
        self._call(self._loop.stop)
        self._thread.join(timeout=10)

    # The thread of the loop

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        accepting = self._loop.create_task(self._accept())
        self._loop.run_forever()
        accepting.cancel()
        left = [accepting, *self._tasks]
        for each in self._open:
            left.append(self._loop.create_task(each.end(reset=BOTH)))
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._listener.close()
        self._loop.close()

    def _call(self, function) -> None:
        self._loop.call_soon_threadsafe(function)

    def _await(self, work: Coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def _end_all(self, ending) -> int:
        async def end() -> int:
            found = [each for each in self._open if not each.is_ending]
            for each in found:
                each.is_ending = True
            waits = [self.spawn(ending(each)) for each in found]
            # What lasts goes on by itself; what does not is done when this returns.
            if waits:
                await asyncio.wait(waits, timeout=0.2)
            return len(found)

        return self._await(end())

    def spawn(self, work: Coroutine) -> asyncio.Task:
        """Runs it beside the rest; for this file only."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self) -> None:
        while True:
            try:
                near, _ = await self._loop.sock_accept(self._listener)
            except OSError:
                # Out of descriptors for a moment: whoever comes has to wait.
                await asyncio.sleep(0.05)
                continue
            if self.refuses:
                _close(near, reset=True)
            else:
                self.spawn(self._pass_on(near))

    async def _pass_on(self, near: socket.socket) -> None:
        far = socket.socket()
        far.setblocking(False)
        try:
            await asyncio.wait_for(
                self._loop.sock_connect(far, ("127.0.0.1", self.target_port)), timeout=10
            )
        except (OSError, TimeoutError):
            _close(near, reset=True)
            _close(far, reset=True)
            return
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted += 1
        connection = _Connection(self, near, far)
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)

    # For connections

    async def wait_flow(self, way: Way) -> None:
        await self._flows[way].wait()

    def is_flowing(self, way: Way) -> bool:
        return self._flows[way].is_set()

    def delay(self, way: Way) -> float:
        weather = self.weather[way]
        return weather.latency + (self._random.uniform(0, weather.jitter) if weather.jitter else 0)


class _Connection:
    """Two sockets and what is on its way between them."""

    def __init__(self, proxy: FaultProxy, near: socket.socket, far: socket.socket):
        self.is_ending = False
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._source = {Way.UP: near, Way.DOWN: far}
        self._target = {Way.UP: far, Way.DOWN: near}
        self._left: dict[Way, int] = {}
        self._cut_resets = False
        self._last_byte = self._loop.time()
        self._over = asyncio.Event()
        self._pumps: dict[Way, list[asyncio.Task]] = {}

    async def run(self) -> None:
        """Returns once both sockets are closed."""
        self._pumps = {way: self._pump(way) for way in BOTH}
        writers = [pumps[1] for pumps in self._pumps.values()]
        watch = self._loop.create_task(self._watch_clock())
        try:
            await asyncio.wait(writers)
            self._begin_end(reset=())
            await self._over.wait()
        finally:
            watch.cancel()

    def _pump(self, way: Way) -> list[asyncio.Task]:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=16)
        reading, writing = self._read(way, queue), self._write(way, queue)
        return [self._loop.create_task(self._guard(work)) for work in (reading, writing)]

    async def _guard(self, work: Coroutine) -> None:
        """A reset on one side is one on the other."""
        try:
            await work
        except OSError:
            self._begin_end(reset=BOTH)

    async def _read(self, way: Way, queue: asyncio.Queue) -> None:
        due = 0.0
        while True:
            data = await self._loop.sock_recv(self._source[way], _CHUNK)
            self._last_byte = self._loop.time()
            due = max(due, self._loop.time() + self._proxy.delay(way))
            await queue.put((due, data))
            if not data:
                return

    async def _write(self, way: Way, queue: asyncio.Queue) -> None:
        while True:
            due, data = await queue.get()
            if (early := due - self._loop.time()) > 0:
                await asyncio.sleep(early)
            if not data:
                await self._proxy.wait_flow(way)
                self._shut(way)
                return
            await self._write_pieces(way, data)

    async def _write_pieces(self, way: Way, data: bytes) -> None:
        target, weather, rest = self._target[way], self._proxy.weather[way], memoryview(data)
        while rest:
            if not self._proxy.is_flowing(way):
                await self._proxy.wait_flow(way)
            piece = rest[: weather.chunk]
            if way in self._left:
                piece = piece[: self._left[way]]
                self._left[way] -= len(piece)
            await self._loop.sock_sendall(target, piece)
            rest = rest[len(piece) :]
            if self._left.get(way) == 0:
                self._begin_end(reset=BOTH if self._cut_resets else ())
                await self._over.wait()
            if weather.rate:
                await asyncio.sleep(len(piece) / weather.rate)
            elif weather.chunk < _CHUNK:
                # Everybody else's turn.
                await asyncio.sleep(0)

    async def _watch_clock(self) -> None:
        born = self._loop.time()
        while True:
            await asyncio.sleep(0.05)
            now, proxy = self._loop.time(), self._proxy
            if (0 < proxy.max_age < now - born) or (0 < proxy.max_idle < now - self._last_byte):
                self._begin_end(reset=())
                return

    # Endings

    def limit(self, way: Way, after: int, reset: bool) -> None:
        """Ends the connection after that many more bytes."""
        self._left[way] = max(after, 1)
        self._cut_resets = reset

    def _begin_end(self, reset: tuple[Way, ...]) -> None:
        if not self.is_ending:
            self.is_ending = True
            self._proxy.spawn(self.end(reset))

    async def end(self, reset: tuple[Way, ...]) -> None:
        """Closes both ends, those with a reset that are named by the way to them."""
        await self._stop(BOTH)
        for way in BOTH:
            _close(self._target[way], reset=way in reset)
        self._over.set()

    async def half_open(self, told: Way, seconds: float) -> None:
        """One end is reset, the other stays open and is not read."""
        await self._stop(BOTH)
        _close(self._target[told], reset=True)
        await asyncio.sleep(seconds)
        _close(self._source[told], reset=True)
        self._over.set()

    async def half_close(self, first: Way, seconds: float, reset: bool) -> None:
        """FIN one way; the other way flows on for a while."""
        await self._stop((first,))
        self._shut(first)
        await asyncio.sleep(seconds)
        await self.end(reset=BOTH if reset else ())

    async def _stop(self, ways: tuple[Way, ...]) -> None:
        """No pump may touch a socket once it is closed: its number may be another's by then."""
        tasks = [task for way in ways for task in self._pumps[way]]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _shut(self, way: Way) -> None:
        with contextlib.suppress(OSError):
            self._target[way].shutdown(socket.SHUT_WR)


def _close(end: socket.socket, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        else:
            end.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        end.close()

"""Clients of every kind that live through the faults of a link: each asks before the fault, during
it and after it, and checks every byte and its backend.
"""

import functools
import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from .far_share import FarShare
from .wire import Refused, WireClient

# Rows of COPY that are written in one go: 15 kB.
_PIECE = 400


@dataclass(frozen=True)
class Load:
    """How much the clients of a crowd move."""

    # Rows of COPY each way, of some 39 bytes.
    rows: int = 100_000
    # Seconds that one answer may take, the fault included.
    patience: float = 110


class Crowd:
    """Clients of one share in threads of their own.

    `start` returns when each is in the middle of what it does, `rush` when the copies run at full
    speed; then comes the fault, `faulted`, its end, `mended`; and `finish` waits until all are done
    and raises what any of them met.
    """

    SIZE = 7

    def __init__(self, share: FarShare, load: Load = Load()):
        self.share = share
        self.load = load
        # When the first answer came to a question that was asked during the fault.
        self.answered_at: dict[str, float] = {}
        # The longest that a short query took after the fault, in seconds.
        self.longest_query = 0.0
        self._faulted, self._mended = threading.Event(), threading.Event()
        self._rushing, self._copied = threading.Event(), threading.Event()
        # Of each copy: its row when the rush began, and whether it is in full flow since.
        self._rush_rows: dict[threading.Event, int] = {}
        self._in_full_flow = defaultdict[threading.Event, threading.Event](threading.Event)
        self._faulted_at = self._mended_at = 0.0
        self._failures: list[tuple[str, BaseException]] = []
        self._ready: list[threading.Event] = []
        self._kept, self._copies = f"kept_{share.name}", f"copied_{share.name}"
        self._news = f"news_{share.name}"
        share.cluster.sql(
            f"create table {self._kept} (who text);"
            f" create unlogged table {self._copies} (a int, b text)"
        )
        clients: list[Callable[[threading.Event], None]] = [
            self._in_transaction, self._idle_in_transaction, self._listen, self._ask_now_and_then,
            self._come_anew, self._copy_in, self._copy_out,
        ]  # fmt: skip
        self._threads = [self._thread(client) for client in clients]

    def _thread(self, client: Callable[[threading.Event], None]) -> threading.Thread:
        ready = threading.Event()
        self._ready.append(ready)

        def live() -> None:
            try:
                client(ready)
            except BaseException as error:
                self._failures.append((client.__name__.strip("_"), error))
                self._copied.set()
            self._in_full_flow[ready].set()
            ready.set()

        return threading.Thread(target=live, daemon=True)

    # The course of it

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        for ready in self._ready:
            assert ready.wait(self.load.patience), "not every client came as far as the fault"
        self._raise_first()

    def rush(self) -> None:
        """Lets the copies run as fast as they can, and returns when both do: windows, sockets and
        the link are full of them then."""
        self._rushing.set()
        for flow in (self._in_full_flow[ready] for ready in self._ready[-2:]):
            assert flow.wait(self.load.patience), "a copy does not flow"
        self._raise_first()

    def faulted(self) -> None:
        """The fault has begun."""
        self._faulted_at = time.monotonic()
        self._faulted.set()

    def mended(self) -> None:
        """The link is back."""
        self._mended_at = time.monotonic()
        self._mended.set()

    def finish(self) -> None:
        deadline = time.monotonic() + self.load.patience
        for thread in self._threads:
            thread.join(max(0.1, deadline - time.monotonic()))
        self._raise_first()
        hung = [each for each in self._threads if each.is_alive()]
        assert not hung, f"{len(hung)} clients hang\n{self.share.agent.child.everything()}"

    def _raise_first(self) -> None:
        for name, error in self._failures:
            said = self.share.agent.child.everything()
            raise AssertionError(f"the client {name}: {error!r}\n{said}") from error

    @property
    def slowest(self) -> float:
        """Seconds from the link's return to the last of the first answers."""
        return max(self.answered_at.values()) - self._mended_at

    def _answered(self, name: str) -> None:
        self.answered_at[name] = time.monotonic()

    # The clients

    def _client(self) -> WireClient:
        return self.share.client(seconds=self.load.patience)

    def _connect(self) -> psycopg.Connection:
        """The same by libpq."""
        with self.share.network.relay_side:
            return psycopg.connect(self.share.agent.endpoint.conninfo(), autocommit=True)

    def _in_transaction(self, ready: threading.Event) -> None:
        """Asks at once when the link is cut, and commits when it is back."""
        self._transact(ready, "busy", asks_meanwhile=True)

    def _idle_in_transaction(self, ready: threading.Event) -> None:
        """Says nothing during the fault."""
        self._transact(ready, "idle", asks_meanwhile=False)

    def _transact(self, ready: threading.Event, name: str, *, asks_meanwhile: bool) -> None:
        question = "select pg_backend_pid(), txid_current()"
        with self._client() as client:
            client.query("begin")
            client.query(f"insert into {self._kept} values ('{name}')")
            who = client.query(question)
            ready.set()
            if asks_meanwhile:
                self._faulted.wait()
                assert client.query(question) == who
                self._answered("in a transaction")
            self._mended.wait()
            assert client.query(question) == who
            client.query("commit")
        rows = f"select count(*) from {self._kept} where who = '{name}'"
        assert int(self.share.cluster.sql(rows)) == 1

    def _listen(self, ready: threading.Event) -> None:
        """Hears what is said during the fault and behind it."""
        with self._client() as client:
            who = client.query("select pg_backend_pid()")
            client.query(f"listen {self._news}")
            ready.set()
            self._faulted.wait()
            self.share.cluster.sql(f"notify {self._news}, 'during'")
            (heard,) = client.until("A")
            assert heard.body[4:] == f"{self._news}\0during\0".encode()
            self._answered("listening")
            self._mended.wait()
            self.share.cluster.sql(f"notify {self._news}, 'after'")
            (heard,) = client.until("A")
            assert heard.body[4:] == f"{self._news}\0after\0".encode()
            assert client.query("select pg_backend_pid()") == who

    def _ask_now_and_then(self, ready: threading.Event) -> None:
        """As a connection of a pool: a query, a pause, a query."""
        with self._client() as client:
            who = client.query("select pg_backend_pid()")
            ready.set()
            is_last = False
            while not is_last:
                is_last = self._mended.wait(0.25)
                assert client.query("select pg_backend_pid()") == who
            self._answered("of a pool")
            while not self._copied.wait(0.25):
                asked = time.monotonic()
                assert client.query("select pg_backend_pid()") == who
                self.longest_query = max(self.longest_query, time.monotonic() - asked)

    def _come_anew(self, ready: threading.Event) -> None:
        """Logs in during the fault: waits, or is told to come again, and nothing else."""
        ready.set()
        self._faulted.wait()
        while True:
            is_last = self._mended.is_set()
            try:
                with self._client() as client:
                    assert client.query("select 1") == [[b"1"]]
                return
            except Refused as refused:
                assert refused.state == "57P03" and not is_last, refused
                self._mended.wait(0.5)

    def _copy_in(self, ready: threading.Event) -> None:
        rows = self.load.rows
        with self._connect() as connection:
            question = "select pg_backend_pid()"
            who = connection.execute(question).fetchone()
            with connection.cursor().copy(f"copy {self._copies} from stdin") as copy:
                for number, lines in enumerate(_lines(rows)):
                    copy.write(lines)
                    self._pace(number * _PIECE, ready)
            found = connection.execute(
                "select count(*), count(distinct a), min(a), max(a), bool_and(b = md5(a::text))"
                f" from {self._copies}"
            ).fetchone()
            assert found == (rows, rows, 0, rows - 1, True), found
            assert connection.execute(question).fetchone() == who
            connection.execute(f"drop table {self._copies}")

    def _copy_out(self, ready: threading.Event) -> None:
        rows = self.load.rows
        digest, taken = hashlib.md5(), 0
        with self._connect() as connection:
            query = f"copy (select n, md5(n::text) from generate_series(0, {rows - 1}) n) to stdout"
            with connection.cursor().copy(query) as copy:
                for number, data in enumerate(copy):
                    digest.update(data)
                    taken += len(data)
                    if number % _PIECE == 0:
                        self._pace(number, ready)
        expected = hashlib.md5(b"".join(_lines(rows)))
        assert digest.digest() == expected.digest(), f"{taken} bytes"
        self._copied.set()

    def _pace(self, row: int, ready: threading.Event) -> None:
        """Flows until `rush`, ever slower, and not to its end."""
        rows = self.load.rows
        if self._rushing.is_set():
            first = self._rush_rows.setdefault(ready, row)
            if row - first >= rows // 10:
                self._in_full_flow[ready].set()
        elif row < rows // 8:
            self._rushing.wait(0.01)
        else:
            ready.set()
            self._rushing.wait(0.1 if row < rows // 2 else None)


@functools.cache
def _lines(rows: int) -> list[bytes]:
    """What is copied, in pieces."""
    lines = [f"{n}\t{hashlib.md5(str(n).encode()).hexdigest()}\n" for n in range(rows)]
    return ["".join(lines[at : at + _PIECE]).encode() for at in range(0, rows, _PIECE)]

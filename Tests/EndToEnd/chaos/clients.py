"""Clients that know what they must get, one kind for everything that a database is asked for."""

import hashlib
import threading
import time
from functools import cache

import psycopg
from harness.wire import Refused, WireClient, query
from psycopg import errors

from .client import HANG_SECONDS, Client
from .reasons import LOST


class Banking(Client):
    """Transfers, each with a line in the journal; some are rolled back on purpose."""

    accounts = 10
    opening = 1000

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.sequence = 0
        self.committed: set[int] = set()
        self.unknown: set[int] = set()

    def step(self, connection: psycopg.Connection) -> None:
        if self.chance.random() < 0.1:
            total = connection.execute(f"select sum(balance) from bank_{self.share}").fetchone()
            self.expect("the sum", total, (self.accounts * self.opening,))
            return
        first, second = sorted(self.chance.sample(range(self.accounts), 2))
        amount = self.chance.randint(1, 50)
        self.sequence += 1
        number = self.sequence
        connection.execute("begin")
        with self.under_way():
            self._transfer(connection, number, first, second, amount)

    def _transfer(
        self, connection: psycopg.Connection, number: int, first: int, second: int, amount: int
    ) -> None:
        for account, change in ((first, -amount), (second, amount)):
            connection.execute(
                f"update bank_{self.share} set balance = balance + %s where id = %s",
                (change, account),
            )
        connection.execute(
            f"insert into journal_{self.share} values (%s, %s, %s, %s, %s)",
            (self.name, number, first, second, amount),
        )
        if self.chance.random() < 0.1:
            self._roll_back(connection)
            return
        self.unknown.add(number)
        connection.execute("commit")
        self.unknown.remove(number)
        self.committed.add(number)
        self.ledger.count("transactions")


@cache
def _result_digest(rows: int) -> str:
    digest = hashlib.md5()
    for number in range(1, rows + 1):
        digest.update(f"{number}\t{hashlib.md5(str(number).encode()).hexdigest()}\n".encode())
    return digest.hexdigest()


class Copying(Client):
    """COPY out with a digest of every byte, and COPY in that is there whole or not at all."""

    pause = 0.2

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.round = 0
        self.committed: dict[int, tuple[int, str]] = {}
        self.unknown: dict[int, tuple[int, str]] = {}

    def step(self, connection: psycopg.Connection) -> None:
        if self.chance.random() < 0.5:
            self._out(connection)
        else:
            self._in(connection)
        self.ledger.count("copies")

    def _out(self, connection: psycopg.Connection) -> None:
        rows = self.chance.choice((1000, 20_000, 60_000))
        digest = hashlib.md5()
        query = f"copy (select n, md5(n::text) from generate_series(1, {rows}) n) to stdout"
        with connection.cursor().copy(query) as copy:
            self.is_under_way = True
            for data in copy:
                digest.update(data)
        self.is_under_way = False
        self.expect("the digest of a COPY", digest.hexdigest(), _result_digest(rows))

    def _in(self, connection: psycopg.Connection) -> None:
        self.round += 1
        rows, width = self.chance.choice(((50, 20_000), (5000, 90), (1, 900_000)))
        digest = hashlib.md5()
        self.unknown[self.round] = (rows, "")
        statement = f"copy taken_{self.share} from stdin"
        with connection.cursor().copy(statement) as copy:
            self.is_under_way = True
            for number in range(rows):
                body = self.chance.randbytes(width // 2).hex()
                digest.update(body.encode())
                copy.write(f"{self.name}\t{self.round}\t{number}\t{body}\n")
            self.unknown[self.round] = (rows, digest.hexdigest())
        self.is_under_way = False
        self.committed[self.round] = self.unknown.pop(self.round)


class Notifying(Client):
    """Says 1, 2, 3, … on a channel of its own."""

    pause = 0.1

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.said = 0
        self.answered: set[int] = set()
        # Asked of a relay that had ended the connection already.
        self.refused: set[int] = set()

    @property
    def channel(self) -> str:
        return f"sequence_{self.share}"

    def step(self, connection: psycopg.Connection) -> None:
        self.said += 1
        connection.execute("select pg_notify(%s, %s)", (self.channel, str(self.said)))
        self.answered.add(self.said)
        self.ledger.count("notifications")

    def moved_on(self) -> None:
        self.refused |= {self.said} - self.answered


class Listening(Client):
    """Hears every number, once and in order, as long as its connection lives.

    One that was sent on a connection that was lost may come late, or never: nobody knows of it.
    """

    pause = 0.0

    def __init__(self, *arguments, notifier: Notifying, **options):
        super().__init__(*arguments, **options)
        self.notifier = notifier
        self.last = 0
        self.heard: set[int] = set()

    def begin(self, connection: psycopg.Connection) -> None:
        self.last = 0
        self.heard = set()
        connection.execute(f"listen {self.notifier.channel}")

    def step(self, connection: psycopg.Connection) -> None:
        for notice in connection.notifies(timeout=0.5):
            self._hear(int(notice.payload))
            self.busy_since = time.monotonic()

    def _hear(self, number: int) -> None:
        answered = self.notifier.answered
        if number in self.notifier.refused:
            self.wrong(f"heard {number}, which was refused")
        elif number in self.heard:
            self.wrong(f"heard {number} twice")
        elif number < self.last and number in answered:
            self.wrong(f"heard {number} behind {self.last}")
        elif self.last and (missed := set(range(self.last + 1, number)) & answered):
            self.wrong(f"heard {number}, but not {sorted(missed)[:10]}")
        self.heard.add(number)
        self.last = max(self.last, number)


class Preparing(Client):
    """Prepared statements with parameters, and cursors whose transaction waits between rows."""

    pause = 0.05

    def step(self, connection: psycopg.Connection) -> None:
        for _ in range(5):
            value = self.chance.randbytes(self.chance.choice((3, 3000, 60_000)))
            row = connection.execute(
                "select %s::bytea, md5(%s::bytea), %s::int + 1", (value, value, self.steps),
                prepare=True, binary=True,
            ).fetchone()  # fmt: skip
            self.expect("a row", row, (value, hashlib.md5(value).hexdigest(), self.steps + 1))
        with connection.transaction():
            self.is_under_way = True
            self._read_slowly(connection)
        self.is_under_way = False
        self.ledger.count("cursors")

    def _read_slowly(self, connection: psycopg.Connection) -> None:
        with connection.cursor(name="slow") as cursor:
            cursor.itersize = 50
            cursor.execute("select n, md5(n::text) from generate_series(1, 300) n")
            wanted = 0
            for number, digest in cursor:
                wanted += 1
                self.expect("a cursor's row", (number, digest), (wanted, _md5(wanted)))
                if wanted % 100 == 0:
                    self.stopping.wait(self.chance.uniform(0, 0.5))
            self.expect("rows of a cursor", wanted, 300)


@cache
def _md5(number: int) -> str:
    return hashlib.md5(str(number).encode()).hexdigest()


class Cancelling(Client):
    """Cancels its own query; nobody else's may end by it, nor its own next one."""

    pause = 0.3
    sleeps = 12.0

    def step(self, connection: psycopg.Connection) -> None:
        # In a transaction it stays at a relay that drains, and its cancels come to the next one.
        if self.chance.random() < 0.5:
            self._cancel(connection)
        else:
            connection.execute("begin")
            with self.under_way():
                self._cancel(connection)
                self._roll_back(connection)
        for _ in range(3):
            self.expect("the next query", connection.execute("select 1").fetchone(), (1,))

    def _cancel(self, connection: psycopg.Connection) -> None:
        since = time.monotonic()
        delay = self.chance.uniform(0.02, 0.3)
        failed: list[psycopg.Error] = []
        over = threading.Event()

        def cancel() -> None:
            over.wait(delay)
            # A request that comes before its query does nothing, as at any server: asked again.
            for attempt in range(3):
                if attempt:
                    self.ledger.count("cancels asked for again")
                try:
                    # Not `cancel`: it holds up every thread of this process, the proxies' too.
                    connection.cancel_safe(timeout=60)
                except psycopg.Error as error:
                    failed.append(error)
                if over.wait(2):
                    return

        asking = threading.Thread(target=cancel, daemon=True)
        asking.start()
        # Now and then the query is over at about the same time.
        sleep = delay if self.chance.random() < 0.3 else self.sleeps
        try:
            connection.execute(f"select pg_sleep({sleep})")
            if sleep == self.sleeps and not failed and not self.disturbed(since):
                self.wrong("a cancel request did nothing")
        except errors.QueryCanceled:
            self.ledger.count("cancels")
        finally:
            over.set()
            asking.join(timeout=HANG_SECONDS)
        for error in failed:
            if not self.disturbed(since) and not self.ledger.reasons.explain(
                self.scopes, since, LOST
            ):
                self.wrong(f"a cancel request failed: {error!r}")


class Idling(Client):
    """Sits in a transaction, and finds everything as it left it."""

    def step(self, connection: psycopg.Connection) -> None:
        mark = str(self.chance.random())
        connection.execute("begin")
        with self.under_way():
            connection.execute("select set_config('chaos.mark', %s, true)", (mark,))
            question = "select pg_backend_pid(), txid_current(), current_setting('chaos.mark')"
            before = connection.execute(question).fetchone()
            self.stopping.wait(self.chance.uniform(2, 7))
            self.expect("the transaction", connection.execute(question).fetchone(), before)
            connection.execute("commit")
        self.ledger.count("idle transactions")


ENDLESS = "copy (select repeat('x', 1000) from generate_series(1, 1000000)) to stdout"


class Leaving(Client):
    """Asks for a gigabyte, reads a little, and is gone without a word."""

    pause = 0.5

    def step(self, connection: psycopg.Connection) -> None:
        before = self.since, self.is_in, self.is_answered
        self.dials()
        self._leave()
        self.since, self.is_in, self.is_answered = before
        self.expect("the other connection", connection.execute("select 1").fetchone(), (1,))
        self.ledger.count("results abandoned")

    def _leave(self) -> None:
        enough, got = self.chance.randint(1, 4 << 20), 0
        words = {"application_name": f"chaos {self.name}"}
        # libpq would ask to cancel, or read the rest.
        try:
            client = WireClient(self.endpoint, words, seconds=HANG_SECONDS)
        except AssertionError as error:
            raise EOFError("ended before TLS") from error
        self.is_in = True
        client.send(query(ENDLESS))
        client.until("H")
        with self.under_way():
            while got < enough:
                message = client.read()
                got += len(message.body)
                if message.kind == "E":
                    raise Refused(message.fields)
                if message.kind == "d":
                    self.expect("a row", message.body, b"x" * 1000 + b"\n")
            client.vanish()

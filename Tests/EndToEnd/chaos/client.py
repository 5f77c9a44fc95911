"""A client: a thread with one connection at a time, which loses none without a reason."""

import contextlib
import random
import threading
import time
from collections.abc import Callable

import psycopg
from harness.endpoint import Endpoint
from harness.wire import Refused

from .moves import Loss, Moves
from .reasons import LOST, TOO_SLOW, Reasons, state_of

# What a loss raises, of libpq and of the client that is made by hand.
LOSSES = (psycopg.Error, Refused, OSError, EOFError)
# Longer than the grace, a relay's restart and an agent's way back; a hang is longer.
HANG_SECONDS = 120.0
# What the relay gives a log-in, a little less.
HANDSHAKE_SECONDS = 9.5


class Ledger:
    """What was seen to be wrong, and how much was done. Shared by all clients."""

    def __init__(self, reasons: Reasons, moves: Moves, say: Callable[[str], None]):
        self.reasons = reasons
        self.moves = moves
        self.say = say
        self.violations: list[str] = []
        self.counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def violation(self, text: str) -> None:
        with self._lock:
            self.violations.append(text)
        self.say(f"VIOLATION: {text}")


class _Connection(psycopg.Connection):
    """Tells of every answer."""

    answered: Callable[[], None] = staticmethod(lambda: None)

    def execute(self, *arguments, **options):
        cursor = super().execute(*arguments, **options)
        self.answered()
        return cursor


class Client(threading.Thread):
    """Connects, works in steps, connects again when a fault took its connection."""

    # Seconds between two steps.
    pause = 0.02

    def __init__(
        self, name: str, share: str, endpoint: Endpoint, ledger: Ledger, seed: int, scopes: set[str]
    ):
        super().__init__(name=name, daemon=True)
        self.share = share
        self.endpoint = endpoint
        self.ledger = ledger
        self.chance = random.Random(f"{seed}/{name}")
        self.scopes = scopes
        self.stopping = threading.Event()
        self.busy_since = time.monotonic()
        self.steps = 0
        # When the connection that counts was dialled.
        self.since = self.busy_since
        # What it was told while it asked nothing.
        self.last_words: str | None = None
        # Whether it has logged in.
        self.is_in = False
        # Whether anything was answered on it.
        self.is_answered = False
        # Whether it is where no relay that drains may end it.
        self.is_under_way = False
        # The harmless faults that were on while it asked; see Cancelling.
        self.disturbed: Callable[[float], bool] = lambda since: False
        # Those of its own way to the relay.
        self.slowed: Callable[[float], bool] = lambda since: False

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._live()
        except Exception as error:  # noqa: BLE001 - a client that dies silently proves nothing
            self.wrong(f"{type(error).__name__}: {error}")

    def _live(self) -> None:
        self.busy_since = time.monotonic()
        self.dials()
        try:
            connection = _Connection.connect(
                self.endpoint.conninfo(application_name=f"chaos {self.name}", connect_timeout="60"),
                autocommit=True,
            )
        except psycopg.Error as error:
            self.lost(error)
            return
        self.is_in = True
        connection.answered = self._answered
        connection.add_notice_handler(self._noticed)
        try:
            self.begin(connection)
            while not self.stopping.is_set():
                self.busy_since = time.monotonic()
                self.step(connection)
                self.steps += 1
                self._answered()
                self._look_whether_overdue()
                self.stopping.wait(self.pause * self.chance.uniform(0.5, 1.5))
        except LOSSES as error:
            self.lost(error)
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def dials(self) -> None:
        """What is lost from now on is a connection that is not made yet."""
        self.since = time.monotonic()
        self.is_in = self.is_answered = self.is_under_way = False
        self.last_words = None

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        # A FATAL that nobody had asked for; what libpq raises then does not say so.
        if notice.severity_nonlocalized == "FATAL":
            self.last_words = notice.sqlstate

    def _answered(self) -> None:
        self.is_answered = True

    @contextlib.contextmanager
    def under_way(self):
        """Of what is done here the database has answered the beginning, and not the end."""
        self.is_under_way = True
        yield
        # Not where it fails: that is what it is for.
        self.is_under_way = False

    def _roll_back(self, connection: psycopg.Connection) -> None:
        # Behind it psycopg forgets what it has prepared, in an exchange that may find it ended.
        self.is_under_way = False
        connection.execute("rollback")

    def begin(self, connection: psycopg.Connection) -> None:
        """Once a connection."""

    def step(self, connection: psycopg.Connection) -> None:
        raise NotImplementedError

    def lost(self, error: Exception) -> None:
        """A connection ended, or was not made: somebody must have done that."""
        state, since = state_of(error), self.since
        if state == LOST and self.last_words is not None:
            state = self.last_words
        slow = time.monotonic() - since > HANDSHAKE_SECONDS and self.disturbed(since)
        loss = Loss(
            self.share, since, state, self.is_in, self.is_answered, self.is_under_way,
            self.slowed(since),
        )  # fmt: skip
        # Within TLS's handshake nobody can be told anything.
        if state in (TOO_SLOW, LOST) and slow and not self.is_in:
            self.ledger.count("log-ins held up for too long")
        elif self.ledger.reasons.explain(self.scopes, self.ledger.moves.horizon(loss), state):
            self.ledger.count("connections lost")
        elif words := self.ledger.moves.explain(loss):
            self.ledger.count(words)
            if words == "clients moved on":
                self.moved_on()
        else:
            age = time.monotonic() - since
            where = ", in the middle" if self.is_under_way else ""
            self.wrong(f"{state} without a reason, {age:.1f} s after it began{where}: {error!r}")
        self.stopping.wait(self.chance.uniform(0.1, 0.4))

    def moved_on(self) -> None:
        """The relay has ended it at rest: what it had just asked was not done."""

    def _look_whether_overdue(self) -> None:
        if self.ledger.moves.is_overdue(self.since, self.busy_since) and not self.disturbed(
            self.busy_since
        ):
            self.wrong("is served by a relay that was replaced, as if nothing had happened")

    def wrong(self, text: str) -> None:
        self.ledger.violation(f"{self.name}: {text}")

    def expect(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.wrong(f"{what} is {str(found)[:200]}, not {str(wanted)[:200]}")

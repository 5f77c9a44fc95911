"""Clients of a relay that is replaced by the next one: what each of them may lose by it, exactly."""

import threading
import time
from dataclasses import dataclass

from .reasons import BY_AGENT, LOST, Reasons

# What the relay before says to who is at rest, or was not ready in time.
STOPPING = "57P01"
# Whoever has just logged in may take this long to ask the first question; the relay's number is 2.
FIRST_QUESTION_SECONDS = 1.9
# Until the relay before has seen that it is replaced, and ended who is at rest: a busy machine's.
NOTICE_SECONDS = 6.0
# Until a client looks at its connection again, and sees that it is gone; see Idling.
LOOK_SECONDS = 8.0
# Agents that a bad network keeps away are awaited in a relay's first 30 s, for 10 s each.
AWAITED_SECONDS = 40.0


@dataclass
class Move:
    """One relay begins beside another, which waits for transactions for `lasts` seconds."""

    lasts: float
    began: float
    # Shares to whose agents and databases nothing else happens meanwhile, nor did just before.
    calm: set[str]
    # All that connect later are the next relay's.
    served: float = float("inf")


@dataclass
class Loss:
    """A connection that ended, or was not made."""

    share: str
    # When it was dialled.
    since: float
    state: str
    # Whether it had logged in.
    is_in: bool
    # Whether the database had answered anything on it, the log-in apart.
    is_answered: bool
    # In a transaction, or a COPY whose first byte has come.
    is_under_way: bool
    # Whether its own way to the relay was bad.
    is_slow: bool


class Moves:
    """All replacements of a run."""

    def __init__(self, disturbances: Reasons) -> None:
        self._disturbances = disturbances
        self._lock = threading.Lock()
        self._moves: list[Move] = []

    def begin(self, lasts: float, calm: set[str]) -> Move:
        move = Move(lasts, time.monotonic(), calm)
        with self._lock:
            self._moves.append(move)
        return move

    def _all(self) -> list[Move]:
        with self._lock:
            return list(self._moves)

    def horizon(self, loss: Loss) -> float:
        """Since when a fault may be the reason: what a connection has outlived is none."""
        lived = [
            move.began - LOOK_SECONDS
            for move in self._all()
            if loss.is_in and loss.since <= move.served and loss.share in move.calm
        ]
        return max([loss.since, *lived])

    def explain(self, loss: Loss) -> str | None:
        """What became of it, in words; None where no replacement may do that."""
        now = time.monotonic()
        found = (self._explain(move, loss, now) for move in self._all() if move.began <= now)
        return next((words for words in found if words), None)

    def _explain(self, move: Move, loss: Loss, now: float) -> str | None:
        is_before = loss.since <= move.served
        if is_before and not loss.is_in and loss.state in (STOPPING, LOST):
            # Within TLS's handshake nobody can be told anything.
            if loss.is_slow:
                return "log-ins held up for too long"
            if loss.state == STOPPING:
                return None
        elif is_before and loss.state == STOPPING:
            if loss.is_under_way:
                if now >= move.began + move.lasts:
                    return "transactions longer than the drain"
            elif loss.is_answered or loss.is_slow or now - loss.since > FIRST_QUESTION_SECONDS:
                return "clients moved on"
        return self._explain_by_network(move, loss)

    def _explain_by_network(self, move: Move, loss: Loss) -> str | None:
        """A link that is cut cannot be resumed at a relay that drains."""
        is_before = loss.since <= move.served
        is_awaited = not loss.is_in and loss.since <= move.served + AWAITED_SECONDS
        if loss.state not in BY_AGENT or not (is_before or is_awaited):
            return None
        is_cut = self._disturbances.explain({tunnel_of(loss.share)}, move.began, "any")
        return "links cut while a relay drained" if is_cut else None

    def is_overdue(self, since: float, began: float) -> bool:
        """Whether something that began then was done on a connection that was to be ended before."""
        return any(
            since < move.began and began > move.served + NOTICE_SECONDS for move in self._all()
        )


def tunnel_of(share: str) -> str:
    """The scope of what happens to the network between a share's agent and the relay."""
    return f"{share}/tunnel"


class Calm:
    """Keeps the network of some shares fair for a while: whose faults come are held up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: set[str] = set()
        self._busy: set[str] = set()

    def enter(self, lane: str) -> float:
        """A fault of this lane begins, once it may; returns the seconds that it was held up."""
        began = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: lane not in self._kept)
            self._busy.add(lane)
        return time.monotonic() - began

    def leave(self, lane: str) -> None:
        with self._changed:
            self._busy.discard(lane)
            self._changed.notify_all()

    def keep(self, lanes: set[str], seconds: float) -> bool:
        """Returns when no fault of theirs is on; whether that was in time."""
        with self._changed:
            self._kept |= lanes
            return self._changed.wait_for(lambda: not self._busy & lanes, seconds)

    def release(self, lanes: set[str]) -> None:
        with self._changed:
            self._kept -= lanes
            self._changed.notify_all()

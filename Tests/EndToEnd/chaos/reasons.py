"""What a client may lay its misfortune to: windows of time in which a fault explains an error."""

import re
import threading
import time
from dataclasses import dataclass

import psycopg
from harness import tools
from harness.wire import Refused

# A connection that ended without a word, or was never made.
LOST = "lost"
# A log-in that some network held up for longer than the relay waits.
TOO_SLOW = "08P01"

BY_AGENT = frozenset({"08006", "57P01", "57P03", LOST})
BY_RELAY = frozenset({"57P01", "57P03", "08006", LOST})
# 57P02: a crash of another backend; 57P03: starting up; 08001: no server; 08004: it refused.
BY_DATABASE = frozenset({"57P01", "57P02", "57P03", "08001", "08004", "08006", LOST})
BY_DOOR = frozenset({LOST, "08P01"})


@dataclass
class Window:
    """A fault that may cost the connections of a scope, while it is open."""

    scope: str
    what: str
    states: frozenset[str]
    begin: float
    end: float = float("inf")

    def close(self) -> None:
        # What has just been let in again may still meet the last of it.
        self.end = time.monotonic() + 1


class Reasons:
    """All windows of a run. A scope is a share, or the door that some of its clients use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: list[Window] = []

    def open(self, scope: str, what: str, states: frozenset[str]) -> Window:
        window = Window(scope, what, states, time.monotonic())
        with self._lock:
            self._windows.append(window)
        return window

    def explain(self, scopes: set[str], since: float, state: str) -> bool:
        """Whether a connection that stood (or was tried) from `since` to now may end like this."""
        now = time.monotonic()
        with self._lock:
            return any(
                window.scope in scopes
                and state in window.states
                and window.begin <= now
                and window.end >= since
                for window in self._windows
            )


def _sentences() -> dict[str, str]:
    """What the relay tells clients, to its SQLSTATE. Source: PROTOCOL.md, section 11."""
    text = (tools.ROOT / "PROTOCOL.md").read_text()
    text = text[text.index("## 11.") : text.index("## 12.")]
    rows = re.findall(r"^\| `\w+` \| (\w{5}) \| ([^|]+?) \|", text, re.M)
    # The agent's sentences end before the advice.
    return {sentence.split(";")[0]: state for state, sentence in rows}


_SENTENCES = _sentences()
_OTHERS = {
    # libpq does not show what it was: the deadline passed before TLS began.
    r"server sent an error response during SSL exchange": TOO_SLOW,
    r"the database system is (starting up|shutting down|in recovery|not yet accepting)": "57P03",
    # The agent, of its database.
    r"the shared database is starting up or shutting down": "57P03",
    r"the shared database cannot be reached": "08001",
    r"terminating connection due to administrator command": "57P01",
    r"terminating connection because of (crash|unexpected)": "57P02",
}
_BROKEN = re.compile(
    r"refused|reset by peer|closed the connection|connection (is|was|already)? ?(lost|closed|bad)"
    r"|SSL (SYSCALL|connection has been closed|error: unexpected eof)|EOF detected|Broken pipe"
    r"|timeout expired|sending (query|copy)|not a valid.*response|no connection to the server"
    r"|server closed|could not (send|receive)|consuming input failed|flushing failed",
    re.I,
)


def state_of(error: Exception) -> str:
    """The SQLSTATE of an error; libpq has none for log-ins, so it is found by the sentence."""
    if isinstance(error, Refused):
        return error.state
    if isinstance(error, OSError | EOFError):
        return LOST
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return error.sqlstate
    text = str(error)
    for sentence, state in _SENTENCES.items():
        if sentence in text:
            return state
    for pattern, state in _OTHERS.items():
        if re.search(pattern, text):
            return state
    return LOST if _BROKEN.search(text) else f"unknown: {text.strip()}"

"""Bounded waiting: every wait has a reason in words and a limit in seconds."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

# Generous: a debug build on two busy cores. A test that is right never waits this long.
PATIENCE = 30.0


def wait_for(what: str, probe: Callable[[], Value | None], seconds: float = PATIENCE) -> Value:
    """Asks `probe` until it answers something true; fails naming `what` when the time is over."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def stays_true(what: str, probe: Callable[[], object], seconds: float) -> None:
    """Asks `probe` again and again for a while; fails the moment that it says no."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not probe():
            raise AssertionError(f"no longer true: {what}")
        time.sleep(0.05)

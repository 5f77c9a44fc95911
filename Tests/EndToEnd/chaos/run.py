"""A run: the faults of a schedule, the clients, and the verdict."""

import argparse
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, field

from harness import tools
from harness.waiting import wait_for

from .audit import Audit
from .client import HANG_SECONDS, Client, Ledger
from .clients import (
    Banking, Cancelling, Copying, Idling, Leaving, Listening, Notifying, Preparing,
)  # fmt: skip
from .moves import Moves
from .reasons import Reasons
from .schedule import Fault, plan
from .stage import SHARES, Stage


@dataclass
class Outcome:
    """What a run came to."""

    seed: int
    seconds: float
    faults: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def line(self) -> str:
        words = [f"{self.faults} faults"]
        words += [f"{number} {what}" for what, number in sorted(self.counts.items())]
        return f"chaos: {', '.join(words)}; {len(self.violations)} violations"


class Run:
    """One run of one seed."""

    def __init__(self, seed: int, seconds: float, say=print):
        self.seed = seed
        self.seconds = seconds
        self.start = time.monotonic()
        self._say = say
        self._last = threading.Event()
        self._applied = 0
        self._lock = threading.Lock()
        # Every fault, the harmless ones too: what may keep somebody waiting.
        self.disturbances = Reasons()
        self.ledger = Ledger(Reasons(), Moves(self.disturbances), self.say)

    def say(self, text: str) -> None:
        with self._lock:
            self._say(f"{time.monotonic() - self.start:7.1f} s  {text}")

    def run(self) -> Outcome:
        faults = plan(self.seed, self.seconds, SHARES)
        # Half of the seeds have tunnels of two links.
        stage = Stage(self.ledger, self.disturbances, links=1 + self.seed % 2)
        lanes: list[threading.Thread] = []
        try:
            audit = Audit(stage, self.ledger)
            audit.prepare()
            self.start = time.monotonic()
            clients = self._clients(stage)
            self._let_loose(stage, clients, faults, audit, lanes)
            audit.verdict(clients)
        finally:
            self._last.set()
            for lane in lanes:
                lane.join(timeout=HANG_SECONDS)
            stage.close()
        for crash in stage.crashed():
            self.ledger.violation(crash)
        return Outcome(
            self.seed, self.seconds, self._applied, self.ledger.counts, self.ledger.violations
        )

    def _clients(self, stage: Stage) -> list[Client]:
        clients: list[Client] = []

        def add(kind: type[Client], share: str, number: int, by_door: bool, **more) -> Client:
            each = stage.agents[share]
            endpoint = each.through_door if by_door else each.direct
            scopes = {share, f"{share}/door"} if by_door else {share}
            name = f"{kind.__name__.lower()}-{share}{number}"
            client = kind(name, share, endpoint, self.ledger, self.seed, scopes, **more)
            own = scopes - {share}
            client.disturbed = lambda since: self.disturbances.explain(scopes, since, "any")
            client.slowed = lambda since: self.disturbances.explain(own, since, "any")
            clients.append(client)
            return client

        for number, share in enumerate(SHARES):
            odd = bool(number % 2)
            add(Banking, share, 1, True)
            add(Banking, share, 2, False)
            add(Copying, share, 1, odd)
            notifier = add(Notifying, share, 1, odd)
            add(Listening, share, 1, not odd, notifier=notifier)
            add(Preparing, share, 1, not odd)
            add(Cancelling, share, 1, odd)
            add(Idling, share, 1, not odd)
        add(Leaving, "a", 1, False)
        add(Leaving, "c", 1, True)
        return clients

    def _let_loose(
        self, stage: Stage, clients: list[Client], faults: list[Fault], audit: Audit,
        lanes: list[threading.Thread],
    ) -> None:  # fmt: skip
        for client in clients:
            client.start()
        for lane in sorted({fault.lane for fault in faults}):
            drive = {"target": self._drive, "args": (stage, lane, faults)}
            lanes.append(threading.Thread(name=lane, daemon=True, **drive))
        for lane in lanes:
            lane.start()
        end = self.start + self.seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(5, left))
            audit.sample()
            self._look_for_hangs(clients)
        self._last.set()
        for lane in lanes:
            lane.join(timeout=HANG_SECONDS * 2)
            if lane.is_alive():
                self.ledger.violation(f"the faults of {lane.name} did not end")
        # In fair weather everybody gets on.
        for share in SHARES:
            stage.wait_served(share)
        steps = {client: client.steps for client in clients}
        idle = [client for client in clients if not isinstance(client, Idling)]
        try:
            wait_for("", lambda: all(each.steps > steps[each] for each in idle), 60)
        except TimeoutError:
            stuck = [each.name for each in idle if each.steps <= steps[each]]
            self.ledger.violation(f"do not get on in fair weather: {', '.join(stuck)}")
        audit.hear_the_last(clients)
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join(timeout=HANG_SECONDS)
            if client.is_alive():
                self.ledger.violation(f"{client.name} hangs")

    def _look_for_hangs(self, clients: list[Client]) -> None:
        for client in clients:
            if time.monotonic() - client.busy_since > HANG_SECONDS:
                self.ledger.violation(f"{client.name} has waited for {HANG_SECONDS:.0f} s")
                client.busy_since = time.monotonic()

    def _drive(self, stage: Stage, lane: str, faults: list[Fault]) -> None:
        held_up = 0.0
        for fault in (each for each in faults if each.lane == lane):
            wait = self.start + fault.at + held_up - time.monotonic()
            if self._last.wait(max(wait, 0)):
                return
            held_up += stage.calm.enter(lane)
            try:
                if self._last.is_set():
                    return
                began = time.monotonic()
                self._apply(stage, fault)
                if fault.kind == "take-over":
                    # It takes as long as its clients do; a rest comes behind it all the same.
                    held_up += time.monotonic() - began
            finally:
                stage.calm.leave(lane)

    def _apply(self, stage: Stage, fault: Fault) -> None:
        self.say(fault.line())
        with self._lock:
            self._applied += 1
        try:
            stage.apply(fault, self._last)
        except Exception as error:  # noqa: BLE001 - a fault that cannot be made is a finding
            self.ledger.violation(f"{fault.line()}: {type(error).__name__}: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/chaos")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--binary", help="a built pgshare")
    options = parser.parse_args()
    if options.binary:
        os.environ["PGSHARE_BIN"] = options.binary

    def say(text: str) -> None:
        print(text, flush=True)

    # Asked to end, it takes its processes with it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    say(f"chaos: seed {options.seed}, {options.seconds:.0f} s, {tools.pgshare_binary()}")
    outcome = Run(options.seed, options.seconds, say).run()
    for violation in outcome.violations:
        say(f"violation: {violation}")
    if outcome.violations:
        say(f"again: scripts/chaos --seconds {options.seconds:.0f} --seed {options.seed}")
    say(outcome.line())
    return 1 if outcome.violations else 0



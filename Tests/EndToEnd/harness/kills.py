"""Deploys of which something dies at a random moment, and what must be true afterwards.

scripts/deploy-kills runs many rounds of it, test_deploy_kills.py a few.
"""

import argparse
import contextlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from .certificates import Authority
from .kill_stage import Deploy, KillStage, State, digest, dump, next_version, until

METHODS = {"in-place": ["--method", "in-place"], "swap": ["--method", "swap", "--jobs", "2"]}

# Who dies, and how often in comparison.
VICTIMS = {
    "deploy": 6,
    "pg_dump": 2,
    "pg_restore": 4,
    "relay": 2,
    "agent": 2,
    "target backend": 4,
    "source backend": 2,
    "target postmaster": 3,
    "target connections": 4,
    "target connections for 1 s": 2,
}

# Phases at which a kill is aimed, and how often in comparison. The ends of a transaction and of a
# swap last for milliseconds, so that a moment picked evenly would hardly ever meet them.
AIMS = {
    "in-place": {
        "": 10, "planning": 1, "setting-aside": 2, "schema": 1, "data": 2, "large-objects": 1,
        "indexes": 1, "verifying": 1, "end of verifying": 4, "committing": 4, "analyzing": 1,
    },
    "swap": {
        "": 10, "planning": 1, "schema": 1, "data": 2, "large-objects": 1, "indexes": 1,
        "verifying": 1, "analyzing": 1, "end of analyzing": 3, "swapping": 8,
    },
}  # fmt: skip

# How long a phase may take that is over in no time, in seconds.
_LEAST = {"committing": 0.02, "swapping": 0.1}
# The longest that a deploy of this size may take after something died, in seconds.
PATIENCE = 150.0


class Broken(AssertionError):
    """What must never be."""


def expect(condition: object, sentence: str) -> None:
    if not condition:
        raise Broken(sentence)


@dataclass
class Timing:
    """How long deploys take when nothing dies: learned on the way."""

    whole: float = 3.0
    phases: dict[str, float] = field(default_factory=dict)

    def learn(self, deploy: Deploy) -> None:
        """From a deploy that worked and has just ended."""
        self.whole = deploy.age
        stamps = [*deploy.stamps, (self.whole, "")]
        self.phases = {
            phase: after - at for (at, phase), (after, _) in itertools.pairwise(stamps)
        }

    def of(self, phase: str) -> float:
        return max(self.phases.get(phase, 0.1), _LEAST.get(phase, 0.01))


@dataclass
class Outcome:
    """What came of a round."""

    seed: int
    method: str
    kind: str
    victim: str
    aim: str
    moment: str = ""
    verdict: str = ""
    said: str = ""
    broken: str | None = None

    def line(self) -> str:
        verdict = f"BROKEN: {self.broken}" if self.broken else self.verdict
        return (
            f"seed {self.seed}  {self.method:8} {self.kind:8} {self.victim:26} "
            f"{self.aim:>16} {self.moment:28} {verdict}  [{self.said}]"
        )


def chosen(random_: random.Random, weights: dict[str, int]) -> str:
    return random_.choices(list(weights), list(weights.values()))[0]


class Round:
    """One deploy that something happens to."""

    def __init__(self, stage: KillStage, method: str, seed: int, timing: Timing):
        self.stage = stage
        self.method = method
        self.random = random.Random(seed)
        self.timing = timing
        kind = self.random.choice(["first", "again", "again"])
        victim = chosen(self.random, VICTIMS)
        # A tool lives in its own phases.
        aim = "" if victim.startswith("pg_") else chosen(self.random, AIMS[method])
        self.outcome = Outcome(seed, method, kind, victim, aim)
        self.mending: list[Callable[[], None]] = []

    def run(self) -> Outcome:
        try:
            self._run()
        except (Broken, AssertionError, TimeoutError) as error:
            self.outcome.broken = " ".join(str(error).split())[-1500:]
        return self.outcome

    def _run(self) -> None:
        stage = self.stage
        if self.outcome.kind == "first":
            stage.empty_target()
        elif not State(stage.target).ledger:
            self._next_deploy("the deploy before the kill", digest(dump(stage.source)))
        next_version(stage.source)
        before = State(stage.target)
        wanted = digest(dump(stage.source))
        deploy = stage.start(*METHODS[self.method])
        try:
            self._kill(deploy)
            status = deploy.wait_end(PATIENCE)
        except Exception:
            deploy.stop()
            raise
        finally:
            for mend in self.mending:
                mend()
        self.outcome.said = f"exit {status}" + (f", {deploy.said}" if deploy.said else "")
        stage.wait_target()
        stage.wait_source()
        stage.wait_quiet()
        self._judge(deploy, status, before, State(stage.target), wanted)
        self._judge_history(deploy, status)
        # A sequence of a server that crashed goes on a few numbers later.
        self._next_deploy("the next deploy", digest(dump(stage.source)))

    # The kill

    def _kill(self, deploy: Deploy) -> None:
        victim, aim = self.outcome.victim, self.outcome.aim
        if victim in ("pg_dump", "pg_restore"):
            done = self._kill_tool(deploy, victim)
        else:
            self._open_monitor(victim)
            if aim:
                if deploy.wait_phase(aim.removeprefix("end of ")):
                    self._wait(deploy, self._delay(aim))
            else:
                self._wait(deploy, self.random.uniform(0, self.timing.whole * 1.05))
            done = self._act(deploy, victim)
        if not done:
            self.outcome.moment += " (nothing to kill)"

    def _open_monitor(self, victim: str) -> None:
        """Before the moment: connecting takes time."""
        if victim.endswith(" backend"):
            cluster = self.stage.target if victim.startswith("target") else self.stage.source
            self.monitor = psycopg.connect(cluster.conninfo(), autocommit=True)

    def _delay(self, aim: str) -> float:
        """Seconds from the phase's beginning."""
        if aim.startswith("end of "):
            whole = self.timing.of(aim.removeprefix("end of "))
            return max(0, self.random.gauss(whole, 0.02))
        # Towards its beginning: the event itself is late by a moment.
        return self.timing.of(aim) * self.random.random() ** 2

    def _wait(self, deploy: Deploy, seconds: float) -> None:
        with contextlib.suppress(Exception):
            deploy.process.wait(seconds)

    def _note(self, deploy: Deploy) -> None:
        over = "" if deploy.is_running else " (over)"
        self.outcome.moment = f"{deploy.phase()} at {deploy.age:.3f} s{over}"

    def _kill_tool(self, deploy: Deploy, program: str) -> bool:
        """The tool that is running after a random one of its starts."""
        starts = self.random.randint(1, 3)
        seen: set[int] = set()
        pid = None
        while deploy.is_running:
            new = [pid for pid in deploy.children(program) if pid not in seen]
            seen |= set(new)
            if new and len(seen) >= starts:
                pid = new[0]
                break
            time.sleep(0.001)
        self._wait(deploy, self.random.uniform(0, 0.1))
        self._note(deploy)
        if pid is None or pid not in deploy.children(program):
            return False
        return self._signal(pid)

    @staticmethod
    def _signal(pid: int) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
            return True
        return False

    def _act(self, deploy: Deploy, victim: str) -> bool:
        stage = self.stage
        match victim:
            case "deploy":
                self._note(deploy)
                running = deploy.is_running
                deploy.process.kill()
                return running
            case "relay":
                self._note(deploy)
                stage.relay.child.process.kill()
                stage.relay.child.wait_end()
                self._wait(deploy, self.random.uniform(0, 1))
                stage.relay.start()
                self.mending.append(stage.wait_online)
                return True
            case "agent":
                self._note(deploy)
                stage.agent.child.process.kill()
                stage.agent.child.wait_end()
                self.mending.append(stage.new_agent)
                return True
            case "target backend" | "source backend":
                return self._kill_backend(deploy)
            case "target postmaster":
                self._note(deploy)
                stage.crash_target()
                self._wait(deploy, self.random.uniform(0, 1))
                stage.restart_target()
                return True
            case "target connections":
                self._note(deploy)
                return stage.proxy.cut() > 0
            case "target connections for 1 s":
                self._note(deploy)
                stage.proxy.refuses = True
                cut = stage.proxy.cut()
                back = threading.Timer(1.0, setattr, (stage.proxy, "refuses", False))
                back.start()
                self.mending.append(back.join)
                return cut > 0
        raise ValueError(victim)

    def _kill_backend(self, deploy: Deploy) -> bool:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND application_name ~ '^(pgshare|pg_dump|pg_restore)' ORDER BY pid"
        )
        with self.monitor as monitor:
            pids = [row[0] for row in monitor.execute(query).fetchall()]
        self._note(deploy)
        return bool(pids) and self._signal(self.random.choice(pids))

    # What must be true

    def _judge(
        self, deploy: Deploy, status: int, before: State, after: State, wanted: str
    ) -> None:
        is_untouched = after == before
        is_complete = after.deployed == wanted and deploy.id in after.ledger
        self.outcome.verdict = "complete" if is_complete else "untouched" if is_untouched else "?"
        expect(
            is_untouched or is_complete,
            f"the target is half-way: before {vars(before)}, after {vars(after)}, "
            f"wanted {wanted}, id {deploy.id}; {deploy.message()}",
        )
        expect(not (is_untouched and deploy.id in after.ledger), "the ledger has a deploy that is not")
        was = self.outcome.verdict
        if status == 0 or deploy.named("committed") or deploy.named("finished"):
            expect(was == "complete", f"it said that it is done (exit {status})")
        if deploy.named("rolled_back"):
            expect(was == "untouched", "it said that it rolled back")
        if status > 0:
            said = deploy.said or "untouched"
            expect(said in (was, "unknown"), f"it said {said}: {deploy.message()}")
        if status < 0:
            expect(self.outcome.victim == "deploy", f"it crashed by itself: {deploy.everything()}")
        expect(deploy.password not in deploy.everything(), "the password was shown")

    def _judge_history(self, deploy: Deploy, status: int) -> None:
        entry = self.stage.history().get(deploy.id or "")
        if deploy.id is None:
            return
        expect(entry is not None, "the history does not know the run")
        states = {0: {"succeeded"}, 1: {"failed"}}.get(status, {"crashed", "succeeded"})
        expect(entry["state"] in states, f"the history says {entry['state']} of exit {status}")
        if status < 0 and not deploy.named("finished"):
            expect(entry["state"] == "crashed", f"the history says {entry['state']} of a crash")

    def _next_deploy(self, what: str, wanted: str) -> None:
        stage = self.stage
        deploy = stage.deploy(*METHODS[self.method], seconds=PATIENCE)
        status = deploy.process.returncode
        expect(status == 0, f"{what} failed: {deploy.message()}")
        after = State(stage.target)
        expect(after.deployed == wanted, f"{what} deployed something else")
        left = stage.databases("pgshare_stage_%") + stage.files() + stage.tools_running()
        expect(not left, f"{what} left behind {left}")
        expect(until(lambda: not stage.sessions(), 10), f"{what} left {stage.sessions()}")
        self.timing.learn(deploy)


class Kills:
    """Many rounds on one stage."""

    def __init__(self, stage: KillStage, method: str):
        self.stage = stage
        self.method = method
        self.timing = Timing()

    def calibrate(self) -> None:
        """Learns how long it takes when nothing happens."""
        self.stage.empty_target()
        for _ in range(2):
            deploy = self.stage.deploy(*METHODS[self.method])
            expect(deploy.process.returncode == 0, f"nothing was killed: {deploy.everything()}")
            self.timing.learn(deploy)

    def round(self, seed: int) -> Outcome:
        return Round(self.stage, self.method, seed, self.timing).run()


def run(rounds: int, methods: list[str], seed: int, say: Callable[[str], None], rows: int) -> int:
    """Returns how many rounds were broken."""
    folder = Path(tempfile.mkdtemp(prefix="pgshare-kills-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "authority").mkdir()
    count = {"complete": 0, "untouched": 0, "broken": 0}
    try:
        for method in methods:
            place = folder / method[0]
            place.mkdir()
            stage = KillStage(place, Authority(folder / "authority"), rows)
            try:
                kills = Kills(stage, method)
                kills.calibrate()
                for number in range(rounds):
                    outcome = kills.round(seed + number)
                    count["broken" if outcome.broken else outcome.verdict] += 1
                    say(outcome.line())
            finally:
                stage.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(
        f"{sum(count.values())} rounds: {count['complete']} complete, "
        f"{count['untouched']} untouched, {count['broken']} broken"
    )
    return count["broken"]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/deploy-kills",
        description="Kills one process of a deploy at a random moment, again and again, and looks "
        "whether the target is complete or untouched each time.",
    )
    parser.add_argument("--rounds", type=int, default=100, help="of each method; default: 100")
    parser.add_argument("--method", choices=[*METHODS, "both"], default="both")
    parser.add_argument("--seed", type=int, help="of the first round; the others count up")
    parser.add_argument("--rows", type=int, default=5000, help="of the larger tables")
    parser.add_argument("--log", type=Path, help="a file that gets the lines too")
    words = parser.parse_args()
    # Whoever ends this ends its servers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = random.SystemRandom().randrange(1_000_000) if words.seed is None else words.seed
    methods = list(METHODS) if words.method == "both" else [words.method]
    with open(words.log, "w") if words.log else contextlib.nullcontext() as log:

        def say(line: str) -> None:
            print(line, flush=True)
            if log is not None:
                print(line, file=log, flush=True)

        return 1 if run(words.rounds, methods, seed, say, words.rows) else 0


if __name__ == "__main__":
    sys.exit(main())

"""The short chaos run: scripts/chaos with a seed that is always the same, and one that never is."""

import random
import time

import psycopg
import pytest
from chaos.reasons import BY_AGENT, LOST, Reasons, state_of
from chaos.run import Run
from chaos.schedule import plan
from chaos.stage import SHARES

pytestmark = pytest.mark.relayed

FIXED = 20261121
SECONDS = 25


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["fixed", "random"])
def test_whatever_fails_no_client_loses_more_than_its_connection(kind, record_property):
    seed = FIXED if kind == "fixed" else random.SystemRandom().randrange(1 << 32)
    record_property("seed", seed)
    print(f"again: scripts/chaos --seconds {SECONDS} --seed {seed}")
    outcome = Run(seed, SECONDS).run()
    assert not outcome.violations, f"seed {seed}:\n" + "\n".join(outcome.violations)
    # Otherwise it has proved nothing.
    assert outcome.faults > 20, outcome.line()
    for what in ("transactions", "copies", "cancels", "notifications", "results abandoned"):
        assert outcome.counts.get(what, 0) > 0, outcome.line()


def test_a_seed_is_a_schedule():
    assert plan(7, 60, SHARES) == plan(7, 60, SHARES)
    assert plan(7, 60, SHARES) != plan(8, 60, SHARES)
    for seed in range(50):
        faults = plan(seed, 60, SHARES)
        for lane in {fault.lane for fault in faults}:
            mine = [fault for fault in faults if fault.lane == lane]
            for first, second in zip(mine, mine[1:], strict=False):
                assert first.at + first.seconds < second.at


def test_a_lost_connection_needs_a_reason_of_its_own_time_and_place():
    reasons = Reasons()
    since = time.monotonic()
    assert not reasons.explain({"a"}, since, LOST)
    window = reasons.open("a", "agent-kill", BY_AGENT)
    assert reasons.explain({"a", "a/door"}, since, "08006")
    assert not reasons.explain({"b"}, since, "08006")
    assert not reasons.explain({"a"}, since, "28P01")
    window.close()
    assert reasons.explain({"a"}, since, LOST)
    assert not reasons.explain({"a"}, window.end + 0.001, LOST)


def test_a_refusal_without_a_sqlstate_is_known_by_its_sentence():
    said = "FATAL:  the agent is not connected; try again shortly"
    assert state_of(psycopg.OperationalError(said)) == "57P03"
    assert state_of(psycopg.OperationalError("Connection refused")) == LOST
    assert state_of(psycopg.OperationalError("something new")).startswith("unknown")

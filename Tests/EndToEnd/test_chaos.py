"""The short chaos run: scripts/chaos with a seed that is always the same, and one that never is."""

import random
import threading
import time

import psycopg
import pytest
from chaos.moves import STOPPING, Calm, Loss, Moves, tunnel_of
from chaos.reasons import BY_AGENT, LOST, Reasons, state_of
from chaos.run import Run
from chaos.schedule import plan
from chaos.stage import SHARES

pytestmark = pytest.mark.relayed

# Settings are read again in it, and a relay is replaced.
FIXED = 23
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
    done = ["transactions", "copies", "cancels", "notifications", "results abandoned"]
    if kind == "fixed":
        done += ["relays replaced", "clients moved on", "settings read again"]
    for what in done:
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


def loss(**changes) -> Loss:
    """Of a client that was at rest at the relay before."""
    usual = {
        "share": "a", "since": time.monotonic() - 60, "state": STOPPING, "is_in": True,
        "is_answered": True, "is_under_way": False, "is_slow": False,
    }  # fmt: skip
    return Loss(**{**usual, **changes})


def test_a_relay_that_is_replaced_may_end_its_own_clients_at_rest_alone():
    moves = Moves(Reasons())
    assert not moves.explain(loss())
    move = moves.begin(20, {"a"})
    assert moves.explain(loss()) == "clients moved on"
    move.served = time.monotonic()
    assert moves.explain(loss()) == "clients moved on"
    for wrong in (
        {"is_under_way": True}, {"is_in": False}, {"state": LOST}, {"state": "08006"},
        {"since": move.served + 0.001}, {"since": time.monotonic() - 1, "is_answered": False},
    ):  # fmt: skip
        assert not moves.explain(loss(**wrong)), wrong
    assert moves.explain(loss(is_in=False, is_slow=True))
    move.began -= 20
    assert moves.explain(loss(is_under_way=True)) == "transactions longer than the drain"
    assert not moves.explain(loss(is_under_way=True, state=LOST))


def test_a_cut_link_is_lost_at_a_relay_that_drains():
    disturbances = Reasons()
    moves = Moves(disturbances)
    disturbances.open(tunnel_of("b"), "", frozenset({"any"}))
    move = moves.begin(20, {"a"})
    move.served = time.monotonic()
    assert moves.explain(loss(share="b", is_under_way=True, state="08006"))
    assert moves.explain(loss(share="b", since=move.served + 1, state="57P03", is_in=False))
    assert not moves.explain(loss(share="b", since=move.served + 1, state="08006"))
    assert not moves.explain(loss(share="a", is_under_way=True, state="08006"))


def test_a_connection_that_outlived_a_fault_is_not_lost_by_it():
    moves = Moves(Reasons())
    old = loss()
    assert moves.horizon(old) == old.since
    move = moves.begin(20, {"a"})
    assert moves.horizon(old) > old.since
    assert moves.horizon(loss(share="b", since=old.since)) == old.since
    move.served = move.began + 1
    assert not moves.is_overdue(old.since, move.served + 1)
    assert moves.is_overdue(old.since, move.served + 60)
    assert not moves.is_overdue(move.served, move.served + 60)


def test_faults_are_held_up_while_their_lane_is_to_be_calm():
    calm = Calm()
    assert calm.enter("tunnel a") < 1
    assert not calm.keep({"tunnel a"}, 0.01)
    calm.leave("tunnel a")
    assert calm.keep({"tunnel a"}, 0.01)
    assert calm.enter("tunnel b") < 1
    threading.Timer(0.2, calm.release, [{"tunnel a"}]).start()
    assert calm.enter("tunnel a") > 0.1


def test_a_refusal_without_a_sqlstate_is_known_by_its_sentence():
    said = "FATAL:  the agent is not connected; try again shortly"
    assert state_of(psycopg.OperationalError(said)) == "57P03"
    assert state_of(psycopg.OperationalError("Connection refused")) == LOST
    assert state_of(psycopg.OperationalError("something new")).startswith("unknown")

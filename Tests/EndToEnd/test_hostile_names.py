"""Which shares there are, nobody learns by asking: the same bytes, and the same time, measured."""

import base64
import contextlib
import gc
import json
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from harness.cluster import Cluster
from harness.endpoint import Endpoint
from harness.pgshare import Agent, Relay
from harness.strangers import Login, source
from harness.waiting import wait_for
from harness.wire import Refused, WireClient, answers

pytestmark = [pytest.mark.relayed, pytest.mark.timeout(180)]

WRONG = "not the password"
# A difference that is proved to be more than this is a leak; the test aims to see twice as much.
LEAK_MICROSECONDS = 50
# Rounds of one login each, at least and at most.
ROUNDS = 120, 1500
SECONDS = 25


@dataclass
class Names:
    relay: Relay
    # What is asked for: a live share, one that never was, one that has expired, one revoked.
    kinds: dict[str, Endpoint]


@pytest.fixture(scope="module")
def names(folder, cluster: Cluster) -> Iterator[Names]:
    relay = Relay(folder / "names-relay")
    live, expired, revoked = (
        Agent(relay, cluster, *more) for more in ((), ("--expires", "1s"), ())
    )
    assert relay.command("shares", "revoke", revoked.shared["id"]).returncode == 0
    unknown = "0" * 15 + "1"
    user = live.endpoint.user.replace(live.endpoint.share_id, unknown)
    kinds = {
        "live": live.endpoint,
        "unknown": replace(live.endpoint, user=user, share_id=unknown),
        "expired": expired.endpoint,
        "revoked": revoked.endpoint,
    }
    wait_for("the share to expire", lambda: not answers(expired.endpoint))
    yield Names(relay, {name: replace(at, password=WRONG) for name, at in kinds.items()})
    for agent in (live, expired, revoked):
        agent.stop()
    relay.stop()


def dialogue(endpoint: Endpoint, address: str) -> list[bytes]:
    """All that a guesser is told, the nonce and the name of the share aside."""
    with Login(endpoint, address) as login:
        offered = login.read()
        login.first()
        first = login.read()
        login.final(first.body[4:], endpoint.password)
        end = login.read()
    words = dict(word.split(b"=", 1) for word in first.body[4:].split(b","))
    assert len(base64.b64decode(words[b"s"])) == 16
    return [
        offered.kind.encode() + offered.body,
        first.kind.encode() + first.body[:4] + b"i=" + words[b"i"],
        b"%d %d" % (len(words[b"r"]), len(words[b"s"])),
        end.kind.encode() + end.body.replace(endpoint.user.encode(), b"U"),
        words[b"s"],
    ]


def test_every_name_is_answered_with_the_same_bytes(names):
    told = {
        kind: dialogue(endpoint, source(number))[:-1]
        for number, (kind, endpoint) in enumerate(names.kinds.items())
    }
    for kind, said in told.items():
        assert said == told["live"], kind


def test_a_name_keeps_its_salt_over_reconnects_and_restarts(names):
    def salts(number: int) -> dict[str, bytes]:
        return {
            kind: dialogue(endpoint, source(number))[-1] for kind, endpoint in names.kinds.items()
        }

    before = salts(100)
    assert len(set(before.values())) == 4
    assert salts(101) == before
    names.relay.stop()
    names.relay.start()
    assert salts(102) == before


def test_a_locked_out_guesser_learns_no_more(names):
    """The fifth and the sixth answer: the same for what is there and what is not."""

    def states(endpoint: Endpoint, address: str) -> list[str]:
        found = []
        for _ in range(6):
            with Login(endpoint, address) as login:
                got = login.read()
                if got.kind == "R":
                    login.first()
                    login.final(login.read().body[4:], WRONG)
                    got = login.read()
                found.append(got.fields["C"] + " " + got.fields["M"])
        return found

    all_states = [
        states(endpoint, source(200 + number)) for number, endpoint in enumerate(names.kinds.values())
    ]
    assert all(one == all_states[0] for one in all_states)
    assert len(set(all_states[0])) == 2, "nobody is locked out"


def seconds_of(endpoint: Endpoint, address: str) -> float:
    """The relay's time for one wrong login: three answers, our own sums left out."""
    with Login(endpoint, address) as login:
        login.read()
        login.first()
        login.final(login.read().body[4:], WRONG)
        login.read()
        return login.took


def fast(samples: list[float]) -> float:
    """The tenth percentile: what else the machine does only makes a login slower."""
    return sorted(samples)[len(samples) // 10]


def difference(samples: list[float], base: list[float]) -> tuple[float, float]:
    """Of the fast logins, in microseconds, and its standard error (bootstrap)."""
    dice = random.Random(11)
    resampled = [
        fast(dice.choices(samples, k=len(samples))) - fast(dice.choices(base, k=len(base)))
        for _ in range(100)
    ]
    return fast(samples) - fast(base), statistics.stdev(resampled)


def leaks(samples: list[float], base: list[float]) -> bool:
    """Whether it is proved (99.9 %) that one kind takes longer than the other by more than a little."""
    found, error = difference(samples, base)
    return abs(found) - 3.3 * error > LEAK_MICROSECONDS


def test_every_name_is_answered_in_the_same_time(names, record_property):
    """Interleaved logins, each from a fresh address."""
    took: dict[str, list[float]] = {kind: [] for kind in names.kinds}
    others = [kind for kind in names.kinds if kind != "live"]
    number = 1000
    stop_at = time.monotonic() + SECONDS
    gc.collect()
    gc.disable()
    try:
        for turn in range(ROUNDS[1]):
            # In another order each time: who comes after whom must not matter.
            kinds = list(names.kinds)
            for kind in kinds[turn % 4 :] + kinds[: turn % 4]:
                number += 1
                took[kind].append(seconds_of(names.kinds[kind], source(number)) * 1e6)
            if turn >= ROUNDS[0] and turn % 50 == 0:
                errors = [difference(took[kind], took["live"])[1] for kind in others]
                if 3.3 * max(errors) < LEAK_MICROSECONDS / 2 or time.monotonic() > stop_at:
                    break
    finally:
        gc.enable()
    live = took["live"]
    figures = {
        kind: "%+.0f ± %.0f" % difference(took[kind], live) for kind in others
    }
    record_property("microseconds more than a live share's", json.dumps(figures))
    print(f"{len(live)} rounds; a live share: {fast(live):.0f} µs; more than that: {figures}")
    assert {kind: figures[kind] for kind in others if leaks(took[kind], live)} == {}
    # The measure sees what it looks for: 100 µs more, or what can be told apart on this machine.
    for kind in others:
        found, error = difference(took[kind], live)
        more = max(100.0, LEAK_MICROSECONDS + 4 * error + abs(found))
        assert leaks([value + more for value in took[kind]], live)


def test_the_owner_gets_in_after_all_of_this(names):
    """Guesses from elsewhere cost the one who knows the password nothing."""
    with contextlib.suppress(Refused), WireClient(names.kinds["live"]):
        raise AssertionError("let in with a wrong password")

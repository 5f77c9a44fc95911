"""Which shares there are, nobody learns by asking: the same bytes, and the same time, measured."""

import base64
import contextlib
import gc
import json
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


def interval(differences: list[float]) -> tuple[float, float, float]:
    """The median, and bounds that hold it with 99.9 %, whatever the distribution is (sign test)."""
    ordered = sorted(differences)
    count = len(ordered)
    off = int(3.29 * count**0.5 / 2) + 1
    middle = count // 2
    return ordered[max(0, middle - off)], ordered[middle], ordered[min(count - 1, middle + off)]


def leaks(differences: list[float]) -> bool:
    low, _, high = interval(differences)
    return low > LEAK_MICROSECONDS or high < -LEAK_MICROSECONDS


def test_every_name_is_answered_in_the_same_time(names, record_property):
    """Interleaved logins, each from a fresh address; the medians of paired differences."""
    others = [kind for kind in names.kinds if kind != "live"]
    differences: dict[str, list[float]] = {kind: [] for kind in others}
    number = 1000
    stop_at = time.monotonic() + SECONDS
    gc.collect()
    gc.disable()
    try:
        for turn in range(ROUNDS[1]):
            took = {}
            # In another order each time: who comes after whom must not matter.
            kinds = list(names.kinds)
            kinds = kinds[turn % 4 :] + kinds[: turn % 4]
            for kind in kinds:
                number += 1
                took[kind] = seconds_of(names.kinds[kind], source(number))
            for kind in others:
                differences[kind].append((took[kind] - took["live"]) * 1e6)
            if turn >= ROUNDS[0] and turn % 20 == 0:
                widths = [high - low for low, _, high in map(interval, differences.values())]
                if max(widths) < LEAK_MICROSECONDS or time.monotonic() > stop_at:
                    break
    finally:
        gc.enable()
    figures = {
        kind: [round(value, 1) for value in interval(found)] for kind, found in differences.items()
    }
    rounds = len(differences[others[0]])
    record_property("microseconds more than a live share's", json.dumps(figures))
    print(f"{rounds} rounds, microseconds more than a live share (low, median, high): {figures}")
    assert {kind: figures[kind] for kind in others if leaks(differences[kind])} == {}
    # The measure itself: had each answer taken longer by what it can resolve here, it would say so.
    for found in differences.values():
        low, middle, high = interval(found)
        shift = max(100.0, LEAK_MICROSECONDS + (middle - low) * 1.01 - middle)
        assert leaks([value + shift for value in found])


def test_the_owner_gets_in_after_all_of_this(names):
    """Guesses from elsewhere cost the one who knows the password nothing."""
    with contextlib.suppress(Refused), WireClient(names.kinds["live"]):
        raise AssertionError("let in with a wrong password")

"""Which fault happens when: made of a seed alone, so that a run can be had again.

Faults of one lane never overlap; those of different lanes do. One that would come while a relay is
replaced may be held up. A share is unreachable for less than
the 30 s of grace even where lanes meet: for at most 8 s (15 in long runs) by its network or agent, 5
by the relay, and the agent's pause between two dials.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

# Nothing of these may cost a client anything.
HARMLESS_TUNNEL = (
    "reset", "fin", "truncate", "half-close", "half-open", "freeze", "refuse", "latency", "bytes",
    "slow", "old", "flap", "agent-stop",
)  # fmt: skip
LETHAL_TUNNEL = ("agent-kill", "agent-term")
HARMLESS_DOOR = ("freeze", "latency", "bytes", "slow")
LETHAL_DOOR = ("reset", "fin", "truncate", "half-close", "half-open")
RELAY = (
    "relay-stop", "certificates", "relay-kill", "hang-up", "relay-stop", "relay-term", "take-over",
    "hang-up", "take-over",
)  # fmt: skip
DATABASE = ("database-fast", "database-immediate", "database-kill")
SHORT_SHARE = ("expires", "revoked")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, `seconds` long, `at` seconds from the beginning."""

    at: float
    lane: str
    kind: str
    seconds: float
    details: dict[str, object] = field(default_factory=dict)

    def line(self) -> str:
        more = "".join(f" {name}={value}" for name, value in self.details.items())
        return f"{self.at:7.1f} s  {self.lane:<12} {self.kind} for {self.seconds:.1f} s{more}"


def plan(seed: int, seconds: float, shares: dict[str, str]) -> list[Fault]:
    """All faults of a run; `shares` says on which database each share is."""
    faults: list[Fault] = []
    # A long run leaves time between what costs everybody their connection.
    rare = 1.0 if seconds <= 120 else 4.0
    for share in shares:
        faults += _lane(
            seed, seconds, f"tunnel {share}", HARMLESS_TUNNEL + LETHAL_TUNNEL, (1.5, 5.0)
        )
        faults += _lane(seed, seconds, f"door {share}", HARMLESS_DOOR + LETHAL_DOOR, (1.0, 4.0))
    for database in sorted(set(shares.values())):
        faults += _lane(
            seed, seconds, f"database {database}", DATABASE, (10 * rare, 18 * rare), late=True
        )
    faults += _lane(seed, seconds, "relay", RELAY, (4 * rare, 8 * rare))
    faults += _lane(seed, seconds, "short share", SHORT_SHARE, (3 * rare, 8 * rare))
    return sorted(faults, key=lambda fault: fault.at)


def _lane(
    seed: int, seconds: float, lane: str, kinds: tuple[str, ...], rest: tuple[float, float],
    late: bool = False,
) -> Iterator[Fault]:  # fmt: skip
    chance = random.Random(f"{seed}/{lane}")
    deck: list[str] = []
    at = chance.uniform(0.5, 2.0) + (chance.uniform(*rest) / 2 if late else 0)
    while True:
        if not deck:
            deck = chance.sample(kinds, len(kinds))
        kind = deck.pop()
        length, details = _choices(chance, kind)
        if seconds > 120 and chance.random() < 0.3:
            length = _long(chance, kind, length)
        if at + length > seconds - 3:
            return
        yield Fault(round(at, 2), lane, kind, round(length, 2), details)
        at += length + chance.uniform(*rest)


def _long(chance: random.Random, kind: str, length: float) -> float:
    """In long runs, now and then as long as the grace allows, and agents that miss it."""
    match kind:
        case "freeze" | "refuse" | "half-open" | "flap":
            return chance.uniform(8, 15)
        case "agent-kill":
            return 35
        case _:
            return length


def _choices(chance: random.Random, kind: str) -> tuple[float, dict[str, object]]:
    """How long, and the rest of what there is to choose."""
    way = chance.choice(("up", "down"))
    match kind:
        case "reset" | "fin" | "certificates":
            return 0.1, {}
        case "take-over":
            # All tunnels but one have fair weather: a cut link is lost at a relay that drains.
            return 0.1, {"stormy": chance.randrange(16)}
        case "hang-up":
            return 0.1, {"certificate": chance.random() < 0.5, "broken": chance.random() < 0.3}
        case "truncate":
            after = int(2 ** chance.uniform(0, 16))
            return 1.0, {"way": way, "after": after, "reset": chance.random() < 0.5}
        case "half-close":
            return chance.uniform(0.2, 2), {"way": way, "reset": chance.random() < 0.5}
        case "half-open":
            return chance.uniform(0.5, 6), {"way": way}
        case "freeze":
            return chance.uniform(0.5, 8), {"way": chance.choice(("up", "down", "both"))}
        case "latency":
            delay = round(chance.uniform(0.02, 0.3), 3)
            return chance.uniform(1, 6), {"latency": delay, "jitter": round(delay / 2, 3)}
        case "bytes":
            return chance.uniform(0.5, 2), {"way": way}
        case "slow":
            return chance.uniform(1, 5), {"rate": int(10 ** chance.uniform(4.5, 6))}
        case "old":
            return chance.uniform(2, 6), {"age": round(chance.uniform(0.3, 2), 2)}
        case "flap":
            return chance.uniform(2, 7), {"pause": round(chance.uniform(0.2, 1.5), 2)}
        case "refuse":
            return chance.uniform(0.5, 8), {}
        case "agent-stop" | "relay-stop":
            return chance.uniform(0.5, 5), {}
        case "expires" | "revoked":
            return chance.uniform(3, 5), {}
        case _:
            return chance.uniform(0, 2), {}

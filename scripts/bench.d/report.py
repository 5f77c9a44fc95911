"""Measurements to one Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from targets import Line, Measure

#: Above this part of the machine's time used by others, a measurement is called noisy.
NOISY_SHARE = 0.10


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of a few numbers."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread | None:
        """Nothing for no values."""
        if not values:
            return None
        return Spread(statistics.median(values), min(values), max(values))

    def text(self) -> str:
        """`0.91 (0.88–0.95)`; one value alone has no range."""
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def values(records: list[dict], measure: Measure, peer: str, key: str) -> dict[int, float]:
    """A figure by round; rounds that failed are absent."""
    return {
        r["round"]: r[key]
        for r in records
        if r["measure"] == measure.name and r["peer"] == peer and key in r
    }


def judged(records: list[dict], measure: Measure, line: Line, peer: str) -> Spread | None:
    """The figure that the target speaks of: a ratio of the same round, or the figure itself."""
    own = values(records, measure, peer, line.key)
    if line.base is None:
        return Spread.of(list(own.values()))
    base = values(records, measure, line.base, line.key)
    return Spread.of([own[r] / base[r] for r in own if base.get(r)])


def verdict(line: Line, spread: Spread | None) -> str:
    """Met or missed by the median; `~` where the rounds themselves disagree."""
    if spread is None:
        return "not measured"

    def meets(value: float) -> bool:
        return value >= line.limit if line.more_is_better else value <= line.limit

    word = "met" if meets(spread.median) else "**missed**"
    return word if meets(spread.low) == meets(spread.high) else f"{word} ~"


def target(line: Line, labels: dict[str, str]) -> str:
    """`≥ 0.95 PgB`, `≤ 20 KiB`."""
    sign = "≥" if line.more_is_better else "≤"
    what = labels.get(line.base, line.base) if line.base else line.unit
    return f"{sign} {line.limit:g} {what}"


def cell(records: list[dict], measure: Measure, line: Line, peer: str) -> str:
    """A peer's own figure, and how it stands to the base."""
    spread = Spread.of(list(values(records, measure, peer, line.key).values()))
    if spread is None:
        failed = any(
            r["measure"] == measure.name and r["peer"] == peer and "error" in r for r in records
        )
        return "failed" if failed else "–"
    ratio = judged(records, measure, line, peer) if line.base and line.base != peer else None
    return number(spread.median) + (f" ({number(ratio.median)})" if ratio else "")


def table(records: list[dict], measures: list[Measure], labels: dict[str, str]) -> str:
    """The table: a line a target; `labels` names the peers, in the order of the columns."""
    columns = list(labels)
    rows = [
        ["measure", "target", "pgshare: median (min–max)", "verdict", *labels.values()],
        ["---"] * (4 + len(columns)),
    ]
    for measure in measures:
        for line in measure.lines:
            own = judged(records, measure, line, "pgshare")
            rows.append([
                line.title,
                target(line, labels),
                own.text() if own else "–",
                verdict(line, own),
                *(cell(records, measure, line, peer) for peer in columns),
            ])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def remarks(records: list[dict], environment: dict) -> str:
    """What a reader must know to believe the table."""
    done = [r for r in records if "error" not in r]
    rounds = 1 + max((r["round"] for r in records), default=0)
    noisy = [r for r in done if r["foreign"] > NOISY_SHARE]
    text = [
        f"{environment['processor']}, {environment['cores']} cores, {environment['kernel']}; "
        f"{environment['postgres']}; {environment['date']}; commit {environment['commit']}.",
        f"{rounds} interleaved rounds; peers: the median, and in brackets the median of the ratios "
        "to the target's base in the same round. `~`: rounds stand on both sides of the target.",
        f"Others used {100 * statistics.fmean([r['foreign'] for r in done] or [0]):.0f} % of the "
        f"machine meanwhile; {len(noisy)} of {len(done)} measurements had more than "
        f"{100 * NOISY_SHARE:.0f} % taken from them"
        + (": " + ", ".join(sorted({r["measure"] for r in noisy})) + "." if noisy else "."),
    ]
    if environment["quick"]:
        text.insert(0, "**--quick: small data and short runs; these figures are no measurement.**")
    for record in records:
        if "error" in record:
            text.append(
                f"Failed: {record['measure']}, {record['peer']}, round {record['round'] + 1}: "
                f"{record['error']}"
            )
    return "\n".join(f"- {line}" for line in text)

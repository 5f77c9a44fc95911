"""Runs `pgshare deploy` against a provider's local server, and looks at what came of it."""

import json
from dataclasses import dataclass
from pathlib import Path

from harness.cluster import Cluster
from harness.processes import Child, run
from harness.tools import pgshare_binary

from .shapes import Shape

SHOP = (Path(__file__).parent / "shop.sql").read_text()
# What the shop's tables hold, by a query that gives one line on either side.
SHOP_SUMS = """
    SELECT (SELECT count(*) || ' ' || sum(id) || ' ' || md5(string_agg(email || mood, ',' ORDER BY id))
            FROM public.customers),
        (SELECT count(*) || ' ' || sum(cents) || ' ' || md5(string_agg(note, ',' ORDER BY id))
            FROM public.orders),
        (SELECT count(*) FROM public.totals), (SELECT count(*) FROM public.slow),
        (SELECT string_agg(name || amount, ',' ORDER BY name) FROM stock.items)
"""


@dataclass
class Done:
    """A deploy that ended."""

    status: int
    events: list[dict]
    text: str

    def named(self, name: str) -> list[dict]:
        """The events of that name."""
        return [event for event in self.events if event.get("event") == name]

    def finding(self, words: str) -> dict | None:
        """The first finding whose code or sentence has these words."""
        plans = [event["plan"]["findings"] for event in self.named("planned")]
        found = [event["finding"] for event in self.named("finding")] + sum(plans, [])
        return next((each for each in found if words in each["code"] + each["sentence"]), None)


class Deploying:
    """One person's machine: a source, a state folder, an environment."""

    def __init__(self, cluster: Cluster, database: str, state: Path, environment: dict[str, str]):
        self.source = cluster.conninfo(database)
        self.cluster = cluster
        self.database = database
        self.state = state
        self.environment = environment

    def words(self, target: str, *more: str) -> list[str]:
        state = ["--state", str(self.state)]
        return [pgshare_binary(), "deploy", self.source, target, "--yes", "--json", *state, *more]

    def start(self, target: str, *more: str) -> Child:
        """Starts a deploy and does not wait."""
        return Child(self.words(target, *more), self.environment)

    def run(self, target: str, *more: str) -> Done:
        """Deploys, to the end."""
        done = run(self.words(target, *more), self.environment, seconds=180)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        text = done.stdout + done.stderr
        self.check_secrets(text)
        return Done(done.returncode, [json.loads(line) for line in lines], text)

    def succeeds(self, target: str, *more: str) -> Done:
        done = self.run(target, *more)
        assert done.status == 0, done.text
        return done

    def fails(self, target: str, words: str, *more: str) -> Done:
        """It says why, and does not crash."""
        done = self.run(target, *more)
        assert done.status == 1, done.text
        assert words in done.text, done.text
        return done

    def check_secrets(self, text: str) -> None:
        """Nothing that a person sees holds a token."""
        for name, value in self.environment.items():
            if value and name.endswith(("_TOKEN", "_KEY", "_PASSWORD")):
                assert value not in text, f"{name} is shown"

    def arrived(self, shape: Shape) -> bool:
        """Whether the shop is at the target as it is at the source."""
        return shape.sql(SHOP_SUMS) == self.cluster.sql(SHOP_SUMS, self.database)


def is_untouched(shape: Shape) -> bool:
    """Whether the target holds nothing that a deploy could have made."""
    return (
        shape.sql(
            "SELECT count(*) FROM pg_namespace WHERE nspname IN ('stock', 'pgshare') "
            "OR nspname LIKE 'pgshare%'"
        )
        == "0"
        and shape.sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        == "0"
    )

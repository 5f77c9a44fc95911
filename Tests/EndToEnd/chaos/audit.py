"""What must be true in the end: every answered commit, nothing twice, nothing left behind."""

import contextlib
import time

from harness.cluster import Cluster
from harness.footprint import GAUGES
from harness.waiting import wait_for

from .client import Client, Ledger
from .clients import Banking, Copying, Listening
from .stage import SHARES, Stage

# What relay and agent may grow by; a debug build's allocator keeps pages of the largest moment.
GROWTH_KIB = 96 * 1024


class Audit:
    """Looks at databases, gauges, descriptors and memory, before and after."""

    def __init__(self, stage: Stage, ledger: Ledger):
        self.stage = stage
        self.ledger = ledger
        self.samples: dict[tuple[str, int], list[tuple[float, int]]] = {}
        self.files: dict[str, int] = {}

    def _cluster(self, share: str) -> Cluster:
        return self.stage.clusters[SHARES[share]]

    def prepare(self) -> None:
        """The tables of the clients, and a first log-in at each share."""
        for share in SHARES:
            self._cluster(share).sql(
                f"CREATE TABLE bank_{share} AS SELECT n AS id, {Banking.opening}::bigint AS balance"
                f" FROM generate_series(0, {Banking.accounts - 1}) n;"
                f"CREATE TABLE journal_{share}"
                " (client text, number int, source int, target int, amount int);"
                f"CREATE TABLE taken_{share} (client text, round int, n int, body text)"
            )
            self.stage.wait_served(share)
        self._wait_empty()
        self.files = {name: child.open_files() for name, child in self._children().items()}
        self.sample()

    def _children(self):
        found = {f"agent {share}": each.agent.child for share, each in self.stage.agents.items()}
        return {"relay": self.stage.relay.child, **found}

    def sample(self) -> None:
        """Notes how much memory each process has."""
        for name, child in self._children().items():
            # It may be killed at this moment.
            with contextlib.suppress(AssertionError, OSError):
                size = child.resident_kib()
                self.samples.setdefault((name, child.pid), []).append((time.monotonic(), size))

    def hear_the_last(self, clients: list[Client]) -> None:
        """Whatever was said so far must be heard by who listens."""
        for client in clients:
            if not isinstance(client, Listening):
                continue
            said = max(client.notifier.answered, default=0)
            try:
                wait_for("", lambda heard=client, last=said: heard.last >= last, 60)
            except TimeoutError:
                client.wrong(f"heard up to {client.last}, but {said} was said")

    def verdict(self, clients: list[Client]) -> None:
        """Everything that can only be seen once all clients are gone."""
        for client in clients:
            if isinstance(client, Banking):
                self._check_bank(client)
            elif isinstance(client, Copying):
                self._check_copies(client)
        for share in SHARES:
            self._check_sums(share)
        self._check_leaks()

    def _check_bank(self, client: Banking) -> None:
        rows = self._cluster(client.share).sql(
            f"SELECT number FROM journal_{client.share} WHERE client = '{client.name}'"
        )
        found = [int(row) for row in rows.split()]
        if len(found) != len(set(found)):
            client.wrong("a transfer is there twice")
        if missing := client.committed - set(found):
            client.wrong(f"commits that were answered are gone: {sorted(missing)[:10]}")
        if strange := set(found) - client.committed - client.unknown:
            client.wrong(f"transfers that were rolled back are there: {sorted(strange)[:10]}")

    def _check_sums(self, share: str) -> None:
        wrong = self._cluster(share).sql(
            f"SELECT count(*) FROM bank_{share} b WHERE balance <> {Banking.opening}"
            f" + (SELECT coalesce(sum(amount), 0) FROM journal_{share} WHERE target = b.id)"
            f" - (SELECT coalesce(sum(amount), 0) FROM journal_{share} WHERE source = b.id)"
        )
        if wrong != "0":
            self.ledger.violation(f"share {share}: {wrong} accounts do not fit the journal")

    def _check_copies(self, client: Copying) -> None:
        rows = self._cluster(client.share).sql(
            "SELECT round, count(*), md5(string_agg(body, '' ORDER BY n)) "
            f"FROM taken_{client.share} WHERE client = '{client.name}' GROUP BY round"
        )
        found = {}
        for row in rows.split():
            number, count, digest = row.split("|")
            found[int(number)] = int(count), digest
        for number, wanted in client.committed.items():
            client.expect(f"COPY {number}", found.pop(number, None), wanted)
        for number, row in found.items():
            client.expect(f"COPY {number}, whose end was not answered", row, client.unknown.get(number))

    # Leaks

    def _wait_empty(self) -> None:
        relay = self.stage.relay
        for gauge in GAUGES:
            wait_for(f"{gauge} to be 0", lambda name=gauge: relay.metric(name) == 0, 60)

        def only_links() -> bool:
            # Our own question is one connection.
            return relay.metric("http_connections_open") == relay.metric("links_open") + 1

        wait_for("no connection but the links", only_links, 60)

    def _check_leaks(self) -> None:
        try:
            self._wait_empty()
        except TimeoutError as error:
            self.ledger.violation(f"something is left at the relay: {error}")
        for name, cluster in self.stage.clusters.items():
            try:
                left = "application_name LIKE 'chaos%' OR application_name = ''"
                wait_for("", lambda at=cluster: at.backends(left) == 0, 60)
            except TimeoutError:
                found = cluster.sql(
                    "SELECT application_name, state, query FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
                self.ledger.violation(f"backends are left at database {name}:\n{found}")
        for name, child in self._children().items():
            limit = self.files[name] + 8
            try:
                wait_for("", lambda each=child, most=limit: each.open_files() <= most, 30)
            except TimeoutError:
                self.ledger.violation(
                    f"{name} has {child.open_files()} descriptors, and had {self.files[name]}"
                )
        self.sample()
        for (name, pid), samples in self.samples.items():
            self._check_memory(name, pid, [size for _, size in samples])

    def _check_memory(self, name: str, pid: int, sizes: list[int]) -> None:
        """Bounded; and where a process lived long, its last quarter is not above its second."""
        quarter = len(sizes) // 4
        self.ledger.say(
            f"memory of {name} ({pid}): {sizes[0] // 1024} MiB at first,"
            f" {max(sizes) // 1024} at most, {sizes[-1] // 1024} at last"
        )
        if sizes[-1] - sizes[0] > GROWTH_KIB:
            self.ledger.violation(f"{name} grew by {(sizes[-1] - sizes[0]) // 1024} MiB")
        if quarter >= 15 and max(sizes[-quarter:]) > max(sizes[quarter : 2 * quarter]) * 1.3 + 16384:
            self.ledger.violation(f"{name} grows and grows: {sizes[:: max(quarter // 4, 1)]} KiB")

"""Relays and agents as real processes, spoken to as a person would: arguments, output, signals."""

import json
import os
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from . import tools
from .cluster import Cluster
from .endpoint import Endpoint
from .processes import Child, run, run_well
from .waiting import PATIENCE

# The tests' own pgshare processes must not see what the caller has set up for theirs.
_CLEAN = {
    name: ""
    for name in os.environ
    if name.startswith("PGSHARE_") and not name.startswith(("PGSHARE_TEST_", "PGSHARE_BIN"))
}


def pgshare(*arguments: str, environment: dict[str, str] | None = None, **options):
    """Runs one command to its end."""
    return run([tools.pgshare_binary(), *arguments], environment, **options)


@dataclass(frozen=True)
class Listening:
    """What a relay said when it listens."""

    host: str
    port: int


def _address(text: str) -> Listening:
    host, _, port = text.rpartition(":")
    return Listening(host, int(port))


class Relay:
    """`pgshare relay` on ports of its own choosing, over one state folder."""

    def __init__(
        self,
        state: Path,
        *more: str,
        environment: dict[str, str] | None = None,
        ca_file: Path | None = None,
        https_host: str = "127.0.0.1",
    ):
        self.state = state
        self.https_host = https_host
        self.more = more
        # A test that leaves a client in a transaction need not wait for it at its end.
        self.environment = {"PGSHARE_DRAIN_TIMEOUT": "3s", **(environment or {})}
        self.postgres_port = 0
        self.https_port = 0
        self._own_ca_file = ca_file
        self.child: Child
        self._tokens: dict[str, str] = {}
        self.start()

    def start(self, *once: str) -> None:
        """Starts it; a second start comes back on the ports of the first."""
        self.child = Child(
            [
                tools.pgshare_binary(), "relay", "--state", str(self.state),
                "--postgres-listen", f"127.0.0.1:{self.postgres_port}",
                "--https-listen", f"{self.https_host}:{self.https_port}", "--json", *self.more, *once,
            ],
            self.environment,
        )  # fmt: skip
        line = self.child.wait_json("the relay to listen", lambda value: "postgres" in value)
        self.postgres_port = _address(line["postgres"]).port
        self.https_port = _address(line["https"]).port
        self.ca_file = self._own_ca_file or Path(line["ca_file"])

    def take_over(self) -> Child:
        """Starts the next one beside it, in its place; returns the old process."""
        old = self.child
        self.start("--take-over")
        return old

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https_port}"

    def token(self, name: str = "tests") -> str:
        """The token of that name; made when it is asked for the first time."""
        if name not in self._tokens:
            done = run_well(
                [tools.pgshare_binary(), "token", "create", name, "--state", str(self.state), "--json"]
            )
            self._tokens[name] = json.loads(done.stdout)["token"]
        return self._tokens[name]

    def request(
        self, method: str, path: str, token: str | None = None, body: object = None
    ) -> tuple[int, str]:
        """One request of the HTTP API: status and body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """A metric without `pgshare_`; of one with labels, the sum."""
        text = self.request("GET", "/metrics")[1]
        found = re.findall(rf"^pgshare_{name}(?:{{[^}}]*}})? (\S+)$", text, re.M)
        assert found, f"no metric {name}"
        return sum(map(float, found))

    def command(self, *arguments: str, token: str | None = None, **options):
        """A command of pgshare that talks to this relay."""
        reach = ["--relay", self.url, "--ca-file", str(self.ca_file)]
        environment = {"PGSHARE_TOKEN": token or self.token()}
        return pgshare(*arguments, *reach, environment=environment, **options)

    def stop(self) -> int:
        return self.child.stop()


class Agent:
    """`pgshare share` beside one server."""

    def __init__(
        self,
        relay: Relay,
        cluster: Cluster,
        *more: str,
        conninfo: str | None = None,
        token: str | None = None,
        url: str | None = None,
        environment: dict[str, str] | None = None,
        wait: bool = True,
    ):
        self.relay = relay
        self.cluster = cluster
        target = [] if conninfo == "" else [conninfo or cluster.conninfo()]
        self.child = Child(
            [
                tools.pgshare_binary(), "share", *target, "--relay", url or relay.url,
                "--ca-file", str(relay.ca_file), "--json", *more,
            ],
            {"PGSHARE_TOKEN": token or relay.token(), **(environment or {})},
        )  # fmt: skip
        self.shared: dict = {}
        if wait:
            self.wait_shared()

    def wait_shared(self, seconds: float = PATIENCE) -> dict:
        """The first line: where the share is."""
        self.shared = self.child.wait_json(
            "the share to stand", lambda value: value.get("event") == "shared", seconds=seconds
        )
        return self.shared

    def wait_event(self, name: str, since: int = 0, seconds: float = 60) -> dict:
        """The first event of that name after line `since`."""
        return self.child.wait_json(
            f"the event {name}", lambda value: value.get("event") == name, since, seconds
        )

    @property
    def endpoint(self) -> Endpoint:
        shared = self.shared
        return Endpoint(
            shared["host"],
            int(shared["port"]),
            shared["user"],
            shared["password"],
            shared["database"],
            self.relay.ca_file,
            self.cluster.version,
            shared["id"],
        )

    def stop(self) -> int:
        return self.child.stop()

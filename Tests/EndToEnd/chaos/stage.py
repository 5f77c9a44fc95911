"""Two databases, a relay, an agent a share and the proxies between: and what is done to them."""

import contextlib
import re
import secrets
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import psycopg
from harness import tools
from harness.certificates import Authority
from harness.cluster import Cluster
from harness.endpoint import Endpoint
from harness.fault_proxy import BOTH, FaultProxy, Way
from harness.pgshare import Agent, Relay
from harness.processes import Child
from harness.waiting import wait_for
from harness.wire import answers

from .client import Ledger
from .moves import Calm, tunnel_of
from .reasons import BY_AGENT, BY_DATABASE, BY_DOOR, Reasons, Window, state_of
from .relays import RelayStage
from .schedule import HARMLESS_DOOR, Fault

# What no process of ours may ever say: a trap, an assertion, a broken lock, a sanitizer.
_CRASH = re.compile(r"Fatal error|Program crashed|Precondition|Assertion|SIGILL|SIGTRAP|SIGSEGV|AddressSanitizer")
# Which share is on which database.
SHARES = {"a": "one", "b": "one", "c": "two"}
# Until all of it is served again, on a machine that is busy with other things, too.
RECOVERY_SECONDS = 120.0
# A result whose commit was answered is there after a crash; fsync only matters to power cuts.
_SETTINGS = {"synchronous_commit": "on", "max_connections": "200"}


class ChaosAgent:
    """One share: its agent, which is killed and started again, and its two proxies."""

    def __init__(self, stage: "Stage", share: str):
        self.stage = stage
        self.share = share
        self.tunnel = FaultProxy(stage.relay.https_port)
        self.door = FaultProxy(stage.relay.postgres_port)
        self.password = secrets.token_urlsafe(18)
        self.agent = self.start()

    @property
    def direct(self) -> Endpoint:
        return self.agent.endpoint

    @property
    def through_door(self) -> Endpoint:
        return Endpoint(**{**vars(self.agent.endpoint), "port": self.door.port})

    def start(self) -> Agent:
        agent = Agent(
            self.stage.relay, self.stage.clusters[SHARES[self.share]], "--name", f"share-{self.share}",
            "--max-connections", "60", url=f"https://localhost:{self.tunnel.port}", wait=False,
            environment={"PGSHARE_PASSWORD": self.password},
        )  # fmt: skip
        self.stage.children.append(agent.child)
        try:
            agent.wait_shared()
        except AssertionError:
            # It may have had its reasons; whoever started it knows.
            self.stage.expected_ends.add(agent.child.pid)
            agent.stop()
            raise
        return agent


class Stage:
    """Everything that a run needs; `close` leaves nothing behind."""

    def __init__(self, ledger: Ledger, disturbances: Reasons, links: int):
        self.ledger = ledger
        self.disturbances = disturbances
        self.calm = Calm()
        self.children: list[Child] = []
        self.expected_ends: set[int] = set()
        self._closing = contextlib.ExitStack()
        # Not a long path: it holds sockets.
        self.folder = Path(tempfile.mkdtemp(prefix="pgshare-chaos-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        try:
            self._build(links)
        except BaseException:
            self._closing.close()
            raise

    def _build(self, links: int) -> None:
        self.authority = Authority(self._subfolder("authority"))
        self.clusters: dict[str, Cluster] = {}
        for name in sorted(set(SHARES.values())):
            version = tools.VERSIONS[0 if name == "one" else -1]
            cluster = self.clusters[name] = Cluster(version, self.authority, _SETTINGS)
            self._closing.callback(cluster.remove)
        self.agents: dict[str, ChaosAgent] = {}
        self.relays = RelayStage(self, links)
        self._closing.callback(self.relays.close)
        self.relay.token()
        for share in SHARES:
            self.agents[share] = ChaosAgent(self, share)
            self._closing.callback(self._stop_agent, share)

    def _subfolder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path

    def database_of(self, share: str) -> str:
        return SHARES[share]

    @property
    def relay(self) -> Relay:
        return self.relays.relay

    def _stop_agent(self, share: str) -> None:
        each = self.agents[share]
        self.expected_ends.add(each.agent.child.pid)
        each.agent.stop()
        each.tunnel.close()
        each.door.close()

    def close(self) -> None:
        self._closing.close()

    # Faults

    def apply(self, fault: Fault, last: threading.Event) -> None:
        """Does it and undoes it; returns when what it concerns works again. `last`: hurry."""
        lane, _, which = fault.lane.partition(" ")
        match lane:
            case "tunnel" if fault.kind.startswith("agent-"):
                self._agent_fault(fault, which, last)
            case "tunnel":
                with self.disturbing(which, tunnel_of(which)):
                    self._proxy_fault(fault, self.agents[which].tunnel, last)
            case "door":
                self._door_fault(fault, which, last)
            case "database":
                self._database_fault(fault, which, last)
            case "relay":
                self.relays.apply(fault, last)
            case _:
                self._short_share(fault, last)

    @contextlib.contextmanager
    def disturbing(self, *scopes: str):
        windows = [self.disturbances.open(scope, "", frozenset({"any"})) for scope in scopes]
        try:
            yield
        finally:
            for window in windows:
                window.close()
                # A frozen agent has dialled anew by then, and resumed.
                window.end += 8

    def _proxy_fault(self, fault: Fault, proxy: FaultProxy, last: threading.Event) -> None:
        details = fault.details
        way = Way(details["way"]) if details.get("way") in ("up", "down") else Way.UP
        match fault.kind:
            case "reset":
                proxy.cut()
            case "fin":
                proxy.shut()
            case "truncate":
                proxy.truncate(way, int(details["after"]), bool(details["reset"]))
            case "half-close":
                proxy.half_close(way, fault.seconds, bool(details["reset"]))
            case "half-open":
                proxy.half_open(way, fault.seconds)
            case "freeze":
                proxy.stall(*(BOTH if details["way"] == "both" else (way,)))
            case "latency":
                proxy.change(latency=details["latency"], jitter=details["jitter"])
            case "bytes":
                proxy.change(way, chunk=1)
            case "slow":
                proxy.change(rate=details["rate"])
            case "old":
                proxy.max_age = float(details["age"])
            case "refuse":
                proxy.refuses = True
                proxy.cut()
            case "flap":
                end = time.monotonic() + fault.seconds
                while time.monotonic() < end and not last.wait(float(details["pause"])):
                    proxy.cut()
            case _:
                raise AssertionError(fault)
        if fault.kind != "flap":
            last.wait(fault.seconds)
        proxy.clear_up()
        if fault.kind == "truncate":
            # Those through which less came are spared.
            proxy.truncate(way, 1 << 60, False)

    def _door_fault(self, fault: Fault, share: str, last: threading.Event) -> None:
        door = f"{share}/door"
        with contextlib.ExitStack() as stack, self.disturbing(door):
            if fault.kind not in HARMLESS_DOOR:
                stack.callback(self.ledger.reasons.open(door, fault.kind, BY_DOOR).close)
            self._proxy_fault(fault, self.agents[share].door, last)

    def _agent_fault(self, fault: Fault, share: str, last: threading.Event) -> None:
        each = self.agents[share]
        child = each.agent.child
        if fault.kind == "agent-stop":
            with self.disturbing(share, tunnel_of(share)), self.stopped(child):
                last.wait(fault.seconds)
            return
        around = self.disturbing(tunnel_of(share))
        with around, self.costing((share,), fault.kind, BY_AGENT):
            self.expected_ends.add(child.pid)
            kill = fault.kind == "agent-kill"
            child.stop(signal.SIGKILL if kill else signal.SIGTERM)
            last.wait(fault.seconds)
            self._start_agent(each)

    def _start_agent(self, each: ChaosAgent) -> None:
        """A new agent gives up where its database or relay is down: then somebody asks again."""
        end = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                each.agent = each.start()
                return
            except AssertionError as error:
                if time.monotonic() > end:
                    self.ledger.violation(f"share {each.share} could not be shared again: {error}")
                    return
                time.sleep(0.5)

    @contextlib.contextmanager
    def stopped(self, child: Child):
        child.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            child.signal(signal.SIGCONT)

    @contextlib.contextmanager
    def costing(self, shares: tuple[str, ...], what: str, states: frozenset[str]):
        """While it lasts, and until the shares are served again, clients may be lost."""
        windows: list[Window] = [self.ledger.reasons.open(each, what, states) for each in shares]
        with self.disturbing(*shares):
            try:
                yield
                for share in shares:
                    self.wait_served(share)
            finally:
                for window in windows:
                    window.close()

    def wait_served(self, share: str) -> None:
        try:
            wait_for("", lambda: answers(self.agents[share].direct), RECOVERY_SECONDS)
        except TimeoutError:
            self.ledger.violation(f"share {share} was not served for {RECOVERY_SECONDS:.0f} s")

    def _database_fault(self, fault: Fault, name: str, last: threading.Event) -> None:
        cluster = self.clusters[name]
        number = {
            "database-fast": signal.SIGINT,
            "database-immediate": signal.SIGQUIT,
            "database-kill": signal.SIGKILL,
        }[fault.kind]
        shares = tuple(share for share, database in SHARES.items() if database == name)
        with self.costing(shares, fault.kind, BY_DATABASE):
            cluster.server.stop(number)
            last.wait(fault.seconds)
            cluster.start_again()

    def _short_share(self, fault: Fault, last: threading.Event) -> None:
        """A share that ends while a client is in it: the client is told so, and nobody else."""
        end = ["--expires", f"{max(2, round(fault.seconds))}s"] if fault.kind == "expires" else []
        try:
            agent = Agent(self.relay, self.clusters["one"], *end, wait=False)
            self.children.append(agent.child)
            self.expected_ends.add(agent.child.pid)
            agent.wait_shared()
            self._end_short_share(fault, agent, last)
        except (AssertionError, psycopg.Error, OSError) as error:
            if not self._relay_was_hurt():
                self.ledger.violation(f"a share that {fault.kind}: {error!r}")
        finally:
            agent.child.stop()

    def _relay_was_hurt(self) -> bool:
        return self.disturbances.explain(set(SHARES), time.monotonic() - 20, "any")

    def _end_short_share(self, fault: Fault, agent: Agent, last: threading.Event) -> None:
        with psycopg.connect(agent.endpoint.conninfo(), autocommit=True) as connection:
            connection.execute("begin")
            if fault.kind == "revoked":
                last.wait(fault.seconds)
                self.relay.command("shares", "revoke", agent.shared["id"])
            try:
                connection.execute("select pg_sleep(40)")
                self.ledger.violation(f"a share that {fault.kind} kept its client")
            except psycopg.Error as error:
                found = state_of(error)
                if found != "57P01" and not self._relay_was_hurt():
                    self.ledger.violation(f"the client of a share that {fault.kind} got {found}")
        self.ledger.count("shares ended")

    # What must be true of processes

    def crashed(self) -> list[str]:
        """Whoever ended unasked, or said what only a crash says."""
        found = []
        for child in self.children:
            said = [line for line in child.errors + child.lines if _CRASH.search(line)]
            if said or (not child.is_running and child.pid not in self.expected_ends):
                status = child.process.poll()
                tail = "\n    ".join(child.everything().splitlines()[-15:])
                found.append(f"{child.arguments[1]} ended with {status}:\n    {tail}")
        return found


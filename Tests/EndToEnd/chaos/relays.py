"""What is done to the relay: stopped, killed, told to end, replaced, and given other settings."""

import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.pgshare import Relay
from harness.waiting import wait_for

from .reasons import BY_RELAY
from .schedule import Fault

if TYPE_CHECKING:
    from .stage import Stage

# A relay that is told to end does not wait for long: it costs everybody their connection anyhow.
DRAIN_SECONDS = 2
# Longer than what any client does in a transaction, its way to the relay being fair.
TAKE_OVER_SECONDS = 20
# What an agent's network may take to be as before, behind the last fault; and to get there.
SETTLE_SECONDS = 60.0


class RelayStage:
    """The relay of a run, its settings and its certificate."""

    def __init__(self, stage: "Stage", links: int):
        self.stage = stage
        self.ledger = stage.ledger
        self.folder: Path = stage.folder
        self.settings: dict[str, str] = {"drain-timeout": f"{DRAIN_SECONDS}s"}
        self._write_settings()
        self.certificate = self.install_certificate(0)
        certificate, key = map(str, self.certificate)
        self.relay = Relay(
            self.folder / "state", "--tls-cert", certificate, "--tls-key", key,
            "--links", str(links), "--log-level", "debug", "--config", str(self._file),
            # Only the file says it: it changes.
            environment={"PGSHARE_DRAIN_TIMEOUT": ""}, ca_file=stage.authority.certificate,
        )  # fmt: skip
        stage.children.append(self.relay.child)

    @property
    def _file(self) -> Path:
        return self.folder / "relay.json"

    def _write_settings(self, text: str | None = None) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self.settings) if text is None else text)
        new.replace(self._file)

    def install_certificate(self, number: int) -> tuple[Path, Path]:
        """A new pair in the place of the old one; the key first, as a careful operator does."""
        made = self.stage.authority.leaf(
            f"relay-{number}", "localhost", "DNS:localhost,IP:127.0.0.1"
        )
        places = self.folder / "relay.pem", self.folder / "relay.key"
        for source, place in reversed(list(zip(made, places, strict=True))):
            new = place.with_suffix(".new")
            shutil.copy(source, new)
            new.chmod(0o600)
            new.replace(place)
        return places

    def close(self) -> None:
        self.stage.expected_ends.add(self.relay.child.pid)
        self.relay.stop()

    # Faults

    def apply(self, fault: Fault, last: threading.Event) -> None:
        stage, shares = self.stage, tuple(self.stage.agents)
        match fault.kind:
            case "relay-stop":
                with stage.disturbing(*shares), stage.stopped(self.relay.child):
                    last.wait(fault.seconds)
            case "certificates":
                self.install_certificate(int(fault.at * 100))
            case "hang-up":
                self._hang_up_for(fault)
            case "take-over":
                self._take_over(fault)
            case _:
                with stage.costing(shares, fault.kind, BY_RELAY):
                    self._restart(fault, last)

    def _restart(self, fault: Fault, last: threading.Event) -> None:
        child = self.relay.child
        before = self.relay.postgres_port, self.relay.https_port
        self.stage.expected_ends.add(child.pid)
        kill = fault.kind == "relay-kill"
        status = child.stop(signal.SIGKILL if kill else signal.SIGTERM, 90)
        if not kill and status != 0:
            self.ledger.violation(f"the relay ended with {status} when it was asked to stop")
        last.wait(fault.seconds)
        self.relay.start()
        self.stage.children.append(self.relay.child)
        if (self.relay.postgres_port, self.relay.https_port) != before:
            self.ledger.violation("the relay came back on other ports")

    # Settings: nobody may notice

    def _hang_up(self, wanted: str, text: str | None = None) -> None:
        """Has the settings read again, until the relay says `wanted`."""
        self._write_settings(text)
        child = self.relay.child
        before = len(child.errors)
        child.signal(signal.SIGHUP)
        try:
            wait_for("", lambda: any(wanted in line for line in list(child.errors[before:])))
        except TimeoutError:
            self.ledger.violation(f"a relay that was hung up did not say {wanted!r}")

    def _hang_up_for(self, fault: Fault) -> None:
        """Other settings, a file that cannot be read, a new certificate: all at once, or one."""
        number = int(fault.at * 100)
        if fault.details["certificate"]:
            self.install_certificate(number)
        if fault.details["broken"]:
            self._hang_up("the old ones are kept", "{")
        self.settings["client-idle"] = f"{3600 + number}s"
        self._hang_up("setting=client-idle")
        if fault.details["certificate"]:
            wanted = ssl.PEM_cert_to_DER_cert(self.certificate[0].read_text())
            try:
                wait_for("", lambda: self._served_certificate() == wanted)
            except TimeoutError:
                self.ledger.violation("a relay that was hung up serves its old certificate")
        self.ledger.count("settings read again")

    def _served_certificate(self) -> bytes | None:
        context = ssl.create_default_context(cafile=str(self.relay.ca_file))
        address = "127.0.0.1", self.relay.https_port
        with (
            socket.create_connection(address, 30) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            return connection.getpeercert(binary_form=True)

    # Replacing it: see moves.py for what that may cost

    def _take_over(self, fault: Fault) -> None:
        shares = list(self.stage.agents)
        stormy = shares[int(fault.details["stormy"]) % len(shares)]
        with self._calm([share for share in shares if share != stormy]):
            self.settings["drain-timeout"] = f"{TAKE_OVER_SECONDS}s"
            self._hang_up("setting=drain-timeout")
            try:
                self._replace({share for share in shares if share != stormy})
            finally:
                self.settings["drain-timeout"] = f"{DRAIN_SECONDS}s"
                self._hang_up("setting=drain-timeout")
            for share in shares:
                self.stage.wait_served(share)

    @contextlib.contextmanager
    def _calm(self, shares: list[str]):
        """Fair weather from the relay to the databases of those, long enough to be settled."""
        lanes = {f"tunnel {share}" for share in shares}
        lanes |= {f"database {self.stage.database_of(share)}" for share in shares}
        disturbances = self.stage.disturbances
        try:
            if not self.stage.calm.keep(lanes, 2 * SETTLE_SECONDS):
                raise AssertionError(f"the faults of {sorted(lanes)} do not end")
            wait_for(
                "the networks to settle",
                lambda: not disturbances.explain(set(shares), time.monotonic(), "any"),
                SETTLE_SECONDS,
            )
            yield
        finally:
            self.stage.calm.release(lanes)

    def _replace(self, calm: set[str]) -> None:
        relay, old = self.relay, self.relay.child
        before = relay.postgres_port, relay.https_port
        move = self.ledger.moves.begin(TAKE_OVER_SECONDS, calm)
        self.stage.expected_ends.add(old.pid)
        try:
            relay.take_over()
        except AssertionError:
            # The old one serves on, or this is the last that is seen of the run.
            self.stage.children.append(relay.child)
            relay.child.stop(signal.SIGKILL)
            relay.child = old
            self.stage.expected_ends.discard(old.pid)
            raise
        move.served = time.monotonic()
        self.stage.children.append(relay.child)
        if (relay.postgres_port, relay.https_port) != before:
            self.ledger.violation("the next relay is on other ports")
        try:
            status = old.wait_end(TAKE_OVER_SECONDS + 20)
        except subprocess.TimeoutExpired:
            self.ledger.violation("a relay that was replaced does not end")
            status = old.stop(signal.SIGKILL)
        if status != 0:
            self.ledger.violation(f"a relay that was replaced ended with {status}")
        took = time.monotonic() - move.served
        self.ledger.say(f"the relay was replaced, and the old one ended {took:.1f} s later")
        self.ledger.count("relays replaced")

"""Child processes whose output is read as it comes, and which are ended by their own id."""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from signal import Signals

from .waiting import PATIENCE, wait_for


class Child:
    """A process of ours. Standard output is kept line by line, standard error beside it."""

    def __init__(self, arguments: list[str], environment: dict[str, str] | None = None, **options):
        self.arguments = arguments
        self.lines: list[str] = []
        self.errors: list[str] = []
        # The bytes themselves, for who looks for what a terminal would act on.
        self.raw = bytearray()
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            **options,
        )
        self._readers = [
            threading.Thread(target=self._pump, args=(stream, kept), daemon=True)
            for stream, kept in (
                (self.process.stdout, self.lines),
                (self.process.stderr, self.errors),
            )
        ]
        for reader in self._readers:
            reader.start()

    def _pump(self, stream, kept: list[str]) -> None:
        for line in stream:
            with self._changed:
                self.raw += line
                kept.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        stream.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def everything(self) -> str:
        """All it has said so far, for failure messages."""
        return "\n".join([*self.lines, *self.errors])

    def wait_line(
        self, what: str, matches: Callable[[str], bool], since: int = 0, seconds: float = PATIENCE
    ) -> str:
        """The first line of standard output from number `since` on that matches."""

        def find() -> str | None:
            return next((line for line in list(self.lines[since:]) if matches(line)), None)

        def find_or_end() -> str | None:
            found = find()
            if found is None and not self.is_running:
                for reader in self._readers:
                    reader.join(timeout=5)
                found = find()
                if found is None:
                    raise AssertionError(
                        f"ended ({self.process.returncode}) before: {what}\n{self.everything()}"
                    )
            return found

        try:
            return wait_for(what, find_or_end, seconds)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.everything()}") from None

    def wait_json(
        self, what: str, matches: Callable[[dict], bool], since: int = 0, seconds: float = PATIENCE
    ) -> dict:
        """The first line that is a JSON object and matches."""

        def parsed(line: str) -> dict | None:
            try:
                value = json.loads(line)
            except ValueError:
                return None
            return value if isinstance(value, dict) else None

        def good(line: str) -> bool:
            value = parsed(line)
            return value is not None and matches(value)

        return json.loads(self.wait_line(what, good, since, seconds))

    def resident_kib(self) -> int:
        """Resident memory now, in KiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS: the process is gone")

    def open_files(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def signal(self, number: Signals) -> None:
        self.process.send_signal(number)

    def wait_end(self, seconds: float = PATIENCE) -> int:
        """Waits until it ended by itself; returns its exit status."""
        status = self.process.wait(timeout=seconds)
        for reader in self._readers:
            reader.join(timeout=5)
        return status

    def stop(self, number: Signals = Signals.SIGTERM, seconds: float = PATIENCE) -> int:
        """Ends it: asks with `number`, insists with SIGKILL."""
        if self.is_running:
            self.process.send_signal(number)
        try:
            return self.wait_end(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.wait_end()


def run(
    arguments: list[str],
    environment: dict[str, str] | None = None,
    stdin: str | bytes | None = None,
    seconds: float = 120,
    text: bool = True,
    **options,
) -> subprocess.CompletedProcess:
    """Runs a program to its end and returns what it said; the caller looks at the exit status."""
    if stdin is None:
        options["stdin"] = subprocess.DEVNULL
    else:
        options["input"] = stdin
    return subprocess.run(
        arguments,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=text,
        timeout=seconds,
        **options,
    )


def run_well(arguments: list[str], environment: dict[str, str] | None = None, **options):
    """Like `run`, and fails with all it said unless it ended with 0."""
    done = run(arguments, environment, **options)
    assert done.returncode == 0, f"{arguments[0]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done

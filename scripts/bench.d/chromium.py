"""A headless Chromium that is spoken to by its own debugging pipe, and by nothing else.

Not by Playwright: that has every frame of a WebSocket told to itself, which cost a COPY through the
page two thirds of its rate. Here no domain of the protocol is enabled, so a page runs undisturbed.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from procs import BenchError, Supervisor, resident_bytes

PROGRAM = Path("/usr/bin/chromium")

#: How long Chromium may take to answer what is not a measurement, in seconds.
PATIENCE = 60.0

#: Where a program that is given `--remote-debugging-pipe` reads and writes.
COMMANDS, ANSWERS = 3, 4

FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
    # Without these a tab that nobody looks at would be measured as one.
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
)


class Chromium:
    """One Chromium process with the processes below it."""

    def __init__(self, folder: Path, supervisor: Supervisor) -> None:
        reads, self._writes = high_pipe()
        self._reads, writes = high_pipe()

        def place() -> None:
            os.dup2(reads, COMMANDS)
            os.dup2(writes, ANSWERS)

        # There is no sandbox for root.
        more = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = supervisor.start(
            "chromium",
            [PROGRAM, *FLAGS, *more, f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=place, pass_fds=(COMMANDS, ANSWERS),
        )
        os.close(reads)
        os.close(writes)
        self._last = 0
        self._waiting: dict[int, Future] = {}
        #: Sessions of workers, by the session of their page.
        self.workers: dict[str, list[str]] = {}
        threading.Thread(target=self._read, daemon=True).start()
        self.version = self.send("Browser.getVersion")["product"].partition("/")[2]

    def _read(self) -> None:
        """Hands each answer to who waits for it. Of events only workers are noted."""
        rest = b""
        while part := os.read(self._reads, 1 << 16):
            *messages, rest = (rest + part).split(b"\0")
            for message in messages:
                said = json.loads(message)
                if future := self._waiting.pop(said.get("id"), None):
                    future.set_result(said)
                elif said.get("method") == "Target.attachedToTarget":
                    workers = self.workers.setdefault(said.get("sessionId", ""), [])
                    workers.append(said["params"]["sessionId"])
        for future in self._waiting.values():
            future.set_exception(BenchError("Chromium has ended"))

    def begin(self, method: str, session: str | None = None, **words: object) -> Future:
        """Sends a command; its answer comes."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": words}
        if session:
            command["sessionId"] = session
        future = self._waiting[self._last] = Future()
        os.write(self._writes, json.dumps(command).encode() + b"\0")
        return future

    def send(
        self, method: str, session: str | None = None, *, seconds: float = PATIENCE,
        **words: object,
    ) -> dict:
        """Sends a command and waits for its answer."""
        return answer(self.begin(method, session, **words), method, seconds)

    def renderers(self) -> set[int]:
        """The ids of its renderer processes."""
        told = self.send("SystemInfo.getProcessInfo")["processInfo"]
        return {int(entry["id"]) for entry in told if entry["type"] == "renderer"}


class Tab:
    """A page of a tab of its own, and its process."""

    def __init__(self, chromium: Chromium, url: str) -> None:
        self._chromium = chromium
        before = chromium.renderers()
        self._target = chromium.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = chromium.send(
            "Target.attachToTarget", targetId=self._target, flatten=True
        )["sessionId"]
        self.send("Page.navigate", url=url)
        end = time.monotonic() + PATIENCE
        while not self._evaluate("window.isReady === true"):
            if time.monotonic() > end:
                raise BenchError(f"{url} does not come up")
            time.sleep(0.05)
        self._before = before

    def send(self, method: str, *, seconds: float = PATIENCE, **words: object) -> dict:
        """A command to the page."""
        return self._chromium.send(method, self._session, seconds=seconds, **words)

    def begin(self, call: str, *words: object) -> Future:
        """Begins a function of the page; `value` reads its answer."""
        listed = ", ".join(json.dumps(word) for word in words)
        return self._chromium.begin(
            "Runtime.evaluate", self._session, expression=f"{call}({listed})", awaitPromise=True,
            returnByValue=True,
        )

    def ask(self, call: str, *words: object, seconds: float = PATIENCE) -> object:
        """What a function of the page answers."""
        return value(answer(self.begin(call, *words), call, seconds))

    def _evaluate(self, expression: str) -> object:
        said = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return said["result"].get("value")

    @property
    def process(self) -> int:
        """The renderer of the page: the largest that came with the tab."""
        ours = self._chromium.renderers() - self._before
        return max(ours, key=lambda pid: resident_bytes([pid]))

    def heap_bytes(self) -> int:
        """What the page's JavaScript has, its buffers included; its workers are not in it."""
        usage = self.send("Runtime.getHeapUsage")
        return int(usage["usedSize"] + usage["backingStorageSize"])

    def collect_garbage(self) -> None:
        """Of the page's JavaScript, and of its workers'."""
        self._attach(to_workers=True)
        workers = self._chromium.workers.pop(self._session, [])
        for session in (self._session, *workers):
            self._chromium.send("HeapProfiler.collectGarbage", session)
        self._attach(to_workers=False)

    def _attach(self, *, to_workers: bool) -> None:
        self.send("Target.setAutoAttach", autoAttach=to_workers, waitForDebuggerOnStart=False,
                  flatten=True)

    def close(self) -> None:
        """Closes the tab."""
        self._chromium.send("Target.closeTarget", targetId=self._target)


def high_pipe() -> tuple[int, int]:
    """A pipe whose ends are not where a child's are put."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return moved


def answer(future: Future, what: str, seconds: float) -> dict:
    """The answer to a command, in time."""
    try:
        said = future.result(seconds)
    except TimeoutError:
        raise BenchError(f"Chromium did not answer {what} within {seconds:.0f} s") from None
    if "error" in said:
        raise BenchError(f"{what}: {said['error'].get('message')}")
    return said["result"]


def value(said: dict) -> object:
    """What the function returned."""
    if "exceptionDetails" in said:
        thrown = said["exceptionDetails"].get("exception", {})
        raise BenchError(f"the page: {thrown.get('description', 'failed')[:300]}")
    return said["result"].get("value")

"""A headless Chromium, its tabs, and what may happen to a tab: frozen, reloaded, killed, asleep.

Playwright lives on a thread with a loop of its own: tests run loops too, and ask from many threads.
"""

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from playwright.async_api import BrowserContext, ConsoleMessage, Page, async_playwright

from .browser_server import PageServer
from .endpoint import Endpoint
from .pgshare import Relay
from .waiting import PATIENCE, wait_for

CHROMIUM = Path("/usr/bin/chromium")
Value = TypeVar("Value")


class PageRelay(Relay):
    """A relay with a plain HTTP door too: pages refuse a certificate that they do not know."""

    http_port = 0

    def start(self) -> None:
        door = "--http-listen"
        own = self.more[: self.more.index(door)] if door in self.more else self.more
        self.more = (*own, door, f"127.0.0.1:{self.http_port}")
        super().start()
        line = self.child.wait_json("the relay to listen", lambda value: "http" in value)
        self.http_port = int(line["http"].rpartition(":")[2])

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"


class Chromium:
    """One Chromium process with the processes below it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._launch(), 60)

    async def _launch(self) -> None:
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            # As root there is no sandbox; and a test's time is no reason to slow a tab's timers.
            args=["--no-sandbox", "--disable-background-timer-throttling"],
        )
        self._session = await self._browser.new_browser_cdp_session()

    def run(self, work: Coroutine[Any, Any, Value], seconds: float = PATIENCE) -> Value:
        """Runs it on Chromium's loop, from any thread."""
        future = self.start(work)
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, Value]) -> Future[Value]:
        """Begins it on Chromium's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    @property
    def version(self) -> str:
        return self._browser.version

    def processes(self, kind: str) -> set[int]:
        """The ids of its processes of one kind: browser, renderer, GPU, utility."""
        told = self.run(self._session.send("SystemInfo.getProcessInfo"))
        return {int(entry["id"]) for entry in told["processInfo"] if entry["type"] == kind}

    @property
    def renderers(self) -> list[int]:
        """The processes of all its tabs. Which tab has which of them, Chromium does not tell."""
        return sorted(self.processes("renderer"))

    def everything(self) -> list[int]:
        """All processes of this Chromium, the browser's own first."""
        (root,) = self.processes("browser")
        return [root, *descendants(root)]

    def new_tab(self) -> "Tab":
        """A tab with a profile of its own, and so with a renderer of its own."""
        return Tab(self)

    async def new_context(self) -> BrowserContext:
        return await self._browser.new_context()

    def close(self) -> None:
        async def end() -> None:
            await self._browser.close()
            await self._playwright.stop()

        self.run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


def descendants(root: int) -> list[int]:
    """The processes below one, from /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                text = Path("/proc", name, "stat").read_text()
                parent = int(text[text.rindex(")") + 2 :].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, rest = [], [root]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


@contextlib.contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """These processes do nothing at all meanwhile, as on a machine that sleeps."""
    asleep = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            asleep.append(pid)
    assert asleep
    try:
        yield
    finally:
        for pid in reversed(asleep):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Tab:
    """One page of Tests/EndToEnd/pages, or of web/."""

    def __init__(self, chromium: Chromium) -> None:
        self.chromium = chromium
        self.console: list[str] = []
        self.shared: dict[str, Any] = {}
        self.shared_at: Endpoint
        self._context: BrowserContext
        self.page: Page
        chromium.run(self._make())

    async def _make(self) -> None:
        self._context = await self.chromium.new_context()
        self.page = await self._context.new_page()
        # To listen is a message to Chromium: like all of them, it goes out on Playwright's loop.
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.console.append(f"error: {error}"))

    def _on_console(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def open(self, url: str) -> None:
        """Opens the page and waits for its modules."""
        self.chromium.run(self.page.goto(url))
        self._wait_module()

    def _wait_module(self) -> None:
        self.chromium.run(self.page.wait_for_function("() => window.isReady === true"))

    def ask(self, call: str, *words: Any, seconds: float = 60) -> Any:
        """What a function of the page answers: ask("tab.query", "select 1")."""
        return self.chromium.run(self._ask(call, words), seconds)

    def start(self, call: str, *words: Any) -> Future[Any]:
        """Begins a function of the page."""
        return self.chromium.start(self._ask(call, words))

    async def _ask(self, call: str, words: tuple[Any, ...]) -> Any:
        return await self.page.evaluate(f"words => {call}(...words)", list(words))

    # The share

    def boot(self, **options: Any) -> None:
        """Starts the engine in a worker of the page."""
        self.ask("tab.boot", options)

    def share(self, at: PageRelay, **options: Any) -> Endpoint:
        """Shares the engine at a relay that has a plain HTTP door."""
        told = {"relay": at.http_url, "token": at.token(), **options}
        shared = self.shared = self.ask("tab.share", told)
        self.shared_at = Endpoint(
            shared["host"], int(shared["port"]), shared["user"], shared["password"],
            shared["database"], at.ca_file, 17, shared["id"],
        )  # fmt: skip
        return self.shared_at

    def query(self, sql: str, seconds: float = 60) -> list[list[str | None]]:
        """The page's own query, beside its clients; its rows as text."""
        return self.ask("tab.query", sql, seconds=seconds)

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """What the SDK told the page so far."""
        told = json.loads(self.ask("tab.eventsText"))
        return [event for event in told if name is None or event.get("event") == name]

    def wait_event(self, name: str, count: int = 1, seconds: float = PATIENCE) -> dict[str, Any]:
        """The event of that name, at least so many of them."""
        return wait_for(
            f"event {name} of the page",
            lambda: self.events(name)[-1] if len(self.events(name)) >= count else None,
            seconds,
        )

    # What may happen to it

    def reload(self) -> None:
        """What a person does with F5; the page starts anew."""
        self.chromium.run(self.page.reload())
        self._wait_module()

    def crash(self) -> None:
        """Its renderer ends as if it had been killed."""

        async def end() -> None:
            developer = await self._context.new_cdp_session(self.page)
            # Nobody is left to answer.
            with contextlib.suppress(Exception):
                await asyncio.wait_for(developer.send("Page.crash"), 5)

        self.chromium.run(end())

    def close(self) -> None:
        """What a person does with the tab's cross."""
        with contextlib.suppress(Exception):
            self.chromium.run(self._context.close())


class BrowserStage:
    """What the browser tests stand on: one server of pages and one Chromium."""

    def __init__(self) -> None:
        self.server = PageServer()
        self.chromium = Chromium()

    def tab(self, page: str = "/pages/tab.html", chromium: Chromium | None = None) -> Tab:
        """A new tab with that page."""
        tab = (chromium or self.chromium).new_tab()
        tab.open(self.server.url + page)
        return tab

    def close(self) -> None:
        self.chromium.close()
        self.server.close()

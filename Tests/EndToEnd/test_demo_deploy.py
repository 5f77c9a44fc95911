"""`pgshare demo deploy`: the whole way on one machine, and nothing is left of it."""

import json
import re
import signal
from pathlib import Path

import pytest

from harness.processes import Child
from harness.terminal import Terminal
from harness.tools import pgshare_binary
from harness.waiting import wait_for

pytestmark = pytest.mark.relayed

# What a busy machine may take; the demo itself is over in a quarter of it.
SECONDS = 60.0


def _folder(text: str) -> Path:
    """The demo's own folder, out of the command that it shows."""
    found = re.search(r"pgshare-demo-\d+", text)
    assert found, text
    return Path("/tmp") / found.group()


def _processes(folder: Path) -> list[str]:
    """Who still works in that folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # It ended while we looked.
            continue
        if str(folder) in words:
            found.append(words)
    return found


def _nothing_is_left(folder: Path) -> None:
    assert not folder.exists(), folder
    wait_for("the servers of the demo to be gone", lambda: not _processes(folder))


def test_the_demo_deploys_proves_it_deploys_again_and_takes_it_back():
    demo = Child([pgshare_binary(), "demo", "deploy", "--json"])
    assert demo.wait_end(SECONDS) == 0, demo.everything()
    events = [json.loads(line) for line in demo.lines]

    def named(name: str) -> list[dict]:
        return [event for event in events if event["event"] == name]

    verified = named("verified")
    assert [event["rows"] for event in verified] == [42_500, 43_000]
    assert [event["tables"] for event in verified] == [4, 4]
    assert all(event["level"] == "full" and event["mismatches"] == [] for event in verified)
    outcomes = [event["outcome"] for event in named("finished")]
    assert outcomes == ["deployed", "planned", "deployed", "rolled-back"]
    plans = [event["plan"] for event in named("planned")]
    assert [plan["removed"] for plan in plans] == [[], ["view shop.unpaid"], ["view shop.unpaid"]]
    assert plans[1]["last_deployment"]["row_counts"]["shop.orders"] == 10_000
    first, second, back = (event["rows"] for event in named("demo-query"))
    assert second[0][:2] == ["2026-07", "250"]
    assert first == back != second
    assert events[-1]["event"] == "demo-finished" and events[-1]["seconds"] < SECONDS
    assert demo.errors == []
    _nothing_is_left(_folder(named("demo-command")[0]["command"]))


@pytest.mark.parametrize(
    "moment", ["$ pgshare deploy demo", "copying rows", "--plan", "rollback"]
)
def test_ctrl_c_ends_the_demo_and_nothing_is_left(moment):
    terminal = Terminal([pgshare_binary(), "demo", "deploy"], {})
    try:
        terminal.wait_text("$ pgshare deploy demo")
        terminal.wait_text(moment, seconds=SECONDS)
        terminal.interrupt()
        assert terminal.wait_end() == 0, terminal.screen
        assert "Error" not in terminal.screen, terminal.screen
        assert "Stopped. Everything of the demo is gone." in terminal.screen
        _nothing_is_left(_folder(terminal.screen))
    finally:
        terminal.close()


def test_the_demo_ends_before_its_servers_stand():
    demo = Child([pgshare_binary(), "demo", "deploy"])
    demo.wait_line("the first step", lambda line: "throw-away" in line)
    demo.signal(signal.SIGTERM)
    assert demo.wait_end() == 0, demo.everything()
    assert demo.errors == [], demo.everything()

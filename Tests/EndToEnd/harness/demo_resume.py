"""`scripts/demo-resume`: psql is in a transaction, the agent's network goes, its commit succeeds.

Needs the standard library alone. Ends with 0 only if the row is there.
"""

import argparse
import shlex
import signal
import sys
import tempfile
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

from . import tools
from .certificates import Authority
from .cluster import Cluster
from .far_share import Identity
from .network import Namespace, Network
from .pgshare import Relay
from .processes import Child
from .terminal import Terminal

_ROW = "kept through the cut"


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


class _Laptop:
    """The terminal of `pgshare share`: its new lines are shown as they come."""

    def __init__(self, child: Child):
        self.child = child
        self._shown = 0

    def show(self) -> None:
        for line in self.child.lines[self._shown :]:
            print(f"  laptop | {line}", flush=True)
            self._shown += 1


class _Client:
    """The terminal of psql."""

    def __init__(self, command: list[str]):
        self.terminal = Terminal(command, {"PAGER": "cat"})
        self._seen = self._shown = 0
        self.wait("=> ")

    def wait(self, text: str, seconds: float = 30) -> None:
        """Waits until `text` appears behind all that was waited for, and shows the whole lines."""
        self._seen = self.terminal.wait_text(text, self._seen, seconds)
        *lines, _ = self.terminal.screen[self._shown : self._seen].split("\n")
        for line in lines:
            self._shown += len(line) + 1
            if line.strip():
                print(f"  client | {line.rstrip()}", flush=True)

    def type(self, statement: str) -> None:
        self.terminal.type(statement + "\n")
        self.wait("\n")


def _share(relay: Relay, network: Network, cluster: Cluster) -> Child:
    url = f"https://{Network.RELAY_ADDRESS}:{relay.https_port}"
    command = [tools.pgshare_binary(), "share", cluster.conninfo(user="demo"), "--relay", url]
    with network.agent_side:
        child = Child(
            [*command, "--ca-file", str(relay.ca_file)], {"PGSHARE_TOKEN": relay.token()}
        )
    child.wait_line("the share to stand", lambda line: line.startswith("until "))
    return child


def _psql(relay_side: Namespace, share: Child) -> _Client:
    """The line that `pgshare share` says to paste, pasted."""
    line = next(line for line in share.lines if line.strip().startswith("psql "))
    _, url = shlex.split(line)
    with relay_side:
        return _Client([tools.program("psql"), "-X", "-n", url])


def _cut(network: Network, laptop: _Laptop, client: _Client, seconds: float) -> None:
    """`commit` is typed while nothing gets through, and waits."""
    _say(f"The laptop's network is gone for {seconds:.0f} s: every packet is lost, nobody is told")
    network.freeze()
    gone = time.monotonic()
    client.type("commit;")
    while (left := gone + seconds - time.monotonic()) > 0:
        laptop.show()
        time.sleep(min(left, 0.2))
    lost = sum(network.packets()[1::2])
    _say(f"The network is back ({lost} packets were lost meanwhile); psql has waited")
    network.thaw()


def _tell(seconds: float, undo: ExitStack) -> bool:
    """Returns whether the row is there."""
    folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="pgshare-resume-")))
    folder.chmod(0o755)
    _say("Two networks, one link: a laptop with Postgres and pgshare share; a relay and a client")
    authority = Authority(folder)
    cluster = Cluster(tools.MAIN_VERSION, authority)
    undo.callback(cluster.remove)
    cluster.sql("create role demo login; create table demo (word text); grant all on demo to demo")
    network = undo.enter_context(Network())
    identity = Identity(authority)
    with network.relay_side:
        relay = Relay(
            folder / "relay", *identity.options, ca_file=identity.ca_file, https_host="0.0.0.0"
        )
    undo.callback(relay.stop)
    share = _share(relay, network, cluster)
    undo.callback(share.stop)
    laptop = _Laptop(share)
    laptop.show()
    _say("A client begins a transaction")
    client = _psql(network.relay_side, share)
    undo.callback(client.terminal.close)
    client.type("begin;")
    client.wait("=*> ")
    client.type(f"insert into demo values ('{_ROW}');")
    client.wait("=*> ")
    _cut(network, laptop, client, seconds)
    back = time.monotonic()
    client.wait("COMMIT", 60)
    took = time.monotonic() - back
    client.wait("=> ")
    laptop.show()
    _say("Beside the server, without pgshare between")
    found = cluster.sql("select word from demo")
    print(textwrap.indent(f"select word from demo;\n{found}", "  server | "))
    print(f"\nThe commit was done {took:.1f} s after the network was back. ", end="")
    print("The row is there." if found == _ROW else "The row is NOT there.")
    return found == _ROW


def _stop(*_: object) -> None:
    sys.exit("stopped; everything of the demo is gone")


def main() -> None:
    parser = argparse.ArgumentParser(prog="demo-resume", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="without a network (20)")
    seconds = parser.parse_args().seconds
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    with ExitStack() as undo:
        is_there = _tell(seconds, undo)
    sys.exit(0 if is_there else 1)


if __name__ == "__main__":
    main()

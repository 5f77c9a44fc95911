"""Networks of their own, and a link between them that misbehaves: needs root and iproute2.

A namespace here has no name: it goes with the processes and descriptors that hold it, so that a
run which is killed leaves nothing behind. Packets pass two TUN devices and `bad_link.c` between,
because not every kernel has netem.

    with Network() as network:
        with network.relay_side:        # this thread, and what it starts
            ...
        network.freeze()                # every packet is lost, nobody is told
        network.thaw()
"""

import atexit
import contextlib
import ctypes
import fcntl
import functools
import os
import shutil
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

from .processes import run_well

# Source: <linux/sched.h>, <linux/if_tun.h>.
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


def is_possible() -> bool:
    """Whether we may make networks: root, and the devices."""
    return os.geteuid() == 0 and os.path.exists("/dev/net/tun")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """A network with nothing in it but `lo`. `with` it, a thread and what it starts is inside."""

    def __init__(self):
        self._left = threading.local()
        outside = _own_namespace()
        try:
            _checked(_libc.unshare(_CLONE_NEWNET), "unshare")
            self._descriptor = _own_namespace()
            _checked(_libc.setns(outside, _CLONE_NEWNET), "setns")
        finally:
            os.close(outside)
        self.ip("link", "set", "lo", "up")

    def __enter__(self) -> "Namespace":
        outside = _own_namespace()
        _checked(_libc.setns(self._descriptor, _CLONE_NEWNET), "setns")
        self._left.stack = [*getattr(self._left, "stack", []), outside]
        return self

    def __exit__(self, *_: object) -> None:
        outside = self._left.stack.pop()
        _checked(_libc.setns(outside, _CLONE_NEWNET), "setns")
        os.close(outside)

    def ip(self, *arguments: str) -> None:
        """One command of iproute2, inside."""
        with self:
            run_well(["ip", *arguments])

    def tun(self, name: str) -> int:
        """A new TUN device; it lasts as long as the descriptor that is returned."""
        with self:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
            fcntl.ioctl(device, _TUNSETIFF, request)
        return device

    def close(self) -> None:
        os.close(self._descriptor)


@functools.cache
def _program() -> str:
    """`bad_link`, built once a run."""
    folder = tempfile.mkdtemp(prefix="pgshare-link-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = f"{folder}/bad_link"
    source = Path(__file__).with_name("bad_link.c")
    run_well(["cc", "-O2", "-Wall", "-Werror", "-o", program, str(source)])
    return program


_building = threading.Lock()

TO_RELAY, TO_AGENT = 0, 1


class Network:
    """An agent's side and a relay's side, each a namespace, and one link between them."""

    RELAY_ADDRESS = "10.77.9.1"
    _DEVICE = "wire0"
    # The agent's: at home, and wherever it moves to.
    _SUBNETS = (0, 1, 2)

    def __init__(self, seed: int = 1):
        """`seed` decides which packets a lossy link loses."""
        self.agent_side, self.relay_side = Namespace(), Namespace()
        # Microseconds, packets a million, bits a second, what is dropped: of each direction.
        self._settings = [[0, 0, 0, 0], [0, 0, 0, 0]]
        self._lock = threading.Lock()
        self._subnet = 0
        with _building:
            program = _program()
        devices = [side.tun(self._DEVICE) for side in (self.agent_side, self.relay_side)]
        self._process = subprocess.Popen(
            [program, *map(str, devices), str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=devices, text=True, bufsize=1,
        )  # fmt: skip
        for device in devices:
            os.close(device)
        self.relay_side.ip("addr", "add", f"{self.RELAY_ADDRESS}/32", "dev", self._DEVICE)
        self.agent_side.ip("addr", "add", self._agent_address(), "dev", self._DEVICE)
        self.up()
        self.relay_side.ip("link", "set", self._DEVICE, "up", "mtu", "1500")
        for subnet in self._SUBNETS:
            self.relay_side.ip("route", "add", f"10.77.{subnet}.0/24", "dev", self._DEVICE)

    def _agent_address(self) -> str:
        return f"10.77.{self._subnet}.2/24"

    # What the link does with packets

    def shape(self, rtt: float = 0, loss: float = 0, bits_per_second: int = 0) -> None:
        """From now on: a round trip of `rtt` seconds more, and a share `loss` of packets lost and
        at most this many bits a second, each direction; 0 is as fast as it goes."""
        with self._lock:
            for direction, now in enumerate(self._settings):
                now[:3] = [int(rtt * 500_000), int(loss * 1_000_000), bits_per_second]
                self._tell(direction)

    def forget(self) -> None:
        """Loses every packet of the connections there are, and tells nobody: a NAT that has lost
        its table. New connections work."""
        self._drop((TO_RELAY, TO_AGENT), 2)

    def freeze(self, *directions: int) -> None:
        """Loses every packet of these directions (default both), and tells nobody."""
        self._drop(directions or (TO_RELAY, TO_AGENT), 1)

    def thaw(self) -> None:
        """Lets packets through again."""
        self._drop((TO_RELAY, TO_AGENT), 0)

    def _drop(self, directions: tuple[int, ...], drops: int) -> None:
        with self._lock:
            for direction in directions:
                self._settings[direction][3] = drops
                self._tell(direction)

    def packets(self) -> tuple[int, int, int, int]:
        """Passed and dropped to the relay, passed and dropped to the agent, so far."""
        with self._lock:
            return self._tell(TO_RELAY)

    def _tell(self, direction: int) -> tuple[int, int, int, int]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(direction, *self._settings[direction], file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().split()
        assert len(answer) == 4, f"the link ended: {self._process.poll()}"
        return tuple(map(int, answer))

    # What the agent's machine knows of

    def down(self) -> None:
        """Takes the agent's device down: no carrier, no route."""
        self.agent_side.ip("link", "set", self._DEVICE, "down")

    def up(self) -> None:
        """Has it back as it was."""
        self.agent_side.ip("link", "set", self._DEVICE, "up", "mtu", "1500")
        route = ["route", "replace", f"{self.RELAY_ADDRESS}/32", "dev", self._DEVICE]
        self.agent_side.ip(*route)

    def move(self) -> None:
        """The agent's machine changes to another network: another address, the old one is gone."""
        self.agent_side.ip("addr", "flush", "dev", self._DEVICE)
        self._subnet = (self._subnet + 1) % len(self._SUBNETS)
        self.agent_side.ip("addr", "add", self._agent_address(), "dev", self._DEVICE)
        self.up()

    def close(self) -> None:
        """Ends the link; its devices go with it."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
        self.agent_side.close()
        self.relay_side.close()

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""A TCP proxy that stands for a bad network: it can cut, refuse and hold back bytes."""

import contextlib
import socket
import struct
import threading

# Written as a reset instead of a FIN: what a mobile network or a crashed NAT box does.
_RESET = struct.pack("ii", 1, 0)


class TCPProxy:
    """Listens on a port of its own and passes every connection on to `target_port`."""

    def __init__(self, target_port: int):
        self.target_port = target_port
        self.refuses = False
        self.accepted = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                self._abort(near)
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port), timeout=10)
            except OSError:
                self._abort(near)
                continue
            for end in (near, far):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.accepted += 1
                self._open |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
            return
        self._abort(source)
        self._abort(target)

    def _abort(self, end: socket.socket) -> None:
        with self._lock:
            self._open.discard(end)
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            end.close()

    def cut(self) -> int:
        """Resets every connection that is open; returns how many there were."""
        with self._lock:
            ends = list(self._open)
        for end in ends:
            self._abort(end)
        return len(ends) // 2

    def stall(self) -> None:
        """Lets no byte through any more; the connections stay open."""
        self._flows.clear()

    def flow(self) -> None:
        """Lets bytes through again."""
        self._flows.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.flow()
        self.cut()

"""A program on a terminal of its own, typed at as a person would."""

import contextlib
import os
import pty
import select
import time

from .waiting import PATIENCE


class Terminal:
    """Runs a program with a pseudo terminal as its controlling terminal."""

    def __init__(self, arguments: list[str], environment: dict[str, str]):
        self.screen = ""
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(arguments[0], arguments, {**os.environ, "TERM": "dumb", **environment})
            finally:
                os._exit(127)

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C: the terminal makes a SIGINT of it."""
        self.type("\x03")

    def wait_text(self, text: str, since: int = 0, seconds: float = PATIENCE) -> int:
        """Reads until `text` has appeared after position `since`; returns the position behind it."""
        deadline = time.monotonic() + seconds
        while text not in self.screen[since:]:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._read(remaining):
                raise AssertionError(f"never appeared: {text!r}\n{self.screen}")
        return self.screen.index(text, since) + len(text)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux says EIO when the program has ended.
            return False
        self.screen += data.decode(errors="replace")
        return bool(data)

    def wait_end(self) -> int:
        """Waits for the program to end; returns its exit status."""
        while self._read(PATIENCE):
            pass
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Ends the program if it has not."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
            os.close(self._descriptor)
            self.pid = 0

"""A wall clock of a process that jumps while the process runs."""

import struct
from pathlib import Path

from .processes import run_well

_SOURCE = Path(__file__).with_name("wall_clock.c")


def build_wall_clock(folder: Path) -> Path:
    """Compiles what is preloaded."""
    library = folder / "wall_clock.so"
    run_well(["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"])
    return library


class WallClock:
    """Goes right until it is told to jump. Start processes with its `environment`."""

    def __init__(self, library: Path, control: Path):
        self.control = control
        self.control.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(control)}

    def jump(self, seconds: int) -> None:
        """From now on it is off by so many seconds."""
        # In place: the process has the file mapped.
        with self.control.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))

"""Places that are soon full."""

import contextlib
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from .processes import run, run_well


@contextlib.contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[bool]:
    """Mounts a small disk over a folder and moves what is in it there; at the end, back.

    False where nobody may mount (no root, a container without the right): use `limited_files`.
    """
    owner = folder.stat()
    options = f"size={kibibytes}k,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
    small = folder.with_name(folder.name + ".small")
    small.mkdir()
    try:
        if run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(small)]).returncode != 0:
            yield False
            return
        _move(folder, small)
        run_well(["mount", "--move", str(small), str(folder)])
        try:
            yield True
        finally:
            run_well(["mount", "--move", str(folder), str(small)])
            _move(small, folder)
            run_well(["umount", str(small)])
    finally:
        small.rmdir()


def _move(source: Path, target: Path) -> None:
    run_well(["cp", "-a", f"{source}/.", str(target)])
    for path in source.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def limited_files(pid: int, kibibytes: int) -> Iterator[None]:
    """Lets a process, and those that it starts meanwhile, write no file longer than this."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (kibibytes * 1024, before[1]))
    try:
        yield
    finally:
        if os.path.exists(f"/proc/{pid}"):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

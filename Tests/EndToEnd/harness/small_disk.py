"""Places that are soon full."""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .processes import run


@contextlib.contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[bool]:
    """Mounts a small disk over a folder and moves what is in it there.

    False where nobody may mount (no root, a container without the right): use `limited_files`.
    """
    size = f"size={kibibytes}k,mode=0700"
    aside = folder.with_name(folder.name + ".aside")
    shutil.copytree(folder, aside, symlinks=True)
    owner = folder.stat()
    if run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]).returncode != 0:
        shutil.rmtree(aside)
        yield False
        return
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", str(folder)], check=True)
        subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(folder)], check=True)
        yield True
        subprocess.run(["umount", "-l", str(folder)], check=True)
    finally:
        run(["umount", "-l", str(folder)])
        shutil.rmtree(aside, ignore_errors=True)


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

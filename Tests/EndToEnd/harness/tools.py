"""Where the programs are that the tests drive."""

import functools
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / ".build-test-tools"
JDBC = Path("/usr/share/java/postgresql.jar")
NODE_MODULES = TOOLS / "node" / "modules"

# Set to test the harness itself: clients go to Postgres directly, without pgshare between.
DIRECT = os.environ.get("PGSHARE_TEST_DIRECT") == "1"


# Comes with the extension vector, and without much else: only for what needs vector.
VECTOR_VERSION = 16


def _installations() -> dict[int, Path]:
    """Major version to the folder of its programs; the system's newest, 16, 17 and 18."""
    found: dict[int, Path] = {}
    for folder in Path("/usr/lib/postgresql").glob("*/bin"):
        if (folder / "postgres").exists() and folder.parent.name.isdigit():
            found[int(folder.parent.name)] = folder
    for version in (VECTOR_VERSION, 17, 18):
        folder = TOOLS / f"postgres-{version}" / "pginstall" / "bin"
        if folder.exists():
            found[version] = folder.resolve()
    return found


POSTGRES = _installations()
VERSIONS = sorted(version for version in POSTGRES if version != VECTOR_VERSION)
# The oldest comes from the system and is built with everything; it serves where one is enough.
MAIN_VERSION = VERSIONS[0] if VERSIONS else 0


def program(name: str, version: int = MAIN_VERSION) -> str:
    """The path of a Postgres program."""
    return str(POSTGRES[version] / name)


@functools.cache
def full_version(version: int) -> str:
    """For example "17.10"."""
    text = subprocess.run(
        [program("psql", version), "--version"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"(\d+\.\d+)", text)
    assert match, text
    return match.group(1)


def pgshare_binary() -> str:
    """The pgshare under test: PGSHARE_BIN, or this checkout's debug build."""
    path = os.environ.get("PGSHARE_BIN") or str(ROOT / ".build" / "debug" / "pgshare")
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: build it first, or set PGSHARE_BIN")
    return path

"""What the benchmarks' runs have in common: options, progress, raw figures, an end."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from procs import BenchError

ROOT = Path(__file__).resolve().parents[2]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that mean the same to all of them."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="append raw figures, a line each")
    parser.add_argument("--no-build", action="store_true", help="use the binary that is there")
    parser.add_argument("--binary", type=Path, default=ROOT / ".build/release/pgshare",
                        metavar="FILE", help="pgshare's program (default: the release build)")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder (logs)")


def named(
    parser: argparse.ArgumentParser, text: str | None, known: Sequence[str], kind: str
) -> list[str]:
    """The names of a list with commas, in their own order; all where there is none."""
    wanted = text.split(",") if text else list(known)
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"no such {kind}: {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if name in wanted]


def check_binary(parser: argparse.ArgumentParser, binary: Path, otherwise: str = "") -> None:
    """Ends the program where there is nothing to measure. `otherwise`: what else one may do."""
    if not binary.exists():
        parser.error(f"{binary} is not there; build it{otherwise}")


def say(text: str) -> None:
    """Progress, for the person who waits; the table alone goes to standard output."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def write(file: Path | None, record: dict) -> None:
    """Raw figures, a JSON object a line."""
    if file:
        with file.open("a") as lines:
            lines.write(json.dumps(record) + "\n")


def conducted(
    chosen: argparse.Namespace, folder: Path, work: Callable[[], int], close: Callable[[], None]
) -> int:
    """The status of a run, whose processes are stopped and whose folder goes however it ends."""
    try:
        return work()
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except BenchError as error:
        say(f"failed: {error}; see {folder}")
        chosen.keep = True
        return 1
    finally:
        say("stopping what was started")
        close()
        if not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)

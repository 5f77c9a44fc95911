#!/usr/bin/env python3
"""Mends the WebAssembly module of PGlite's WASI build (Postgres 17.5, of pytest-pglite 0.4.1).

    pglite_patch.py SOURCE TARGET [--run]

Always: the linker put the stack into the first 128 KiB of memory, and the window through which
host and engine exchange messages (1 byte to 2 MiB) lies over it, so that longer replies destroy
live stack frames. The memory gets 4 MiB more, and the stack starts at their end. Debug sections
are left out.

--run, for a module that only ever opens a database that is there already: two settings that the
build has hard-wired are made those of any Postgres. search_path=pg_catalog would put a user's
tables where pg_dump leaves them out; sequential scans were off.

Every assumption about the module is checked, and anything unexpected is an error.
Format: WebAssembly Core Specification 2.0, chapter 5.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

MAGIC = b"\0asm\x01\0\0\0"
PAGE = 65536
STACK_BYTES = 4 << 20
# Where the stack of this very build starts, in bytes.
OLD_STACK_TOP = 131072

CUSTOM, MEMORY, GLOBAL = 0, 5, 6
I32, MUTABLE, I32_CONST, END = 0x7F, 1, 0x41, 0x0B

# The backend's command line. initdb has its own copy of -f s, without the other letters; there
# -f t switches off what a session hardly uses, plans by tuple id.
SETTINGS = (
    (b"\0search_path=pg_catalog\0", b"\0search_path=public\0\0\0\0\0"),
    (b"siobtnmh", b"tiobtnmh"),
)


class NotThatModule(Exception):
    """The module is not the build that this program knows."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise NotThatModule(what)


def read_unsigned(data: bytes, at: int) -> tuple[int, int]:
    """A LEB128 number of at most 32 bits and the offset behind it."""
    value = shift = 0
    while True:
        require(at < len(data) and shift < 35, f"bad number at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def read_signed(data: bytes, at: int) -> tuple[int, int]:
    start = at
    value, at = read_unsigned(data, at)
    bits = 7 * (at - start)
    return (value - (1 << bits) if data[at - 1] & 0x40 else value), at


def unsigned(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def signed(value: int) -> bytes:
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value & 0x7F])


def sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    require(module.startswith(MAGIC), "not a WebAssembly module of version 1")
    at = len(MAGIC)
    while at < len(module):
        kind = module[at]
        length, at = read_unsigned(module, at + 1)
        require(at + length <= len(module), f"section {kind} is cut short")
        yield kind, module[at : at + length]
        at += length


def custom_name(body: bytes) -> str:
    length, at = read_unsigned(body, 0)
    return body[at : at + length].decode()


def larger_memory(body: bytes) -> tuple[bytes, int]:
    """The memory section with room for the stack, and where that room ends."""
    count, at = read_unsigned(body, 0)
    require(count == 1, f"{count} memories")
    require(body[at] == 0, "the memory has a maximum or is shared")
    pages, at = read_unsigned(body, at + 1)
    require(at == len(body), "the memory section is longer than a memory")
    pages += STACK_BYTES // PAGE
    return b"\x01\0" + unsigned(pages), pages * PAGE


def moved_stack(body: bytes, top: int) -> bytes:
    """The global section with its first global, the stack pointer, at `top`."""
    _, at = read_unsigned(body, 0)
    start = bytes([I32, MUTABLE, I32_CONST])
    require(body[at:].startswith(start), "the first global is no mutable number")
    value, behind = read_signed(body, at + len(start))
    require(value == OLD_STACK_TOP, f"the stack starts at {value}, not {OLD_STACK_TOP}")
    require(body[behind] == END, "the first global is computed")
    return body[:at] + start + signed(top) + body[behind:]


def replaced(module: bytes, old: bytes, new: bytes) -> bytes:
    require(len(old) == len(new), "a text must keep its length")
    require(module.count(old) == 1, f"{old!r} occurs {module.count(old)} times")
    return module.replace(old, new)


def patched(module: bytes, run: bool) -> bytes:
    out = bytearray(MAGIC)
    top = moved = None
    for kind, body in sections(module):
        if kind == CUSTOM and custom_name(body).startswith(".debug"):
            continue
        if kind == MEMORY:
            body, top = larger_memory(body)
        elif kind == GLOBAL:
            require(top is not None, "the globals stand before the memory")
            body = moved = moved_stack(body, top)
        out += bytes([kind]) + unsigned(len(body)) + body
    require(moved is not None, "no memory or no globals")
    result = bytes(out)
    if run:
        for old, new in SETTINGS:
            result = replaced(result, old, new)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--run", action="store_true")
    chosen = parser.parse_args()
    try:
        chosen.target.write_bytes(patched(chosen.source.read_bytes(), chosen.run))
    except NotThatModule as wrong:
        raise SystemExit(f"{chosen.source} is not the build this patch was made for: {wrong}") from None


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes first inputs for every fuzz target into the folder given: Fuzz/seeds.py FOLDER.

The bytes in front choose what the rest is for; see Tests/FuzzReplayTests/Bodies. What the fuzzers
make of these is kept in Fuzz/Corpora, so this is needed only where a target is new or changed.
"""

import re
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEEDS: dict[str, list[bytes]] = {}


def seed(target: str, *parts: bytes | str) -> None:
    whole = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    SEEDS.setdefault(target, []).append(whole)


def vectors() -> dict[str, bytes]:
    """The hex vectors of PROTOCOL.md: one whole frame each, by name."""
    document = (ROOT / "PROTOCOL.md").read_text()
    found = re.findall(r"```hex ([\w-]+)\n(.*?)```", document, re.S)
    return {name: bytes.fromhex("".join(body.split())) for name, body in found}


def frame(kind: int, payload: bytes | str = b"", stream: int = 0, flags: int = 0) -> bytes:
    payload = payload.encode() if isinstance(payload, str) else payload
    return struct.pack(">BBHI", kind, flags, len(payload), stream) + payload


def message(kind: str, body: bytes | str = b"") -> bytes:
    body = body.encode() if isinstance(body, str) else body
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


def packet(body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 4) + body


OPEN, OPEN_OK, DATA, WINDOW, RESET = 0x10, 0x11, 0x12, 0x13, 0x14


def link() -> None:
    answers = b"".join(
        [
            frame(OPEN_OK, '{"window":9000}', 1), frame(DATA, b"row " * 20, 1),
            frame(0x05, struct.pack(">Q", 20)), frame(0x06, struct.pack(">Q", 1)),
            frame(WINDOW, struct.pack(">Q", 9000), 1), frame(DATA, b"end", 1, 1),
            frame(OPEN_OK, '{"window":9000}', 2), frame(0x81, b"newer"),
            frame(RESET, b"\x0353300too many", 2), frame(0x08, '{"reason":"stopping"}'),
        ]
    )
    opens = b"".join(
        [
            frame(OPEN, '{"kind":"session","window":4096,"parameters":[["user","a"]]}', 1),
            frame(DATA, b"Q\0\0\0\x0dselect 1\0", 1), frame(DATA, b"x", 1, 1),
            frame(OPEN, '{"kind":"cancel","window":0,"stream":1,"after":9}', 2),
            frame(OPEN, '{"kind":"engine","window":65536}', 3), frame(DATA, b"", 3, 1),
            frame(0x07, struct.pack(">Q", 1_000_000_000)), frame(RESET, b"\x0000000", 1),
        ]
    )
    for place in (0, 20, 60, 133):
        seed("link", bytes([0, 9, 0, place]), answers)
        seed("link", bytes([1, 1, 0, place]), opens)
    for whole in vectors().values():
        seed("link", bytes([0, 4, 0, 9]), whole)
        seed("link", bytes([1, 4, 0, 9]), whole)

    def fed(bytes_: bytes) -> bytes:
        parts = [bytes_[at : at + 200] for at in range(0, len(bytes_), 200)]
        return b"".join(bytes([0, len(part)]) + part for part in parts)

    send, read = bytes([6, 0x20, 0]), bytes([15])
    drop, wait, tick = bytes([11, 0, 0]), bytes([12, 0x30, 0]), bytes([13])
    seed("link", bytes([2, 5, 5, 5, 15]), fed(answers), send, bytes([15, 8]), drop, read, wait, tick)
    seed("link", bytes([3]), fed(opens), send, read, bytes([8, 9, 10]), drop, fed(opens), read)
    seed("link", bytes([2, 5]), send * 9, read, bytes([14, 5, 0x15]), drop, read * 3)


def handshake() -> None:
    kinds = {
        "hello": 3, "hello-browser": 3, "hello-join": 3, "hello-ok": 4, "resume": 5,
        "resume-ok": 6, "error": 7, "go-away": 8, "open": 9, "open-cancel": 9, "open-engine": 9,
        "open-ok": 10, "open-ok-engine": 10, "reset": 11,
    }
    for name, whole in vectors().items():
        for machine in (0, 1, 2):
            seed("handshake", bytes([machine, 4]), whole, b"behind")
        if name in kinds:
            seed("handshake", bytes([kinds[name]]), whole[8:])
    seed("handshake", bytes([11]), "\x0353300too many clients")


def hello(*extensions: bytes) -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    if extensions:
        joined = b"".join(extensions)
        body += struct.pack(">H", len(joined)) + joined
    handshake_ = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(handshake_)) + handshake_


def extension(kind: int, content: bytes) -> bytes:
    return struct.pack(">HH", kind, len(content)) + content


def startup() -> None:
    ssl, gss = packet(struct.pack(">I", 80877103)), packet(struct.pack(">I", 80877104))
    cancel = packet(struct.pack(">Ii", 80877102, 7) + b"key!")
    long_cancel = packet(struct.pack(">Ii", 80877102, 7) + b"k" * 32)

    def start(version: int, *texts: str) -> bytes:
        body = b"".join(text.encode() + b"\0" for text in texts) + b"\0"
        return packet(struct.pack(">I", version) + body)

    plain = start(196608, "user", "ann", "database", "app")
    full = start(
        196610, "user", "ann.demo", "options", "-c pgshare.share=demo -c a=b\\ c", "_pq_.new", "1",
        "replication", "database", "application_name", "\u202ex\x1b[31m", "pgshare.share", "demo")
    for clear, inside in [
        (ssl, plain), (ssl, full), (gss + ssl, plain), (ssl, gss + full), (cancel, b""),
        (ssl, cancel), (ssl, long_cancel), (plain, b""), (ssl + plain, b""), (hello(), plain),
        (b"GET / HTTP/1.1\r\n", b""),
    ]:
        seed("startup", bytes([0, 9]), struct.pack(">H", len(clear)), clear, inside)
        seed("startup", bytes([1, 4]), clear, inside)
    name = extension(0, b"\0\x0c\0\0\x09demo.host")
    alpn = extension(16, b"\0\x0b\x0apostgresql")
    for whole in (hello(), hello(name), hello(alpn, name), hello(name, name, extension(43, b""))):
        seed("startup", bytes([2, 0]), whole)
    for text in (
        "-c pgshare.share=a", "-cPGSHARE.share=a -c x=y", "--pgshare-share=a", "-ec pgshare.share=a",
        "-d 3 --pgshare.share=a\\ b -B 5", "-c", "\\ ", "-- -c a=b\\", "-c pgshare.share=a\\\\ "):
        seed("startup", bytes([3, 0]), text)
    for path in sorted((ROOT / "Tests/PostgresWireTests/FailCases").glob("*.bin")):
        seed("startup", bytes([1, 3]), path.read_bytes())


def main() -> None:
    for make in (link, handshake, startup):
        make()
    for target, inputs in SEEDS.items():
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, whole in enumerate(inputs):
            (folder / f"seed-{number:03}").write_bytes(whole)


main()

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
    for text in (
        "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nx", "PROXY TCP6 ::1 ::2 0 65535\r\n", "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN a b\r\n", "PROXY TCP4 ::1 ::2 1 2\r\n", "PROXY " + "x" * 110, "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"):
        seed("startup", bytes([4, 4]), text)
    mark = b"\r\n\r\n\0\r\nQUIT\n"
    four, six = bytes([192, 0, 2, 1] * 2) + b"\0\5\0\6", bytes(36)
    for head, body in ((b"\x21\x11", four), (b"\x21\x21", six), (b"\x20\0", b""), (b"\x20\x99", b"abc"),
                       (b"\x21\x31", bytes(216)), (b"\x21\x11", four + b"\x03\0\1x"), (b"\x31\0", b"")):
        seed("startup", bytes([4, 4]), mark, head, struct.pack(">H", len(body)), body, b"behind")
    for path in sorted((ROOT / "Tests/PostgresWireTests/FailCases").glob("*.bin")):
        seed("startup", bytes([1, 3]), path.read_bytes())

def authentication(code: int, body: bytes | str = b"") -> bytes:
    body = body.encode() if isinstance(body, str) else body
    return message("R", struct.pack(">I", code) + body)


def login() -> None:
    first = "n,,n=,r=abc"
    plain = message("p", b"SCRAM-SHA-256\0" + struct.pack(">i", len(first)) + first.encode())
    bound = "p=tls-server-end-point,,n=,r=abc"
    plus = message("p", b"SCRAM-SHA-256-PLUS\0" + struct.pack(">i", len(bound)) + bound.encode())
    empty = message("p", b"SCRAM-SHA-256\0" + struct.pack(">i", -1))
    final = message("p", "c=biws,r=abc,p=" + "A" * 43 + "=")
    for how in (0, 1, 2, 3):
        for talk in (plain + final, plus + final, empty + message("p", first) + final,
                     message("p", b"secret\0"), message("p", b"\0"), message("p", b"\xff\0")):
            seed("login", bytes([0, 4, how]), talk)
    sasl = authentication(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
    challenge = authentication(11, "r=AAAA,s=AQID,i=1")
    proof = authentication(12, "v=" + "A" * 43 + "=")
    error = message("E", b"SFATAL\0VFATAL\0C28P01\0Mno\0\0")
    notice = message("N", b"SNOTICE\0Mhello\0\0")
    version = message("v", struct.pack(">II", 196608, 0))
    for how in (0, 1, 2, 5, 8, 16, 18):
        for talk in (sasl + challenge + proof, authentication(3) + authentication(0),
                     authentication(5, b"salt") + authentication(0), authentication(0),
                     version + notice + sasl + error, authentication(7), authentication(99)):
            seed("login", bytes([2, 4, how]), talk)
    for text in ("p", "I\u00adX", "\u00aa", "\u2168", "\u0627\u0031\u0628", "e\u0301", "\u06dd", "a\u3000b"):
        seed("login", bytes([4, 0]), text)
    key = "A" * 43 + "="
    seed("login", bytes([5, 0]), f"SCRAM-SHA-256$4096:AQID${key}:{key}")
    seed("login", bytes([6, 0]), "AQID")
    seed("login", bytes([6, 0]), "n,,n=a,r=b,x=y")
    # A SEQUENCE of three, with the algorithm ecdsa-with-SHA256, and RSASSA-PSS with SHA-384.
    seed("login", bytes([6, 0]), bytes.fromhex("301030003009300a06082a8648ce3d0403020300")[:20])
    seed("login", bytes([6, 0]), bytes.fromhex("3010" "3000" "300a" "06082a8648ce3d040302" "0300"))
    seed("login", bytes([6, 0]), bytes.fromhex(
        "3024" "3000" "301e" "06092a864886f70d01010a" "3011" "a00f" "300d"
        "0609608648016503040202" "0500" "0300"))
    for path in sorted((ROOT / "Tests/PostgresWireTests/FailCases").glob("*.bin")):
        seed("login", bytes([0, 3, 0]), path.read_bytes())
        seed("login", bytes([2, 3, 0]), path.read_bytes())


def greeting() -> None:
    parameter = message("S", b"server_version\x0018.0\0")
    key = message("K", struct.pack(">i", 9) + b"secr")
    ready = message("Z", "I")
    error = message("E", b"SFATAL\0VFATAL\0C3D000\0Mdatabase \"x\" does not exist\0Dd\0Hh\0Wwhere\0\0")
    notice = message("N", b"SNOTICE\0Mhello\0\0")
    for talk in (parameter * 2 + key + ready + b"Q", parameter + notice + error, key, error, ready):
        seed("greeting", bytes([0, 4]), talk)
    rows = message("D", b"\0\0") * 3 + message("d", b"a\tb\n") * 3 + error + ready
    for which in range(4):
        seed("greeting", bytes([1, 9, which]), rows)
        seed("greeting", bytes([1, 4, which]), parameter + rows + message("d", b"x" * 300))
    seed("greeting", bytes([2, 0]), error[5:])
    seed("greeting", bytes([2, 0]), b"SDEBUG1\0C00000\0")
    for path in sorted((ROOT / "Tests/PostgresWireTests/FailCases").glob("*.bin")):
        seed("greeting", bytes([0, 3]), path.read_bytes())


def websocket() -> None:
    def ws(opcode: int, payload: bytes, mask: bytes | None, final: bool = True) -> bytes:
        head = bytes([opcode | (0x80 if final else 0)])
        bit = 0x80 if mask else 0
        size = len(payload)
        if size < 126:
            head += bytes([bit | size])
        else:
            head += bytes([bit | 126]) + struct.pack(">H", size)
        if mask:
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        return head + (mask or b"") + payload

    for role, mask in ((0, b"mask"), (1, None)):
        whole = [
            ws(2, b"hello", mask) + ws(9, b"ping", mask) + ws(10, b"", mask),
            ws(2, b"one ", mask, False) + ws(9, b"", mask) + ws(0, b"two", mask),
            ws(2, b"x" * 200, mask) + ws(8, b"\x03\xe8bye", mask) + b"more",
            ws(8, b"", mask), ws(8, b"\x03\xed", mask), ws(1, b"text", mask), ws(3, b"", mask),
            ws(0, b"", mask), ws(8, b"\x03\xe8\xff", mask), b"\x82\xff" + bytes(8), b"\xf2",
        ]
        for limits in (0, 2):
            for talk in whole:
                seed("websocket", bytes([role | limits, 9]), talk)
    seed("websocket", bytes([7, 0]), b"mask", struct.pack(">H", 5), b"some payload of some bytes")


def session() -> None:
    def say(client: int, kind: int, text: int) -> bytes:
        return bytes([client << 4 | 1, text << 4 | kind])

    arrive = bytes([0x04])
    other = bytes([0x14])
    held, answer, fail = bytes([14]), bytes([6, 0]), bytes([6, 0xF0])
    answers = answer * 4
    starts = [bytes([32]), bytes([34]), bytes([0]), bytes([36]), bytes([1]), bytes([44])]
    for start in starts:
        hello_ = start + arrive + held + answers + other + answers
        for text in range(16):
            seed("session", hello_, say(0, 0, text), answers, say(1, 0, 0), answers)
        seed("session", hello_, say(0, 0, 1), answer, say(1, 0, 0), bytes([11, 0x30, 0]), answers)
        extended = say(0, 4, 0) + say(0, 6, 0) + say(0, 7, 0) + say(0, 8, 0)
        named = say(0, 5, 13) + say(0, 15, 1) + say(0, 11, 1) + say(0, 12, 0) + say(0, 8, 0)
        seed("session", hello_, extended, answers, named, answers, extended, fail)
        copy = say(0, 0, 12) + answers + say(0, 13, 0) + b"1\n2\n" + say(0, 14, 0)
        seed("session", hello_, copy, answers)
        seed("session", hello_, copy, bytes([0x0F]), answers, say(0, 0, 0), answers)
        seed("session", hello_, say(0, 0, 1), answer, bytes([5]), answers, bytes([0x7F]), answers)
        seed("session", hello_, bytes([0, 14]), b"Q\0\0\0\x0dselect 1\0", answers, bytes([12, 0x8A]))


def sql() -> None:
    texts = [
        "select 1; select 'a;' -- x\n; /* /* ; */ */ listen c", "select $$;$$, $a$;$a$ ; E'\\';'",
        "prepare p as select 1; execute p; deallocate all", "set local a.b = 'c'; reset all",
        "create function f() returns int begin atomic select 1; select 2; end; commit",
        "copy t (a) from stdin with (format csv); copy t to stdout", "U&\"\\0061\" uescape '!'",
        "begin; savepoint s; rollback to s; release s; commit and chain", "close all; discard plans",
        "declare c cursor for select 1; fetch c; close c", "listen U&\"!0061\" uescape '!'",
        "select set_config('a.b', 'c', false), pg_advisory_lock(1)", "explain (analyze) execute p",
        "update pg_settings set setting = 'on' where name = 'a.b'", "set role a; set session authorization b",
        "select 'open", "/* open", "select \"open", "$a$ open", "start transaction; end; abort",
    ]
    for text in texts:
        for choice in (0, 8, 4, 12, 9):
            seed("sql", bytes([choice + (1 if choice == 8 else 0)]), text)
        seed("sql", bytes([10]), text)
        seed("sql", bytes([2]), text)
    def row(*cells: str | None) -> bytes:
        return b"".join(b"\xff" if c is None else bytes([len(c)]) + c.encode() for c in cells)
    def hexed(kind: str, name: str, value: str) -> bytes:
        return row(kind, name.encode().hex(), value.encode().hex())
    user = hexed("u", "", "u")
    seed("sql", bytes([3]), user)
    seed("sql", bytes([3]), user, hexed("s", "work_mem", "64MB"), hexed("c", "a.b", "it's \\"))
    seed("sql", bytes([3]), user, hexed("w", "t", ""), hexed("n", "a.b", ""), hexed("t", "", ""))
    seed("sql", bytes([3]), hexed("u", "", "x"), hexed("l", "", ""), hexed("h", "", ""))
    seed("sql", bytes([3]), hexed("d", "postgres", "u"), hexed("r", "server_version", "17.5"))
    seed("sql", bytes([3]), row("s", None, None))


def engine() -> None:
    def record(kind: int, payload: bytes = b"") -> bytes:
        return bytes([kind]) + struct.pack(">I", len(payload)) + payload

    note = message("A", struct.pack(">i", 1) + b"c\0payload\0")
    kinds = range(0x10, 0x18)
    talks = [record(kind, payload) for kind in kinds for payload in (b"", b"abc", note, b"{}")]
    for talk in talks:
        for questions in (0, 0b01000100, 0b11111111, 0b00000001):
            seed("engine", bytes([4, questions]), talk, talk)
    seed("engine", bytes([9, 0]), *talks)
    seed("engine", bytes([9, 1]), *reversed(talks))


def build() -> None:
    def say(kind: int, body: str) -> bytes:
        return bytes([kind << 4, len(body)]) + body.encode()

    query, sync, execute = say(0, "select 1\0"), say(6, ""), say(4, "\0\0\0\0\0")
    parse, bind = say(1, "\0select 1\0\0\0"), say(2, "\0\0\0\0\0\0\0\0")
    go, ok, lost = bytes([3]), bytes([8]), bytes([0x47])
    for talk in (
        query + go + ok, parse + bind + execute + sync + go + ok * 4, query + query + go + ok * 2,
        say(0, "copy t from stdin\0") + say(7, "1\n") + say(8, "") + go + ok,
        parse + bind + execute + sync + go + ok + ok + lost + ok * 5,
        query + go + bytes([0x0F]) + ok, query + go + bytes([0xFF]) + ok, bytes([0x1C, 0x0D, 0x1D, 14]),
        query + go + bytes([6, 25]) + b"pgsharesession01Z\0\0\0\x05Ixxxx", query + bytes([5]) + go,
    ):
        seed("build", bytes([9]), talk)


def names() -> None:
    import base64

    def part(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    for header in ('{"alg":"RS256","kid":"a"}', '{"alg":"none"}', '{"alg":"ES256","crit":["b64"]}'):
        for claims in (
            '{"iss":"i","aud":"a","sub":"ann","exp":2000}',
            '{"iss":"i","aud":["b","a"],"sub":"a/b c","exp":2e3,"nbf":1}', '{"exp":1e400}', "{}"):
            seed("names", bytes([0]), f"{part(header)}.{part(claims)}.AAAA")
    seed("names", bytes([0]), "pgs_" + "A" * 43)
    share = "0123456789abcdef"
    def places(*texts: str | None) -> bytes:
        return b"".join(b"\xff" if t is None else bytes([len(t)]) + t.encode() for t in texts)
    for where in (
        (f"{share}.db.example", None, "ann"), (None, share, "ann"), (None, None, f"ann.{share}"),
        (f"{share}.DB.EXAMPLE.", "My-Name", f"ann.{share}"), ("my-name.db.example", "My-Name", None),
        (None, None, ".x"), ("other.host", None, "john.doe")):
        seed("names", bytes([1]), places(*where))
    for address in (
        "192.0.2.1", "::", "::1", "::ffff:192.0.2.1", "2001:db8::1:0:0", "1:2:3:4:5:6:7:8", "fe80::1%eth0",
        "01.2.3.4", "256.1.1.1", "1:2", ":::", "1::2::3", "::-0", "::+1", "1:2:3:4:5:6:1.2.3.4"):
        seed("names", bytes([2]), address)
        seed("names", bytes([3]), address + "/24")
        seed("names", bytes([3]), address + "/120")
        seed("names", bytes([3]), address)
    for name in (share, "my-name", "-a", "A" * 40, "jwt:ann", "jwt:~" + "a" * 64, "~" + "0" * 32, "a.b_c", "é"):
        seed("names", bytes([4]), name)
    for text in ("a=b c", "\x1b[31m", "\u202ea", "\"\\", "a\nb\r\t", "\u2028", "\u061c", "e" + "\u0301" * 9):
        seed("names", bytes([5]), text)


def deploy() -> None:
    def number(value: int) -> bytes:
        return bytes([1 if value < 0 else 0]) + struct.pack("<I", abs(value))

    def text(value: str | None) -> bytes:
        return number(-1) if value is None else number(len(value.encode())) + value.encode()

    def entry(minor: int, dump_id: int, tag: str, kind: str, schema: str | None, needs: list[int]) -> bytes:
        whole = number(dump_id) + number(0) + text("1259") + text("16384") + text(tag) + text(kind)
        whole += number(2) + text(f"CREATE {kind};\n    LANGUAGE sql\n") + text("DROP;") + text(None)
        whole += text(schema) + text(None) + text("heap")
        if minor >= 16:
            whole += number(ord("r"))
        whole += text("ann") + text("false")
        whole += b"".join(text(str(need)) for need in needs) + text(None)
        return whole + bytes([2]) + bytes(8)

    for minor in (14, 15, 16):
        head = b"PGDMP" + bytes([1, minor, 0, 4, 8, 1])
        head += number(-1) if minor < 15 else b"\0"
        head += number(0) * 7 + text("db") + text("18.0") + text("18.0")
        entries = [
            entry(minor, 1, "public", "SCHEMA", None, []), entry(minor, 2, "t", "TABLE", "a b", [1]),
            entry(minor, 3, "f()", "FUNCTION", "public", [2]), entry(minor, 4, "UTF8", "ENCODING", None, []),
            entry(minor, 5, "t a\nb", "DEFAULT ACL", "public", [2, 3]),
        ]
        for count in (0, 1, 5):
            seed("deploy", bytes([0]), head, number(count), *entries[:count])
    opened, done, over = b"\x00\0\0\1\x01\0\0\1", b"\x04", b"\x0c\x0d"
    rows = bytes([0x78]) + b"COPY 2\0" + bytes([0x79]) + b"COPY 2\0"
    for talk in (opened + done + rows + over, opened + b"\x0e" + over, b"\x0a" + opened + over,
                 b"\x00\0\0\1\x01\1\0\1" + over, opened + b"\x2bM\0" + over):
        seed("deploy", bytes([2]), talk)


def main() -> None:
    for make in (
        link, handshake, startup, login, greeting, websocket, session, sql, engine, build, names,
        deploy,
    ):
        make()
    for target, inputs in SEEDS.items():
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, whole in enumerate(inputs):
            (folder / f"seed-{number:03}").write_bytes(whole)


main()

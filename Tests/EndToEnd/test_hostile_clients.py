"""Strangers, guessers and clients that break the rules: nobody else is slowed, let in or fooled."""

import contextlib
import json
import random
import re
import resource
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from harness import strangers, tools, wire
from harness.cluster import Cluster
from harness.endpoint import Endpoint
from harness.pgshare import Agent, Relay
from harness.processes import Child
from harness.strangers import Login, in_tls, source, until_closed
from harness.waiting import wait_for
from harness.wire import WireClient, answers

pytestmark = [pytest.mark.relayed, pytest.mark.timeout(180)]

# From accept to authenticated.
DEADLINE = 10


@pytest.fixture(scope="module")
def own_relay(folder) -> Iterator[Relay]:
    """A relay of these tests' own: what is measured at it, they did."""
    relay = Relay(folder / "hostile-relay")
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def agent(own_relay: Relay, cluster: Cluster) -> Iterator[Agent]:
    agent = Agent(own_relay, cluster, "--max-connections", "90")
    yield agent
    agent.stop()


@pytest.fixture
def target(agent: Agent) -> Endpoint:
    return agent.endpoint


@pytest.fixture(autouse=True)
def bystander(agent: Agent, own_relay: Relay) -> Iterator[WireClient]:
    """A client that must not notice anything, and a relay that forgets what came and went."""
    with WireClient(agent.endpoint) as client:
        client.query("create temp table seen (n int)")
        before = own_relay.child.open_files()
        yield client
        client.query("insert into seen values (1)")
        assert client.query("select count(*) from seen") == [[b"1"]]
        wait_for(
            "what strangers opened to be closed",
            lambda: own_relay.child.open_files() <= before + 4,
            DEADLINE + 20,
        )


def seconds_to_log_in(endpoint: Endpoint) -> float:
    """Of a client that is let in at its first try."""
    start = time.monotonic()
    with WireClient(endpoint) as client:
        assert client.query("select 1") == [[b"1"]]
    return time.monotonic() - start


# Floods


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for 10,000 sockets in this process, where a limit allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_000 if hard == resource.RLIM_INFINITY else min(16_000, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def stand(endpoint: Endpoint, addresses: list[str]) -> list[socket.socket]:
    """A silent socket from each of these, as soon as the kernel has connected all of them."""
    silent = []
    waiting = select.poll()
    for address in addresses:
        stranger = socket.socket()
        stranger.setblocking(False)
        with contextlib.suppress(OSError):
            stranger.bind((address, 0))
            stranger.connect(("127.0.0.1", endpoint.port))
        waiting.register(stranger, select.POLLOUT)
        silent.append(stranger)
    connected: set[int] = set()
    deadline = time.monotonic() + 30
    while len(connected) < len(silent) and time.monotonic() < deadline:
        for descriptor, _ in waiting.poll(1000):
            connected.add(descriptor)
            waiting.unregister(descriptor)
    assert len(connected) == len(silent), "the relay accepts no more"
    return silent


@pytest.mark.parametrize("addresses", [1, 10_000], ids=lambda count: f"{count}-addresses")
def test_ten_thousand_silent_sockets_do_not_stop_a_client(addresses, target, own_relay, many_files):
    """The client comes from an address of its own, as clients do."""
    silent: list[socket.socket] = []
    before = own_relay.child.resident_kib()
    try:
        # No more at once than wait in the kernel's queue, or it is the kernel that says no.
        for first in range(0, 10_000, 500):
            sources = [source(number % addresses) for number in range(first, first + 500)]
            silent += stand(target, sources)
            if first % 2500 == 2000:
                # The client logs in while they come, and when all are there.
                assert seconds_to_log_in(target) < DEADLINE
        assert len(silent) == 10_000
        assert seconds_to_log_in(target) < DEADLINE
        poll = select.poll()
        for stranger in silent:
            poll.register(stranger, select.POLLIN)
        # Each is closed in its time, by the relay.
        wait_for("the silent to be turned away", lambda: len(poll.poll(0)) == 10_000, DEADLINE + 20)
    finally:
        for stranger in silent:
            stranger.close()
    assert own_relay.child.resident_kib() - before < 300 * 1024


def test_guessers_in_a_storm_lock_themselves_out_and_nobody_else(target):
    """Wrong passwords in a loop from a few addresses; the owner comes and goes meanwhile."""
    wrong = replace(target, password="a guess")

    def guess(number: int) -> list[str]:
        states = []
        for _ in range(25):
            with Login(wrong, source(50_000 + number)) as login:
                got = login.read()
                if got.kind == "R":
                    login.first()
                    login.final(login.read().body[4:], wrong.password)
                    got = login.read()
                states.append(got.fields["C"])
        return states

    waits = []
    with ThreadPoolExecutor(4) as guessers:
        storm = [guessers.submit(guess, number) for number in range(4)]
        while not all(one.done() for one in storm):
            waits.append(seconds_to_log_in(target))
    assert max(waits) < DEADLINE / 2
    # Four are free, the fifth asks for a wait that grows: who storms has tried few passwords.
    for one in storm:
        assert one.result()[:5] == ["28P01"] * 5
        assert one.result().count("28P01") < 9
        assert set(one.result()) == {"28P01", "28000"}
    # Their neighbours' addresses are not locked.
    with Login(target, source(50_000 + 99)) as login:
        login.read()
        login.first()
        login.final(login.read().body[4:], target.password)
        assert login.read().kind == "R"


# Below TLS, and slowly: all side by side, each is to end within the deadline.


def before_tls(target: Endpoint, address: str) -> socket.socket:
    """A connection that may begin with TLS."""
    plain = strangers.connect(target, address)
    plain.sendall(wire.SSL_REQUEST)
    assert plain.recv(1) == b"S"
    return plain


def never_ends(target: Endpoint) -> None:
    """A ClientHello that is announced and does not come."""
    with before_tls(target, source(1)) as plain:
        plain.sendall(strangers.hello_bytes(target)[:100])
        until_closed(plain, DEADLINE + 10)


def drips(data: bytes, connection: socket.socket) -> None:
    """A byte a second, past the deadline."""
    with connection:
        for at in range(DEADLINE + 8):
            readable, _, _ = select.select([connection], [], [], 1)
            if readable:
                until_closed(connection, 5)
                return
            try:
                connection.sendall(data[at : at + 1])
            except OSError:
                return
    raise AssertionError("a byte a second is served for ever")


def drips_hello(target: Endpoint) -> None:
    drips(strangers.hello_bytes(target), before_tls(target, source(2)))


def drips_direct_hello(target: Endpoint) -> None:
    drips(strangers.hello_bytes(target), strangers.connect(target, source(3)))


def drips_startup(target: Endpoint) -> None:
    drips(wire.startup({"user": target.user}), in_tls(target, source(4)))


def drips_password(target: Endpoint) -> None:
    tls = in_tls(target, source(5))
    tls.sendall(wire.startup({"user": target.user, "database": target.database}))
    assert tls.recv(1000)[:1] == b"R"
    drips(wire.message("p", b"SCRAM-SHA-256\0" + bytes(60)), tls)


def sends_16_mib(target: Endpoint) -> None:
    """Records of TLS that hold nothing of TLS."""
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + b"\xa5" * 16_380
    with before_tls(target, source(6)) as plain:
        with contextlib.suppress(OSError):
            for _ in range(1024):
                plain.sendall(record)
        until_closed(plain, DEADLINE + 10)


def announces_16_mib(target: Endpoint) -> None:
    """A ClientHello of 16 MiB by its own length, in whole records."""
    with before_tls(target, source(7)) as plain:
        with contextlib.suppress(OSError):
            plain.sendall(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"\0" * 16_380)
            for _ in range(1023):
                plain.sendall(b"\x16\x03\x01\x40\x00" + b"\0" * 16_384)
        until_closed(plain, DEADLINE + 10)


def empty_records(target: Endpoint) -> None:
    with before_tls(target, source(8)) as plain:
        with contextlib.suppress(OSError):
            for _ in range(2000):
                plain.sendall(b"\x16\x03\x01\x00\x00" * 100)
        until_closed(plain, DEADLINE + 10)


def renegotiates_for_ever(target: Endpoint) -> None:
    """The handshake is done again and again in front of the startup packet: garbage in records."""
    with in_tls(target, source(9)) as tls:
        raw = socket.socket(fileno=socket.dup(tls.fileno()))
        with raw, contextlib.suppress(OSError):
            raw.sendall(strangers.hello_bytes(target) * 50)
        until_closed(tls, DEADLINE + 10)


def says_nothing_at_the_proof(target: Endpoint) -> None:
    with Login(target, source(10)) as login:
        login.read()
        login.first()
        login.read()
        until_closed(login.socket, DEADLINE + 10)


def is_half_closed(target: Endpoint) -> None:
    with strangers.connect(target, source(11)) as plain:
        plain.sendall(wire.SSL_REQUEST)
        plain.shutdown(socket.SHUT_WR)
        until_closed(plain, DEADLINE + 10)


SLOW = [
    never_ends, drips_hello, drips_direct_hello, drips_startup, drips_password, sends_16_mib,
    announces_16_mib, empty_records, renegotiates_for_ever, says_nothing_at_the_proof, is_half_closed,
]  # fmt: skip


def test_nobody_stays_longer_than_the_deadline_without_a_login(target, own_relay):
    before = own_relay.child.resident_kib()
    with ThreadPoolExecutor(len(SLOW)) as threads:
        for name, done in [(each.__name__, threads.submit(each, target)) for each in SLOW]:
            start = time.monotonic()
            error = done.exception(DEADLINE + 20)
            assert error is None, f"{name} after {time.monotonic() - start:.1f} s: {error!r}"
        assert seconds_to_log_in(target) < DEADLINE / 2
    assert own_relay.child.resident_kib() - before < 32 * 1024


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_client_hello_in_tiny_records_is_read_or_refused_at_once(size, target):
    with before_tls(target, source(20 + size)) as plain:
        plain.sendall(strangers.in_records_of(strangers.hello_bytes(target), size))
        plain.settimeout(DEADLINE / 2)
        with contextlib.suppress(ConnectionResetError):
            # 0x16: the server's part of the handshake; 0x15: an alert.
            assert plain.recv(1) in (b"\x16", b"\x15", b"")


def test_no_startup_packet_of_a_wrong_length_is_waited_for(target):
    lengths = [*range(8), *range(10_001, 10_009), *(1 << bit for bit in range(14, 32)), 2**32 - 1]
    start = time.monotonic()
    for number, length in enumerate(lengths):
        with in_tls(target, source(100 + number)) as tls:
            tls.sendall(struct.pack("!I", length) + b"\0\3\0\0user\0")
            answer = until_closed(tls, DEADLINE / 2)
            assert answer[:1] in (b"E", b""), (length, answer)
            assert b"08P01" in answer or not answer, (length, answer)
    assert time.monotonic() - start < len(lengths)


# SCRAM


def flip(proof: bytes) -> bytes:
    return bytes([proof[0] ^ 1]) + proof[1:]


class Abuse:
    """How a login ended: the kind of the last message, and its SQLSTATE."""

    def __init__(self, target: Endpoint, number: int):
        self.target = target
        self.login = Login(target, source(1000 + number))
        offered = self.login.read().body[4:].split(b"\0")
        assert b"SCRAM-SHA-256-PLUS" in offered

    def right_first(self, **more) -> bytes:
        self.login.first(**more)
        got = self.login.read()
        assert got.kind == "R", got.fields
        return got.body[4:]

    def end(self) -> str:
        """The SQLSTATE, "in" for who is let in, or "" for a connection that is closed."""
        try:
            got = self.login.read()
        except (EOFError, OSError):
            return ""
        return "in" if got.kind == "R" else got.fields["C"]


def with_final(**more) -> Callable[[Abuse], None]:
    def run(abuse: Abuse) -> None:
        first = abuse.right_first()
        abuse.login.final(first, abuse.target.password, **more)

    return run


def with_first(**more) -> Callable[[Abuse], None]:
    return lambda abuse: abuse.login.first(**more)


def replayed(abuse: Abuse) -> None:
    """What let another login in."""
    with Login(abuse.target, source(1900)) as other:
        other.read()
        other.first()
        text = other.final_text(other.read().body[4:], abuse.target.password)
        other.say(text)
        assert other.read().kind == "R"
    abuse.login.nonce = other.nonce
    abuse.right_first()
    abuse.login.say(text)


def bound(binding: Callable[[Abuse], bytes], kind: bytes = b"tls-server-end-point"):
    def run(abuse: Abuse) -> None:
        header = b"p=" + kind + b",,"
        abuse.login.first(header=header, mechanism=b"SCRAM-SHA-256-PLUS")
        got = abuse.login.read()
        if got.kind != "R":
            abuse.login.socket.close()
            return
        abuse.login.final(got.body[4:], abuse.target.password, bound=header + binding(abuse))

    return run


def raw(data: bytes) -> Callable[[Abuse], None]:
    return lambda abuse: abuse.login.say(data)


def final_of(text: bytes) -> Callable[[Abuse], None]:
    def run(abuse: Abuse) -> None:
        abuse.right_first()
        abuse.login.say(text)

    return run


PLUS = b"SCRAM-SHA-256-PLUS"
ABUSES: dict[str, Callable[[Abuse], None]] = {
    "another nonce": with_final(nonce=b"AAAAAAAAAAAAAAAAAAAAAAAA"),
    "the client's nonce alone": lambda abuse: abuse.login.final(
        abuse.right_first(), abuse.target.password, nonce=abuse.login.nonce
    ),
    "no nonce": with_final(nonce=b""),
    "a proof off by a bit": with_final(change=flip),
    "a short proof": with_final(change=lambda proof: proof[:31]),
    "a long proof": with_final(change=lambda proof: proof + b"x"),
    "an empty proof": with_final(change=lambda proof: b""),
    "a replay": replayed,
    "y: the server is said to offer no binding": with_first(header=b"y,,"),
    "PLUS without a binding": with_first(header=b"n,,", mechanism=PLUS),
    "binding without PLUS": with_first(header=b"p=tls-server-end-point,,"),
    "the binding of another certificate": bound(lambda abuse: b"\x11" * 32),
    "the binding stripped": bound(lambda abuse: b""),
    "a binding of another kind": bound(lambda abuse: bytes(12), b"tls-unique"),
    "a header that changed": with_final(bound=b"y,,"),
    "an authorisation id": with_first(header=b"n,a=postgres,"),
    "a mandatory extension": with_first(bare=b"m=x,n=,r=abc"),
    "an empty first message": raw(b"SCRAM-SHA-256\0" + struct.pack("!i", 0)),
    "no first message": raw(b"SCRAM-SHA-256\0" + struct.pack("!i", -1)),
    "a length that lies": raw(b"SCRAM-SHA-256\0" + struct.pack("!i", 2**31 - 1) + b"n,,n=,r=x"),
    "a negative length": raw(b"SCRAM-SHA-256\0" + struct.pack("!i", -7) + b"n,,n=,r=x"),
    "no mechanism": raw(b""),
    "another mechanism": raw(b"PLAIN\0" + struct.pack("!i", 9) + b"\0me\0guess"),
    "SHA-1": raw(b"SCRAM-SHA-1\0" + struct.pack("!i", 9) + b"n,,n=,r=x"),
    "a password in clear": raw(b"a password\0"),
    "a nonce of 60 kB": with_first(bare=b"n=,r=" + b"x" * 60_000),
    "a name of 60 kB": with_first(bare=b"n=" + b"x" * 60_000 + b",r=abcdef"),
    "an empty nonce": with_first(bare=b"n=,r="),
    "a nonce with a comma": with_first(bare=b"n=,r=a,b,c"),
    "a nonce of controls": with_first(bare=b"n=,r=\x01\x02\x7f"),
    "text that is no UTF-8": with_first(bare=b"n=\xff\xfe,r=\xc0\x80"),
    "unicode": with_first(bare="n=ĳ‮\u202e,r=日本語".encode()),
    "NULs": with_first(bare=b"n=,r=abc\0\0def"),
    "a final of nothing": final_of(b""),
    "a final of noise": final_of(random.Random(3).randbytes(500)),
    "a final of 60 kB": final_of(b"c=biws,r=" + b"x" * 60_000),
    "a proof that is no base64": final_of(b"c=biws,r=abc,p=!!!!"),
    "the first message again": final_of(b"n,,n=,r=abc"),
}  # fmt: skip


def test_no_abuse_of_scram_lets_anybody_in(target):
    ends = {}
    for number, (name, run) in enumerate(ABUSES.items()):
        abuse = Abuse(target, number)
        with abuse.login, contextlib.suppress(OSError):
            run(abuse)
            abuse.login.socket.settimeout(DEADLINE / 2) if abuse.login.socket.fileno() > 0 else None
        ends[name] = abuse.end() if abuse.login.socket.fileno() > 0 else ""
    assert {name: end for name, end in ends.items() if end not in ("28P01", "08P01", "")} == {}


def test_the_same_logins_without_the_abuse_are_let_in(target):
    """Else the list above would prove nothing."""
    for header, mechanism in ((b"n,,", b"SCRAM-SHA-256"), (b"p=tls-server-end-point,,", PLUS)):
        with Login(target, source(1950)) as login:
            login.read()
            login.first(header=header, mechanism=mechanism)
            certificate = wire.certificate_hash(login.socket) if mechanism == PLUS else b""
            login.final(login.read().body[4:], target.password, bound=header + certificate)
            assert login.read().kind == "R"


# Hostile text

HOSTILE = {
    "escapes": "\x1b[2J\x1b]0;owned\x07\x1b[31mred",
    "lines": "a\r\n2026-01-01T00:00:00Z error    forged share=x\r\n{\"event\":\"shared\"}",
    "C1": "\x9b31m\x9d0;owned\x9c\x85next",
    "bidi": "\u202egnp.exe\u202c\u2066x\u2069\u200f\ufeff",
    "separators": "one\u2028two\u2029three",
    "formats": "%n%s%p{}${jndi:ldap://127.0.0.1:1/x}{{7*7}}`id`$(id)",
    "labels": 'x"} 1\npgshare_up{a="b',
    "JSON": '"},{"event":"shared","password":"x\\u0000',
    "10 kB": "A\x1b" * 4600,
    "tags": "\U000e0041\U000e007f\u0000"[:2],
}
# What a terminal or a reader of lines would act on.
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
NO_UTF8 = b"\xff\xfe\xc0\x80\x9b31m\xed\xa0\x80"


def say(endpoint: Endpoint, text: bytes, number: int) -> None:
    """The text in every place where a stranger can put one."""
    text = text.replace(b"\0", b"")
    user, database = endpoint.user.encode(), endpoint.database.encode()
    places = [
        [(b"user", text), (b"database", database)],
        [(b"user", user + b"." + text), (b"database", database)],
        [(b"user", text + b"." + endpoint.share_id.encode()), (b"database", database)],
        [(b"user", user), (b"database", text)],
        [(b"user", user), (b"database", database), (b"options", b"-c pgshare.share=" + text)],
        [(b"user", user), (b"database", database), (b"options", text)],
        [(b"user", user), (text, text)],
        [(b"user", user), (b"_pq_." + text, text)],
    ]
    for at, words in enumerate(places):
        with contextlib.suppress(OSError, EOFError):
            with in_tls(endpoint, source(30_000 + number * 16 + at)) as tls:
                tls.sendall(strangers.packet(words))
                tls.settimeout(5)
                if tls.recv(4096)[:1] == b"R":
                    tls.sendall(wire.message("p", text))
                    tls.recv(4096)
    # In the ClientHello, where a library sends it at all.
    with contextlib.suppress(OSError, ValueError, UnicodeError):
        in_tls(endpoint, source(30_000 + number * 16 + 9), text.decode(errors="ignore")[:200]).close()


def let_in(endpoint: Endpoint, text: bytes) -> None:
    """The same from a client that knows the password, where it reaches the agent."""
    for name in (b"application_name", b"database", b"options", b"search_path", b"replication"):
        words = [(b"user", endpoint.user.encode()), (b"database", endpoint.database.encode())]
        words = [word for word in words if word[0] != name] + [(name, text.replace(b"\0", b""))]
        with contextlib.suppress(OSError, EOFError, KeyError):
            with Login.of_packet(endpoint, strangers.packet(words)) as login:
                login.read()
                login.first()
                login.final(login.read().body[4:], endpoint.password)
                login.socket.settimeout(5)
                while login.read().kind not in "ZE":
                    pass
                login.socket.sendall(wire.TERMINATE)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_hostile_text_reaches_a_terminal_a_log_line_or_a_label(form, new_relay, cluster):
    relay = new_relay("--log-format", form, "--log-level", "trace")
    agent = Agent(relay, cluster)
    # The agent that speaks to people.
    spoken = Child(
        [tools.pgshare_binary(), "share", cluster.conninfo(), "--relay", relay.url,
         "--ca-file", str(relay.ca_file)],
        {"PGSHARE_TOKEN": relay.token()},
    )  # fmt: skip
    try:
        line = spoken.wait_line("the share's URL", lambda line: "psql '" in line)
        found = re.search(r"//([^:]+):([^@]+)@[^:]+:\d+", line)
        assert found
        user = found[1]
        other = replace(
            agent.endpoint, user=user, password=found[2], share_id=user.rpartition(".")[2]
        )
        texts = [text.encode() for text in HOSTILE.values()] + [NO_UTF8, b"\x9b\x9d"]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda at: say(agent.endpoint, texts[at], at), range(len(texts))))
            for endpoint in (agent.endpoint, other):
                list(threads.map(lambda text, at=endpoint: let_in(at, text), texts))
        assert answers(agent.endpoint)
        metrics = relay.request("GET", "/metrics")[1]
        wait_for("the agents to have told it", lambda: len(spoken.lines) > 20)
    finally:
        spoken.stop()
        agent.stop()
        relay.stop()
    for name, said in {
        "relay's log": bytes(relay.child.raw), "agent, text": bytes(spoken.raw),
        "agent, JSON": bytes(agent.child.raw), "metrics": metrics.encode(),
    }.items():  # fmt: skip
        text = said.decode()
        unsafe = UNSAFE.search(text)
        assert unsafe is None, (name, text[max(0, unsafe.start() - 100) : unsafe.end() + 50])
        assert "forged" not in [line[30:36] for line in text.splitlines()]
    for line in agent.child.lines + (relay.child.errors if form == "json" else []):
        assert isinstance(json.loads(line), dict)
    if form == "text":
        stamped = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (trace|debug|info|notice|warning|error|critical) +\S")
        assert [line for line in relay.child.errors if not stamped.match(line)] == []
    sample = re.compile(r'(# .*|[a-z_0-9]+(\{([a-z_]+="[a-zA-Z0-9_./+-]*",?)*\})? \S+)')
    assert [line for line in metrics.splitlines() if not sample.fullmatch(line)] == []
    everything = (bytes(relay.child.raw) + bytes(spoken.raw)).decode()
    assert max(map(len, everything.splitlines())) < 8192


# Cancel


def test_guessed_cancel_keys_hit_nobody(target, bystander, cluster):
    """Also those one bit beside a real one."""
    bystander.send(wire.query("select pg_sleep(6), 'guessed_at'"))
    wait_for("the query", lambda: cluster.backends("query LIKE '%guessed_at%' AND state = 'active'"))
    real = bystander.key
    dice = random.Random(17)

    def guesses(seed: int) -> int:
        mine = random.Random(seed)
        done = 0
        while time.monotonic() < stop_at:
            kind = mine.randrange(4)
            if kind == 0:
                key = mine.randbytes(8)
            elif kind == 1:
                key = real[:4] + mine.randbytes(len(real) - 4)
            elif kind == 2:
                at = mine.randrange(len(real) * 8)
                changed = bytearray(real)
                changed[at // 8] ^= 1 << at % 8
                key = bytes(changed)
            else:
                key = mine.randbytes(4 + mine.randrange(253))
            with strangers.connect(target, source(60_000 + seed)) as plain:
                plain.sendall(wire.cancel_request(key))
                with contextlib.suppress(OSError):
                    plain.recv(1)
            done += 1
        return done

    stop_at = time.monotonic() + 4
    with ThreadPoolExecutor(4) as threads:
        done = sum(threads.map(guesses, (dice.randrange(1000) for _ in range(4))))
    assert done > 1000
    assert not [got for got in bystander.ready() if got.kind == "E"]
    # The key itself does.
    bystander.send(wire.query("select pg_sleep(60)"))
    wait_for("the query", lambda: cluster.backends("query LIKE '%pg_sleep(60)%' AND state = 'active'"))
    bystander.cancel()
    assert [got.fields["C"] for got in bystander.ready() if got.kind == "E"] == ["57014"]

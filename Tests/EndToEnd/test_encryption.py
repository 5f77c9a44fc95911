"""sslmode × sslnegotiation × channel_binding × protocol version, with psql of every version."""

import contextlib
import socket
import ssl
import struct
import time

import pytest
from harness import tools, wire
from harness.endpoint import Endpoint
from harness.processes import run, run_well
from harness.waiting import wait_for
from harness.wire import WireClient

MODES = ("allow", "prefer", "require", "verify-ca", "verify-full")
NEWEST = tools.VERSIONS[-1]

WAYS = [
    (client, mode, negotiation, binding)
    for client in tools.VERSIONS
    for negotiation in (("postgres", "direct") if client >= 17 else ("",))
    for mode in MODES
    for binding in ("disable", "prefer", "require")
    # libpq itself refuses direct TLS with a mode that would also do without.
    if not (negotiation == "direct" and mode in ("allow", "prefer"))
]


def ask(client: int, endpoint: Endpoint, sql: str = "select 'answer'", **words: str):
    """One question by psql of a version."""
    command = [tools.program("psql", client), "-X", "-At", "-d", endpoint.argument(**words)]
    return run([*command, "-c", sql], endpoint.environment())


@pytest.mark.relayed
@pytest.mark.parametrize(
    ("client", "mode", "negotiation", "binding"), WAYS, ids=lambda value: str(value) or "-"
)
def test_every_way_to_ask_for_tls_works(client, mode, negotiation, binding, share, covers):
    covers("psql", tools.full_version(client))
    words = {"sslmode": mode, "channel_binding": binding}
    if negotiation:
        words["sslnegotiation"] = negotiation
        covers("sslnegotiation", negotiation)
    covers("sslmode", mode)
    covers("channel_binding", binding)
    done = ask(client, share, **words)
    assert done.stdout.strip() == "answer", done.stderr


@pytest.mark.relayed
@pytest.mark.parametrize("client", tools.VERSIONS)
def test_plaintext_is_refused_and_psql_shows_why(client, share):
    done = ask(client, share, sslmode="disable")
    assert done.returncode == 2
    assert "encrypted" in done.stderr and "sslmode=require" in done.stderr, done.stderr
    assert "FATAL" in done.stderr


@pytest.mark.relayed
@pytest.mark.parametrize("client", tools.VERSIONS)
@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_gssencmode_falls_back_to_tls(client, mode, share, covers):
    covers("gssencmode", mode)
    done = ask(client, share, gssencmode=mode, sslmode="require")
    assert done.stdout.strip() == "answer", done.stderr


@pytest.mark.relayed
@pytest.mark.parametrize("order", [("gss", "ssl"), ("ssl",), ("gss",)], ids="-then-".join)
def test_encryption_requests_are_answered_in_either_order(order, share):
    with wire.open_tcp(share) as plain:
        for request in order:
            plain.sendall(wire.GSS_REQUEST if request == "gss" else wire.SSL_REQUEST)
            assert plain.recv(1) == (b"N" if request == "gss" else b"S")


@pytest.mark.relayed
@pytest.mark.parametrize("client", [version for version in tools.VERSIONS if version >= 16])
def test_require_auth_scram_is_met(client, share):
    done = ask(client, share, require_auth="scram-sha-256", channel_binding="require")
    assert done.stdout.strip() == "answer", done.stderr


@pytest.mark.relayed
def test_a_wrong_authority_is_noticed_by_the_client(share, authority):
    for mode in ("verify-ca", "verify-full"):
        done = ask(NEWEST, share, sslmode=mode, sslrootcert=str(authority.certificate))
        assert done.returncode == 2
        assert "certificate verify failed" in done.stderr


@pytest.mark.relayed
def test_the_address_is_in_the_certificate_too(share):
    done = ask(NEWEST, share, host="127.0.0.1", sslmode="verify-full")
    assert done.stdout.strip() == "answer", done.stderr


@pytest.mark.relayed
@pytest.mark.skipif(NEWEST < 18, reason="libpq 18 is the first that can ask")
@pytest.mark.parametrize(
    ("lowest", "highest"),
    [("3.0", "3.0"), ("3.0", "3.2"), ("3.2", "3.2"), ("3.0", "latest"), ("3.2", "latest")],
)
def test_libpq_18_gets_the_protocol_version_it_asks_for(lowest, highest, share, covers):
    covers("protocol", "3.0" if highest == "3.0" else "3.2")
    done = ask(NEWEST, share, min_protocol_version=lowest, max_protocol_version=highest)
    assert done.stdout.strip() == "answer", done.stderr


def key_bytes(client: WireClient) -> int:
    return len(client.key) - 4


@pytest.mark.relayed
def test_protocol_3_0_gets_a_cancel_key_of_four_bytes(share):
    with WireClient(share) as client:
        assert client.negotiated is None
        assert key_bytes(client) == 4


@pytest.mark.relayed
def test_protocol_3_2_gets_a_long_cancel_key_that_cancels(share, cluster):
    with WireClient(share, minor=2) as client:
        assert client.negotiated is None
        assert 4 < key_bytes(client) <= 256
        client.cancel("request")
        assert client.query("select 1") == [[b"1"]]


@pytest.mark.relayed
@pytest.mark.parametrize(
    ("minor", "options"),
    [(9999, {"_pq_.test_protocol_negotiation": "yes"}), (2, {"_pq_.a": "1", "_pq_.b": "2"}),
     (7, {})],
    ids=["grease", "unknown-options", "newer-minor"],
)  # fmt: skip
def test_what_we_do_not_know_is_negotiated_once(minor, options, share, covers):
    covers("protocol", "GREASE" if minor == 9999 else f"3.{minor}")
    with WireClient(share, options, minor=minor) as client:
        assert client.negotiated is not None
        version, count = struct.unpack("!ii", client.negotiated.body[:8])
        unknown = [name.decode() for name in client.negotiated.body[8:].split(b"\0") if name]
        # The version is a whole protocol number in new servers and a bare minor in older ones.
        assert version in (2, 0x3_0002)
        assert count == len(options)
        assert unknown == list(options)
        assert client.query("select 1") == [[b"1"]]


@pytest.mark.relayed
def test_channel_binding_is_offered_and_holds(share):
    with WireClient(share, channel_binding=True) as client:
        assert "SCRAM-SHA-256-PLUS" in client.mechanisms
        assert "SCRAM-SHA-256" in client.mechanisms


@pytest.mark.relayed
def test_direct_tls_without_alpn_is_turned_away(share):
    """Closed, or told why; never asked for a password."""
    context = wire.tls_context(share, alpn=())
    answer = b""
    with contextlib.suppress(OSError):
        with context.wrap_socket(wire.open_tcp(share), server_hostname="localhost") as tls:
            tls.sendall(wire.startup({"user": share.user}))
            while data := tls.recv(4096):
                answer += data
    assert answer[:1] in (b"", b"E"), answer


@pytest.mark.relayed
def test_tls_1_2_and_1_3_are_spoken_and_older_ones_are_not(share):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = wire.tls_context(share)
        context.minimum_version = context.maximum_version = version
        plain = wire.open_tcp(share)
        plain.sendall(wire.SSL_REQUEST)
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            assert tls.selected_alpn_protocol() == "postgresql"
    old = run(
        ["openssl", "s_client", "-starttls", "postgres", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0",
         "-connect", f"127.0.0.1:{share.port}"]
    )  # fmt: skip
    assert old.returncode != 0


def test_tcp_connections_are_not_delayed(share):
    """Nagle and delayed ACKs together cost 40 ms a round trip; a hundred would take 4 s."""
    with WireClient(share) as client:
        assert isinstance(client.socket, socket.socket)
        start = time.monotonic()
        for _ in range(100):
            client.query("select 1")
        assert time.monotonic() - start < 3


@pytest.mark.relayed
def test_cancel_by_psql_18_goes_encrypted_and_by_psql_15_in_clear(share, cluster):
    """Both are the same request to us; see test_psql for the real thing."""
    for negotiation in ("none", "request", "direct"):
        with WireClient(share) as client:
            client.send(wire.query("select pg_sleep(50) /* cancelled by " + negotiation + " */"))
            condition = f"state = 'active' AND query LIKE '%cancelled by {negotiation}%'"
            wait_for("the query to run", lambda: cluster.backends(condition) == 1)
            client.cancel(negotiation)
            errors = [got.fields for got in client.ready() if got.kind == "E"]
            assert [error["C"] for error in errors] == ["57014"]


@pytest.mark.relayed
def test_the_relay_certificate_is_checked_by_openssl(share):
    done = run_well(
        ["openssl", "s_client", "-starttls", "postgres", "-CAfile", str(share.ca_file),
         "-verify_return_error", "-verify_hostname", "localhost", "-brief",
         "-connect", f"127.0.0.1:{share.port}"]
    )  # fmt: skip
    assert "Verification: OK" in done.stdout + done.stderr

"""What the doctor asks others, without the libraries that usually do: keys of peers, lookups."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.exchange.cli.outside import ed25519_key, found_at, who_answers
from grenache_py.exchange.signed_log.keys import Identity
from tests.exchange.daemon.test_daemon import Daemon

SEED = bytes(range(32))
DEADLINE_S = 60


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


def certificate(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(2**100)
        .not_valid_before(datetime(2000, 1, 1))
        .not_valid_after(datetime(9999, 12, 31))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("x" * 200)]), critical=False)
        .sign(key, None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256())
    )
    return made.public_bytes(Encoding.DER)


def test_the_key_of_a_certificate_is_read_and_no_other_kind() -> None:
    ours = Ed25519PrivateKey.from_private_bytes(SEED)
    assert ed25519_key(certificate(ours)) == Identity.from_seed(SEED).key
    other = ec.generate_private_key(ec.SECP256R1())
    assert ed25519_key(certificate(other)) == ""


@given(st.binary(max_size=80), st.integers(0, 400))
def test_whatever_is_shown_is_no_error(bytes_: bytes, cut: int) -> None:
    whole = certificate(Ed25519PrivateKey.from_private_bytes(SEED))
    assert ed25519_key(bytes_) == ""
    assert ed25519_key(whole[:cut] + bytes_ + whole[cut + len(bytes_) :]) is not None


@pytest.mark.network
def test_a_peer_is_known_by_its_key(daemon: Daemon) -> None:
    with daemon.client() as client:
        peer = client.call("hello")["peer"]
    host, port = daemon.address("peer")
    assert who_answers(f"{host}:{port}") == peer
    with pytest.raises(OSError, match="is it a client port"):
        who_answers("{}:{}".format(*daemon.address("client")))
    for nowhere in ("127.0.0.1:1", "127.0.0.1:99999", "127.0.0.1:x"):
        with pytest.raises(OSError, match=r"."):
            who_answers(nowhere)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A URL where each request gets these bytes, whatever it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(1000).startswith(b"POST /lookup HTTP/1.0\r\n")
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(DEADLINE_S)


@pytest.mark.network
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b'HTTP/1.0 200 OK\r\nA: b\r\n\r\n["1.2.3.4:5", "1.2.3.4:6"]', ["1.2.3.4:5", "1.2.3.4:6"]),
        (b"HTTP/1.1 500 Oh\r\n\r\nno", "it answered 500"),
        (b"220 mail.example ESMTP\r\n", "it speaks no HTTP"),
        (b"", "it speaks no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"1" * 300_000, "its answer does not end"),
    ],
)
def test_what_a_grape_answers(answer: bytes, found: object) -> None:
    with answering(answer) as url:
        assert found_at(url, "exchange:main") == found


@pytest.mark.network
def test_a_grape_that_is_not_there() -> None:
    assert found_at("http://127.0.0.1:1", "x") == "Connection refused"

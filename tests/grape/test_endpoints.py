"""The HTTP API on other endpoints than TCP: TLS, a UNIX socket; and with no port at all."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
from pathlib import Path

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.threads import deferToThread

from grenache_py.errors import ConfigError
from grenache_py.grape.service import GrapeService
from tests.support.rings import exchange, make_grape, post, sleep, until

pytestmark = pytest.mark.network
BODY = b'{"rid":"r","data":"svc"}'
REQUEST = b"POST /lookup HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


def certificate(folder: Path) -> Path:
    """A key and a certificate for localhost, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "grape.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


def answer(connection: socket.socket) -> bytes:
    """Ask twice on one connection, return the last answer's body."""
    with connection:
        connection.settimeout(5)
        for _ in range(2):
            connection.sendall(REQUEST)
            received = b""
            while b"\r\n\r\n[]" not in received:
                received += connection.recv(65536)
        return received.partition(b"\r\n\r\n")[2]


async def page(grape: GrapeService, path: str, status: bytes, headers: str = "") -> bytes:
    """What ``GET path`` finds."""
    request = f"GET {path} HTTP/1.0\r\n{headers}\r\n".encode()
    received, closed = await exchange(grape.api_port or 0, request, 1 << 20, timeout_s=5.0)
    assert closed
    assert received[9:12] == status
    return received.partition(b"\r\n\r\n")[2]


def over_tls(port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])  # as curl offers them
    with socket.create_connection(("127.0.0.1", port)) as plain:
        return answer(context.wrap_socket(plain, server_hostname="localhost"))


def over_unix(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        return answer(connection)


# Twisted's own use of pyOpenSSL, not ours to fix.
@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest_twisted.ensureDeferred
async def test_tls(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}"
    grape = make_grape(api_endpoint=endpoint)
    grape.startService()
    try:
        assert grape.api_port is not None
        assert await deferToThread(over_tls, grape.api_port) == b"[]"
    finally:
        await grape.stopService()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket(tmp_path: Path) -> None:
    grape = make_grape(api_endpoint=f"unix:{tmp_path}/grape.sock")
    grape.startService()
    try:
        assert grape.api_port is None
        assert await deferToThread(over_unix, tmp_path / "grape.sock") == b"[]"
    finally:
        await grape.stopService()


@pytest_twisted.ensureDeferred
async def test_without_http_there_are_lookups_in_the_process() -> None:
    first = make_grape(1, api_port=None)
    first.startService()
    second = make_grape(2, bootstrap=(f"127.0.0.1:{first.dht_port}",))
    second.startService()
    try:
        assert first.api_port is None
        for _ in range(50):
            if isinstance(await post(second.api_port or 0, "announce", ["svc", 5]), int):
                break
        assert await first.dht.lookup(b"svc") == ["127.0.0.1:5"]
    finally:
        await second.stopService()
        await first.stopService()


@pytest_twisted.ensureDeferred
async def test_pages_for_operators() -> None:
    first = make_grape(1)
    first.startService()
    second = make_grape(2, metrics=True, bootstrap=(f"127.0.0.1:{first.dht_port}",))
    second.startService()
    alone = make_grape(3, bootstrap=("127.0.0.1:1",))
    alone.startService()
    try:
        await until(lambda: second.dht.status().contacts_good)
        await post(second.api_port or 0, "lookup", "svc")
        body = await page(second, "/health", b"200")
        health = json.loads(body)
        assert (health["status"], health["contacts"]["good"]) == ("ok", 1)
        assert json.loads(await page(first, "/health", b"200"))["status"] == "ok"
        assert b"no other grape answers" in await page(alone, "/health", b"503")
        metrics = await page(second, "/metrics", b"200")
        assert b'\ngrape_http_requests_total{command="lookup"} 1\n' in metrics
        assert b"\ngrape_dht_lookups_total 1\n" in metrics
        assert b"metrics are off" in await page(first, "/metrics", b"404")
        html = await page(second, "/", b"200", "Accept: text/html\r\n")
        assert b"<h1>\xe2\x97\x8f Grape: ok</h1>" in html and b"<script" not in html
        assert b'<th scope="row">contacts that answer</th><td>1</td>' in html
        assert b"no other grape answers" in await page(alone, "/", b"503", "Accept: text/html\r\n")
    finally:
        for grape in (alone, second, first):
            await grape.stopService()


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("nonsense:1", "api endpoint 'nonsense:1' cannot be used: Unknown endpoint type"),
        ("tcp:x", "api endpoint 'tcp:x' cannot be used"),
        ("unix:/no/such/folder/socket", "cannot be used"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_cannot_be_closes_the_dht_again(endpoint: str, message: str) -> None:
    grape = make_grape(api_endpoint=endpoint)
    with pytest.raises(ConfigError, match=message):
        grape.startService()
    assert not grape.running
    await sleep(0.05)

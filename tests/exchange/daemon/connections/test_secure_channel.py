"""The peer port: who gets in, by which key, and what everybody else reads."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.bindings import crypto_sign_seed_keypair
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from grenache_py.exchange.daemon.connections.admission import PEERS_MAX, PeerAdmission
from grenache_py.exchange.daemon.connections.peer_connection import HELLO_BYTES_MAX, PROOF_S
from grenache_py.exchange.daemon.connections.secure_channel import (
    CLIENT_HELLO_BYTES_MAX,
    NOT_TLS,
    SHAKING_BYTES_MAX,
    SILENT_S,
)
from grenache_py.exchange.peers.certificate import identity_context, key_of
from grenache_py.exchange.peers.door import WAITING_MAX
from grenache_py.exchange.peers.handshake import PROTOCOL
from grenache_py.exchange.signed_log.keys import Identity
from tests.support.peer import Peer
from tests.support.secure import Pipe, join, pump

OTHER = Identity.from_seed(b"\7" * 32)


class Port:
    """A whole peer and its peer port."""

    def __init__(self) -> None:
        self.peer = Peer()
        self.clock = self.peer.clock
        self.admission = PeerAdmission(self.clock, self.peer.commit_loop, self.peer.identity.seed)

    def dialled_by(self, stranger: Any, host: str = "9.9.9.9") -> tuple[Pipe, Pipe]:
        """Somebody dials."""
        knock = self.admission.accept(IPv4Address("TCP", host, 5))
        assert knock is not None
        ends = join(stranger, knock)
        pump(*ends, clock=self.clock)
        return ends

    def refused(self) -> dict[str, int]:
        return {name: count for name, count in self.admission.door.refused.items() if count}

    def links(self) -> list[dict[str, Any]]:
        node = self.peer.commit_loop.node
        assert node is not None
        return node.peers(self.clock.seconds())


class Stranger(Protocol):
    """Says what a test wants, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, *reason: object) -> None:
        self.lost = True

    def error(self) -> str:
        """The message of the one line that was heard."""
        [line] = self.heard.splitlines()
        message: str = json.loads(line)["error"]["message"]
        return message


def over_tls(stranger: Stranger, context: SSL.Context) -> TLSMemoryBIOProtocol:
    factory: Any = TLSMemoryBIOFactory.__new__(TLSMemoryBIOFactory)
    factory.wrappedFactory = Factory()
    factory.protocols = {}
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    factory._creatorCallable = lambda protocol: connection
    return TLSMemoryBIOProtocol(factory, stranger)


def hello() -> bytes:
    params = {"boot": "0" * 32, "network": "main", "protocol": PROTOCOL}
    message = {"jsonrpc": "2.0", "id": "hello", "method": "peer.hello", "params": params}
    return json.dumps(message).encode() + b"\n"


def test_the_key_of_the_certificate_is_the_peer() -> None:
    port, stranger = Port(), Stranger()
    channel = over_tls(stranger, identity_context(OTHER.seed))
    ends = port.dialled_by(channel)
    [link] = port.links()
    assert (link["peer"], link["ready"]) == (OTHER.key, False)
    assert key_of(channel.getHandle()) == port.peer.identity.key
    assert channel.getHandle().get_protocol_version_name() == "TLSv1.3"
    assert channel.getHandle().get_cipher_name() == "TLS_CHACHA20_POLY1305_SHA256"
    assert stranger.heard == b"", "who dialled speaks first"
    channel.write(hello())
    pump(*ends, clock=port.clock)
    [link] = port.links()
    assert link["ready"]
    assert json.loads(stranger.heard.splitlines()[0])["result"]["network"] == "main"
    assert port.admission.door.counters() == {
        "waiting": 0,
        "refused": {"silent": 0, "not_tls": 0, "no_key": 0, "crowded": 0},
    }


def test_two_daemons_know_each_other_by_their_keys() -> None:
    port, other = Port(), Peer()
    other.identity = OTHER
    other.restart()
    dialler = PeerAdmission(other.clock, other.commit_loop, OTHER.seed)
    ends = port.dialled_by(dialler.dialled("9.9.9.9:1"))
    for _ in range(5):
        other.turn()
        pump(*ends, clock=port.clock)
    node = other.commit_loop.node
    assert node is not None
    assert [link["peer"] for link in port.links()] == [OTHER.key]
    assert [link["peer"] for link in node.peers(0)] == [port.peer.identity.key]
    assert port.links()[0]["ready"]


@pytest.mark.parametrize("name", ["a victim", OTHER.key])
def test_a_name_in_a_certificate_is_not_believed(name: str) -> None:
    """Neither its name, nor its dates: both are whatever its maker wrote."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    long_ago = datetime(1999, 1, 1)
    certificate = (
        x509.CertificateBuilder(called, called, key.public_key(), 1, long_ago, long_ago)
        .sign(key, None)
    )  # fmt: skip
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    port = Port()
    port.dialled_by(over_tls(Stranger(), context))
    assert [link["peer"] for link in port.links()] == [
        crypto_sign_seed_keypair(b"\x09" * 32)[0].hex()
    ]


def test_who_shows_no_certificate_reads_why_it_is_left() -> None:
    port, stranger = Port(), Stranger()
    port.dialled_by(over_tls(stranger, SSL.Context(SSL.TLS_METHOD)))
    assert "ed25519" in stranger.error()
    assert stranger.lost
    assert port.links() == [] and port.refused() == {"no_key": 1}


def test_a_key_that_is_not_ed25519_is_none() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), 1, datetime(2000, 1, 1), datetime(2100, 1, 1)
        )
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    port, stranger = Port(), Stranger()
    port.dialled_by(over_tls(stranger, context))
    assert "ed25519" in stranger.error()
    assert port.links() == []


@pytest.mark.parametrize("raw", ["01" + "00" * 31, "00" * 32, "ec" + "ff" * 30 + "7f"])
def test_a_key_under_which_anybody_can_sign_is_none(raw: str) -> None:
    """OpenSSL verifies a signature made without any secret under such a point."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    class Certificate:
        def public_key(self) -> Any:
            return Ed25519PublicKey.from_public_bytes(bytes.fromhex(raw))

    class Connection:
        def get_peer_certificate(self, as_cryptography: bool) -> Any:
            return Certificate()

    assert key_of(Connection()) == ""


def test_whatever_a_parser_throws_means_no_key() -> None:
    class Connection:
        def get_peer_certificate(self, as_cryptography: bool) -> Any:
            raise ValueError("a stranger's bytes")

    assert key_of(Connection()) == ""
    assert key_of(None) == ""


def test_older_tls_is_not_spoken() -> None:
    context = identity_context(OTHER.seed)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    port, stranger = Port(), Stranger()
    port.dialled_by(over_tls(stranger, context))
    assert stranger.lost and port.links() == []


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b'{"jsonrpc":"2.0","id":"hello","method":"peer.hello","params":{}}\n',
        b"\r\n",
        b"\x80\x2e\x01\x00\x02",
    ],
)
def test_who_speaks_anything_but_tls_reads_one_line(said: bytes) -> None:
    """A browser, an older peer, telnet, SSL 2."""
    port, stranger = Port(), Stranger()
    near, far = port.dialled_by(stranger)
    near.write(said)
    pump(near, far, clock=port.clock)
    assert stranger.error() == NOT_TLS
    assert stranger.lost
    assert port.refused() == {"not_tls": 1} and port.links() == []


def test_who_says_nothing_reads_the_line_after_three_seconds() -> None:
    port, stranger = Port(), Stranger()
    ends = port.dialled_by(stranger)
    port.clock.advance(SILENT_S - 0.1)
    assert ends[1].sent == []
    port.clock.advance(0.1)
    pump(*ends, clock=port.clock)
    assert stranger.error() == NOT_TLS
    assert port.refused() == {"silent": 1}
    assert port.admission._visitors == {}


def test_who_begins_tls_and_stops_is_cut_off() -> None:
    port, stranger = Port(), Stranger()
    ends = port.dialled_by(stranger)
    client = SSL.Connection(identity_context(OTHER.seed), None)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    for byte in client.bio_read(65_536):
        ends[0].write(bytes([byte]))
    pump(*ends, clock=port.clock)
    assert stranger.heard[:1] == b"\x16", "TLS went on, byte by byte"
    port.clock.advance(PROOF_S)
    assert ends[1].aborted
    pump(*ends, clock=port.clock)
    assert port.refused() == {"no_key": 1}
    assert port.admission._visitors == {}


def test_a_hello_of_tls_that_is_too_long_is_cut_off() -> None:
    port, stranger = Port(), Stranger()
    near, far = port.dialled_by(stranger)
    near.write(b"\x16\x03\x01" + CLIENT_HELLO_BYTES_MAX.to_bytes(2, "big"))
    pump(near, far, clock=port.clock)
    assert far.aborted and port.refused() == {"not_tls": 1}


def test_a_handshake_that_goes_on_for_ever_is_cut_off() -> None:
    port, stranger = Port(), Stranger()
    near, far = port.dialled_by(stranger)
    client = SSL.Connection(identity_context(OTHER.seed), None)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    near.write(client.bio_read(65_536))
    pump(near, far, clock=port.clock)
    # One record that never becomes whole, and many that mean nothing.
    for _ in range(2 * SHAKING_BYTES_MAX // 6):
        near.write(b"\x14\x03\x03\x00\x01\x01")
        pump(near, far, clock=port.clock)
    assert far.closed and port.links() == []


def test_silent_connections_keep_nobody_out() -> None:
    """None of them is refused at the port, and the honest one is linked at once."""
    port, silent = Port(), []
    for n in range(3 * WAITING_MAX):
        silent += port.dialled_by(Stranger(), "9.9.9.9")
        if n % 60 == 59:
            stranger = Stranger()
            key = Identity.from_seed(n.to_bytes(32, "big")).seed
            channel = over_tls(stranger, identity_context(key))
            ends = port.dialled_by(channel, "8.8.8.8")
            channel.write(hello())
            pump(*ends, clock=port.clock)
    assert sum(link["ready"] for link in port.links()) == 3
    assert port.admission.door.counters()["waiting"] == WAITING_MAX
    pump(*silent)
    assert sum(end.closed for end in silent) == 2 * 2 * WAITING_MAX
    assert len(port.admission._visitors) == WAITING_MAX
    port.admission.stop()


def test_a_dial_to_what_speaks_no_tls_fails_with_a_sentence() -> None:
    port, failed = Port(), []
    port.peer.commit_loop.peer_input.link_failed = (  # type: ignore[method-assign]
        lambda address, reason: failed.append((address, reason))
    )
    near, far = join(port.admission.dialled("b:1"), Stranger())
    far.write(b'{"jsonrpc":"2.0","id":null,"error":{}}\n')
    pump(near, far, clock=port.clock)
    assert failed == [("b:1", "it does not speak TLS: an older peer, or no peer")]
    near, far = join(port.admission.dialled("c:1"), Stranger())
    pump(near, far, clock=port.clock)
    port.clock.advance(PROOF_S)
    pump(near, far, clock=port.clock)
    assert failed[1] == ("c:1", "no TLS handshake in 5 s: an older peer, or no peer")
    assert port.admission._dials == {}


def test_a_dial_that_is_answered_by_nonsense_in_tls_fails_with_a_sentence() -> None:
    port, failed = Port(), []
    port.peer.commit_loop.peer_input.link_failed = (  # type: ignore[method-assign]
        lambda address, reason: failed.append(reason)
    )
    near, far = join(port.admission.dialled("b:1"), Stranger())
    far.write(b"\x16\x03\x03\x00\x04\x02\x00\x00\x00")
    pump(near, far, clock=port.clock)
    assert len(failed) == 1 and failed[0].startswith("TLS failed: "), failed


def test_a_link_whose_bytes_are_changed_breaks_and_costs_nobody_points() -> None:
    port, stranger = Port(), Stranger()
    channel = over_tls(stranger, identity_context(OTHER.seed))
    ends = port.dialled_by(channel)
    channel.write(hello())
    pump(*ends, clock=port.clock)
    assert port.links()[0]["ready"]
    ends[0].write(b'{"jsonrpc":"2.0","method":"fill.settled","params":{"fills":[]}}\n' * 20)
    pump(*ends, clock=port.clock)
    assert port.links() == []
    node = port.peer.commit_loop.node
    assert node is not None and node.peering.scores.of(OTHER.key, port.clock.seconds()) == 0
    again = over_tls(Stranger(), identity_context(OTHER.seed))
    ends = port.dialled_by(again)
    again.write(hello())
    pump(*ends, clock=port.clock)
    assert port.links()[0]["ready"], "its own dial is taken at once"


def test_everything_is_cut_off_when_the_daemon_stops() -> None:
    port = Port()
    ends = [*port.dialled_by(Stranger()), *join(port.admission.dialled("b:1"), Stranger())]
    port.admission.stop()
    pump(*ends)
    assert all(end.closed for end in ends)
    assert port.admission._visitors == {} and port.admission._dials == {}


def test_links_on_their_way_out_keep_nobody_out() -> None:
    """Fresh keys are free: whoever proves one after the other and is thrown out gets no place."""
    port = Port()
    for n in range(PEERS_MAX):
        key = Identity.from_seed(n.to_bytes(32, "big")).key
        lines, transport = port.peer.connection(1_000 + n, key)
        lines.pauseProducing()
        lines.send(b"never read\n")
        lines.close()
        assert not transport.disconnected
    stranger = Stranger()
    channel = over_tls(stranger, identity_context(OTHER.seed))
    ends = port.dialled_by(channel)
    channel.write(hello())
    pump(*ends, clock=port.clock)
    assert [link["peer"] for link in port.links() if link["ready"]] == [OTHER.key]


def test_a_hello_that_is_too_long_is_refused_with_a_sentence() -> None:
    peer = Peer()
    lines, transport = peer.connection()
    lines.dataReceived(b"{" + b" " * HELLO_BYTES_MAX + b"}\n")
    assert b"A hello has at most 16384 bytes" in transport.value()
    assert transport.disconnecting

"""Both sides prove their keys, over everything both said, or nothing is proven."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.exchange.peers.handshake import PROTOCOL, Handshake, HandshakeError, PeerHello
from grenache_py.exchange.signed_log.keys import Identity

A, B, MALLORY = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
MARKETS = {"BTC-USD": ("0.01", "0.0001")}


def side(who: Identity, outbound: bool, **more: Any) -> Handshake:
    mine = PeerHello(
        **{
            "key": who.key,
            "nonce": who.key[:32],
            "boot": "0" * 32,
            "network": "main",
            "protocol": PROTOCOL,
            "markets": MARKETS,
            **more,
        }
    )
    return Handshake(who, mine, outbound, 5.0)


def shake(dialler: Handshake, listener: Handshake) -> list[dict[str, Any]]:
    """Carry messages to and fro until nobody says more; all that was said."""
    said: list[dict[str, Any]] = []
    messages = dialler.begin()
    receiver, other = listener, dialler
    while messages:
        said += messages
        # As JSON, so that tuples arrive as what they are on the wire.
        messages = [
            answer
            for message in messages
            for answer in receiver.receive(msgspec.json.decode(msgspec.json.encode(message)))
        ]
        receiver, other = other, receiver
    return said


def test_two_honest_peers_prove_each_other_in_four_messages() -> None:
    dialler, listener = side(A, True), side(B, False)
    assert len(shake(dialler, listener)) == 4
    assert dialler.proven
    assert listener.proven
    assert dialler.peer is not None
    assert dialler.peer.key == B.key
    assert listener.peer is not None
    assert listener.peer.key == A.key


def test_somebody_elses_key_is_not_proven() -> None:
    thief = side(A, True)
    thief._identity = MALLORY  # knows A's public key, not the secret
    listener = side(B, False)
    with pytest.raises(HandshakeError, match="did not prove its key"):
        shake(thief, listener)
    assert not listener.proven


def test_an_old_handshake_cannot_be_replayed() -> None:
    said = shake(side(A, True), side(B, False))
    fresh = side(B, False, nonce="f" * 32)
    fresh.receive(said[0])
    with pytest.raises(HandshakeError, match="did not prove its key"):
        fresh.receive(said[2])


def test_the_listeners_proof_cannot_be_reflected_to_it() -> None:
    """Each role signs something else: an answer is no request."""
    said = shake(side(A, True), side(B, False))
    listener = side(B, False)
    listener.receive({**said[0], "params": {**said[0]["params"], "key": B.key}})
    with pytest.raises(HandshakeError, match="did not prove its key"):
        listener.receive({"method": "peer.prove", "id": 1, "params": said[3]["result"]})


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"network": "test"}, "network"),
        ({"protocol": (2, 9)}, "protocol"),
        ({"markets": {"BTC-USD": ("0.1", "0.0001")}}, "tick 0.01"),
        ({"nonce": B.key[:32]}, "nonce"),
    ],
)
def test_peers_that_cannot_talk_are_told_why(more: dict[str, Any], why: str) -> None:
    with pytest.raises(HandshakeError, match=why):
        shake(side(A, True, **more), side(B, False))


def test_other_markets_are_no_reason_to_part() -> None:
    dialler, listener = side(A, True, markets={"ETH-USD": ("1", "1")}), side(B, False)
    shake(dialler, listener)
    assert listener.proven


def test_a_newer_peers_unknown_members_are_ignored() -> None:
    hello = msgspec.to_builtins(side(A, True).mine)
    assert PeerHello.parse({**hello, "colour": "blue"}).key == A.key


def test_nothing_else_is_answered_before_the_proof() -> None:
    for message in (
        {"method": "gossip.publish", "params": {}},
        {"method": "peer.prove", "id": 1, "params": {"signature": ""}},
        {"id": 1, "result": {}},
    ):
        with pytest.raises(HandshakeError):
            side(B, False).receive(message)


def test_secrets_are_not_in_the_repr() -> None:
    assert A._secret.hex() not in repr(attrs.asdict(side(A, True))["_identity"])


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(st.booleans(), st.dictionaries(st.sampled_from(["id", "method", "result", "error"]), _json))
def test_whatever_comes_is_refused_by_name(outbound: bool, message: dict[str, Any]) -> None:
    with pytest.raises(HandshakeError) as refused:
        side(A, outbound).receive(message)
    assert str(refused.value)

"""One hello each way: what two peers must agree on, and what is refused by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.exchange.peers.handshake import PROTOCOL, Handshake, HandshakeError, PeerHello

BOOT = "0" * 32
MARKETS = {"BTC-USD": ("0.01", "0.0001")}


def side(outbound: bool, **more: Any) -> Handshake:
    members = {"boot": BOOT, "network": "main", "protocol": PROTOCOL, "markets": MARKETS, **more}
    return Handshake(PeerHello(**members), outbound, 5.0)


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


def test_two_peers_need_one_question_and_its_answer() -> None:
    dialler, listener = side(True), side(False, listen="b:2")
    assert len(shake(dialler, listener)) == 2
    assert dialler.peer is not None and dialler.peer.listen == "b:2"
    assert listener.peer == dialler.mine


def test_a_hello_names_no_key() -> None:
    """Who somebody is, TLS says; a member of a message could only contradict it."""
    assert not {"key", "nonce", "signature"} & set(msgspec.to_builtins(side(True).mine))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"network": "test"}, "network"),
        ({"protocol": (2, 2)}, r"no common protocol version: \[3, 5\] here, \[2, 2\] there"),
        ({"protocol": (6, 9)}, "protocol"),
        ({"markets": {"BTC-USD": ("0.1", "0.0001")}}, "tick 0.01"),
    ],
)
def test_peers_that_cannot_talk_are_told_why(more: dict[str, Any], why: str) -> None:
    with pytest.raises(HandshakeError, match=why):
        shake(side(True, **more), side(False))


@pytest.mark.parametrize(
    ("one", "other", "spoken"),
    [((3, 4), (3, 3), 3), ((3, 3), (3, 4), 3), ((3, 5), (4, 6), 5), ((4, 4), (3, 4), 4)],
)
def test_peers_of_neighbouring_versions_speak_the_newest_that_both_know(
    one: tuple[int, int], other: tuple[int, int], spoken: int
) -> None:
    dialler, listener = side(True, protocol=one), side(False, protocol=other)
    assert dialler.protocol is None
    shake(dialler, listener)
    assert dialler.protocol == listener.protocol == spoken


def test_other_markets_are_no_reason_to_part() -> None:
    dialler, listener = side(True, markets={"ETH-USD": ("1", "1")}), side(False)
    shake(dialler, listener)
    assert listener.peer is not None


def test_a_newer_peers_unknown_members_are_ignored() -> None:
    hello = msgspec.to_builtins(side(True).mine)
    assert PeerHello.parse({**hello, "colour": "blue"}).boot == BOOT


def test_nothing_else_is_answered_before_the_hello() -> None:
    for message in (
        {"method": "gossip.publish", "params": {}},
        {"method": "peer.prove", "id": 1, "params": {"signature": ""}},
        {"id": 1, "result": {}},
    ):
        with pytest.raises(HandshakeError):
            side(False).receive(message)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(st.booleans(), st.dictionaries(st.sampled_from(["id", "method", "result", "error"]), _json))
def test_whatever_comes_is_refused_by_name(outbound: bool, message: dict[str, Any]) -> None:
    with pytest.raises(HandshakeError) as refused:
        side(outbound).receive(message)
    assert str(refused.value)

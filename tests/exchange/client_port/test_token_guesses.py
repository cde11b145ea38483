"""Tokens cannot be guessed for long, and who has one is served."""

from __future__ import annotations

import json

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress

from grenache_py.exchange.client_port.access import Grant
from grenache_py.exchange.client_port.token_guesses import (
    ADDRESSES_MAX,
    GUESSES_BURST,
    GUESSES_PER_CONNECTION,
    TELL_EVERY_S,
    TokenGuesses,
    guesser,
)
from tests.support.peer import Connection, Peer

RIGHT = "alice's long token"


def guarded_peer() -> Peer:
    peer = Peer()
    peer.tokens[RIGHT] = Grant(frozenset({"read"}))
    return peer


def connect(peer: Peer, source: str = "10.0.0.7") -> Connection:
    client = peer.connect(Grant(frozenset()))
    client.lines.session.client.source = source
    return client


def test_a_connection_is_closed_after_a_few_wrong_tokens() -> None:
    peer = guarded_peer()
    client = connect(peer)
    for number in range(GUESSES_PER_CONNECTION):
        assert not client.transport.disconnecting
        assert client.call("hello", token=f"guess {number}")["code"] == -32006
    assert client.transport.disconnecting


def test_a_batch_is_no_way_to_guess_more() -> None:
    peer = guarded_peer()
    looked_at: list[str] = []
    peer.gateway.check_token = looked_at.append  # type: ignore[func-returns-value]
    hello = {"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"token": "guess"}}
    client = connect(peer)
    client.ask(json.dumps([hello] * 100))
    assert len(looked_at) == GUESSES_PER_CONNECTION
    assert client.transport.disconnecting


def test_an_address_that_guessed_too_often_has_to_wait_and_others_have_not() -> None:
    peer = guarded_peer()
    told: list[str] = []
    peer.gateway.guesses = TokenGuesses(told.append)
    guessed = 0
    while not told:
        connect(peer).call("hello", token="guess")
        guessed += 1
        assert guessed <= GUESSES_BURST
    late = connect(peer)
    refused = late.call("hello", token=RIGHT)
    assert refused["code"] == -32005 and 0 < refused["data"]["retry_after_ms"] <= 1000
    assert late.transport.disconnecting
    for source in ("10.0.0.8", ""):
        assert connect(peer, source).call("hello", token=RIGHT)["scopes"] == ["read"]
    peer.clock.advance(refused["data"]["retry_after_ms"] / 1000)
    assert connect(peer).call("hello", token=RIGHT)["scopes"] == ["read"], "a right one is free"
    assert connect(peer).call("hello", token=RIGHT)["scopes"] == ["read"]
    assert (peer.gateway.guesses.wrong, peer.gateway.guesses.refused) == (guessed, 1)
    assert told == ["10.0.0.7"]


def test_it_is_told_once_an_hour() -> None:
    told: list[str] = []
    guesses = TokenGuesses(told.append)
    for second in range(int(TELL_EVERY_S) - GUESSES_BURST):
        for _ in range(3):
            if not guesses.wait_ms("a", second):
                guesses.was_wrong("a", second)
    assert told == ["a"]


def test_the_addresses_that_are_counted_are_bounded() -> None:
    guesses = TokenGuesses()
    for number in range(ADDRESSES_MAX + 10):
        guesses.was_wrong(str(number), 0.0)
    assert len(guesses._guessers) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("host", "one"),
    [("10.0.0.7", "10.0.0.7"), ("::ffff:10.0.0.7", "10.0.0.7"), ("", ""), ("::1", "::/64"),
     ("2001:db8:0:1:2::3", "2001:db8:0:1::/64"), ("fe80::1%eth0", "fe80::/64")],
)  # fmt: skip
def test_who_is_one_guesser(host: str, one: str) -> None:
    assert guesser(host) == one


def test_the_port_says_whose_guesses_are_counted() -> None:
    from grenache_py.exchange.daemon.connections.admission import ClientAdmission

    peer = guarded_peer()
    admission = ClientAdmission(
        peer.clock, peer.commit_loop, peer.gateway, peer.limits,
        clients_max=9, stream_scopes=frozenset(),
    )  # fmt: skip
    for address, one in ((IPv4Address("TCP", "10.0.0.7", 5), "10.0.0.7"), (UNIXAddress(b"x"), "")):
        for made in (admission.accept(address), admission.accept_stream(address)):
            assert made is not None and made.session.client.source == one

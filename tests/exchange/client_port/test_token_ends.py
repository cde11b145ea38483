"""Tokens that end: how the file says it, and that they are not taken afterwards."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from grenache_py.errors import ConfigError
from grenache_py.exchange.client_port.access import ClientTokens, Grant
from grenache_py.options import toml
from tests.support.peer import Peer

ENTRY = '[[token]]\ntoken = "sixteen letters{}"\nscopes = ["read"]\n{}\n'


def tokens(*ends: str) -> ClientTokens:
    entries = (ENTRY.format(number, each) for number, each in enumerate(ends))
    return ClientTokens.of(toml("".join(entries)))


def seconds(*date: int) -> float:
    return datetime(*date, tzinfo=timezone.utc).timestamp()  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("ends", "at"),
    [
        ("ends = 2027-01-31", seconds(2027, 1, 31)),
        ("ends = 2027-01-31T18:00:00Z", seconds(2027, 1, 31, 18)),
        ("ends = 2027-01-31T18:00:00+02:00", seconds(2027, 1, 31, 16)),
    ],
)
def test_a_token_may_end_with_a_day_or_at_a_time(ends: str, at: float) -> None:
    read = tokens("", ends)
    assert read.first_end == (at, 2)
    for_ever, ending = (read.grant(f"sixteen letters{number}") for number in range(2))
    assert for_ever is not None and ending is not None
    assert not ending.over(at - 1) and ending.over(at) and not for_ever.over(at)
    assert ending == for_ever, "they allow the same, so a new end closes no connection"


def test_the_first_that_ends_is_told() -> None:
    assert tokens("", "").first_end is None
    read = tokens("ends = 2029-01-01", "", "ends = 2028-01-01")
    assert read.first_end == (seconds(2028, 1, 1), 3)


@pytest.mark.parametrize(
    "ends", ['ends = "2027-01-31"', "ends = 5", "ends = 2027-01-31T18:00:00", "ends = 18:00:00"]
)
def test_an_end_that_is_none_is_refused_with_what_it_should_be(ends: str) -> None:
    with pytest.raises(ConfigError, match=r"number 1: ends must be a day \(2027-01-31\) or a time"):
        tokens(ends)


def test_a_token_that_has_ended_is_not_taken_and_no_guess() -> None:
    peer = Peer()
    now = peer.clock.seconds()
    peer.tokens["alice's long token"] = Grant(frozenset({"read"}), ends=now + 60)
    client = peer.connect(Grant(frozenset()))
    assert client.call("hello", token="alice's long token")["scopes"] == ["read"]
    peer.clock.advance(60)
    for _ in range(5):
        refused = client.call("hello", token="alice's long token")
        assert refused["code"] == -32006 and "This token ended on 20" in refused["message"]
    assert not peer.gateway.guesses.wrong

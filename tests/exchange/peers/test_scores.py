"""How peers behaved: scores that fade, bans that end."""

from __future__ import annotations

import pytest

from grenache_py.exchange.peers.scores import Scores, network_prefix


def test_a_score_fades_and_a_ban_ends() -> None:
    scores = Scores()
    scores.add("k", -40.0, 0.0)
    assert scores.of("k", 0.0) == -40.0
    assert scores.of("k", 600.0) == pytest.approx(-20.0)
    scores.ban("k", 10.0, 0.0)
    assert scores.banned("k", 9.0)
    assert not scores.banned("k", 10.0)


def test_many_deliveries_do_not_buy_unlimited_forgiveness() -> None:
    scores = Scores()
    for _ in range(10_000):
        scores.delivered("k", 0.0)
    assert scores.of("k", 0.0) == 100.0


def test_only_public_addresses_have_a_neighbourhood() -> None:
    assert network_prefix("127.0.0.1:1") == network_prefix("10.1.2.3:1") == ""
    assert network_prefix("8.8.8.8:1") == network_prefix("8.8.8.200:2") == "8.8.8"
    assert network_prefix("host.example:1") == ""

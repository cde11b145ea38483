"""The steps of markets as a store keeps them."""

from __future__ import annotations

from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.stored_steps import markets_of, names_of


def test_the_steps_of_every_market_are_read_back_as_they_were_kept() -> None:
    markets = [Market.parse(f"{each}:tick=0.25,lot=0.001") for each in ("A-B", "C-D")]
    kept = {**names_of(markets[0]), "other": 3, **names_of(markets[1])}
    assert markets_of(kept) == {"A-B": markets[0], "C-D": markets[1]}

"""What of newer settings is taken up while a peer runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from grenache_py.errors import ConfigError
from grenache_py.exchange.daemon.reconfiguration import Reconfiguration
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.settings.config import ExchangeConfig
from tests.support.peer import MARKET, Peer

ETH = "ETH-USD:tick=0.01,lot=0.001"


def test_a_former_market_comes_back_with_another_protection_and_band_but_no_other_tick() -> None:
    peer = Peer()
    for markets in ((MARKET, Market.parse(ETH)), (MARKET,)):
        peer.markets = markets
        peer.restart()
    settings = Reconfiguration.of(ExchangeConfig(markets=(MARKET,)), {})
    nodes: Any = SimpleNamespace(config=settings.config)

    def follow(market: str) -> tuple[str, ...]:
        fresh = attrs.evolve(settings.config, markets=(MARKET, Market.parse(market)))
        return settings.follow(fresh, peer.commit_loop, nodes).done

    with pytest.raises(ConfigError, match="another tick or lot"):
        follow("ETH-USD:tick=0.01,lot=0.1")
    assert follow(f"{ETH},protection=1%,band=20%") == ("market ETH-USD added",)
    assert nodes.config.markets[1].band_bp == 2000

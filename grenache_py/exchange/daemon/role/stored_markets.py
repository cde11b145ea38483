"""
What a daemon that stands by knows without asking its store: the markets, and no order.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.stored_steps import markets_of

__all__ = ["StoredMarkets"]


@attrs.frozen
class StoredMarkets:
    """
    As much of a `gateway.GatewayNode` as the methods need that are answered from the store.

    Attributes:
        markets: those of the settings.
        known_markets: those, and any that orders of earlier times were in.
    """

    markets: Mapping[str, Market]
    known_markets: Mapping[str, Market]

    @classmethod
    def of(cls, markets: Mapping[str, Market], meta: Mapping[str, int]) -> StoredMarkets:
        """
        Args:
            meta: the named integers of the store.
        """
        return cls(markets, {**markets, **markets_of(meta)})

    def order(self, order_id: str) -> None:
        """No order is in memory."""

    def by_client_id(self, account: str, client_order_id: str) -> None:
        """Likewise."""

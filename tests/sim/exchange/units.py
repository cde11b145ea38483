"""
The checker's books are kept in decimals: homes count in ticks and lots, which may differ.

A price or quantity is here a whole number of ``UNIT``, whatever the tick or lot it was counted in.
"""

from __future__ import annotations

from functools import lru_cache

import attrs

from grenache_py.exchange.effects.rows import OrderRow, Row, TradeRow
from grenache_py.exchange.market.instrument import Market, Step
from grenache_py.exchange.node import NodeConfig

__all__ = ["UNIT", "Units", "in_units"]

_DECIMALS = 9
#: Every tick and lot of the simulator is a multiple of it.
UNIT = f"0.{'1':0>{_DECIMALS}}"


@lru_cache(maxsize=1000)
def in_units(symbol: str) -> Market:
    """A market that reads any price and quantity as so many units."""
    return Market.parse(f"{symbol}:tick={UNIT},lot={UNIT}")


def _of(step: Step) -> int:
    return step.units * int(10 ** (_DECIMALS - step.decimals))


@attrs.frozen
class Units:
    """
    What one home counts in.

    Attributes:
        config: where that is from.
        of_market: units in a tick and in a lot, of each market that it ever had.
    """

    config: NodeConfig
    of_market: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, config: NodeConfig, before: Units | None) -> Units:
        known = {} if before is None else before.of_market
        now = {market.symbol: (_of(market.tick), _of(market.lot)) for market in config.markets}
        return cls(config, {**known, **now})

    def row(self, row: Row) -> Row:
        """An order or trade in units, anything else as it is."""
        if type(row) is OrderRow:
            tick, lot = self.of_market[row.market]
            return row._replace(
                price_ticks=row.price_ticks * tick,
                stop_ticks=row.stop_ticks * tick,
                quantity_lots=row.quantity_lots * lot,
                total_lots=row.total_lots * lot,
                open=row.open * lot,
                reserved=row.reserved * lot,
                filled=row.filled * lot,
            )
        if type(row) is TradeRow:
            tick, lot = self.of_market[row.market]
            return row._replace(
                price_ticks=row.price_ticks * tick, quantity_lots=row.quantity_lots * lot
            )
        return row

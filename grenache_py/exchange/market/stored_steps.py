"""
The steps of markets as named integers of the store, so that stored counts keep their meaning.

Pure. Ticks and lots are stored as counts. The steps they count are kept with them, also those of
markets that are no longer configured: their history can still be read.
"""

from __future__ import annotations

from collections.abc import Mapping

from grenache_py.exchange.market.instrument import Market, Step, decimal_text

__all__ = ["markets_of", "names_of"]


def names_of(market: Market) -> dict[str, int]:
    """The named integers that keep a market's steps."""
    return {
        f"tick_units:{market.symbol}": market.tick.units,
        f"tick_decimals:{market.symbol}": market.tick.decimals,
        f"lot_units:{market.symbol}": market.lot.units,
        f"lot_decimals:{market.symbol}": market.lot.decimals,
    }


def markets_of(meta: Mapping[str, int]) -> dict[str, Market]:
    """All markets whose steps are among the named integers of a store, by symbol."""
    found: dict[str, Market] = {}
    for name in meta:
        kind, _, symbol = name.partition(":")
        if kind == "tick_units":
            tick, lot = (
                Step.of(
                    decimal_text(meta[f"{step}_units:{symbol}"], meta[f"{step}_decimals:{symbol}"])
                )
                for step in ("tick", "lot")
            )
            found[symbol] = Market(symbol, tick, lot)
    return found

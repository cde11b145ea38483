"""
The band of a market: how far from where it trades an order's price may be.

Pure. It guards against fat fingers, not against attackers: prices of others are believed.
"""

from __future__ import annotations

from grenache_py.exchange.errors import OUTSIDE_BAND, OrderError
from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import NewOrder

__all__ = ["check_band"]


def check_band(market: Market, new: NewOrder, book: Book, last_ticks: int | None) -> None:
    """
    Refuse a price that is further than the band from the last trade and from the book's middle.

    The middle counts too, so that a market that moved without a trade is not locked. With neither,
    any price is taken: somebody has to begin. The price of a stop-limit order is measured from its
    trigger, which is where the market is when it enters; the trigger itself may be anywhere.

    Args:
        last_ticks: the price of the last trade; None if none is known.

    Raises:
        OrderError: -32015; the message and ``data`` name the band.
    """
    price, band_bp = new.price_ticks, market.band_bp
    if price is None:
        return
    bid, ask = book.best_bid(), book.best_ask()
    middle_twice = None if bid is None or ask is None else bid + ask
    if new.stop_ticks is not None:
        references = [("stop price", 2 * new.stop_ticks)]
    else:
        references = [("last trade", 2 * last_ticks)] if last_ticks is not None else []
        references += [("middle", middle_twice)] if middle_twice is not None else []
    bands = []
    for name, twice in references:
        # The outermost prices that are inside.
        low = max(-(-twice * (10_000 - band_bp) // 20_000), 1)
        high = twice * (10_000 + band_bp) // 20_000
        if low <= price <= high:
            return
        bands.append((name, twice, market.format_price(low), market.format_price(high)))
    if not bands:
        return
    said = " and ".join(
        f"{low} to {high} around the {name} {market.format_average(twice, 2)}"
        for name, twice, low, high in bands
    )
    raise OrderError(
        OUTSIDE_BAND,
        f"price {market.format_price(price)} is outside the band of {band_bp / 100:g} % that this"
        f" peer has for {market.symbol}: {said}",
        field="price",
        bands=[[low, high] for _, _, low, high in bands],
    )

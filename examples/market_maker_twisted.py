"""A market maker for Twisted: one order on each side of the middle, none when the book is old."""

import sys
from contextlib import suppress
from decimal import Decimal

from twisted.internet.task import react

from grenache_py.trading import NotConnected, OutcomeUnknown, Side
from grenache_py.trading.tx import TwistedClient

SIDES: tuple[tuple[Side, int], ...] = (("buy", -1), ("sell", 1))


async def main(reactor: object, market: str = "BTC-USD", edge: str = "0.001") -> None:
    client = TwistedClient(account="maker", reactor=reactor)
    client.startService()
    await client.ready()
    async with client.dead_man(30):
        quoted: dict[Side, Decimal] | None = None
        async for book in client.book(market):
            with suppress(NotConnected, OutcomeUnknown):  # the dead man's switch ends the quotes
                if not book.current or book.mid is None:
                    quoted = None
                    await client.cancel_all(market)
                    continue
                wanted = {
                    side: client.markets[market].price(book.mid * (1 + Decimal(edge) * sign), side)
                    for side, sign in SIDES
                }
                if wanted != quoted:
                    quoted = None
                    await client.cancel_all(market)
                    for side, price in wanted.items():
                        order = await client.place(market, side, "0.05", price, post_only=True)
                        print(side, order.quantity, "@", order.price, flush=True)
                    quoted = wanted


react(main, sys.argv[1:])

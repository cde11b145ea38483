"""A market maker for Twisted: one order on each side of the middle, none when the book is old."""

import sys
from decimal import Decimal

from twisted.internet.task import react

from grenache_py.trading.tx import TwistedClient


async def main(reactor, market="BTC-USD", edge="0.001", size="0.05"):
    client = TwistedClient(account="maker", reactor=reactor)
    client.startService()
    await client.ready()
    async with client.dead_man(30):
        quoted = None
        async for book in client.book(market):
            if not book.current or book.mid is None:
                await client.cancel_all(market)
                quoted = None
                continue
            wanted = {
                side: client.markets[market].price(book.mid * (1 + Decimal(edge) * sign), side)
                for side, sign in (("buy", -1), ("sell", 1))
            }
            if wanted != quoted:
                await client.cancel_all(market)
                quoted = wanted
                for side, price in wanted.items():
                    order = await client.place(market, side, size, price, post_only=True)
                    print(side, order.quantity, "@", order.price, flush=True)


if __name__ == "__main__":
    react(main, sys.argv[1:])

"""A market maker for asyncio: one order on each side of the middle, none when the book is old."""

import asyncio
import sys
from contextlib import suppress
from decimal import Decimal

from grenache_py.trading import AsyncClient, NotConnected, OutcomeUnknown, Side

SIDES: tuple[tuple[Side, int], ...] = (("buy", -1), ("sell", 1))


async def main(market: str = "BTC-USD", edge: str = "0.001", size: str = "0.05") -> None:
    async with AsyncClient(account="maker") as client, client.dead_man(30):
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
                    orders = (
                        client.place(market, side, size, price, post_only=True)
                        for side, price in wanted.items()
                    )
                    for order in await asyncio.gather(*orders):
                        print(order.side, order.quantity, "@", order.price, flush=True)
                    quoted = wanted


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

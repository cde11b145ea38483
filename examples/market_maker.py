"""A market maker that waits: one order on each side of the middle, none when the book is old."""

import sys
from decimal import Decimal

from grenache_py.trading import Client, Side

SIDES: tuple[tuple[Side, int], ...] = (("buy", -1), ("sell", 1))


def main(market: str = "BTC-USD", edge: str = "0.001", size: str = "0.05") -> None:
    with Client(account="maker") as client, client.dead_man(30):
        quoted: dict[Side, Decimal] | None = None
        for book in client.book(market):
            if not book.current or book.mid is None:
                client.cancel_all(market)
                quoted = None
                continue
            wanted = {
                side: client.markets[market].price(book.mid * (1 + Decimal(edge) * sign), side)
                for side, sign in SIDES
            }
            if wanted != quoted:
                client.cancel_all(market)
                quoted = wanted
                for side, price in wanted.items():
                    order = client.place(market, side, size, price, post_only=True)
                    print(side, order.quantity, "@", order.price, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A user's program, for ``mypy --strict``: what is wrong must be an error, and says which one."""

from __future__ import annotations

from decimal import Decimal

from grenache_py.trading import AsyncClient, Client, Order, Stream
from grenache_py.trading.models import Fill


def trade(client: Client) -> Decimal:
    order = client.place("BTC-USD", "buy", "0.5", Decimal("98"), post_only=True, timeout_s=2)
    client.buy("BTC-USD", 1, type="market")
    stream: Stream[Fill] = client.fills(from_seq=3)
    return stream.get(1).price + order.quantity


async def also(client: AsyncClient) -> Order:
    async for book in client.book("BTC-USD"):
        if book.mid is not None and book.current:
            return await client.sell(
                "BTC-USD", "1", client.markets["BTC-USD"].price(book.mid, "sell")
            )
    raise AssertionError


def wrong(client: Client, order: Order) -> None:
    client.place("BTC-USD", "bye", 1, 1)  # type: ignore[arg-type]
    client.buy("BTC-USD", 0.1, 1)  # type: ignore[arg-type]
    client.buy("BTC-USD", 1, 1, post_onyl=True)  # type: ignore[call-arg]
    client.buy("BTC-USD", 1, 1, type="iceberg")  # type: ignore[arg-type]
    client.get_orders(status="old")  # type: ignore[arg-type]
    order.price = Decimal(1)  # type: ignore[misc]

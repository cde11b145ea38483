"""
Kill -9 the daemon under a blocking and an asyncio bot: every order is there once, and told once.

``python -m tests.trading.kill9`` does it three times.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
from pathlib import Path

from grenache_py.trading import AsyncClient, Client, Order
from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon

#: Orders of one bot between two kills.
ORDERS = 50


def _check(placed: list[Order], told: list[Order], there: list[Order]) -> int:
    """The number of orders; every one was placed once, is there, and was told once."""
    ids = [order.order_id for order in placed]
    assert len(set(ids)) == len(ids)
    assert {order.order_id for order in there} == set(ids)
    assert [order.order_id for order in told] == ids
    return len(ids)


def _waiting(path: str, count: int) -> int:
    """A bot with the client that waits."""
    with Client(path, account="waiting", timeout_s=DEADLINE_S) as client, client.orders() as orders:
        placed = [client.buy("BTC-USD", 1, 10 + number % 20) for number in range(count)]
        told = [orders.get(DEADLINE_S) for _ in placed]
        return _check(placed, told, list(client.get_orders()))


async def _asyncio(path: str, count: int) -> int:
    """A bot with the client for asyncio."""
    async with (
        AsyncClient(path, account="asyncio", timeout_s=DEADLINE_S) as client,
        client.orders() as orders,
    ):
        placed = [await client.buy("BTC-USD", 1, 10 + number % 20) for number in range(count)]
        told = [await orders.get(DEADLINE_S) for _ in placed]
        return _check(placed, told, [order async for order in client.get_orders()])


def _standing(client: Client) -> int:
    return sum(level.orders for level in client.get_book("BTC-USD").bids)


def run(folder: Path, kills: int) -> dict[str, int]:
    """How many orders each bot placed."""
    count = ORDERS // 2 + kills * ORDERS
    found: dict[str, int] = {}
    with Daemon(folder) as daemon:
        bots = [
            threading.Thread(
                target=lambda: found.update(waiting=_waiting(daemon.path, count)), daemon=True
            ),
            threading.Thread(
                target=lambda: found.update(asyncio=asyncio.run(_asyncio(daemon.path, count))),
                daemon=True,
            ),
        ]
        for bot in bots:
            bot.start()
        with Client(daemon.path, timeout_s=DEADLINE_S) as watcher:
            for number in range(1, kills + 1):
                while _standing(watcher) < number * ORDERS:
                    pass
                daemon.kill()
                daemon.start()
        for bot in bots:
            bot.join(DEADLINE_S)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for bot, orders in run(Path(folder), options.kills).items():
            print(f"{bot}: {orders} placed, {orders} there, {orders} updates, each once")


if __name__ == "__main__":
    main()

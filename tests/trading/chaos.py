"""
A proxy that cuts lines anywhere, both ways, and what a client of it has seen when all is over.

``python -m tests.trading.chaos --seeds 20`` runs many seeds against one daemon; the suite a few.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from grenache_py.trading import AsyncClient, AsyncStream, Book, Fill, Order, Trade, line
from tests.exchange.daemon.test_daemon import Daemon

ORDERS = 400
#: Bytes that a connection lives for, in each direction.
BYTES = (200, 40_000)
#: Only a bug waits so long.
DEADLINE_S = 60


class Proxy:
    """Cuts connections after a number of bytes, which may be in the middle of a line."""

    def __init__(self, target: str, rng: random.Random) -> None:
        self.cuts = 0
        self.cutting = True
        self._target = target
        self._rng = rng
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, path: str) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._accept, path)
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(asyncio.CancelledError):
            await self._between(reader, writer)
        self._tasks.discard(task)

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_daemon = await asyncio.open_unix_connection(self._target)
        ways = [
            asyncio.ensure_future(self._pass_on(reader, to_daemon)),
            asyncio.ensure_future(self._pass_on(there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, to_daemon):
                end.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self._rng.randint(*BYTES)
        with suppress(OSError):
            while data := await reader.read(4096):
                if self.cutting and len(data) >= left:
                    writer.write(data[:left])
                    await writer.drain()
                    self.cuts += 1
                    return
                left -= len(data)
                writer.write(data)
                await writer.drain()


async def collect(stream: AsyncStream[Order | Fill | Trade], into: list[object]) -> None:
    async for item in stream:
        into.append(item)


async def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait for what must come; fails with TimeoutError, and says what did not."""
    for _ in range(int(DEADLINE_S * 100)):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"it never came that {what}")


async def run(daemon: Daemon, seed: int) -> str:
    """One seed; what happened. Raises AssertionError when something is lost or told twice."""
    logging.getLogger("grenache_py.trading").setLevel(logging.ERROR)
    rng = random.Random(seed)
    account = f"chaos{seed}"
    proxy = Proxy(daemon.path, rng)
    path = f"{daemon.path}.{seed}"
    told: dict[str, list[object]] = {"orders": [], "fills": [], "trades": []}
    async with (
        proxy.listening(path),
        AsyncClient(daemon.path, account=account, timeout_s=DEADLINE_S) as sure,
    ):
        before = await sure.get_trades("BTC-USD", 1)
        async with AsyncClient(path, account=account, timeout_s=DEADLINE_S) as client:
            streams = {
                "orders": client.orders(),
                "fills": client.fills(),
                "trades": client.trades("BTC-USD"),
            }
            await client.ping()
            books = client.book("BTC-USD")
            tasks = [
                asyncio.ensure_future(collect(stream, told[name]))  # type: ignore[arg-type]
                for name, stream in streams.items()
            ]
            answered: list[Order] = []

            async def trader(number: int) -> None:
                for _ in range(ORDERS // 8):
                    side = "buy" if rng.random() < 0.5 else "sell"
                    kind = rng.random()
                    price = rng.randrange(95, 106)
                    if kind < 0.7:
                        order = await client.place(
                            "BTC-USD", side, "0.1", price, self_trade="oldest"
                        )
                    elif kind < 0.9:
                        order = await client.place(
                            "BTC-USD", side, "0.1", price, time_in_force="ioc", self_trade="oldest"
                        )
                    else:
                        order = await client.place(
                            "BTC-USD", side, "0.1", type="market", self_trade="oldest"
                        )
                    answered.append(order)

            # Orders of one account do not trade with each other: another one is the other side.
            async with AsyncClient(daemon.path, account=f"{account}b") as other:

                async def taker() -> None:
                    taken = 0
                    while taken < ORDERS:
                        if taken >= len(answered):
                            await asyncio.sleep(0.001)
                            continue
                        taken += 1
                        side = "buy" if rng.random() < 0.5 else "sell"
                        price = rng.randrange(95, 106)
                        await other.place("BTC-USD", side, "0.1", price, self_trade="oldest")

                await asyncio.gather(taker(), *(trader(number) for number in range(8)))
                await other.cancel_all()
            proxy.cutting = False
            everything = [fill async for fill in sure.get_fills(after=0)]
            mine = [order async for order in sure.get_orders(status="all")]
            await until("the last fill is told", lambda: len(told["fills"]) >= len(everything))
            final = await sure.get_book("BTC-USD")
            book: Book = await books.get(DEADLINE_S)
            while not book.current or book.seq < final.seq:
                book = await books.get(DEADLINE_S)
            last = await sure.get_trades("BTC-USD", 1)
            await until("the last trade is told", lambda: told["trades"][-1:] == last)
            for stream in streams.values():
                stream.close()
            await asyncio.gather(*tasks)
            ids = {order.order_id for order in answered}
            assert len(answered) == len(ids) == ORDERS
            assert {order.order_id for order in mine} == ids, "at the daemon"
            assert told["fills"] == everything, "each once, none missing"
            assert [fill.seq for fill in everything] == list(range(1, len(everything) + 1))
            states = {order.order_id: order.status for order in told["orders"]}  # type: ignore[attr-defined]
            assert states == {order.order_id: order.status for order in mine}
            trades = [trade.trade_id for trade in told["trades"]]  # type: ignore[attr-defined]
            assert len(set(trades)) == len(trades)
            kept = await all_trades(sure, before[-1].trade_id if before else None)
            assert trades == kept, "in order"
            assert (book.bids, book.asks) == (final.bids, final.asks)
            said = (
                f"seed {seed}: {proxy.cuts} cuts, {client.reconnects} reconnects,"
                f" {client.sent_again} calls sent again; {ORDERS} orders, {len(everything)} fills,"
                f" {len(kept)} trades, each once"
            )
        await sure.cancel_all()
    return said


async def all_trades(client: AsyncClient, after: str | None) -> list[str]:
    ids: list[str] = []
    while True:
        params = {"market": "BTC-USD", "limit": 500} | ({"after": after} if after else {})
        page = (await client.call("trades.list", params, changes=False))["trades"]
        ids += [trade["trade_id"] for trade in page]
        if not page or after is None:
            return ids
        after = page[-1]["trade_id"]


def main() -> None:
    line.PAUSE_S_MAX = 0.1
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder)) as daemon:
        for seed in range(options.first, options.first + options.seeds):
            print(asyncio.run(run(daemon, seed)), flush=True)


if __name__ == "__main__":
    main()

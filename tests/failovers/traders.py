"""Clients of the home that two daemons serve, who remember what they were told and when."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs

from grenache_py.trading import AsyncClient, Client
from grenache_py.trading.errors import ExchangeError
from tests.soak.daemons import MARKET
from tests.soak.traders import Promise

__all__ = ["Stock", "Told", "Trader"]

#: Longer than any takeover takes, on a machine that has much else to do.
DEADLINE_S = 240.0
#: How long a client waits for a daemon that does not answer, before it tries the other one.
PATIENCE_S = 1.0
#: Resting orders that are placed at once.
AT_ONCE = 250
#: Between an answer and the next order, on average.
PAUSE_S = 0.05


@attrs.frozen
class Told:
    """When an order was sent first, and when it was acknowledged, by the monotonic clock."""

    sent: float
    acknowledged: float


class Trader(threading.Thread):
    """
    Places orders one by one, each until it is acknowledged, at whichever daemon serves.

    Attributes:
        promises, ids, replaces: as the audit of the soak wants them.
        told: one for each acknowledged order, in order.
    """

    def __init__(self, name: str, addresses: Sequence[str]) -> None:
        super().__init__(name=name, daemon=True)
        self.promises: dict[str, Promise] = {}
        self.ids: dict[tuple[str, str], str] = {}
        self.replaces: Counter[str] = Counter()
        self.told: list[Told] = []
        self.ends = threading.Event()
        self.problems: list[str] = []
        self._addresses = list(addresses)
        self._rng = random.Random(name)
        self._client: Client | None = None

    def run(self) -> None:
        number = 0
        while not self.ends.is_set():
            number += 1
            self._place(f"{self.name}-{number}")
            time.sleep(self._rng.expovariate(1 / PAUSE_S))
        self._leave()

    def _place(self, id: str) -> None:
        side, price = self._rng.choice(("buy", "sell")), f"{100 + self._rng.randrange(-2, 3)}"
        order = {"market": MARKET, "side": side, "quantity": "0.01", "price": price}
        order |= {"client_order_id": id, "account": id}  # no two trade with themselves
        sent, last = time.monotonic(), ""
        while time.monotonic() < sent + DEADLINE_S:
            try:
                report = self._at_this_one().call("order.place", order, changes=False)
            except ExchangeError as error:
                # Not the one that serves, or nobody knows: ask again, with the same id.
                last = str(error)
                self._leave()
                self._addresses.append(self._addresses.pop(0))
                time.sleep(0.05)
                continue
            self.promises[report["order_id"]] = Promise.of(report)
            self.ids[id, id] = report["order_id"]
            self.told.append(Told(sent, time.monotonic()))
            return
        self.problems.append(f"{id} was not acknowledged within {DEADLINE_S:.0f} s: {last}")
        self.ends.set()

    def _at_this_one(self) -> Client:
        if self._client is None:
            client: Any = Client(self._addresses[0], timeout_s=PATIENCE_S, reconnect=False)
            self._client = client.__enter__()
        return self._client

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


class Stock:
    """
    Orders that rest, too far from the others to trade.

    Attributes:
        promises, ids, replaces: as the audit of the soak wants them.
    """

    def __init__(self, addresses: Sequence[str], count: int) -> None:
        """Place so many, at whichever daemon serves."""
        self.promises: dict[str, Promise] = {}
        self.ids: dict[tuple[str, str], str] = {}
        self.replaces: Counter[str] = Counter()
        asyncio.run(self._place(addresses, [f"stock-{n}" for n in range(count)]))

    async def _place(self, addresses: Sequence[str], names: list[str]) -> None:
        async with AsyncClient(addresses, timeout_s=DEADLINE_S) as client:
            for begin in range(0, len(names), AT_ONCE):
                await asyncio.gather(*(self._rest(client, n) for n in names[begin:][:AT_ONCE]))

    async def _rest(self, client: AsyncClient, name: str) -> None:
        number = int(name.rpartition("-")[2])
        side, price = ("buy", 50 + number % 40) if number % 2 else ("sell", 110 + number % 40)
        order = {"market": MARKET, "side": side, "quantity": "0.01", "price": f"{price}"}
        order |= {"client_order_id": name, "account": name}
        report = await client.call("order.place", order)
        self.promises[report["order_id"]] = Promise.of(report)
        self.ids[name, name] = report["order_id"]

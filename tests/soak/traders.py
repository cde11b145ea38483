"""Clients that never stop trading, and remember everything they were promised."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any, Protocol

import attrs

from grenache_py.trading import Refused
from tests.soak.daemons import MARKET, Daemon
from tests.support.wire_client import AWAY, WireClient

__all__ = ["Promise", "Promised", "Trader"]

#: Own orders a trader cancels or replaces from.
RECENT_MAX = 200


@attrs.define
class Promise:
    """
    What a daemon acknowledged about one order last.

    Attributes:
        body: (side, price, quantity); None while an unanswered replace may have changed it.
        filled: at least so much is.
        final: the order is closed with nothing in doubt, so that is how much it stays.
    """

    body: tuple[str, str, str] | None
    filled: str
    final: bool

    @classmethod
    def of(cls, report: dict[str, Any]) -> Promise:
        """What a report promises."""
        final = report["status"] in ("filled", "cancelled") and report["in_doubt"] == "0"
        body = (report["side"], report["price"], report["quantity"])
        return cls(body, report["filled"], final)


class Promised(Protocol):
    """Whoever was told something; see ``Trader``."""

    promises: dict[str, Promise]
    ids: dict[tuple[str, str], str]
    replaces: Counter[str]


class Trader(threading.Thread):
    """
    A client of one peer that never stops, whatever happens to its peer.

    An order whose answer does not come is sent again with the same ``client_order_id``: it must
    be there once.

    Args:
        rate: things done a second, when the peer answers at once.

    Attributes:
        promises: by order id.
        ids: order id acknowledged for each account and ``client_order_id``.
        replaces: how often each ``client_order_id`` may have passed to another order.
        counts: what it did and was told.
    """

    def __init__(self, daemon: Daemon, name: str, rate: float, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.target = daemon
        self.promises: dict[str, Promise] = {}
        self.ids: dict[tuple[str, str], str] = {}
        self.replaces: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._trader = name
        self._rate = rate
        self._rng = random.Random(name)
        self._halt = stop
        self._recent: list[str] = []
        self._unanswered: dict[str, Any] | None = None

    def run(self) -> None:
        while not self._halt.is_set():
            try:
                with self.target.client() as client:
                    while not self._halt.is_set():
                        self._act(client)
                        time.sleep(self._rng.expovariate(self._rate))
            except AWAY:
                self.counts["connection lost"] += 1
                time.sleep(0.2)

    def _act(self, client: WireClient) -> None:
        kind = self._rng.random()
        try:
            if self._unanswered is not None:
                self.counts["sent again"] += 1
                self._place(client)
            elif self._recent and kind < 0.25:
                order_id = self._recent.pop(self._rng.randrange(len(self._recent)))
                self._told(client.call("order.cancel", order_id=order_id))
                self.counts["cancelled"] += 1
            elif self._recent and kind < 0.3:
                self._replace(client, self._rng.choice(self._recent))
            else:
                self._unanswered = self._order()
                self._place(client)
        except Refused as refused:
            self._unanswered = None
            self.counts[f"refused {refused.code}"] += 1

    def _place(self, client: WireClient) -> None:
        body = self._unanswered
        assert body is not None
        report = client.call("order.place", **body)
        self._unanswered = None
        self.counts["placed"] += 1
        self.ids[body["account"], body["client_order_id"]] = report["order_id"]
        self._told(report)

    def _replace(self, client: WireClient, order_id: str) -> None:
        self.replaces[self._names[order_id]] += 1
        promise = self.promises[order_id]
        body, promise.body = promise.body, None
        try:
            report = client.call("order.replace", order_id=order_id, quantity=self._quantity())
        except Refused:
            promise.body = body
            raise
        self.counts["replaced"] += 1
        self._told(report)

    def _told(self, report: dict[str, Any]) -> None:
        order_id = report["order_id"]
        self.promises[order_id] = Promise.of(report)
        self._names[order_id] = report["client_order_id"]
        if report["status"] in ("new", "partially_filled") and order_id not in self._recent:
            self._recent.append(order_id)
            del self._recent[:-RECENT_MAX]

    def _quantity(self) -> str:
        return f"{self._rng.randrange(1, 40) / 1000:.3f}"

    def _order(self) -> dict[str, Any]:
        rng = self._rng
        return {
            "market": MARKET,
            "side": rng.choice(("buy", "sell")),
            "type": "limit",
            "price": f"{100 + rng.randrange(-6, 7) / 100:.2f}",
            "quantity": self._quantity(),
            "account": f"account{rng.randrange(3)}",
            "client_order_id": f"{self._trader}-{self.counts['placed']}-{rng.getrandbits(32):x}",
            "time_in_force": rng.choice(("gtc", "gtc", "gtc", "ioc", "fok")),
        }

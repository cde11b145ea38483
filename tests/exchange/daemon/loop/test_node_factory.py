"""What the daemon says in its log of the node that it makes."""

from __future__ import annotations

import random

from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from grenache_py.exchange.daemon.loop.node_factory import NodeFactory
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.replication.remote_orders import HiddenOrders
from grenache_py.exchange.settings.config import ExchangeConfig
from grenache_py.exchange.signed_log.keys import Identity


def test_orders_with_another_tick_are_told_of_once_a_market_however_often_they_come() -> None:
    lines: list[str] = []

    def seen(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    identity = Identity.from_seed(b"1" * 32)
    factory = NodeFactory(
        ExchangeConfig(), identity, random.Random(1), "0", lambda: None, lambda: None
    )
    globalLogPublisher.addObserver(seen)
    try:
        for _ in range(2):  # another node after a failure
            node = factory.make(Snapshot(), 1_790_000_000.0)
            for tick in ("0.05", "0.07"):
                hidden = HiddenOrders(1, "7" * 64, tick, "1")
                node.replica.records.on_hidden("BTC-USD", hidden)
    finally:
        globalLogPublisher.removeObserver(seen)
    assert lines == [
        "orders in BTC-USD of home 77777777 are not shown: its tick is 0.05 and its lot 1, other"
        " than here; `exchange status` counts such orders"
    ]

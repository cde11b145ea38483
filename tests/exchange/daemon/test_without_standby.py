"""Two daemons of a home whose database has lost its synchronous standby: they wait, and say so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from grenache_py.trading import Client
from grenache_py.trading.errors import ExchangeError
from tests.exchange.daemon.test_daemon import DEADLINE_S
from tests.exchange.daemon.test_on_postgresql import becomes, on, pair, spare
from tests.support.postgresql import MISSING, Server

__all__ = ["pair"]

pytestmark = [pytest.mark.network, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

STALLED = "commits wait for a synchronous standby that does not answer"


def test_while_there_is_no_standby_the_term_stays_where_it_is(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    url = one.url("home", two)
    with on(url, tmp_path / "here") as daemon, spare(daemon, url, tmp_path / "there") as other:
        becomes(other, "standby", 1)
        with Client([daemon.path, other.path], timeout_s=DEADLINE_S) as trader:
            kept = trader.buy("BTC-USD", 1, 90)
            two.stop()
            impatient = Client(daemon.path, timeout_s=12, reconnect=False)
            with impatient, pytest.raises(ExchangeError):  # it is given up after 10 s
                impatient.buy("BTC-USD", 1, 91)
            ends = time.monotonic() + DEADLINE_S
            while not all(STALLED in each.log.read_text() for each in (daemon, other)):
                assert time.monotonic() < ends
                time.sleep(0.05)
            time.sleep(3)  # in which each would have taken the term again
            logs = [each.log.read_text() for each in (daemon, other)]
            # The first to find out may still have tried; from then on they wait.
            assert sum(log.count("takes the term") for log in logs) <= 1, logs
            for log in logs:
                assert log.count(f"by: {STALLED}") + log.count(f"more: {STALLED}") == 1, log
            assert one.ask("SELECT number <= 2 FROM exchange.term", "home") == [(True,)]
            two.start()
            trader.buy("BTC-USD", 1, 92)
            orders = {order.order_id for order in trader.get_orders()}
            assert kept.order_id in orders

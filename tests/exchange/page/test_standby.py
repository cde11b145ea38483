"""The page at a daemon that stands by shows the market all the same, and says where orders go."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from grenache_py.trading import Client
from tests.exchange.page.conftest import DEADLINE_S, Peer, Screen, eventually
from tests.soak.daemons import MARKET
from tests.support.postgresql import MISSING, primary, standby

pytestmark = [pytest.mark.network, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


def test_the_page_reads_what_is_stored_until_its_peer_serves(
    peers: Callable[..., Peer], screen: Screen
) -> None:
    with primary() as one, standby(one) as two:
        one.ask("CREATE DATABASE home")
        options = ("--store", one.url("home", two), "--http-trading")
        first = peers(*options)
        first.wait()
        trader = Client(first.socket, timeout_s=DEADLINE_S)
        trader.buy(MARKET, "0.5", 99)
        second = Peer(first.directory.parent / "second", *options, "--standby")
        (second.directory / "data").mkdir(parents=True)
        shutil.copy(first.directory / "data" / "identity.key", second.directory / "data")
        second.start()
        try:
            second.wait()
            eventually(lambda: second.status()["store"], "standby")
            screen.open(second, "◐ Standby")
            holder = first.status()["database"]["holder"]
            screen.says("bar", f"Orders are taken by {holder}. You see what was stored ")
            assert not screen.find("order-form").is_displayed()
            assert not screen.find("login").is_displayed()
            eventually(lambda: [row[0] for row in screen.rows("bids")], ["99.00"])
            trader.sell(MARKET, "0.2", 99)
            trader.sell(MARKET, 1, 101)
            eventually(lambda: [row[0] for row in screen.rows("asks")], ["101.00"])
            eventually(lambda: [row[2] for row in screen.rows("bids")], ["0.3000"])
            eventually(lambda: [row[1] for row in screen.rows("trades-rows")], ["▼ 99.00"])
            first.kill()
            screen.shows("badge-word", "◐ Alone")
            screen.order("0.1", "98")
            screen.click("buy")
            eventually(lambda: [row[0] for row in screen.rows("bids")], ["99.00", "98.00"])
        finally:
            trader.close()
            second.kill()

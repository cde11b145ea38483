"""A home in a database, taken over by another daemon: what its neighbours and its clients see."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from grenache_py.trading import Client, Standby
from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon, place
from tests.exchange.daemon.test_on_postgresql import becomes, elsewhere, pair
from tests.support.postgresql import MISSING, Server

__all__ = ["pair"]

pytestmark = [pytest.mark.network, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


def test_neighbours_follow_a_takeover_and_do_not_take_it_for_a_copy(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    one, two = pair
    one.ask("CREATE DATABASE home")
    (tmp_path / "near").mkdir()
    with Daemon(tmp_path / "near") as neighbour, neighbour.client() as near:
        [port] = near.call("status")["listen"]["peer"]
        options = ("--store", one.url("home", two), "--connect", port)
        (tmp_path / "here").mkdir()
        with Daemon(tmp_path / "here", *options) as daemon:
            with daemon.client() as client:
                linked(near, *client.call("status")["listen"]["peer"])
                kept = place(client, "sell", "90")
            daemon.process.send_signal(signal.SIGSTOP)
            with Daemon(elsewhere(daemon, tmp_path / "there"), *options) as another:
                there = becomes(another, "serving", 2)["listen"]["peer"]
                linked(near, *there)
                daemon.process.send_signal(signal.SIGCONT)
                becomes(daemon, "standby", 2)
                linked(near, *there)
                assert near.call("status")["raised"] == []
                bought = place(near, "buy", "90")
                assert settled(near, bought["order_id"])["status"] == "filled"
                with another.client() as client:
                    assert settled(client, kept["order_id"])["status"] == "filled"
                # Clients that know both come to the one that serves.
                for first, second in ((daemon, another), (another, daemon)):
                    with Client([first.path, second.path], timeout_s=DEADLINE_S) as trader:
                        order = trader.buy("BTC-USD", 1, 50)
                    with another.client() as client:
                        assert client.call("order.get", order_id=order.order_id)
                with Client(daemon.path, reconnect=False) as trader, pytest.raises(Standby):
                    trader.buy("BTC-USD", 1, 50)


def linked(client: Any, *addresses: str) -> None:
    """Wait until the peers that listen there are linked, and no other."""
    ends = time.monotonic() + DEADLINE_S
    while True:
        ready = [peer["listen"] for peer in client.call("peers.list")["peers"] if peer["ready"]]
        if ready == list(addresses):
            return
        assert time.monotonic() < ends, ready
        time.sleep(0.05)


def settled(client: Any, order_id: str) -> dict[str, Any]:
    """Wait until an order is closed."""
    ends = time.monotonic() + DEADLINE_S
    while (found := client.call("order.get", order_id=order_id))["status"] == "new":
        assert time.monotonic() < ends, found
        time.sleep(0.05)
    return dict(found)

"""A home in a database, taken over by another daemon: what its neighbours and its clients see."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from grenache_py.trading import Client, Standby, Stream
from grenache_py.trading.errors import ExchangeError
from tests.exchange.daemon.test_daemon import DEADLINE_S, Daemon, place, placed, tool
from tests.exchange.daemon.test_on_postgresql import becomes, elsewhere, pair, spare, until
from tests.support.postgresql import MISSING, Server, primary, standby
from tests.support.roads import Roads

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
                kept = placed(client, "sell", "90")
            daemon.process.send_signal(signal.SIGSTOP)
            with Daemon(elsewhere(daemon, tmp_path / "there"), *options) as another:
                there = becomes(another, "serving", 2)["listen"]["peer"]
                linked(near, *there)
                daemon.process.send_signal(signal.SIGCONT)
                becomes(daemon, "standby", 2)
                linked(near, *there)
                assert near.call("status")["raised"] == []
                bought = placed(near, "buy", "90")
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


def test_subscribers_go_on_by_number_over_a_takeover(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    """Also with what the daemon before committed and they did not hear of."""
    one, two = pair
    one.ask("CREATE DATABASE home")
    url, market = one.url("home", two), "BTC-USD"
    (tmp_path / "here").mkdir()
    with (
        Daemon(tmp_path / "here", "--store", url) as daemon,
        closing(Roads()) as roads,
        spare(daemon, url, tmp_path / "there") as another,
    ):
        direct = [daemon.path, another.path]
        doors = [str(tmp_path / name) for name in ("door", "other door")]
        ways = [roads.lead(door, path) for door, path in zip(doors, direct, strict=True)]
        with (
            Client(direct, timeout_s=DEADLINE_S) as trader,
            Client(doors, timeout_s=DEADLINE_S) as follower,
        ):

            def trade(count: int) -> None:
                for n in range(count):
                    trader.sell(market, 1, 100 + n)
                    trader.buy(market, 1, 100 + n)

            follower.wait_until(lambda: False, 0)
            book, trades = follower.book(market), follower.trades(market)
            fills, orders = follower.fills(), follower.orders()
            assert not book.get(DEADLINE_S).bids
            trade(2)
            known = taken(fills, 4), taken(trades, 2), taken(orders, 6)
            ways[0].cut()
            trade(2)
            daemon.kill()
            trade(2)
            bid = trader.buy(market, 1, 50)
            becomes(another, "serving", 2)
            found = taken(fills, 8), taken(trades, 4), taken(orders, 13)
            told = [*known[0], *found[0]]
            assert [fill.seq for fill in told] == list(range(1, 13))
            assert told == list(trader.get_fills(after=0))
            assert [*known[1], *found[1]] == trader.get_trades(market)
            assert (trades.missed, fills.missed, orders.missed) == (0, 0, 0)
            assert found[2][-1] == bid and orders.seq == 19
            seen = taken(book, 1)
            while not (seen[-1].current and seen[-1].bids):
                seen += taken(book, 1)
            assert seen[-1].bids == trader.get_book(market).bids


@contextmanager
def commits_lost(folder: Path) -> Iterator[tuple[Daemon, Any, str, str]]:
    """
    A daemon whose database has just failed over to a server that had less, and that says so.

    With a client of its neighbour, an order that is stored still, and one that is lost.
    """
    for name in ("near", "here"):
        (folder / name).mkdir()
    with (
        primary() as one,
        standby(one) as two,
        Daemon(folder / "near") as neighbour,
        neighbour.client() as near,
    ):
        one.set(synchronous_standby_names="")
        one.ask("CREATE DATABASE home")
        [port] = near.call("status")["listen"]["peer"]
        options = ("--store", one.url("home", two), "--single-database", "--connect", port)
        with Daemon(folder / "here", *options) as daemon:
            with daemon.client() as client:
                linked(near, *client.call("status")["listen"]["peer"])
                kept = placed(client, "buy", "90")["order_id"]
                in_step(one, two)
                two.stop()
                lost = placed(client, "buy", "91")["order_id"]
            seen(near, "91")
            one.kill()
            two.start()
            two.promote()
            until(daemon, "it lost commits")  # it knows what it had there itself
            yield daemon, near, kept, lost


def test_what_an_asynchronous_failover_lost_is_noticed_by_the_neighbours(tmp_path: Path) -> None:
    with commits_lost(tmp_path) as (daemon, _, _, lost):
        daemon.kill()
        daemon.start()  # and now knows nothing
        ends = time.monotonic() + DEADLINE_S
        while True:
            found = until(daemon)
            if [alarm["id"] for alarm in found["raised"]] == ["own-log"]:
                break
            assert time.monotonic() < ends, found
            time.sleep(0.05)
        with daemon.client() as client:
            with pytest.raises(ExchangeError):
                place(client, "buy", "92")
            with pytest.raises(ExchangeError):
                client.call("order.get", order_id=lost)


def test_a_new_epoch_closes_what_is_left_and_the_neighbours_follow(tmp_path: Path) -> None:
    with commits_lost(tmp_path) as (daemon, near, kept, lost):
        said = tool(daemon, "promote", "--new-epoch", "--yes")
        term = int(said.removeprefix("serves, in term "))
        assert term > 2**24, "above every term that may have been lost"
        with daemon.client() as client:
            assert client.call("order.get", order_id=kept)["status"] == "cancelled"
            with pytest.raises(ExchangeError):
                client.call("order.get", order_id=lost)
            assert client.call("book.get", market="BTC-USD")["bids"] == []
            sold = placed(client, "sell", "95")
            ends = time.monotonic() + DEADLINE_S
            while True:  # what the neighbour held of the lost log is gone there too
                book = near.call("book.get", market="BTC-USD")
                if (book["bids"], [ask[0] for ask in book["asks"]]) == ([], ["95"]):
                    break
                assert time.monotonic() < ends, book
                time.sleep(0.05)
            bought = placed(near, "buy", "95")
            assert settled(near, bought["order_id"])["status"] == "filled"
            assert settled(client, sold["order_id"])["status"] == "filled"
            alarms = [each.call("status")["raised"] for each in (client, near)]
        assert alarms == [[], []]
        daemon.kill()
        daemon.start()  # the epoch goes on
        with daemon.client() as client:
            assert until(daemon)["database"]["term"] == term + 1
            assert client.call("order.get", order_id=sold["order_id"])["status"] == "filled"


def in_step(one: Server, two: Server) -> None:
    """Wait until a standby has all that its primary has."""
    [(written,)] = one.ask("SELECT pg_current_wal_lsn()")
    ends = time.monotonic() + DEADLINE_S
    while two.ask(f"SELECT pg_last_wal_replay_lsn() >= '{written}'") != [(True,)]:
        assert time.monotonic() < ends
        time.sleep(0.05)


def seen(client: Any, price: str) -> None:
    """Wait until a book has a bid at that price."""
    ends = time.monotonic() + DEADLINE_S
    while price not in [bid[0] for bid in client.call("book.get", market="BTC-USD")["bids"]]:
        assert time.monotonic() < ends
        time.sleep(0.05)


def taken(stream: Stream[Any], count: int) -> list[Any]:
    """The next items of a stream."""
    return [stream.get(DEADLINE_S) for _ in range(count)]


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

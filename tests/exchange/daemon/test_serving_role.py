"""Daemons that play their roles, on one clock and a database in memory."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from threading import Event
from types import SimpleNamespace
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from grenache_py.errors import ConfigError
from grenache_py.exchange.daemon.role.serving_role import ServingRole
from grenache_py.exchange.effects.rows import LogRow, Row, Snapshot
from grenache_py.exchange.errors import (
    BUSY,
    INVALID_REQUEST,
    STANDBY,
    OrderError,
    StoreError,
    StoreFault,
)
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers.peering import PeeringConfig
from grenache_py.exchange.standby.term import Sight, Term
from grenache_py.exchange.storage import snapshot
from tests.support.memory_database import MemoryDatabase
from tests.support.peer import START, Connection, MemoryStore, Peer

STEP_S = 0.05

T = TypeVar("T")


class Home:
    """What daemons share: a database that one of them may write to, and the time."""

    def __init__(self) -> None:
        self.now = START
        self.term = Term()
        self.spoke_s = 0.0
        self.wanted = self.unsafe = ""
        self.reached = True
        self.rows: list[list[Row]] = []
        self.daemons: list[Daemon] = []

    def sight(self) -> Sight:
        head = (0, 0)
        for row in (row for rows in self.rows for row in rows if type(row) is LogRow):
            head = max(head, (row.epoch, row.seq))
        silent_s = self.now - self.spoke_s
        return Sight(self.term, self.now, silent_s, "s1", head, self.wanted, self.unsafe)

    def run(self, seconds: float) -> None:
        """Let time go on, for every daemon that is not frozen."""
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            for daemon in self.daemons:
                if not daemon.frozen:
                    daemon.clock.advance(self.now - daemon.clock.seconds())
                    daemon.turn()


class TermStore(MemoryStore):
    """One daemon's side of the database, and of the term."""

    def __init__(self, home: Home, boot: str) -> None:
        super().__init__()
        self.home = home
        self.number = self.book_reads = 0
        self.unread: StoreError | None = None
        self.head = (0, 0)
        self.follows = False
        self.facts = {"database": {"place": "the database", "standbys": []}}
        claimant = SimpleNamespace(boot=boot)
        self.database = SimpleNamespace(claimant=claimant, place="the database", accept_copy=False)
        self.watcher = self
        self.boot = boot

    def look(self, alive: int = 0) -> Deferred[Sight]:
        home = self.home
        if not home.reached:
            return fail(StoreError("io", "no answer"))
        if alive and (home.term.number, home.term.boot) == (alive, self.boot):
            home.spoke_s = home.now
        return succeed(home.sight())

    def ask(self) -> Deferred[None]:
        self.home.wanted = self.boot
        return succeed(None)

    def stay_alive(self, term: int) -> Event:
        return Event()

    def end_sessions(self, silent_s: float) -> Deferred[None]:
        return succeed(None) if self._gone(silent_s) else self._fault("fenced")

    def raise_term(
        self, expected: int, number: int, holder: str, silent_s: float
    ) -> Deferred[None]:
        home = self.home
        if home.term.number != expected or not self._gone(silent_s):
            return self._fault("fenced")
        home.term = Term(number, holder, self.boot, int(home.now * 1000))
        home.spoke_s, home.wanted, self.number = home.now, "", number
        return succeed(None)

    def _gone(self, silent_s: float) -> bool:
        home = self.home
        return not silent_s or not home.term.holder or home.now - home.spoke_s >= silent_s

    def _fault(self, fault: StoreFault) -> Deferred[Any]:
        return fail(StoreError(fault, "not any more"))

    def load(self) -> Deferred[Snapshot]:
        self._catch_up()
        return succeed(self._database.load())

    def _catch_up(self) -> None:
        self._database = MemoryDatabase()
        for rows in self.home.rows:
            self._database.commit(rows)

    def commit(self, rows: list[Row]) -> Deferred[None]:
        if self.home.term.number != self.number:
            return self._fault("fenced")
        self.home.rows.append(rows)
        return super().commit(rows).addCallback(self._written)

    def _written(self, _: None) -> None:
        self.head = self.home.sight().head

    def give_up(self) -> Deferred[None]:
        if self.home.term.number != self.number:
            return self._fault("fenced")
        self.home.term = attrs.evolve(self.home.term, holder="")
        return succeed(None)

    def drop(self) -> None:
        self.number = 0
        held, self.held = self.held, None
        self.broken = StoreError("io", "cut")
        for happen in held or ():
            happen()
        self.broken = None

    def meta(self) -> Deferred[dict[str, int]]:
        self._catch_up()
        return succeed(dict(self._c.execute("SELECT name, value FROM meta")))

    def books(self, make: Callable[[Snapshot], T]) -> Deferred[T]:
        self.book_reads += 1
        if self.unread:
            return fail(self.unread)
        self._catch_up()
        return succeed(make(snapshot.books(self._c)))

    def close(self) -> Deferred[None]:
        return succeed(None)

    def __getattr__(self, name: str) -> Any:
        if self.follows:
            self._catch_up()
        return super().__getattr__(name)


class Daemon(Peer):
    """
    One daemon; its clients reach it at its name.

    Attributes:
        begun: None until it has; then "", or why it has not.
    """

    def __init__(self, home: Home, name: str, **settings: Any) -> None:
        self.name, self.settings = name, {"stands_by": True, "new_epoch": False, **settings}
        self.frozen, self.begun = False, None
        self.stopped: list[Failure] = []
        self.unfit = False
        self.calls: list[str] = []
        super().__init__(store=TermStore(home, name * 32))
        home.daemons.append(self)

    def begin(self) -> None:
        self.clock.advance(self.store.home.now - self.clock.seconds())
        self.role = ServingRole(
            self.store,
            self.commit_loop,
            self.gateway,
            self.clock,
            lambda: self.store.home.now,
            cannot=self.stopped.append,
            **self.settings,
        )
        self.role.on_serving = lambda: self.calls.append("serving")
        self.role.on_standby = lambda: self.calls.append("standby")

        def ended(how: Any) -> None:
            self.begun = how.getErrorMessage() if isinstance(how, Failure) else ""

        Deferred.fromCoroutine(self.role.begin(f"{self.name}:7070")).addBoth(ended)

    def _make_node(self, snapshot: Snapshot, now: float) -> ExchangeNode:
        if self.unfit:
            raise ConfigError("the markets do not fit")
        load = self.role.load
        assert load is not None
        peering = PeeringConfig("main", strict=True, term=load.term)
        config = NodeConfig(peering, self.markets, new_epoch=load.new_epoch, followed=True)
        return ExchangeNode(config, self.identity, snapshot, random.Random(1), now)

    def end(self) -> None:
        """As with kill -9."""
        self.frozen = True

    @property
    def shown(self) -> str:
        return str(self.role.facts()["role"])


def send_order(client: Connection, id: int) -> None:
    """Place an order, and do not wait for the answer."""
    order = {"market": "BTC-USD", "side": "buy", "quantity": "1", "price": "100"}
    request = {"jsonrpc": "2.0", "id": id, "method": "order.place", "params": order}
    client.send(json.dumps(request).encode() + b"\n")


def pair() -> tuple[Home, Daemon, Daemon]:
    """One that serves, and one that stands by."""
    home = Home()
    daemons = Daemon(home, "a"), Daemon(home, "b")
    home.run(0.5)
    assert [daemon.shown for daemon in daemons] == ["serving", "standby"]
    assert [daemon.begun for daemon in daemons] == ["", ""]
    return home, *daemons


def test_who_stands_by_tells_what_is_stored_and_names_the_one_that_serves() -> None:
    _, first, second = pair()
    order = first.connect().place("buy", "1", "100")
    client = second.connect()
    hello = client.call("hello")
    assert (hello["role"], hello["serving"]) == ("standby", "a:7070")
    assert client.call("order.get", order_id=order["order_id"]) == order
    assert client.call("order.list")["orders"] == [order]
    for method, params in (
        ("book.subscribe", {"market": "BTC-USD"}),
        ("trades.subscribe", {"market": "BTC-USD"}),
        ("orders.subscribe", {}),
        ("executions.subscribe", {}),
        ("order.cancel", {"order_id": order["order_id"]}),
    ):
        refused = client.call(method, **params)
        assert (refused["code"], refused["data"]) == (STANDBY, {"serving": "a:7070"})
        assert "at a:7070" in refused["message"]
    facts = second.role.facts()
    assert (facts["store"], facts["database"]["holder"]) == ("standby", "a:7070")
    assert facts["database"]["age_s"] <= 0.5
    assert (first.calls, second.calls) == (["serving"], [])


def test_who_stands_by_reads_the_books_when_it_is_asked_and_tells_their_age() -> None:
    home, first, second = pair()
    trader, client = first.connect(), second.connect()
    trader.place("buy", "1", "100")
    trader.place("buy", "1", "99", type="stop_limit", stop_price="200")  # which waits
    trader.place("sell", "2", "100")
    home.run(0.3)

    def told() -> list[dict[str, Any]]:
        shown = [client.call(each, market="BTC-USD") for each in ("book.get", "ticker.get")]
        assert all(0 <= found.pop("age_s") <= 0.6 for found in shown)
        return shown

    def true() -> list[dict[str, Any]]:
        return [trader.call(each, market="BTC-USD") for each in ("book.get", "ticker.get")]

    for _ in range(2):
        book, ticker = true()
        assert told() == [{**book, "seq": 0}, ticker]
        assert book["asks"] and ticker["last"] == "100"
        trader.place("sell", "1", "103")
        home.run(0.3)
    told()
    reads = second.store.book_reads
    for _ in range(9):
        told()
    assert second.store.book_reads == reads  # they are kept for a moment
    second.store.unread = StoreError("io", "the server is gone")
    home.run(0.3)
    assert client.call("book.get", market="BTC-USD")["code"] == BUSY
    second.store.unread = None
    assert told()[0]["asks"]


def test_a_frozen_daemon_is_replaced_and_tells_nothing_old_when_it_wakes() -> None:
    home, first, second = pair()
    client = first.connect()
    order = client.place("buy", "1", "100")
    first.frozen = True
    home.run(1.0)
    assert second.shown == "standby"
    home.run(1.0)
    assert (second.shown, home.term.number) == ("serving", 2)
    assert first.shown == "standby"  # it would say so if it could
    second.connect().call("order.cancel", order_id=order["order_id"])
    # It wakes to a request, before it has looked.
    for asked in ("order.get", "order.cancel"):
        refused = client.call(asked, order_id=order["order_id"])
        assert (refused["code"], refused["data"]["outcome"]) == (BUSY, "none")
    first.frozen = False
    home.run(0.5)
    assert first.calls == ["serving", "standby"]
    assert client.call("order.get", order_id=order["order_id"])["status"] == "cancelled"
    assert client.place("buy", "1", "100")["data"]["serving"] == "b:7070"
    second.end()
    home.run(2.0)
    assert (first.shown, home.term.number) == ("serving", 3)
    assert client.place("buy", "1", "100")["status"] == "new"


def test_a_daemon_that_may_not_stand_by_ends_beside_one_that_speaks() -> None:
    home, first, second = pair()
    second.end()
    third = Daemon(home, "c", stands_by=False)
    home.run(0.5)
    assert "in use by another exchange (a:7070, term 1)" in str(third.begun)
    assert first.shown == "serving" and third.clock.getDelayedCalls() == []
    first.end()
    fourth = Daemon(home, "d", stands_by=False)
    home.run(2.0)
    assert (fourth.begun, fourth.shown) == ("", "serving")


def test_what_was_taken_is_finished_before_the_term_is_given_up() -> None:
    home, first, second = pair()
    client = first.connect()
    first.store.held = []
    send_order(client, 1)
    second.role.promote(False)
    home.run(0.5)
    assert (first.role.facts()["database"]["state"], home.term.number) == ("demoting", 1)
    send_order(client, 2)
    held, first.store.held = first.store.held, None
    for happen in held:
        happen()
    home.run(0.5)
    taken, refused = client.received()
    assert taken["result"]["status"] == "new"
    assert (refused["error"]["code"], refused["error"]["data"]["outcome"]) == (BUSY, "none")
    assert (first.shown, second.shown, home.term.number) == ("standby", "serving", 2)
    orders = second.connect().call("order.list")["orders"]
    assert [order["quantity"] for order in orders] == ["1"]


def test_a_failed_commit_has_an_unknown_outcome_and_the_next_term_goes_on() -> None:
    home, first, second = pair()
    client = first.connect()
    first.store.broken = StoreError("io", "the wait was cancelled")
    refused = client.place("buy", "1", "100")
    assert (refused["code"], refused["data"]["outcome"]) == (BUSY, "unknown")
    assert first.shown == "standby"
    first.store.broken = None
    home.run(0.5)
    assert (first.shown, home.term.number, second.shown) == ("serving", 2, "standby")
    assert len(client.call("order.list")["orders"]) == 1  # it had happened


def test_a_commit_under_way_when_the_term_is_lost_is_unknown_and_later_requests_are_not() -> None:
    home, first, _ = pair()
    client = first.connect()
    first.store.held = []
    send_order(client, 1)
    home.term = Term(2, "b:7070", "b" * 32)  # as if it had been cut off
    home.run(0.3)
    [taken] = client.received()
    assert taken["error"]["data"]["outcome"] == "unknown"
    assert client.place("buy", "1", "100")["data"]["serving"] == "b:7070"


def test_a_daemon_that_stops_leaves_its_term_to_the_next_at_once() -> None:
    home, first, second = pair()
    Deferred.fromCoroutine(first.commit_loop.stop())
    first.turn()
    Deferred.fromCoroutine(first.role.stop())
    home.run(0.3)
    assert (second.shown, home.term.number) == ("serving", 2)


def test_while_the_database_is_silent_nothing_old_is_told() -> None:
    home, first, second = pair()
    home.reached = False
    home.run(1.0)
    client = first.connect()
    assert "levels" not in client.call("ping")
    home.run(1.0)
    assert client.call("book.get", market="BTC-USD")["code"] == BUSY
    assert second.role.facts()["store"] == "no answer"
    home.reached = True
    home.run(0.5)
    assert (first.shown, second.shown) == ("serving", "standby")
    assert "bids" in client.call("book.get", market="BTC-USD")


def test_a_database_that_may_lose_commits_is_left() -> None:
    home, first, second = pair()
    home.unsafe = "the database names no synchronous standby"
    home.run(0.5)
    for daemon in (first, second):
        assert daemon.shown == "standby"
        assert daemon.role.facts()["store"] == "the database names no synchronous standby"
    home.unsafe = ""
    home.run(1.5)
    assert sorted((first.shown, second.shown)) == ["serving", "standby"]


def test_a_new_epoch_is_for_a_home_that_nobody_serves() -> None:
    home, first, second = pair()
    for daemon in (first, second):
        try:
            daemon.role.promote(True)
        except OrderError as error:
            assert error.code == INVALID_REQUEST
        else:
            raise AssertionError("open orders would have been closed for nothing")
    second.end()
    client = first.connect()
    for _ in range(2):
        client.place("buy", "1", "100")
    del home.rows[-1]  # an asynchronous failover
    home.run(2.0)
    assert first.shown == "standby"
    assert "is older than what this daemon has seen" in first.role.facts()["store"]
    first.role.promote(True)
    home.run(2.0)
    assert first.shown == "serving"
    assert first.role.load is not None and first.role.load.new_epoch
    assert {order["status"] for order in client.call("order.list", status="all")["orders"]} == {
        "cancelled"
    }
    first.role.promote(False)  # which it does already
    assert first.shown == "serving"


def test_a_standby_whose_markets_do_not_fit_stops_when_it_should_serve() -> None:
    home, first, second = pair()
    second.unfit = True
    first.end()
    home.run(2.0)
    assert [failure.getErrorMessage() for failure in second.stopped][:1] == [
        "the markets do not fit"
    ]

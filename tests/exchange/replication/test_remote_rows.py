"""Orders of other homes as rows: the book that it was when each of them was an object."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grenache_py.exchange.market.book import Book
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.matching import rests
from grenache_py.exchange.market.order import LiveOrder
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.remote_orders import EXPIRY_MARGIN_MS, RemoteOrders
from grenache_py.exchange.replication.remote_rows import RemoteRows
from grenache_py.exchange.signed_log.entries import (
    GENESIS,
    Entry,
    OrderBody,
    StateBody,
    order_from_body,
)
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, element
from grenache_py.exchange.signed_log.merkle import Signed
from tests.support.market_orders import live_order

MARKET = Market.parse("BTC-USD:tick=0.01,lot=1")
HOMES = ["a" * 64, "b" * 64]
SIGNED = Signed("{}", b"", 0, 1, b"")


class Both:
    """
    The same of each: orders as rows, and as objects that a book and a dict hold.

    Attributes:
        live: the objects, by id.
        gone: the set of elements that peers reconcile, as it should be.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = HybridClock()
        self.now = 1_790_000_000.0
        rows = RemoteRows({"BTC-USD": MARKET})
        self.book, self.naive = Book(MARKET, rows), Book(MARKET)
        self.elements: set[int] = set()
        self.remote = RemoteOrders(
            {"BTC-USD": MARKET}, {"BTC-USD": self.book}, rows, self.clock,
            lambda order_id, market: None, self._set_changed,
        )  # fmt: skip
        self.origins = [Origin(home) for home in HOMES]
        self.live: dict[str, LiveOrder] = {}
        self.ids = 0

    def _set_changed(self, order_id: str, time_ms: int, gone: int | None, come: int | None) -> None:
        assert time_ms == self.live[order_id].key[0]
        if gone is not None:
            self.elements.remove(gone)
        if come is not None:
            self.elements.add(come)

    def _shows(self, live: LiveOrder) -> bool:
        origin = self.origins[HOMES.index(live.home)]
        expires = live.order.expires_ms
        near = expires is not None and self.clock.ms > expires - EXPIRY_MARGIN_MS
        return origin.visible and rests(live) and not near

    def _settle(self, live: LiveOrder) -> None:
        if self._shows(live):
            self.naive.touched(live)
        else:
            self.naive.remove(live)

    def publish(self) -> None:
        rng = self.rng
        self.ids += 1
        stamp = int(self.now * 1000) - rng.choice([0, 0, 0, 700]), self.ids
        time_in_force = rng.choice(["gtc", "gtc", "gtd", "ioc"])
        body = OrderBody(
            f"{rng.getrandbits(128):032x}", "BTC-USD", rng.choice(["buy", "sell"]), "limit",  # type: ignore[arg-type]
            str(rng.randint(3, 9)), stamp, price=str(rng.randint(1, 4)),
            time_in_force=time_in_force,  # type: ignore[arg-type]
            post_only=rng.random() < 0.2,
            expires=stamp[0] + rng.randrange(20_000) if time_in_force == "gtd" else None,
        )  # fmt: skip
        home = rng.randrange(2)
        entry = Entry(HOMES[home], 1, self.ids, GENESIS, stamp, body)
        live = LiveOrder.of(order_from_body(body, HOMES[home], MARKET))
        live.version, self.live[live.order_id] = 1, live
        state = StateBody(live.order_id, 1, body.quantity, "0", "0", "")
        self.remote.insert(self.origins[home], SIGNED, entry, SIGNED, state, self.ids)
        self._settle(live)

    def change(self) -> None:
        live = self.rng.choice(list(self.live.values()))
        live.filled = self.rng.randint(live.filled, live.quantity)
        live.reserved = self.rng.randint(0, live.quantity - live.filled)
        live.open = self.rng.randint(0, live.quantity - live.filled - live.reserved)
        live.version += 1
        self.ids += 1
        lots = (str(each) for each in (live.open, live.reserved, live.filled))
        state = StateBody(live.order_id, live.version, *lots, "")
        origin = self.origins[HOMES.index(live.home)]
        record = origin.records[live.order_id]
        self.remote.advance(origin, record, SIGNED, state, self.ids)
        self._settle(live)

    def drop(self) -> None:
        live = self.rng.choice(list(self.live.values()))
        origin = self.origins[HOMES.index(live.home)]
        self.remote.drop(origin, origin.records[live.order_id])
        self.naive.remove(self.live.pop(live.order_id))

    def own(self) -> None:
        self.ids += 1
        key = {"time_ms": int(self.now * 1000) - self.rng.randrange(900)}
        side, price = self.rng.choice(["buy", "sell"]), self.rng.randint(100, 400)
        for book in (self.book, self.naive):
            book.add(live_order(self.ids, side, 7, price, home="own", **key))  # type: ignore[arg-type]

    def lease(self) -> None:
        origin = self.rng.choice(self.origins)
        if origin.visible:
            self.remote.hide(origin)
        else:
            origin.time, origin.lease_ms = (self.clock.ms, 0), 10**9
            self.remote.show_or_hide(origin, self.clock.ms)
        self._settle_all()

    def _settle_all(self) -> None:
        for live in self.live.values():
            self._settle(live)

    def wait(self) -> None:
        self.now += self.rng.random() * 5
        self.clock.read_ms(self.now)
        self.remote.expire(0)
        self._settle_all()

    def check(self) -> None:
        assert self.book.state_hash() == self.naive.state_hash()
        for side in ("buy", "sell"):
            assert self.book.levels(side) == self.naive.levels(side)  # type: ignore[arg-type]
            for limit in (None, 250):
                found, wanted = (
                    [(live.order_id, live.key, live.price_ticks, live.open, live.home)
                     for live in book.crossing(side, limit)]  # type: ignore[arg-type]
                    for book in (self.book, self.naive)
                )  # fmt: skip
                assert found == wanted
        assert self.book.checksum() == self.naive.checksum()
        changes, wanted_changes = (
            sorted({change[:2]: change for change in book.drain_changes()}.values())
            for book in (self.book, self.naive)
        )
        assert changes == wanted_changes
        for origin in self.origins:
            held = [live for live in self.live.values() if live.home == origin.home]
            assert sorted(origin.records) == sorted(live.order_id for live in held)
            total = sum(element(live.order_id, live.version) for live in held)
            assert origin.fingerprint == total % FINGERPRINT_MODULUS
            assert origin.record_bytes == sum(each.bytes for each in origin.records.values())
            for live in held:
                kept = origin.records[live.order_id].live
                assert kept is not None
                for name in ("key", "side", "quantity", "open", "reserved", "filled", "version"):
                    assert getattr(kept, name) == getattr(live, name), name
                for name in ("market", "type", "time_in_force", "post_only", "expires_ms"):
                    assert getattr(kept.order, name) == getattr(live.order, name), name
        assert self.elements == {
            element(live.order_id, live.version) for live in self.live.values()
        }


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_rows_stand_in_the_book_as_objects_did(seed: int) -> None:
    both = Both(seed)
    both.wait()
    steps = [both.publish] * 6 + [both.change] * 4 + [both.drop] * 2
    steps += [both.own, both.lease, both.lease, both.wait]
    for _ in range(60):
        step = both.rng.choice(steps)
        if both.live or step not in (both.change, both.drop):
            step()
            both.check()
    for order_id in list(both.live):
        origin = both.origins[HOMES.index(both.live[order_id].home)]
        assert origin.records.get("0" * 32) is None
        both.remote.drop(origin, origin.records[order_id])
        both.naive.remove(both.live.pop(order_id))
        both.check()
    assert both.remote.bytes == 0 and not both.remote.table.origins


def test_an_order_is_not_found_among_those_of_another_home() -> None:
    both = Both(1)
    both.publish()
    (live,) = both.live.values()
    other = both.origins[1 - HOMES.index(live.home)]
    assert live.order_id not in other.records
    with pytest.raises(KeyError, match=live.order_id):
        other.records[live.order_id]
    both.publish()
    both.publish()
    both.publish()
    assert live.order_id not in other.records


def test_an_order_that_changed_counts_once_with_its_newest_state() -> None:
    both = Both(1)
    both.publish()
    both.change()
    both.check()
    (live,) = both.live.values()
    origin = both.origins[HOMES.index(live.home)]
    record = origin.records[live.order_id]
    assert both.remote.bytes == origin.record_bytes == record.bytes == 2 * len(SIGNED.payload)
    both.change()
    both.check()
    assert both.remote.bytes == 2 * len(SIGNED.payload)

"""This home's live set is counted when somebody asks, and is then what it would have been."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grenache_py.exchange.home.own_live_set import OwnLiveSet
from grenache_py.exchange.home.transition import OwnOrder
from grenache_py.exchange.signed_log.live_set import FINGERPRINT_MODULUS, element
from tests.support.market_orders import live_order
from tests.support.peers import Network


class Noted:
    """A live set, and what it told of."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None, int | None]] = []
        self.set = OwnLiveSet(lambda id, time_ms, gone, come: self.told.append((id, gone, come)))
        self.orders: dict[int, OwnOrder] = {}

    def note(self, number: int, version: int, ended: bool = False) -> str:
        own = self.orders.setdefault(number, OwnOrder(live_order(number)))
        self.set.note(own, version, ended)
        return own.live.order_id


def test_an_order_that_is_gone_before_anybody_asks_is_never_counted() -> None:
    noted = Noted()
    noted.note(1, 1)
    noted.note(1, 2, ended=True)
    assert (noted.set.count, noted.set.fingerprint, noted.told) == (0, 0, [])


def test_an_order_that_changed_often_is_counted_once() -> None:
    noted = Noted()
    for version in range(1, 10):
        order_id = noted.note(1, version)
    assert noted.set.fingerprint == element(order_id, 9)
    assert noted.told == [(order_id, None, element(order_id, 9))]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=40))
def test_whenever_somebody_asks_it_is_what_the_log_says(
    steps: list[tuple[int, bool, bool]],
) -> None:
    noted = Noted()
    versions: dict[int, int] = {}
    live: dict[str, int] = {}
    heard: dict[str, int] = {}
    for number, ends, asks in steps:
        version = versions[number] = versions.get(number, 0) + 1
        order_id = noted.note(number, version, ends)
        live.pop(order_id, None)
        if not ends:
            live[order_id] = element(order_id, version)
        if asks:
            assert noted.set.count == len(live)
            assert noted.set.fingerprint == sum(live.values()) % FINGERPRINT_MODULUS
            for told, gone, come in noted.told:
                assert heard.pop(told, None) == gone
                if come is not None:
                    heard[told] = come
            noted.told.clear()
            assert heard == live, "who follows it has the same set"


def test_who_reads_the_set_that_peers_reconcile_finds_every_own_order() -> None:
    net = Network(1)
    live = net.place_only(0, "sell", 10, 100)
    found = net[0].live
    assert len(found.set) == 1
    net[0].cancel(live.order_id, net.now)
    net[0].take_batch(net.now)
    assert len(found.set) == 0

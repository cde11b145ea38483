"""Orders tied to connections, by number alone."""

from __future__ import annotations

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import MetaGone, MetaRow
from grenache_py.exchange.home.tied_orders import TiedOrders
from tests.support.peers import Network


def test_a_new_connection_with_the_number_of_a_lost_one_has_nothing_to_do_with_its_orders() -> None:
    tied = TiedOrders(Outbox())
    tied.restore({"tied:a": 1, "tied:b": 1, "clock_floor_ms": 7})
    tied.lost_but(())
    tied.untie(1)
    assert tied.cut.keys() == {"a", "b"}
    tied.tie("a", 1)
    assert list(tied.cut) == ["b"], "sent again, it lives on with the new one"
    tied.closed("b")
    assert not tied.cut
    assert tied.outbox.rows == [MetaRow("tied:a", 1), MetaGone("tied:b")]
    tied.lost_but({1})
    assert not tied.cut
    tied.lost(1)
    assert list(tied.cut) == ["a"]


def test_orders_are_tied_to_the_same_connections_after_a_restart() -> None:
    """As with a daemon that takes over connections: only some of them are lost."""
    tied = TiedOrders(Outbox())
    tied.restore({"tied:a": 1, "tied:b": 2})
    tied.lost_but({1})
    assert list(tied.cut) == ["b"]
    tied.untie(1)
    tied.lost(1)
    assert list(tied.cut) == ["b"]


def test_orders_of_a_lost_connection_end_at_the_next_tick_and_neighbours_see_it() -> None:
    net = Network(2)
    net.link(0, 1)
    tied, free = net.place(0, "buy", 5, 100), net.place(0, "buy", 5, 90)
    net[0].ledger.tied.tie(tied.order_id, 7)
    net.run(1)
    assert net.book(1) == ([(100, 5), (90, 5)], [])
    net[0].ledger.tied.lost(7)
    net.run(1)
    assert (tied.status, free.status) == ("cancelled", "new")
    assert net.book(1) == ([(90, 5)], [])


def test_the_orders_of_an_account_that_falls_silent_end() -> None:
    net = Network(1)
    alice = net.place(0, "buy", 5, 100, account="alice")
    bob = net.place(0, "buy", 5, 90, account="bob")
    net[0].cancel_after("alice", None, 5_000, net.now)
    net.run(4)
    net[0].cancel_after("alice", None, 5_000, net.now)  # it is alive
    net.run(4)
    assert alice.status == "new"
    net.run(2)
    assert (alice.status, bob.status) == ("cancelled", "new")


def test_a_replaced_order_is_found_by_its_client_id_after_a_restart() -> None:
    net = Network(1)
    first = net.place(0, "buy", 5, 100, account="alice", client_order_id="mine")
    second = net[0].replace(first.order_id, net.now, price_ticks=99)
    net.settle()
    net.restart(0)
    found = net[0].by_client_id("alice", "mine")
    assert found is not None
    assert (found.order_id, found.price_ticks) == (second.order_id, 99)

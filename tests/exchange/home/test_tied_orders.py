"""Orders tied to connections, by number alone."""

from __future__ import annotations

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import MetaGone, MetaRow
from grenache_py.exchange.home.tied_orders import TiedOrders


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

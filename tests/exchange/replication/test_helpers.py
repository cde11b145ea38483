"""Who is asked next: what was delivered counts, and what was promised does not."""

from __future__ import annotations

from typing import Any

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.replication import helpers as helpers_module
from grenache_py.exchange.replication.helpers import FORGIVEN_S, Helpers


def link(number: int, outbound: bool = False, delivered: int = 0) -> PeerLink:
    nothing: Any = None
    made = PeerLink(number, outbound, "", 0.0, nothing, nothing, key=str(number))
    made.delivered = delivered
    made.heads = {"home": (1, 10**6, "")}  # type: ignore[dict-item]
    return made


def test_dialled_links_first_then_who_delivered_most_and_who_stalled_last() -> None:
    helpers = Helpers()
    dialled, busy, idle = link(1, outbound=True), link(2, delivered=9), link(3)
    assert sorted([idle, busy, dialled], key=helpers.rank) == [dialled, busy, idle]
    helpers.broke("1", 0.5)  # whatever the clock says
    helpers.put_last("2", 6.0)
    assert sorted([dialled, busy, idle], key=helpers.rank) == [idle, dialled, busy]
    assert helpers.broken("1") and not helpers.broken("2"), "to be slow is no lie"


def test_a_broken_promise_is_forgiven_after_a_while_and_whatever_the_clock_does() -> None:
    helpers = Helpers()
    helpers.broke("1", 1_000.0)
    helpers.expire(1_000.0 + FORGIVEN_S - 1)
    assert helpers.broken("1")
    helpers.expire(1_000.0 + FORGIVEN_S)
    assert not helpers.broken("1")
    helpers.broke("1", 9_000.0)
    helpers.expire(10.0)
    assert not helpers.broken("1")


def test_only_so_many_are_remembered() -> None:
    helpers = Helpers()
    for number in range(helpers_module.KEYS_MAX + 1):
        helpers.broke(str(number), float(number))
    assert not helpers.broken("0") and helpers.broken("1")

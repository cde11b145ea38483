"""Proof that the simulator would notice: each safety rule is switched off once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import msgspec
import pytest

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.fills.traded import TradedFills
from grenache_py.exchange.home import entry_writer
from grenache_py.exchange.market.order import LiveOrder
from grenache_py.exchange.peers.admission import Admission
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.mesh import Mesh
from grenache_py.exchange.peers.scores import Scores
from grenache_py.exchange.replication import catch_up, replica
from grenache_py.exchange.replication.catch_up import CatchUp
from grenache_py.exchange.replication.forks import Forks
from grenache_py.exchange.replication.helpers import Helpers
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.serving import Serving
from grenache_py.exchange.signed_log.entries import OrderBody
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import Verifier, leaf_hash
from tests.exchange import test_serving as serving
from tests.sim.exchange import test_evil as evil
from tests.sim.exchange import test_false_promises as promises
from tests.sim.exchange import test_network as network
from tests.sim.exchange.ablations import ABLATIONS, Ablation, seeds_until_found
from tests.sim.exchange.world import run


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_a_rule_switched_off_is_noticed(ablation: Ablation) -> None:
    found = seeds_until_found(ablation, ablation.first)
    assert found is not None, f"{ablation.seeds} seeds did not notice"
    assert found[1].startswith(ablation.finds)


@pytest.mark.parametrize(
    "ablation",
    [one for one in ABLATIONS if one.faults == () and one.prepare is not None],
    ids=lambda ablation: ablation.name,
)
def test_the_same_trouble_breaks_nothing_while_the_rule_is_on(ablation: Ablation) -> None:
    run(
        1,
        peers=ablation.peers,
        orders=ablation.orders,
        flow=ablation.flow,
        faults=ablation.faults,
        prepare=ablation.prepare,
        real=False,
        harshness=1.0,
    )


_allowance, _show_or_hide, _proven = Taker.allowance, RemoteOrders.show_or_hide, Admission.proven


def _hold_nobody(self: Taker, maker: LiveOrder) -> int:
    with mock.patch.object(self, "on_hold", set()):
        return _allowance(self, maker)


def _lease_without_end(self: RemoteOrders, origin: Any, now_ms: int) -> None:
    _show_or_hide(self, origin, min(now_ms, origin.time[0]))


def _nothing_but_a_copy(self: Forks, origin: Any, entry: Any, signed: Any) -> str | None:
    """What comes second is taken for a copy of the first, whatever it says."""
    behind = (entry.epoch, entry.seq) <= (origin.epoch, origin.seq)
    return "known" if behind or entry.seq in origin.waiting else None


def _one_boot(self: Admission, link: Any, peer: Any, now: float) -> None:
    """Whoever has a key is the one that had it before."""
    known = self._table.by_key.get(link.key)
    if known is not None:
        peer = msgspec.structs.replace(peer, boot=known.boot)
    _proven(self, link, peer, now)
    self.own_clone = False


#: Rules that a story of a few seconds tells better than chaos: off, their story must end badly.
STORIES: dict[str, tuple[tuple[Any, str, Any], Callable[[], None]]] = {
    "own orders are not pushed": (
        (Mesh, "lines_for", lambda self, links: []),
        network.test_an_order_is_everywhere_within_a_second,
    ),
    "what a joiner lacks is not reconciled": (
        (CatchUp, "begin", lambda self, *args: None),
        network.test_a_late_joiner_gets_the_whole_open_book,
    ),
    "an order with another tick is shown": (
        (OrderBody, "differs", lambda self, market: False),
        network.test_orders_of_a_home_with_another_tick_are_neither_shown_nor_traded_with,
    ),
    "a clock that leapt is followed before anybody told the time": (
        (HybridClock, "leaps", lambda self, now: False),
        serving.test_a_clock_that_is_an_hour_ahead_before_the_network_is_up_is_not_followed,
    ),
    "a head that nobody could show is believed again": (
        (PeerLink, "cannot_show", lambda self, origin, held: None),
        network.test_the_last_entries_of_a_dead_home_that_nobody_can_show_are_not_asked_for_for_ever,
    ),
    "a lease never runs out": (
        (RemoteOrders, "show_or_hide", _lease_without_end),
        network.test_a_dead_homes_orders_leave_the_books_and_return_with_it,
    ),
    "a home on hold gets more fills": (
        (Taker, "allowance", _hold_nobody),
        evil.test_a_maker_that_never_answers_holds_a_bounded_hostage,
    ),
    "a pong takes a home off hold": (
        (Taker, "probe", lambda self, now: self.on_hold.clear()),
        evil.test_a_maker_that_answers_pings_and_no_fill_gets_no_more_fills,
    ),
    "a trade is forgotten with its answer": (
        (TradedFills, "may_have_traded", lambda self, fill, deadline: False),
        evil.test_a_maker_never_denies_a_trade_that_it_signed,
    ),
    "a step is one entry, however large": (
        (entry_writer, "room_for_states", lambda trades: 1_000),
        network.test_a_buy_that_cancels_a_hundred_own_sells_is_followed_by_everybody,
    ),
    "an own entry nobody remembers is no alarm": (
        (Forks, "own_entry", lambda self, entry, signed: None),
        network.test_an_old_disk_is_noticed_before_it_lies,
    ),
    "a restarted home serves before it has listened": (
        (Serving, "begin", lambda self, restarted, others_known, now: self._clock.trust(now)),
        network.test_an_old_disk_is_noticed_before_it_lies,
    ),
    "one key at two places is no alarm": (
        (Admission, "proven", _one_boot),
        network.test_two_machines_with_one_key_are_noticed,
    ),
    "two histories freeze nobody": (
        (Forks, "known", _nothing_but_a_copy),
        evil.test_two_stories_are_proven_to_everybody,
    ),
    "time may run ahead": (
        (replica, "AHEAD_MS_MAX", 10**9),
        evil.test_entries_from_the_future_are_not_taken,
    ),
    "signatures are not looked at": (
        (Verifier, "check", lambda self, signed, key: leaf_hash(signed.payload)),
        evil.test_forged_entries_change_nothing_and_are_soon_not_read_any_more,
    ),
    "one helper at a time": (
        (catch_up, "SESSIONS_MAX", 1),
        lambda: promises.held_up(dials=True),
    ),
    "who promises helps": (
        (Helpers, "rank", lambda self, link: (0.0, True, -len(link.heads))),
        lambda: promises.held_up(dials=True),
    ),
    "who broke a promise is believed": (
        (Helpers, "broken", lambda self, key: False),
        lambda: promises.held_up(dials=True),
    ),
    "nobody is ever banned": (
        (Scores, "banned", lambda self, key, now: False),
        evil.test_a_banned_peer_cannot_come_straight_back,
    ),
}


#: The last is a step that was refused because no reader would take what it wrote.
ENDS_BADLY = (AssertionError, pytest.fail.Exception, LocalProtocolError)


@pytest.mark.parametrize("rule", STORIES)
def test_without_the_rule_its_story_ends_badly(rule: str) -> None:
    patch, story = STORIES[rule]
    with mock.patch.object(*patch), pytest.raises(ENDS_BADLY):
        story()

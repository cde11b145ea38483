"""
Each safety rule, switched off: the simulator must then find a violation (distributed.md 2.4).

A test that cannot fail is worth nothing; these show which rule each checker guards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import attrs

from grenache_py.exchange.clock import HybridClock
from grenache_py.exchange.home import Home
from grenache_py.exchange.maker import Maker
from grenache_py.exchange.matching import Outcome
from grenache_py.exchange.order import LiveOrder
from grenache_py.exchange.peering import Peering
from grenache_py.exchange.sync import Sync
from grenache_py.exchange.taker import Taker
from tests.sim.exchange_net import Faults
from tests.sim.exchange_world import World

__all__ = ["ABLATIONS", "Ablation", "switched_off"]

Patch = tuple[type, str, Callable[..., Any]]


@attrs.frozen
class Ablation:
    """
    One rule off.

    Attributes:
        seeds: within so many a violation must be found.
        finds: with what it must begin.
        patches: methods replaced: (class, name, replacement).
        prepare: what to change of the world before it runs.
        faults: kinds of fault that show it; None lets the seeds choose.
        orders: placed in each run.
        start: the first seed, where it takes many.
    """

    name: str
    seeds: int
    finds: tuple[str, ...]
    patches: tuple[Patch, ...] = ()
    prepare: Callable[[World], None] | None = None
    faults: tuple[str, ...] | None = None
    orders: int = 60
    start: int = 0


@contextmanager
def switched_off(ablation: Ablation) -> Iterator[None]:
    """Run with the rule off."""
    patches = [mock.patch.object(*patch) for patch in ablation.patches]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


_request, _tick, _query = Taker._request, Taker.tick, Maker.query
_match, _maker_order = Home._match, Maker._maker_order
_take = Sync.take


def _nothing_reserved(self: Taker, taker: Any, home: str, legs: list[Any], *rest: Any) -> None:
    _request(self, taker, home, legs, *rest)
    lots = sum(leg.lots for leg in legs)
    if not taker.live.reason:
        taker.live.reserved -= lots
        taker.live.open += lots


def _time_out_releases(self: Taker, now: float) -> None:
    for fill in [f for f, intent in self.intents.items() if intent.retry_at <= now]:
        self.decide(fill, now)
    _tick(self, now)


def _harmless_query(self: Maker, *args: Any) -> Any:
    def unwritten(fill: str, home: str, deadline: int, why: Any) -> Any:
        return self._refuse(fill, home, why)

    with mock.patch.object(Maker, "_store_refusal", lambda self, *a: unwritten(*a)):
        return _query(self, *args)


def _refusal_unstored(self: Maker, fill: str, home: str, deadline: int, why: Any) -> Any:
    return self._refuse(fill, home, why)


def _any_role(self: Home, live: LiveOrder, *args: Any, **more: Any) -> Outcome:
    key, live.key = live.key, (2**62, 0, "")
    try:
        return _match(self, live, *args, **more)
    finally:
        live.key = key


def _any_role_asked(self: Maker, order_id: str, taker: Any, key: Any, limit: Any) -> Any:
    return _maker_order(self, order_id, taker, (2**62, 0, ""), limit)


def _forward_everything(self: Sync, link: Any, signed: Any, now: float) -> None:
    _take(self, link, signed, now)
    self._peering.gossip.relay(signed, "always", (1, self.received, ""), link.id)


def _forget_on_crash(world: World) -> None:
    for peer in world.peers:
        disk, load = peer.disk, peer.disk.load

        def lying(disk: Any = disk, load: Any = load) -> Any:
            disk.forget(world.rng.randrange(1, 4))
            return load()

        disk.load = lying  # type: ignore[method-assign]


def _release_early(world: World) -> None:
    for peer in world.peers:
        peer.release_before_commit = True


def _watch_trades_only(world: World) -> None:
    """Leave the direct checks of I4 and I6 out: the double fill itself must be found."""
    world.checker.check_sends = False


def _crowded(world: World) -> None:
    """
    Everybody crosses everybody, and messages come late and twice.

    A refusal matters when its order, fully reserved for a moment, is open again by the time a
    second copy of the fill arrives.
    """
    _watch_trades_only(world)
    world.spread, world.markets, world.resting_only = 1, world.markets[:1], True
    faults = Faults(loss=0.1, duplicate=0.3, reorder=0.3, delay_spike=0.08)
    world.clock.at(2.5, lambda: setattr(world.network, "faults", faults))


ABLATIONS = (
    Ablation(
        "nothing is reserved before a fill is sent",
        60,
        ("I1", "I2"),
        ((Taker, "_request", _nothing_reserved),),
    ),
    Ablation(
        "answers are not stored",
        60,
        ("I2", "I3"),
        ((Maker, "_store", lambda self, fill, stored: None),),
        prepare=_watch_trades_only,
    ),
    Ablation(
        "a time-out releases what was reserved",
        60,
        ("I2", "I3"),
        ((Taker, "tick", _time_out_releases),),
    ),
    Ablation(
        "asking about an unknown fill does not make it impossible",
        60,
        ("I2", "I3"),
        ((Maker, "query", _harmless_query),),
        faults=("loss", "duplicate", "delay", "reorder", "clock jump"),
        prepare=_watch_trades_only,
        start=185,
    ),
    Ablation(
        "refusals are not stored",
        60,
        ("I2", "I3"),
        ((Maker, "_store_refusal", _refusal_unstored),),
        prepare=_crowded,
        faults=("duplicate", "delay", "loss"),
        orders=150,
        start=8,
    ),
    Ablation(
        "what is decided leaves before it is durable",
        60,
        ("I3", "I5", "I6"),
        prepare=_release_early,
    ),
    Ablation(
        "a disk forgets its last commits in a crash",
        60,
        ("I2", "I3", "I4", "I5", "I8", "I9", "L"),
        prepare=_forget_on_crash,
        faults=("crash", "loss", "delay"),
    ),
    Ablation(
        "whoever sees a crossed pair takes",
        60,
        ("I10",),
        ((Home, "_match", _any_role), (Maker, "_maker_order", _any_role_asked)),
    ),
    Ablation(
        "the clock may step back over a restart",
        60,
        ("I2", "I4", "I5"),
        (
            (HybridClock, "raise_floor", lambda self: None),
            (HybridClock, "resume", lambda self, ms, counter: None),
        ),
        faults=("crash", "clock jump"),
    ),
    Ablation(
        "every entry is forwarded, known or not",
        3,
        ("I12",),
        ((Sync, "take", _forward_everything),),
        faults=(),
    ),
    Ablation(
        "gaps are never fetched",
        20,
        ("L2", "L4", "L6", "L3"),
        (
            (Sync, "_consider", lambda self, *args: None),
            (Sync, "_catch_up", lambda self, now: None),
        ),
        faults=("loss", "reset"),
    ),
    Ablation(
        "a broken link is not dialled again",
        20,
        ("L2", "L3", "L4", "L6"),
        ((Peering, "_dial_some", lambda self, now: None),),
        faults=("reset", "crash"),
    ),
)

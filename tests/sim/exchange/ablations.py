"""
Each safety rule, switched off: the simulator must then find a violation.

The rules are in docs/design/fills.rst#rules. The codes, I1 to I15 and L1 to L7, are those of
docs/design/distributed-core.rst#invariants.

A test that cannot fail is worth nothing; these show which rule each checker guards.

    python -m tests.sim.exchange.ablations

tells how many seeds each takes, from five places. The rules are switched off by replacing
methods in the running process: nothing in the exchange itself can turn them off.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import attrs
import msgspec

from grenache_py.exchange import start
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.fills import maker
from grenache_py.exchange.fills.intent import trades_by_leg
from grenache_py.exchange.fills.maker import Maker
from grenache_py.exchange.fills.messages import decode_fill
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.home import own_orders
from grenache_py.exchange.home.own_orders import OwnOrders
from grenache_py.exchange.home.tape import Tape
from grenache_py.exchange.market import matching
from grenache_py.exchange.market.changes import replacement
from grenache_py.exchange.market.matching import MatchResult
from grenache_py.exchange.market.order import LiveOrder, new_order_of
from grenache_py.exchange.market.price_level import Level
from grenache_py.exchange.market.stops import Stops
from grenache_py.exchange.peers.dialling import Dialling
from grenache_py.exchange.peers.neighbour_clocks import NeighbourClocks
from grenache_py.exchange.replication.catch_up import CatchUp
from grenache_py.exchange.replication.dropped_orders import DroppedOrders
from grenache_py.exchange.replication.fetching import Fetching
from grenache_py.exchange.replication.intake import Intake
from grenache_py.exchange.replication.missing_orders import MissingOrders
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.signed_log.entries import OrderBody, epoch_of_time
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from tests.sim.exchange.invariants import Violation
from tests.sim.exchange.network import Peer
from tests.sim.exchange.world import CHAOS_S, Flow, World, run

__all__ = ["ABLATIONS", "Ablation", "seeds_until_found", "switched_off"]

Patch = tuple[Any, str, Any]


@attrs.frozen
class Ablation:
    """
    One rule off.

    Attributes:
        seeds: within so many a violation must be found.
        first: the seed that the tests begin with: one that finds it, where few do.
        finds: with what it must begin.
        patches: what is replaced: (class or module, name, replacement).
        prepare: what to change of the world before it runs.
        faults: kinds of fault that show it; None lets the seeds choose.
        also: what happens besides.
        peers, orders, flow: the shape of each run.
    """

    name: str
    seeds: int
    finds: tuple[str, ...]
    patches: tuple[Patch, ...] = ()
    prepare: Callable[[World], None] | None = None
    faults: tuple[str, ...] | None = None
    also: tuple[str, ...] = ()
    peers: int = 4
    orders: int = 60
    flow: Flow | None = None
    first: int = 0


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
_match, _maker_order = OwnOrders._match, Maker._maker_order
_store_refusal, _maker_request = Maker._store_refusal, Maker.request
_cancel, _queue, _read_ms = OwnOrders.cancel, Level.queue, HybridClock.read_ms
_take = Intake.take
_said, _heard_beat = MissingOrders.said, Origin.heard_beat
#: Orders that trade bit by bit, and so have many states.
_MANY_MAKERS = Flow(burst=20, sweeps=0.3, spread=2, accounts=8)
_pop_reached, _log_reached, _trade_seen = Stops.pop_reached, Taker.log_reached, Taker.trade_seen


def _said_by_anybody(
    self: MissingOrders, origin: Origin, records: Any, key: str, only: bool
) -> None:
    _said(self, origin, records, "" if key == origin.home else key, only)


def _fingerprint_is_forgotten(self: Origin, beat: Any) -> None:
    _heard_beat(self, beat)
    self.expected = None


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


def _refusal_in_memory(self: Maker, fill: str, home: str, deadline: int, why: Any) -> Any:
    """Remembered until the next crash: its row is left out of the batch."""
    rows = self.outbox.unsealed[:]
    answer = _store_refusal(self, fill, home, deadline, why)
    self.outbox.unsealed[:] = rows
    return answer


def _late_is_no_reason(self: Maker, fill_signed: Any, order_signed: Any, now: float) -> Any:
    deadline = decode_fill(fill_signed.payload).deadline

    def before(clock: HybridClock, now: float) -> int:
        return min(_read_ms(clock, now), deadline)

    with mock.patch.object(HybridClock, "read_ms", before):
        return _maker_request(self, fill_signed, order_signed, now)


def _cancel_frees(self: OwnOrders, *args: Any) -> LiveOrder:
    live = _cancel(self, *args)
    live.reserved = 0
    return live


def _nobody_in_particular(self: OwnOrders, live: LiveOrder, *args: Any, **more: Any) -> MatchResult:
    account, live.account = live.account, ""
    try:
        return _match(self, live, *args, **more)
    finally:
        live.account = account


def _as_if(
    self: OwnOrders, live: LiveOrder, changed: dict[str, Any], *args: Any, **more: Any
) -> MatchResult:
    """Match ``live`` as if it had been ordered with other words."""
    order, live.order = live.order, msgspec.structs.replace(live.order, **changed)
    try:
        return _match(self, live, *args, **more)
    finally:
        live.order = order


def _post_only_takes(self: OwnOrders, live: LiveOrder, *args: Any, **more: Any) -> MatchResult:
    return _as_if(self, live, {"post_only": False}, *args, **more)


def _all_or_some(self: OwnOrders, live: LiveOrder, *args: Any, **more: Any) -> MatchResult:
    changed = {"time_in_force": "ioc"} if live.order.time_in_force == "fok" else {}
    return _as_if(self, live, changed, *args, **more)


def _newest_gives_way(self: OwnOrders, live: LiveOrder, *args: Any, **more: Any) -> MatchResult:
    policy, live.self_trade = live.self_trade, "newest"
    try:
        return _match(self, live, *args, **more)
    finally:
        live.self_trade = policy


def _never_in_place(live: LiveOrder, *args: Any) -> Any:
    new = replacement(live, *args)
    if isinstance(new, int):
        return msgspec.structs.replace(new_order_of(live), quantity_lots=new)
    return new


def _any_trade(self: Stops, last_ticks: int, placed_by_ms: int) -> LiveOrder | None:
    return _pop_reached(self, last_ticks)


def _newest_told(self: Tape, tape: Any, trade: Any) -> None:
    tape.append(trade)
    self.last[trade.market] = trade


def _one_leg_is_all(self: Taker, body: Any, signed: Any, now: float) -> str | None:
    fill, i = self._by_trade.get(body.id, ("", 0))
    intent = self.intents.get(fill)
    if intent is None:
        return None
    outcomes = dict.fromkeys(range(len(intent.legs)), None)
    return self._settle(intent, {**outcomes, i: body}, now)


def _bringer_is_to_blame(self: Taker, body: Any, signed: Any, now: float) -> str | None:
    intent = self.intents.get(self._by_trade.get(body.id, ("", 0))[0])
    if intent is not None:
        trades_by_leg(intent, (body,), self.ledger.markets[intent.fill.market])
    return _trade_seen(self, body, signed, now)


def _any_log_answers(self: Taker, home: str, time_ms: int, now: float) -> str | None:
    for intent in self.intents.values():
        intent.log_mark = self.log_of(home)
    return _log_reached(self, home, time_ms, now)


def _any_role(self: OwnOrders, live: LiveOrder, *args: Any, **more: Any) -> MatchResult:
    key, live.key = live.key, (2**62, 0, "")
    try:
        return _match(self, live, *args, **more)
    finally:
        live.key = key


def _any_role_asked(self: Maker, order_id: str, taker: Any, key: Any, limit: Any) -> Any:
    return _maker_order(self, order_id, taker, (2**62, 0, ""), limit)


def _begin_epoch_later(self: Any, now: float) -> None:
    self.ledger.begin_epoch(max(epoch_of_time(self.clock.read_ms(now)), self.ledger.log.epoch + 1))
    self.home.cancel_all(now)


def _forward_everything(self: Intake, link: Any, signed: Any, now: float) -> None:
    _take(self, link, signed, now)
    self.peering.gossip.relay(signed, "always", Head(1, self.received, ""), link.id)


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


def _take_more_orders(world: World) -> None:
    """Than others hold."""
    for peer in world.peers:
        peer.config = attrs.evolve(peer.config, live_orders_max=100)


def _watch_trades_only(world: World) -> None:
    """Leave the direct checks of I4 and I6 out: the double fill itself must be found."""
    world.checker.check_sends = False


def _late_fills(world: World, copies: Callable[[Any], list[float]]) -> None:
    """Requests for fills arrive when ``copies`` says, until peace is made."""
    _watch_trades_only(world)
    world.resting_only = True
    rng = random.Random(world.seed)

    def mischief(line: bytes) -> list[float] | None:
        if b'"fill.request"' not in line or world.clock.now > CHAOS_S:
            return None
        return copies(rng)

    world.network.mischief = mischief


def _fills_twice(world: World) -> None:
    """
    A second copy comes seconds later: that it was refused before, only memory can tell.

    Refused for a while: while its order was reserved itself, in a fill that then came to nothing.
    """
    _late_fills(world, lambda rng: [rng.uniform(0.0, 3.0), rng.uniform(2.0, 9.5)])


def _fills_twice_and_crashes(world: World) -> None:
    """Likewise, and every two seconds somebody loses what it has in memory only."""
    _fills_twice(world)
    rng = random.Random(world.seed)

    def crash() -> None:
        peer = rng.choice(world.peers)
        if peer.node is not None:
            peer.crash()
            world.clock.after(0.1, lambda: world.restart(peer))
        if world.clock.now < CHAOS_S:
            world.clock.after(2.0, crash)

    world.clock.at(5.0, crash)


def _fills_long_after(world: World) -> None:
    """Many fills come when it was answered, unwritten, that it is too late for them."""
    _late_fills(world, lambda rng: [rng.uniform(0.0, 30.0)] if rng.random() < 0.5 else [])


def _logs_say_nothing(self: Taker, home: str, time_ms: int, now: float) -> None:
    """A maker's log answers before a question can: without it, the answers must be enough."""


def nobody_to_compare_with(self: NeighbourClocks, since: float = 0.0) -> None:
    """As at a home with one neighbour: nobody says that its clock is wrong."""


def fills_after_questions(world: World) -> None:
    """
    Many fills come after their taker asked what became of them, but in time by the clock of
    their maker: half of the homes' clocks are 8 s behind. A home that could compare its clock
    with two neighbours' would take no orders then: see ``nobody_to_compare_with``.
    """
    _late_fills(world, lambda rng: [rng.uniform(0.0, 16.0)] if rng.random() < 0.5 else [])
    for peer in world.peers[::2]:
        peer.offset = -8.0


#: Everybody crosses everybody at a price or two: refused orders are soon open again.
CROWDED = Flow(spread=1, markets=1, accounts=8)
#: Orders of one lot are reserved as a whole.
SINGLE = Flow(spread=1, markets=1, accounts=8, lots=2)
#: Every other order waits for its price.
STOPS = Flow(spread=3, markets=1, accounts=8, stops=0.5)

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
        (
            (Maker, "query", _harmless_query),
            (NeighbourClocks, "offset", nobody_to_compare_with),
            (Taker, "log_reached", _logs_say_nothing),
        ),
        faults=(),
        prepare=fills_after_questions,
        orders=600,
        flow=CROWDED,
        first=12,
    ),
    Ablation(
        "refusals are not stored",
        60,
        ("I2", "I3"),
        ((Maker, "_store_refusal", _refusal_unstored),),
        prepare=_fills_twice,
        faults=(),
        orders=600,
        flow=SINGLE,
    ),
    Ablation(
        "refusals are kept in memory only",
        60,
        ("I2", "I3"),
        ((Maker, "_store_refusal", _refusal_in_memory),),
        prepare=_fills_twice_and_crashes,
        faults=(),
        orders=800,
        flow=SINGLE,
        first=58,
    ),
    Ablation(
        "answers are forgotten while their fill may come again",
        60,
        ("I2", "I3", "I4"),
        ((maker, "KEEP_MS", -20_000),),
        prepare=_fills_twice,
        faults=(),
        orders=300,
        flow=SINGLE,
    ),
    Ablation(
        "a fill is accepted after its deadline",
        60,
        ("I2", "I3", "I4"),
        ((Maker, "request", _late_is_no_reason),),
        prepare=_fills_long_after,
        faults=(),
        orders=300,
        flow=SINGLE,
    ),
    Ablation(
        "one trade of a fill in its maker's log is the whole answer",
        60,
        ("I2", "I3"),
        ((Taker, "trade_seen", _one_leg_is_all),),
        orders=600,
        flow=CROWDED,
    ),
    Ablation(
        "a log answers although its entries were not all seen",
        60,
        ("I2", "I3"),
        ((Taker, "log_reached", _any_log_answers),),
        faults=("crash", "delay", "partition"),
        also=("limit: tail",),
        orders=300,
    ),
    Ablation(
        "who passes on a trade that was not asked for is to blame",
        20,
        ("3.5",),
        ((Taker, "trade_seen", _bringer_is_to_blame),),
        also=("evil: bait", "evil: trades"),
        orders=300,
    ),
    Ablation(
        "orders of others are held without a limit",
        20,
        ("I13",),
        ((RemoteOrders, "has_room", lambda self, origin: True),),
        also=("limit: live orders",),
        prepare=_take_more_orders,
        orders=300,
        flow=Flow(spread=40, markets=1),
    ),
    Ablation(
        "answers are kept without a limit",
        20,
        ("I13",),
        ((Maker, "_make_room", lambda self, taker: None),),
        also=("limit: answers",),
        orders=300,
    ),
    Ablation(
        "cancelling frees what is in doubt",
        60,
        ("I1", "I2", "I8"),
        ((OwnOrders, "cancel", _cancel_frees),),
        orders=300,
        flow=CROWDED,
    ),
    Ablation(
        "expired orders go on trading",
        60,
        ("I8", "O5"),
        (
            (OwnOrders, "expire", lambda self, now: None),
            (OwnOrders, "next_expiry", lambda self: None),
        ),
        orders=300,
        flow=CROWDED,
    ),
    Ablation(
        "accounts may trade with themselves",
        10,
        ("I7",),
        ((OwnOrders, "_match", _nobody_in_particular),),
        orders=300,
    ),
    Ablation(
        "the order that comes always gives way to its own account's",
        10,
        ("O7",),
        ((OwnOrders, "_match", _newest_gives_way),),
        orders=300,
    ),
    Ablation(
        "post-only orders take",
        10,
        ("O1",),
        ((OwnOrders, "_match", _post_only_takes),),
        orders=300,
    ),
    Ablation(
        "fill-or-kill takes what it gets",
        10,
        ("O2",),
        ((OwnOrders, "_match", _all_or_some),),
        orders=300,
    ),
    Ablation(
        "what only takes is left standing",
        10,
        ("I7",),
        ((matching, "rests", lambda live: live.price_ticks > 0),),
        orders=300,
    ),
    Ablation(
        "a replace that may keep an order's place does not",
        10,
        ("O6",),
        ((own_orders, "replacement", _never_in_place),),
        orders=300,
    ),
    Ablation(
        "stops wait for ever",
        10,
        ("O4",),
        (
            (
                OwnOrders,
                "fire_stops",
                lambda self, market, now: self.ledger.tape.new_trades.pop(market, None),
            ),
        ),
        orders=300,
    ),
    Ablation(
        "a trade from before a stop sets it off",
        20,
        ("O4",),
        ((Stops, "pop_reached", _any_trade),),
        faults=("partition",),
        orders=300,
        flow=STOPS,
    ),
    Ablation(
        "the last trade is the one that came last",
        20,
        ("O4",),
        ((Tape, "_append", _newest_told),),
        faults=("partition",),
        orders=300,
        flow=STOPS,
    ),
    Ablation(
        "at one price the youngest comes first",
        10,
        ("I15",),
        ((Level, "queue", lambda self: list(_queue(self))[::-1]),),
        orders=300,
    ),
    Ablation(
        "crossed pairs are not looked for again",
        20,
        ("L4",),
        ((OwnOrders, "sweep", lambda self, market, now: None),),
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
        ("I10", "I15"),  # between homes; at one
        ((OwnOrders, "_match", _any_role), (Maker, "_maker_order", _any_role_asked)),
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
        "the machine's clock is taken with its jumps, and followed",
        20,
        ("L", "3.5", "I"),
        (
            (Peer, "wall", Peer._machine_clock),
            (HybridClock, "_follows", lambda self, wall_ms: True),
        ),
        faults=("clock hours",),
    ),
    Ablation(
        "a clock that leapt is followed at once",
        20,
        ("L", "3.5", "I"),
        ((HybridClock, "_follows", lambda self, wall_ms: True),),
        faults=("clock hours",),
    ),
    Ablation(
        "a new epoch is on the disk later than what it closes",
        10,
        ("L", "I"),
        ((start.Start, "_begin_epoch", _begin_epoch_later),),
        faults=("new epoch", "crash", "partition", "disk"),
        orders=150,
        first=20,
    ),
    Ablation(
        "every entry is forwarded, known or not",
        3,
        ("I12",),
        ((Intake, "take", _forward_everything),),
        faults=(),
    ),
    Ablation(
        "an order whose home has another tick or lot is shown",
        10,
        ("O8", "L3", "L4", "I"),
        ((OrderBody, "differs", lambda self, market: False),),
        faults=("markets differ",),
        orders=300,
    ),
    Ablation(
        "a dropped order is taken back in an older state",
        20,
        ("I9",),
        ((DroppedOrders, "may_return", lambda self, *args: True),),
        faults=("loss", "partition"),
        also=("neighbour: old orders", "neighbour: pruned records", "limit: early entries"),
        peers=3,
        orders=2_000,
        flow=_MANY_MAKERS,
        first=24,
    ),
    Ablation(
        "neither a home's own word nor its fingerprint drops an order",
        20,
        ("L6", "L2"),
        (
            (MissingOrders, "said", _said_by_anybody),
            (Origin, "heard_beat", _fingerprint_is_forgotten),
        ),
        faults=("loss", "partition"),
        also=("neighbour: old orders", "neighbour: pruned records", "limit: early entries"),
        peers=3,
        orders=2_000,
        flow=_MANY_MAKERS,
        first=17,
    ),
    Ablation(
        "gaps are never fetched",
        20,
        ("L2", "L4", "L6", "L3"),
        (
            (Fetching, "consider", lambda self, *args: None),
            (CatchUp, "begin", lambda self, *args: None),
        ),
        faults=("loss", "reset"),
    ),
    Ablation(
        "a broken link is not dialled again",
        20,
        ("L2", "L3", "L4", "L6"),
        ((Dialling, "dial_due", lambda self, now: None),),
        faults=("reset", "crash"),
    ),
)


def seeds_until_found(ablation: Ablation, start: int = 0) -> tuple[int, str] | None:
    """
    Run seeds with the rule off until one breaks.

    Returns:
        how many that took and what was found, or None: ``ablation.seeds`` were not enough.
    """
    with switched_off(ablation):
        for count in range(1, ablation.seeds + 1):
            try:
                run(
                    start + count - 1,
                    peers=ablation.peers,
                    orders=ablation.orders,
                    flow=ablation.flow,
                    faults=ablation.faults,
                    also=ablation.also,
                    prepare=ablation.prepare,
                    real=False,
                    harshness=1.0,
                )
            except Violation as violation:
                return count, str(violation)
            except StoreError as error:
                # The schema checks conservation too.
                if "conservation" not in str(error):
                    raise
                return count, f"I1: {error}"
    return None


if __name__ == "__main__":
    for ablation in ABLATIONS:
        found = [seeds_until_found(ablation, start) for start in range(0, 5000, 1000)]
        print(
            f"{ablation.name}: after {', '.join(str(one[0]) if one else '-' for one in found)}"
            f" seeds ({', '.join(sorted({one[1].split(':')[0] for one in found if one}))})",
            flush=True,
        )

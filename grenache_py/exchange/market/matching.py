"""
Price-time matching at one home: who trades with whom, how much, and what becomes of the rest.

Pure and deterministic: no clock, no randomness, integers only. The rules:

- The best price first, at one price the smallest key. A trade is at the maker's price. An order
  that came late is met later, as if its key were larger.
- Only orders with a smaller key than the taker's are makers: of two orders that cross, the
  younger acts (docs/design/fills.rst#role). A younger one in the book belongs to another home,
  whose turn it is.
- An own maker is filled at once. A maker of another home is asked: its lots become a ``Leg``
  and are reserved on the taker; what comes of it is settled by ``fills/taker.py``.
- Fill-or-kill is settled by one home, own or other, because only one home can promise all or
  nothing: the first whose makers, walked in price-time order, add up to the quantity. When no
  single home can, the order is refused.
- A market order trades up to the market's protection away from the best price it meets.
- Self-trade prevention compares accounts among own orders. The account "" is "none given":
  nobody is named, so nothing is prevented.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from grenache_py.exchange.errors import (
    CANNOT_FILL,
    SELF_TRADE,
    WOULD_CROSS,
    OrderError,
)
from grenache_py.exchange.market.book import Book, Ladder
from grenache_py.exchange.market.order import LiveOrder, OrderKey
from grenache_py.exchange.market.price_level import Level

__all__ = [
    "LEGS_MAX",
    "NEVER",
    "Fill",
    "Leg",
    "MatchResult",
    "Room",
    "local_trade_id",
    "match",
    "oldest",
    "rests",
]

#: Maker orders of one home that one fill request may carry (docs/design/fills.rst#messages): the
#: answer tells a trade of each, and fits a signed payload however long their texts are.
LEGS_MAX = 28

#: Larger than the key of any order.
NEVER: OrderKey = (1 << 63, 0, "")

#: How many lots of another home's order may be asked for now; 0 to leave it alone.
Room: TypeAlias = Callable[[LiveOrder], int]


# One is made for every trade: of the ways to have named fields this is built fastest.
class Fill(msgspec.Struct, gc=False):
    """
    A trade with an own maker, at the maker's price, already counted on both orders.

    Attributes:
        maker: the own order that stood in the book.
        lots: the quantity traded, at least 1.
    """

    maker: LiveOrder
    lots: int


class Leg(msgspec.Struct, gc=False):
    """
    Lots to ask another home for, already reserved on the taker.

    Attributes:
        maker: the other home's order, as this home knows it; it is not changed.
        lots: the quantity to ask for, at least 1.
    """

    maker: LiveOrder
    lots: int


class MatchResult(msgspec.Struct, gc=False):
    """
    What matching one order did.

    Attributes:
        fills: in the order they happened.
        legs: in price-time order; at most ``LEGS_MAX`` for each home.
        cancelled: own orders that self-trade prevention closed, the taker perhaps among them.
    """

    fills: Sequence[Fill] = ()
    legs: Sequence[Leg] = ()
    cancelled: Sequence[LiveOrder] = ()


#: The result of an order that met nobody.
NOTHING = MatchResult()


def match(
    book: Book,
    taker: LiveOrder,
    own_home: str,
    room: Room | None = None,
    *,
    accepted: bool = False,
) -> MatchResult:
    """
    Let an own order trade with what stands against it, then rest it or close its remainder.

    Counts all of it on the orders (``open``, ``reserved``, ``filled``, ``value``, ``reason``)
    and in the book; versions and times are the caller's. When it raises, nothing changed.

    Args:
        taker: fresh, or one that stands already and met an older order since.
        room: how many lots of another home's maker may be asked for now; None: none at all.
        accepted: the order was acknowledged before (it stands, or it was a pending stop): it
            can no longer be refused, so what would raise cancels it instead.

    Raises:
        OrderError: -32003 post-only would cross; -32004 fill-or-kill cannot be filled by one
            home; -32012 ("newest") the first order it would meet is of its own account.
    """
    ladder = book.asks if taker.side == "buy" else book.bids
    ranks = ladder.ranks
    outcome = NOTHING
    floor = 0
    if ranks:
        floor = (taker.price_ticks or _protected(book, ladder)) * ladder.sign
    if ranks and ranks[-1] >= floor:
        outcome = _cross(ladder, floor, taker, own_home, room, accepted)
    elif taker.order.time_in_force == "fok":
        _refuse(taker, CANNOT_FILL, _CANNOT_FILL, accepted)
    if taker.open and not rests(taker):
        taker.open = 0
        taker.reason = "cancelled"
    book.touched(taker)
    return outcome


_CANNOT_FILL = (
    "no single home can fill this fill-or-kill order at once; lower the quantity, change the"
    " price, or send it as ioc"
)


def rests(live: LiveOrder) -> bool:
    """What is left of this order after matching stays in the book."""
    return live.price_ticks > 0 and live.order.time_in_force in ("gtc", "gtd")


def _protected(book: Book, ladder: Ladder) -> int:
    """The worst price a market order may pay: the best of ``ladder``, and a margin."""
    best = ladder.ranks[-1] * ladder.sign
    margin = best * book.market.protection_bp // 10_000
    return best + margin if ladder.side == "sell" else best - margin


def _refuse(taker: LiveOrder, code: int, message: str, accepted: bool) -> None:
    if not accepted:
        raise OrderError(code, message)
    taker.open = 0
    taker.reason = "cancelled"


def _cross(
    ladder: Ladder,
    floor: int,
    taker: LiveOrder,
    own_home: str,
    room: Room | None,
    accepted: bool,
) -> MatchResult:
    """Walk ``ladder`` from its best rank down to ``floor``."""
    order = taker.order
    only: str | None = None
    if order.post_only:
        if _meets(ladder, floor, taker.key):
            _refuse(
                taker,
                WOULD_CROSS,
                "this post-only order would trade at once; place it at a less aggressive price",
                accepted,
            )
        return NOTHING
    if order.time_in_force == "fok":
        only = _one_home(ladder, floor, taker, own_home, room)
        if only is None:
            _refuse(taker, CANNOT_FILL, _CANNOT_FILL, accepted)
            return NOTHING

    fills: list[Fill] = []
    legs: list[Leg] = []
    cancelled: list[LiveOrder] = []
    legs_of: dict[str, int] = {}
    key = taker.key
    account = taker.account
    ranks, levels, sign = ladder.ranks, ladder.levels, ladder.sign
    # Kept here for the walk: to write a field of an order takes as long as to trade.
    left = taker.open
    filled = value = 0
    index = len(ranks)
    while index and left:
        index -= 1  # a level that empties leaves `ranks` at this index: those below stay put
        rank = ranks[index]
        if rank < floor:
            break
        level = levels[rank * sign]
        price = level.price_ticks
        met: list[LiveOrder] = []
        for maker in level.queue():
            if maker.key >= key or (only is not None and maker.home != only):
                continue
            if maker.home != own_home:
                count = legs_of.get(maker.home, 0)
                lots = 0
                if room is not None and count < LEGS_MAX:
                    lots = min(room(maker), maker.open, left)
                if lots > 0:
                    legs_of[maker.home] = count + 1
                    left -= lots
                    taker.reserved += lots
                    legs.append(Leg(maker, lots))
            elif account and maker.account == account:
                policy = taker.self_trade
                if policy == "newest" and not (fills or legs or accepted):
                    raise OrderError(
                        SELF_TRADE,
                        f"this order would trade with your own order {maker.order_id};"
                        ' cancel that one, or send self_trade "oldest" or "both"',
                        order_id=maker.order_id,
                    )
                if policy != "newest":
                    maker.open = 0
                    maker.reason = "cancelled"
                    cancelled.append(maker)
                    met.append(maker)
                if policy != "oldest":
                    left = 0
                    taker.reason = "cancelled"
                    cancelled.append(taker)
            else:
                lots = left if left < maker.open else maker.open  # a twentieth faster than min()
                maker.open -= lots
                maker.filled += lots
                maker.value += price * lots
                left -= lots
                filled += lots
                value += price * lots
                fills.append(Fill(maker, lots))
                met.append(maker)
            if not left:
                break
        if met:
            ladder.settle(level, met)
    taker.open = left
    taker.filled += filled
    taker.value += value
    return MatchResult(fills, legs, cancelled)


def _meets(ladder: Ladder, floor: int, key: OrderKey) -> bool:
    """An order older than ``key`` stands at ``floor`` or better."""
    for rank in reversed(ladder.ranks):
        if rank < floor:
            break
        if oldest(ladder.levels[rank * ladder.sign]) < key:
            return True
    return False


def oldest(level: Level, usable: Callable[[LiveOrder], object] = bool) -> OrderKey:
    """
    The smallest key at a level of an order that is usable; ``NEVER`` if none is.

    It is that of the first one, unless some came late: they stand behind younger ones.
    """
    late, smallest = len(level.late), NEVER
    for live in level.queue():
        if live.key < smallest and usable(live):
            smallest = live.key
        if late and live.key in level.late:
            late -= 1
        if not late and smallest is not NEVER:
            break
    return smallest


def _one_home(
    ladder: Ladder, floor: int, taker: LiveOrder, own_home: str, room: Room | None
) -> str | None:
    """The first home that can fill all of ``taker`` alone; nothing is changed."""
    wanted = taker.open
    found: dict[str, int] = {}
    legs_of: dict[str, int] = {}
    own_ends = False
    for rank in reversed(ladder.ranks):
        if rank < floor:
            break
        for maker in ladder.levels[rank * ladder.sign].queue():
            home = maker.home
            if maker.key >= taker.key:
                continue
            if home != own_home:
                if room is None or legs_of.get(home, 0) == LEGS_MAX:
                    continue
                lots = min(room(maker), maker.open)
                if lots <= 0:
                    continue
                legs_of[home] = legs_of.get(home, 0) + 1
            elif taker.account and maker.account == taker.account:
                # "oldest" takes it out of the way; otherwise the taker would end here.
                own_ends = own_ends or taker.self_trade != "oldest"
                continue
            elif own_ends:
                continue
            else:
                lots = maker.open
            found[home] = found.get(home, 0) + lots
            if found[home] >= wanted:
                return home
    return None


def local_trade_id(taker_order: str, maker_order: str, fill_seq: int) -> str:
    """
    The id of a trade between two own orders: 32 hex digits.

    A hash of the parties and the taker's fill sequence, the same on every replay
    (docs/failure-modes.rst#f10).
    """
    text = f"trade {taker_order} {maker_order} {fill_seq}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]

"""
One price level of a book: its orders by time.

Pure. Own orders are objects. Others' are rows of a table (``RowTable``): there may be a hundred
times as many, and hardly one of them is ever looked at.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import NoReturn, Protocol

from grenache_py.exchange.market.order import LiveOrder, OrderKey

__all__ = ["LATE_STEPS_MAX", "NO_ROWS", "Level", "RowTable"]

#: Up to so many younger orders are passed one by one when a late order is sorted in: more than
#: come to one price in the seconds by which a home's clock may be behind. It costs 0.1 ms then;
#: sorting a level of 10,000 costs ten, and must not happen for each of a stream of late orders.
LATE_STEPS_MAX = 1_024
#: A longer queue is a deque, whose first is taken out at once; a list is smaller.
LIST_MAX = 64
#: Rows of a level among which one is looked for by its number, in a microsecond at most.
ROWS_WALKED_MAX = 256


class RowTable(Protocol):
    """Of other homes. Some orders are late (docs/design/distributed-core.rst#late-orders)."""

    def turn(self, number: int) -> bytearray:
        """What the order queues by, as bytes that compare as keys do."""

    def turn_of(self, live: LiveOrder) -> OrderKey:
        """The same of any order, own or another's."""

    def late(self, number: int) -> OrderKey | None:
        """The key of a late order; None if it is not late."""

    def order(self, number: int) -> LiveOrder:
        """The order as it is now; a copy."""


class _NoRows:
    """Of a book that has own orders only."""

    def turn(self, number: int) -> NoReturn:
        raise KeyError(number)

    late = order = turn

    def turn_of(self, live: LiveOrder) -> OrderKey:
        return live.key


NO_ROWS = _NoRows()
# Of all levels where no order stands as an object, and where none came late; never written to.
_NO_ORDERS: list[LiveOrder] = []
_NONE_LATE: set[OrderKey] = set()


class Level:
    """
    All orders at one price.

    Those that stand as objects are in a queue, by key. An order that leaves from an end of it is
    taken out; one that leaves from between others stays, with nothing standing, until more have
    left than stand. So the first and the last are found at once, however many are here.

    Orders come with rising keys but for those of other homes, which gossip brings a little
    late, or much later after a partition. A little late is put right at once; for a flood of
    latecomers one sort is kept until somebody looks (``queue``).

    Attributes:
        objects: how many stand as objects.
        rows: the numbers of those that stand as rows, by turn.
        late: keys of those rows that came late.
    """

    __slots__ = (
        "_queue", "_sorted", "_table", "late", "lots", "objects", "price_ticks", "rows",
    )  # fmt: skip

    def __init__(self, price_ticks: int, table: RowTable) -> None:
        self.price_ticks = price_ticks
        self.lots = 0
        self.objects = 0
        self.rows: array[int] | tuple[()] = ()
        self.late = _NONE_LATE
        self._table = table
        self._queue: list[LiveOrder] | deque[LiveOrder] = _NO_ORDERS
        self._sorted = True

    @property
    def count(self) -> int:
        """How many orders stand here."""
        return self.objects + len(self.rows)

    def add(self, live: LiveOrder) -> None:
        """Let ``live`` stand with its open lots; it does not stand yet."""
        queue = self._queue
        if not queue:
            self._queue = [live]
        elif not self._sorted or live.key > queue[-1].key:
            queue.append(live)
        else:
            self._sort_in(live)
        live.standing = live.open
        self.lots += live.open
        self.objects += 1

    def _sort_in(self, live: LiveOrder) -> None:
        """Let a latecomer in before the younger ones, unless it never went from there."""
        queue = self._queue
        place = len(queue)
        for other in islice(reversed(queue), LATE_STEPS_MAX + 1):
            if other.key <= live.key:
                break
            place -= 1
        if len(queue) - place > LATE_STEPS_MAX:
            queue.append(live)
            self._sorted = False
        elif not place or queue[place - 1] is not live:
            queue.insert(place, live)

    def settle(self, changed: Iterable[LiveOrder]) -> None:
        """Follow what these standing orders have open now; those with nothing leave."""
        for live in changed:
            lots = live.open
            self.lots += lots - live.standing
            live.standing = lots
            if not lots:
                self.objects -= 1
        if not self.objects:
            self._queue, self._sorted = _NO_ORDERS, True
            return
        queue = self._queue
        if len(queue) > 2 * self.objects:
            queue = self._gather()
        if not queue[0].standing and len(queue) > LIST_MAX and isinstance(queue, list):
            queue = self._queue = deque(queue)
        while not queue[0].standing:
            del queue[0]
        while not queue[-1].standing:
            del queue[-1]

    def _gather(self) -> list[LiveOrder]:
        """A queue of those that stand, by key."""
        queue = list(filter(_standing_of, self._queue))
        if not self._sorted:  # then one that left and came back may be there twice
            queue = sorted({live.key: live for live in queue}.values(), key=_key_of)
        self._queue, self._sorted = queue, True
        return queue

    def row_touched(self, number: int, before: int, lots: int) -> None:
        """An order that is a row stands with ``lots``, no more with ``before``; 0: not at all."""
        rows = self.rows or array("I")
        key = self._table.turn
        if (late := self._table.late(number)) is not None:
            self.late = self.late or set()
            (self.late.add if lots else self.late.discard)(late)
        if not before:
            if rows and key(rows[-1]) > key(number):  # those that come are mostly the youngest
                rows.insert(bisect_left(rows, key(number), key=key), number)
            else:
                rows.append(number)
        elif not lots:
            if len(rows) < ROWS_WALKED_MAX:
                rows.remove(number)
            else:
                del rows[bisect_left(rows, key(number), key=key)]
        self.rows = rows or ()
        self.lots += lots - before

    def queue(self) -> Iterable[LiveOrder]:
        """The orders by time priority; not to be read further once one was added or removed."""
        queue = self._queue if self._sorted else self._gather()
        has_left = len(queue) > self.objects
        objects: Iterable[LiveOrder] = filter(_standing_of, queue) if has_left else queue
        if not self.rows:
            return objects
        others = map(self._table.order, self.rows)
        turn = self._table.turn_of if self.late else _key_of
        return merge(objects, others, key=turn) if self.objects else others


_key_of = attrgetter("key")
_standing_of = attrgetter("standing")

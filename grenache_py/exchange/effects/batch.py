"""
What a node wants done, in the order it must happen: durable first, visible after.

Pure. The rows of a ``Batch`` become one transaction. Only when that has returned do its sends and
events leave, in order. Modules of the core write into one ``Outbox``; ``ExchangeNode.take_batch``
seals the signatures and empties it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import attrs
from msgspec import Struct, field

from grenache_py.exchange.effects.rows import ExecutionRow, RecordRow, Row
from grenache_py.exchange.market.book import Change
from grenache_py.exchange.market.order import LiveOrder, Trade
from grenache_py.exchange.signed_log.merkle import Draft

__all__ = [
    "Batch",
    "BookChanged",
    "CloseLink",
    "Dial",
    "Event",
    "Executed",
    "OrderChanged",
    "Outbox",
    "ReadRecords",
    "Send",
    "Traded",
]


class Send(Struct, frozen=True, gc=False):
    """Put ``line`` (one JSON object, newline included) on a link."""

    link: int
    line: bytes


class CloseLink(Struct, frozen=True, gc=False):
    """Close a link once what was sent before is out. ``reason`` is for the log."""

    link: int
    reason: str


class Dial(Struct, frozen=True, gc=False):
    """
    Open a connection to ``host:port``; answered by ``link_opened`` or ``link_failed``.

    Attributes:
        inside: inner networks that a public name may resolve to; None for any, because the
            operator named it.
    """

    address: str
    inside: frozenset[str] | None = None


class OrderChanged(Struct, frozen=True, gc=False):
    """An own order changed; ``seq`` is gap-free per account. ``order`` is a copy."""

    account: str
    seq: int
    order: LiveOrder
    time_ms: int


class Executed(Struct, frozen=True, gc=False):
    """An own order traded."""

    row: ExecutionRow


class Traded(Struct, frozen=True, gc=False):
    """A trade this home took part in, or heard of."""

    trade: Trade


class BookChanged(Struct, frozen=True):
    """
    Levels of one market's book as they are now: (side, price ticks, open lots, orders).

    Attributes:
        checksum: of the book with these changes; only to be asked for before the next ones.
    """

    market: str
    seq: int
    prev_seq: int
    changes: Sequence[Change]
    checksum: Callable[[], int]


Event: TypeAlias = OrderChanged | Executed | Traded | BookChanged


@attrs.frozen
class ReadRecords:
    """
    Read live orders of other homes, as their homes signed them, from the store.

    Attributes:
        order_ids: which. One that is not live any more is not found, and no fault.
        done: called once, in a later turn of the same node, with the rows by order id and the time;
            with None when the store could not be read.
    """

    order_ids: Sequence[str]
    done: Callable[[Mapping[str, RecordRow] | None, float], None]


class Batch(Struct, frozen=True):
    """
    One transaction and what becomes visible with it.

    Attributes:
        rows: to be committed together; when empty, the rest may leave at once.
        sends: for links, in order, after the commit.
        events: for subscribers, in order, after the commit.
        reads: to be begun after the commit, so that they find its rows.
    """

    rows: list[Row]
    sends: list[Send | CloseLink | Dial]
    events: list[Event]
    reads: list[ReadRecords] = field(default_factory=list)


@attrs.define
class Outbox:
    """
    What the core has decided since the last batch.

    Attributes:
        rows: ready rows.
        unsealed: makers of rows whose signature does not exist before the batch is sealed.
        published: own log entries to gossip, in order, with their seq.
        messages: point-to-point messages as (peer key, method, maker of params); the params
            are made after sealing.
        events: for subscribers.
        reads: see ``Batch``.
        followed: whether anybody is told of an account's orders; else no copies are made of them.
    """

    rows: list[Row] = attrs.Factory(list)
    unsealed: list[Callable[[], Row]] = attrs.Factory(list)
    published: list[tuple[int, Draft]] = attrs.Factory(list)
    messages: list[tuple[str, str, Callable[[], dict[str, object]]]] = attrs.Factory(list)
    events: list[Event] = attrs.Factory(list)
    reads: list[ReadRecords] = attrs.Factory(list)
    followed: Callable[[str], bool] = lambda account: True

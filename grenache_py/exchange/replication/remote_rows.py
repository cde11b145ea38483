"""
The live orders of other homes as rows of numbers: what matching and reconciliation need of them.

Pure. The signed entries are in the store (``record_rows.py``). ``RemoteRows`` is the table, with
the rows of all homes and markets; ``HomeOrders`` are those of one home; ``RemoteOrder`` is one row
that was read.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

import attrs

from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.matching import rests
from grenache_py.exchange.market.order import (
    LiveOrder,
    Order,
    OrderKey,
    OrderType,
    Side,
    TimeInForce,
)
from grenache_py.exchange.replication.packed_rows import PackedRows
from grenache_py.exchange.signed_log.entries import Entry

if TYPE_CHECKING:
    from grenache_py.exchange.replication.origin import Origin

__all__ = [
    "HIDDEN",
    "IN_UNITS",
    "IS_OPEN",
    "RESTS",
    "STANDS",
    "HomeOrders",
    "RemoteOrder",
    "RemoteRow",
    "RemoteRows",
]

# Bits of ``flags``: kinds first, in two bits each.
_TYPES: tuple[OrderType, ...] = ("limit", "market", "stop", "stop_limit")
_TIMES: tuple[TimeInForce, ...] = ("gtc", "ioc", "fok", "gtd")
_TIME_BITS = 2
_SELL, _POST_ONLY, IN_UNITS, RESTS, HIDDEN, IS_OPEN, STANDS = 16, 32, 64, 128, 256, 512, 1024


class RemoteRow(NamedTuple):
    """
    One row; see ``_LAYOUT``.

    Attributes:
        key_ms, key_counter: the stamp of the entry that published the order.
        id: 16 bytes.
        home: the number of its home in ``RemoteRows``.
        market: the number of its market there, when it is traded here.
        flags: kinds; and ``IN_UNITS``: prices and lots are those of this peer's market, else 0;
            ``RESTS``: likewise, and it is of a kind that rests in a book; ``HIDDEN``: its market is
            traded here with another tick or lot; ``IS_OPEN``: some of it may still trade;
            ``STANDS``: the book has it with its open lots.
        price: in ticks; 0 for none.
        expires: the time in ms + 1; 0 for none.
        version, state_seq: of the newest state.
        order_seq: of the entry that published it.
        order_bytes, state_bytes: of the payloads that are stored; one that is both counts once.
        place: where it is in ``HomeOrders.numbers``.
    """

    key_ms: int
    key_counter: int
    id: bytes
    home: int
    market: int
    flags: int
    price: int
    quantity: int
    open: int
    reserved: int
    filled: int
    expires: int
    version: int
    state_seq: int
    order_seq: int
    order_bytes: int
    state_bytes: int
    place: int

    @property
    def bytes(self) -> int:
        """Of both payloads."""
        return self.order_bytes + self.state_bytes

    @property
    def standing(self) -> int:
        """Lots that the book counts it with."""
        return self.open if self.flags & STANDS else 0

    @property
    def side(self) -> Side:
        """Which ladder it belongs to."""
        return "sell" if self.flags & _SELL else "buy"


#: Big-endian, so that rows compare by time, then id, as their first bytes do.
_LAYOUT = ">QI16sIHHQQQQQQQQQHHI"
_ORDER_KEY_BYTES, _ID_AT, _FLAGS_AT, _PLACE_AT = 28, 12, 34, 112
_FLAGS, _PLACE, _STAMP = Struct(">H"), Struct(">I"), Struct(">QI")
#: After the counter of any stamp.
_LAST = 2**32 - 1


@attrs.define(eq=False)
class RemoteOrder:
    """
    One live order of another home, as it was when it was looked up.

    Attributes:
        number: of its row.
    """

    number: int
    row: RemoteRow
    _table: RemoteRows

    @property
    def order_id(self) -> str:
        """32 hex digits."""
        return self.row.id.hex()

    @property
    def home(self) -> str:
        """The key of its home."""
        return self._table.origins[self.row.home].home

    @property
    def version(self) -> int:
        """Of its newest state."""
        return self.row.version

    @property
    def state_seq(self) -> int:
        """The number of the entry with its newest state."""
        return self.row.state_seq

    @property
    def expires_ms(self) -> int | None:
        """Of a good-till-date order."""
        return self.row.expires - 1 if self.row.expires else None

    @property
    def is_open(self) -> bool:
        """Whether some of it may still trade."""
        return bool(self.row.flags & IS_OPEN)

    @property
    def bytes(self) -> int:
        """Of its payloads in the store."""
        return self.row.bytes

    @property
    def live(self) -> LiveOrder | None:
        """In this peer's units; None when its market is not traded here."""
        return self._table.order_of(self.row) if self.row.flags & IN_UNITS else None


class RemoteRows:
    """
    The table.

    Args:
        markets: those that this peer trades.

    Attributes:
        symbols: of the markets, by number.
        origins: the homes that have rows, by number.
    """

    def __init__(self, markets: Mapping[str, Market]) -> None:
        self.symbols: Sequence[str] = tuple(markets)
        self._markets = {symbol: number for number, symbol in enumerate(markets)}
        self.origins: dict[int, Origin] = {}
        self._rows = PackedRows(_LAYOUT, _ID_AT)
        self._homes = 0
        self._late: dict[str, int] = {}  # by id, as if stamped then

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, order_id: str) -> RemoteOrder | None:
        """An order by its id."""
        number = self._rows.find(bytes.fromhex(order_id))
        return None if number is None else RemoteOrder(number, self.row(number), self)

    def row(self, number: int) -> RemoteRow:
        """A row by its number."""
        return RemoteRow._make(self._rows.get(number))

    def published(
        self, origin: Origin, entry: Entry, live: LiveOrder | None, more: int, payload_bytes: int
    ) -> RemoteRow:
        """
        The next row of a home: an order as it was published, before its first state.

        Args:
            live: in this peer's units, when it can be.
            more: flags to add.
        """
        order = entry.order
        assert order is not None
        flags = _TYPES.index(order.type) | _TIMES.index(order.time_in_force) << _TIME_BITS | more
        flags |= _SELL * (order.side == "sell") | _POST_ONLY * order.post_only
        price = quantity = 0
        if live is not None:
            price, quantity = live.price_ticks, live.quantity
            flags |= IN_UNITS | RESTS * rests(live)
        held = origin.records
        return RemoteRow(
            *entry.time,
            bytes.fromhex(order.id),
            held.home if held.numbers else self._homes + 1,
            self._markets.get(order.market, 0),
            flags,
            price,
            quantity,
            0,
            0,
            0,
            0 if order.expires is None else order.expires + 1,
            0,
            0,
            entry.seq,
            payload_bytes,
            0,
            len(held.numbers),
        )

    def put(self, number: int, row: RemoteRow) -> None:
        """Change a row, but for its key and its home."""
        self._rows.put(number, *row)

    def put_flags(self, number: int, flags: int) -> None:
        """Change the flags of a row."""
        self._rows.put_field(number, _FLAGS_AT, _FLAGS, flags)

    def add(self, origin: Origin, row: RemoteRow) -> int:
        """Add an order of a home, as ``published`` made it; its number."""
        held = origin.records
        if not held.numbers:
            self._homes += 1
            held.home, held.table = self._homes, self
            self.origins[self._homes] = origin
        number = self._rows.add(*row)
        held.numbers.append(number)
        return number

    def remove(self, number: int) -> None:
        """Remove an order."""
        row = self.row(number)
        numbers = self.origins[row.home].records.numbers
        moved = numbers.pop()
        if moved != number:
            numbers[row.place] = moved
            self._rows.put_field(moved, _PLACE_AT, _PLACE, row.place)
        if not numbers:
            del self.origins[row.home]
        self._late.pop(row.id.hex(), None)
        self._rows.remove(number)

    # What a book asks.

    def came_late(self, order_id: str, as_of_ms: int) -> None:
        """Have an order, which is not there yet, queue as if it were stamped at ``as_of_ms``."""
        self._late[order_id] = as_of_ms

    def turn(self, number: int) -> bytearray:
        """What orders are sorted by in a price level, as bytes: their keys, or later."""
        key = self._rows.part(number, _ORDER_KEY_BYTES)
        if self._late and (late_ms := self._late.get(key[_ID_AT:].hex())) is not None:
            key[:_ID_AT] = _STAMP.pack(late_ms, _LAST)
        return key

    def turn_of(self, live: LiveOrder) -> OrderKey:
        """See ``RowTable``."""
        late_ms = self._late.get(live.order_id)
        return live.key if late_ms is None else (late_ms, _LAST, live.order_id)

    def late(self, number: int) -> OrderKey | None:
        """See ``RowTable``."""
        if not self._late or (row := self.row(number)).id.hex() not in self._late:
            return None
        return row.key_ms, row.key_counter, row.id.hex()

    def order(self, number: int) -> LiveOrder:
        """An order in this peer's units: a copy, for whoever trades with it."""
        return self.order_of(self.row(number))

    def order_of(self, row: RemoteRow) -> LiveOrder:
        """The same of a row that was read."""
        order_id, side, flags = row.id.hex(), row.side, row.flags
        home = self.origins[row.home].home
        order = Order(
            order_id,
            home,
            self.symbols[row.market],
            side,
            _TYPES[flags & 3],
            _TIMES[flags >> _TIME_BITS & 3],
            row.price or None,
            None,
            row.quantity,
            bool(flags & _POST_ONLY),
            row.expires - 1 if row.expires else None,
            row.key_ms,
            row.key_counter,
        )
        return LiveOrder(
            order,
            order_id,
            home,
            side,
            row.price,
            (row.key_ms, row.key_counter, order_id),
            row.quantity,
            row.open,
            row.reserved,
            row.filled,
            row.version,
        )


class HomeOrders(Mapping[str, RemoteOrder]):
    """
    The live orders of one home, by id.

    Attributes:
        numbers: of their rows, in no order.
        home, table: set while there are any.
    """

    __slots__ = ("home", "numbers", "table")

    table: RemoteRows

    def __init__(self) -> None:
        self.numbers = array("I")
        self.home = 0

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[str]:
        return (self.table.row(number).id.hex() for number in self.numbers)

    def __getitem__(self, order_id: str) -> RemoteOrder:
        order = self.find(order_id)
        if order is None:
            raise KeyError(order_id)
        return order

    def find(self, order_id: str) -> RemoteOrder | None:
        """As ``get``, and faster."""
        order = self.table.find(order_id) if self.numbers else None
        return order if order is not None and order.row.home == self.home else None

"""
The origin log: everything a home did, in order, hash-chained and signed (distributed.md 2.2).

Pure. One entry is one atomic step of the home, or several: it may bring a new order, record
trades and give the new states of the orders it touched, all of which its home committed in one
transaction. Replicas apply entries strictly in sequence. ``prev`` is the hash of the entry
before, so two entries with one (home, epoch, seq) prove that the home told two stories.

Money travels as decimal strings: an entry means the same to a peer whose market has another
tick, and a person with telnet can read it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, TypeAlias

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import (
    ClosedReason,
    LiveOrder,
    Order,
    OrderType,
    Side,
    TimeInForce,
    Trade,
)
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import Draft, Sealer, Signed, leaf_hash

__all__ = [
    "GENESIS",
    "TAIL_ENTRIES_MAX",
    "TRADES_PER_ENTRY_MAX",
    "Entry",
    "HeartbeatBody",
    "OrderBody",
    "OriginLog",
    "StateBody",
    "TradeBody",
    "check_texts",
    "order_id",
]

#: ``prev`` of the first entry of an epoch-1 log.
GENESIS = "0" * 64
#: Newest entries kept in memory to answer ``gossip.want``; older gaps are reconciled instead.
TAIL_ENTRIES_MAX = 1_024
#: An entry stays far below a line: a larger step is written as several entries.
TRADES_PER_ENTRY_MAX = 16

# Their characters are looked at by ``check_texts``, all of a message at once: a pattern here would
# be a call of ``re`` for each member, and three quarters of the time that decoding takes.
HexId: TypeAlias = Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
HexKey: TypeAlias = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]
Money: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=38)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Stamp: TypeAlias = tuple[Count, Count]
Symbol: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """An order as it is published. ``id`` is the hash of the other fields and the home."""

    id: HexId
    market: Symbol
    side: Side
    type: OrderType
    quantity: Money
    time: Stamp
    price: Money | None = None
    stop: Money | None = None
    time_in_force: TimeInForce = "gtc"
    post_only: bool = False
    expires: Count | None = None


class StateBody(msgspec.Struct, array_like=True, frozen=True):
    """An order's quantities after the step; what is missing to its quantity is closed."""

    order_id: HexId
    version: Count
    open: Money
    reserved: Money
    filled: Money
    reason: ClosedReason


class TradeBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A trade, published by the maker's home and, when it learns of it, by the taker's."""

    id: HexId
    market: Symbol
    price: Money
    quantity: Money
    side: Side
    maker: HexId
    taker: HexId
    maker_home: HexKey
    taker_home: HexKey
    time: Count

    def add_texts(self, ids: list[str], amounts: list[str]) -> None:
        """What ``check_texts`` is to look at."""
        ids += (self.id, self.maker, self.taker, self.maker_home, self.taker_home)
        amounts += (self.price, self.quantity)


class HeartbeatBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """
    A heartbeat: the lease of all orders of the home, and what its live set looks like.

    Attributes:
        lease_ms: replicas may match the home's orders this long after hearing it.
        live: number of live published orders after this entry.
        fingerprint: sum of their element hashes (see ``replica.element``), 64 hex digits.
    """

    lease_ms: Count
    live: Count
    fingerprint: HexKey


class Entry(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """One entry's payload."""

    home: HexKey
    epoch: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    prev: HexKey
    time: Stamp
    order: OrderBody | None = None
    trades: Annotated[tuple[TradeBody, ...], msgspec.Meta(max_length=TRADES_PER_ENTRY_MAX)] = ()
    states: Annotated[tuple[StateBody, ...], msgspec.Meta(max_length=64)] = ()
    beat: HeartbeatBody | None = None

    def encode(self) -> str:
        """The payload: what is hashed, signed, stored and sent, byte for byte."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, payload: str) -> Entry:
        """
        Parse a payload whose signature has not been looked at yet.

        Raises:
            RemoteProtocolError: it is not an entry; the message names the member.
        """
        try:
            entry = _decode(payload)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise RemoteProtocolError(f"bad log entry: {error}") from None
        ids, amounts = [entry.home, entry.prev], []
        order = entry.order
        if order is not None:
            ids.append(order.id)
            amounts += [text for text in (order.quantity, order.price, order.stop) if text]
        for trade in entry.trades:
            trade.add_texts(ids, amounts)
        for state in entry.states:
            ids.append(state.order_id)
            amounts += (state.open, state.reserved, state.filled)
        if entry.beat is not None:
            ids.append(entry.beat.fingerprint)
        check_texts("log entry", ids, amounts)
        return entry


_decode = msgspec.json.Decoder(Entry).decode
_is_hex = re.compile("[0-9a-f]*").fullmatch
_AMOUNT = r"(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?"
_are_amounts = re.compile(f"{_AMOUNT}(?: {_AMOUNT})*").fullmatch


def check_texts(what: str, ids: list[str], amounts: list[str]) -> None:
    """
    Look at the characters of ids and keys, and of prices and quantities.

    Raises:
        RemoteProtocolError: not lower-case hexadecimal digits, or not decimal numbers.
    """
    if not _is_hex("".join(ids)):
        raise RemoteProtocolError(f"bad {what}: an id or key is not lower-case hexadecimal")
    text = " ".join(amounts)
    if amounts and not (_are_amounts(text) and text.count(" ") == len(amounts) - 1):
        raise RemoteProtocolError(f"bad {what}: a price or quantity is not a decimal number")


def order_id(
    home: str,
    market: str,
    side: Side,
    type: OrderType,
    quantity: str,
    time: Stamp,
    price: str | None,
    stop: str | None,
    time_in_force: TimeInForce,
    post_only: bool,
    expires: int | None,
) -> str:
    """
    The id of an order: the first 16 bytes, in hex, of the SHA-256 of all its fields.

    Nobody can mint a second order with the id of a first, and a home cannot publish one id
    with two meanings.
    """
    fields = (
        home, market, side, type, quantity, time, price, stop, time_in_force, post_only, expires,
    )  # fmt: skip
    return sha256(msgspec.json.encode(fields)).hexdigest()[:32]


def order_body(order: Order, market: Market) -> OrderBody:
    """``order`` as it is published."""
    return OrderBody(
        order.order_id,
        order.market,
        order.side,
        order.type,
        market.format_quantity(order.quantity_lots),
        (order.time_ms, order.counter),
        None if order.price_ticks is None else market.format_price(order.price_ticks),
        None if order.stop_ticks is None else market.format_price(order.stop_ticks),
        order.time_in_force,
        order.post_only,
        order.expires_ms,
    )


def check_order_id(body: OrderBody, home: str) -> None:
    """
    Raises:
        RemoteProtocolError: the id is not the hash of the order.
    """
    expected = order_id(
        home,
        body.market,
        body.side,
        body.type,
        body.quantity,
        body.time,
        body.price,
        body.stop,
        body.time_in_force,
        body.post_only,
        body.expires,
    )
    if body.id != expected:
        raise RemoteProtocolError(f"order id {body.id} is not the hash of its order")


def order_from_body(body: OrderBody, home: str, market: Market) -> Order:
    """
    The order in this peer's units.

    Raises:
        OrderError: price or quantity is not a multiple of this market's tick or lot.
    """
    return Order(
        body.id,
        home,
        body.market,
        body.side,
        body.type,
        body.time_in_force,
        None if body.price is None else market.price_ticks(body.price),
        None if body.stop is None else market.price_ticks(body.stop),
        market.quantity_lots(body.quantity),
        body.post_only,
        body.expires,
        *body.time,
    )


def state_body(live: LiveOrder, market: Market) -> StateBody:
    """The present state of an order, as it is published."""
    quantity = market.format_quantity
    return StateBody(
        live.order_id,
        live.version,
        quantity(live.open),
        quantity(live.reserved),
        quantity(live.filled),
        live.reason,
    )


def trade_body(trade: Trade, market: Market) -> TradeBody:
    """``trade`` as it is published."""
    return TradeBody(
        trade.trade_id,
        trade.market,
        market.format_price(trade.price_ticks),
        market.format_quantity(trade.quantity_lots),
        trade.side,
        trade.maker_order,
        trade.taker_order,
        trade.maker_home,
        trade.taker_home,
        trade.time_ms,
    )


def trade_from_body(body: TradeBody, market: Market) -> Trade:
    """
    The trade in this peer's units.

    Raises:
        OrderError: price or quantity is not a multiple of this market's tick or lot.
    """
    return Trade(
        body.id,
        body.market,
        market.price_ticks(body.price),
        market.quantity_lots(body.quantity),
        body.side,
        body.maker,
        body.taker,
        body.maker_home,
        body.taker_home,
        body.time,
    )


@attrs.define
class OriginLog:
    """
    This home's own log: appends, and the newest entries for neighbours that ask.

    Attributes:
        home: this peer's key.
        epoch, seq, hash: the head; seq 0 and ``GENESIS`` while empty.
        tail: the newest entries by seq, at most ``TAIL_ENTRIES_MAX``.
    """

    home: str
    _sealer: Sealer
    _clock: HybridClock
    epoch: int = 1
    seq: int = 0
    hash: str = GENESIS
    tail: deque[tuple[int, Draft]] = attrs.field(factory=lambda: deque(maxlen=TAIL_ENTRIES_MAX))

    def append(
        self,
        now: float,
        order: OrderBody | None = None,
        trades: tuple[TradeBody, ...] = (),
        states: tuple[StateBody, ...] = (),
        *,
        beat: HeartbeatBody | None = None,
        stamp: Stamp | None = None,
    ) -> Draft:
        """
        Add one entry; it is signed when its batch is sealed.

        Args:
            stamp: the entry's time when the caller already took it from the clock.
        """
        entry = Entry(
            self.home,
            self.epoch,
            self.seq + 1,
            self.hash,
            stamp or self._clock.stamp(now),
            order,
            trades,
            states,
            beat,
        )
        draft = self._sealer.add(entry.encode())
        self.seq += 1
        self.hash = draft.hash.hex()
        self.tail.append((self.seq, draft))
        return draft

    def stamp(self, now: float) -> Stamp:
        """The time of an entry that is appended later, but before any with a later time."""
        return self._clock.stamp(now)

    def time_ms(self, now: float) -> int:
        """The time by the clock that stamps entries: not before any of them."""
        return self._clock.read_ms(now)

    def range(self, first: int, last: int) -> list[Draft] | None:
        """Entries ``first`` to ``last``, or None when some are no longer in memory."""
        if not self.tail or first < self.tail[0][0]:
            return None
        start = self.tail[0][0]
        return [self.tail[seq - start][1] for seq in range(first, min(last, self.seq) + 1)]

    def restore(self, epoch: int, seq: int, hash: str, tail: Sequence[tuple[int, Signed]]) -> None:
        """Continue where the stored log ends."""
        self.epoch, self.seq, self.hash = epoch, seq, hash
        self.tail.clear()
        self.tail.extend(
            (number, Draft(signed.payload, leaf_hash(signed.payload), signed))
            for number, signed in tail
        )

"""
One entry of a home's log: what it may contain, and how it is read and checked.

Pure. See docs/design/log.rst#entries. An entry may publish one order, record trades and give the
new states of the orders that these touched. A home commits all of it in one transaction; a step too
large for one entry takes several. ``prev`` is the hash of the entry before. Two different entries
with one (home, epoch, seq) prove that the home published two histories.

Prices and quantities are decimal strings: an entry means the same to a peer whose market has
another tick, and a person can read it. An order names the tick and lot of its market, so whoever
holds it knows by its home's signature whether they are its own (docs/design/log.rst#tick-and-lot).
"""

from __future__ import annotations

import re
from hashlib import sha256
from sys import intern
from typing import Annotated, TypeAlias

import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.errors import NOT_A_MULTIPLE, OrderError
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
from grenache_py.exchange.signed_log.hybrid_clock import COUNTER_MAX, TIME_MS_MAX
from grenache_py.exchange.signed_log.merkle import check_canonical

__all__ = [
    "EPOCHS_AHEAD_MAX",
    "EPOCH_MAX",
    "GENESIS",
    "LEASE_MS_MAX",
    "SEQ_MAX",
    "STATES_PER_ENTRY_MAX",
    "TRADES_PER_ENTRY_MAX",
    "Entry",
    "HeartbeatBody",
    "OrderBody",
    "Stamp",
    "StateBody",
    "TradeBody",
    "check_order_id",
    "check_texts",
    "epoch_of_time",
    "order_body",
    "order_from_body",
    "order_id",
    "state_body",
    "trade_body",
    "trade_from_body",
]

#: ``prev`` of the first entry of an epoch-1 log.
GENESIS = "0" * 64
#: An entry stays far below a line: a larger step is written as several entries.
TRADES_PER_ENTRY_MAX = 16
#: The longest log of one epoch: 36 bits, as the store numbers entries.
SEQ_MAX = 2**36 - 1
#: The highest epoch: 27 bits of minutes, until the year 2281.
EPOCH_MAX = 2**27 - 1
#: The first minute that epochs are counted from: 2026-01-01, in ms since 1970.
EPOCHS_SINCE_MS = 1_767_225_600_000
#: How far an epoch may be above the minute of its entry: each ``--new-epoch`` raises it by one, a
#: second one within a minute too.
EPOCHS_AHEAD_MAX = 1_000
#: The longest lease. A network of 5,000 homes needs 400 s.
LEASE_MS_MAX = 600_000
#: A trade is not later than its fill's deadline, 10 s after its taker's home asked.
TRADE_AHEAD_MS_MAX = 60_000
#: States in one entry; a step that closes more orders is written as several entries.
STATES_PER_ENTRY_MAX = 64

# Only lengths are checked here. ``check_texts`` checks the characters of a whole message at once:
# a pattern for each member would call ``re`` for each, three quarters of the time of decoding.
HexId: TypeAlias = Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
HexKey: TypeAlias = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]
Money: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=38)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
TimeMs: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=TIME_MS_MAX)]
Stamp: TypeAlias = tuple[TimeMs, Annotated[int, msgspec.Meta(ge=0, le=COUNTER_MAX)]]
Symbol: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """
    An order as it is published. ``id`` is the hash of the fields down to ``expires`` and the home.

    Attributes:
        tick, lot: of its market at its home; None in orders that version 0.1.0 published.
    """

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
    tick: Money | None = None
    lot: Money | None = None

    def differs(self, market: Market) -> bool:
        """Whether its home trades ``market`` with another tick or lot."""
        return (self.tick, self.lot) not in (market.steps, (None, None))


class StateBody(msgspec.Struct, array_like=True, frozen=True):
    """An order's quantities after the step; the rest of its quantity is closed."""

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
    time: TimeMs

    def add_texts(self, ids: list[str], amounts: list[str]) -> None:
        """Add this trade's texts to the two lists that ``check_texts`` takes."""
        ids += (self.id, self.maker, self.taker, self.maker_home, self.taker_home)
        amounts += (self.price, self.quantity)


class HeartbeatBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """
    A heartbeat: how long the home's orders may be matched, and which orders are live.

    Attributes:
        lease_ms: replicas may match the home's orders this long after hearing it.
        live: number of live published orders after this entry.
        fingerprint: sum of their elements (see ``live_set.element``), 64 hex digits.
    """

    lease_ms: Annotated[int, msgspec.Meta(ge=0, le=LEASE_MS_MAX)]
    live: Count
    fingerprint: HexKey


class Entry(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """One entry's payload."""

    home: HexKey
    epoch: Annotated[int, msgspec.Meta(ge=1, le=EPOCH_MAX)]
    seq: Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]
    prev: HexKey
    time: Stamp
    order: OrderBody | None = None
    trades: Annotated[tuple[TradeBody, ...], msgspec.Meta(max_length=TRADES_PER_ENTRY_MAX)] = ()
    states: Annotated[tuple[StateBody, ...], msgspec.Meta(max_length=STATES_PER_ENTRY_MAX)] = ()
    beat: HeartbeatBody | None = None

    def check_canonical(self, payload: str) -> None:
        """
        Check that ``payload`` is the one spelling of this entry.

        Raises:
            RemoteProtocolError: it is padded, or spelled otherwise.
        """
        check_canonical("log entry", self, payload)

    def encode(self) -> str:
        """The payload, byte for byte as it is hashed, signed, stored and sent."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, payload: str) -> Entry:
        """
        Parse a payload. Not checked here: the signature, and, for what is held already or only
        read, whether it is canonical.

        Raises:
            RemoteProtocolError: it is not an entry; the message names the member.
        """
        try:
            entry = _decode(payload)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise RemoteProtocolError(f"bad log entry: {error}") from None
        ids, amounts = [entry.home, entry.prev], []
        time_ms = entry.time[0]
        if (
            entry.epoch > EPOCHS_AHEAD_MAX
            and entry.epoch > epoch_of_time(time_ms) + EPOCHS_AHEAD_MAX
        ):
            raise RemoteProtocolError("bad log entry: its epoch is far above its time")
        order = entry.order
        if order is not None:
            if order.time > entry.time:
                raise RemoteProtocolError("bad log entry: its order is later than itself")
            ids.append(order.id)
            texts = order.quantity, order.price, order.stop, order.tick, order.lot
            amounts += [text for text in texts if text]
        for trade in entry.trades:
            if trade.time > time_ms + TRADE_AHEAD_MS_MAX:
                raise RemoteProtocolError("bad log entry: its trade is far above its time")
            trade.add_texts(ids, amounts)
        for state in entry.states:
            ids.append(state.order_id)
            amounts += (state.open, state.reserved, state.filled)
        if entry.beat is not None:
            ids.append(entry.beat.fingerprint)
        check_texts("log entry", ids, amounts)
        return entry


def epoch_of_time(time_ms: int) -> int:
    """The epoch that a home begins at this time: minutes since 2026, 1 at least."""
    return max(1, (time_ms - EPOCHS_SINCE_MS) // 60_000)


_decode = msgspec.json.Decoder(Entry).decode
_is_hex = re.compile("[0-9a-f]*").fullmatch
# No zeros at the end: an amount has one spelling, and "0" alone is nothing.
_AMOUNT = r"(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{0,17}[1-9])?"
_are_amounts = re.compile(f"{_AMOUNT}(?: {_AMOUNT})*").fullmatch


def check_texts(what: str, ids: list[str], amounts: list[str]) -> None:
    """
    Check the characters of ids and keys, and of prices and quantities.

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

    So nobody can make a second order with the id of a first, and a home cannot publish two
    orders under one id. Tick and lot are left out: ids are older than they are.
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
        # Read from the disk it is another object than the default, and would be written out.
        intern(order.time_in_force),  # type: ignore[arg-type]
        order.post_only,
        order.expires_ms,
        *market.steps,
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
        OrderError: it was placed in a market with another tick or lot, or its price or quantity is
            not a multiple of them.
    """
    if body.differs(market):
        raise OrderError(NOT_A_MULTIPLE, f"its tick is {body.tick} and its lot {body.lot}")
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

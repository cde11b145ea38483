"""
The messages of a fill between two homes, and the ids they carry.

Pure. See docs/design/fills.rst#messages. A fill asks one maker's home to trade up to 28 of its
orders (legs) against one order of the taker's home, in one transaction. Its answer is final: stored
before it is sent, the same bytes ever after, whether it says yes or no.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Literal

import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.market.matching import LEGS_MAX
from grenache_py.exchange.signed_log.entries import (
    EPOCH_MAX,
    Count,
    HexId,
    HexKey,
    Money,
    Symbol,
    TimeMs,
    TradeBody,
    check_texts,
)

__all__ = [
    "FILLS_TOLD_MAX",
    "LEGS_MAX",
    "FillAnswer",
    "FillRequest",
    "RefusalReason",
    "Settled",
    "decode_answer",
    "decode_fill",
    "decode_settled",
    "encode",
    "fill_id",
    "trade_id",
]

#: Fills that one ``fill.settled`` tells of: 36 bytes each of a signed payload.
FILLS_TOLD_MAX = 256
#: Legs of a stored fill or answer; earlier versions asked for more than ``LEGS_MAX``.
LEGS_READ_MAX = 32

#: Why a fill was refused as a whole.
RefusalReason = Literal[
    "", "late", "unknown", "role", "epoch", "limit", "committed", "partial", "frozen"
]


class FillRequest(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="fill", tag_field="kind"
):
    """
    A taker's request.

    Attributes:
        id: ``fill_id`` of the fields below.
        order: the taker's order; its signed entry travels beside the request.
        fill_seq: counts the fills of this order.
        committed: lots of the order that are filled or reserved, this fill included; more than
            the order's quantity is over-commitment, and signed.
        deadline: ms; the maker refuses the fill later than this, by its own clock.
        epoch: the maker's log epoch as the taker knows it.
        legs: (maker's order, quantity, the maker's price) each.
        all_or_none: refuse unless every leg fills completely.
    """

    id: HexId
    taker_home: HexKey
    maker_home: HexKey
    market: Symbol
    order: HexId
    fill_seq: Count
    committed: Money
    deadline: TimeMs
    epoch: Annotated[int, msgspec.Meta(ge=1, le=EPOCH_MAX)]
    legs: Annotated[
        tuple[tuple[HexId, Money, Money], ...], msgspec.Meta(min_length=1, max_length=LEGS_READ_MAX)
    ]
    all_or_none: bool


class FillAnswer(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="answer", tag_field="kind"
):
    """
    The maker's final answer.

    Attributes:
        fill: the fill's id.
        why: the reason it was refused as a whole, "" when it was not.
        trades: what was traded, at most one a leg; a leg without a trade got nothing.
    """

    fill: HexId
    taker_home: HexKey
    maker_home: HexKey
    why: RefusalReason
    trades: Annotated[tuple[TradeBody, ...], msgspec.Meta(max_length=LEGS_READ_MAX)]


class Settled(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="settled", tag_field="kind"
):
    """
    The taker's word that it has the answers to these fills on its disk.

    Attributes:
        fills: their ids.
    """

    taker_home: HexKey
    maker_home: HexKey
    fills: Annotated[tuple[HexId, ...], msgspec.Meta(min_length=1, max_length=FILLS_TOLD_MAX)]


_fill = msgspec.json.Decoder(FillRequest).decode
_answer = msgspec.json.Decoder(FillAnswer).decode
_settled = msgspec.json.Decoder(Settled).decode


def encode(message: FillRequest | FillAnswer | Settled) -> str:
    """The payload to be signed."""
    return msgspec.json.encode(message).decode()


def decode_fill(payload: str) -> FillRequest:
    """
    Raises:
        RemoteProtocolError: not a fill, or its id is not that of its fields.
    """
    try:
        fill = _fill(payload)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise RemoteProtocolError(f"bad fill: {error}") from None
    ids = [fill.id, fill.taker_home, fill.maker_home, fill.order]
    amounts = [fill.committed]
    for order, quantity, price in fill.legs:
        ids.append(order)
        amounts += (quantity, price)
    check_texts("fill", ids, amounts)
    if fill.id != fill_id(fill.order, fill.maker_home, fill.taker_home, fill.fill_seq):
        raise RemoteProtocolError(f"fill id {fill.id} is not the hash of its fields")
    if len({order for order, _, _ in fill.legs}) != len(fill.legs):
        raise RemoteProtocolError("a fill names the same maker order twice")
    return fill


def decode_answer(payload: str) -> FillAnswer:
    """
    Raises:
        RemoteProtocolError: not an answer.
    """
    try:
        answer = _answer(payload)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise RemoteProtocolError(f"bad fill answer: {error}") from None
    ids = [answer.fill, answer.taker_home, answer.maker_home]
    amounts: list[str] = []
    for trade in answer.trades:
        trade.add_texts(ids, amounts)
    check_texts("fill answer", ids, amounts)
    return answer


def decode_settled(payload: str) -> Settled:
    """
    Raises:
        RemoteProtocolError: it does not say that fills are settled.
    """
    try:
        settled = _settled(payload)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise RemoteProtocolError(f"bad settlement: {error}") from None
    check_texts("settlement", [settled.taker_home, settled.maker_home, *settled.fills], [])
    return settled


def fill_id(taker_order: str, maker_home: str, taker_home: str, fill_seq: int) -> str:
    """32 hex digits. The sequence number makes asking again, later, another fill."""
    text = f"fill:{taker_order}:{maker_home}:{taker_home}:{fill_seq}"
    return sha256(text.encode()).hexdigest()[:32]


def trade_id(fill: str, maker_order: str) -> str:
    """32 hex digits: what both sides call the trade of one leg (docs/failure-modes.rst#f10)."""
    return sha256(f"trade:{fill}:{maker_order}".encode()).hexdigest()[:32]

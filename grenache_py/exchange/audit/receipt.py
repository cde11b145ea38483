"""
A trade as a document: the statements that its homes signed, and what they prove together.

Pure. See docs/settlement.rst. A receipt holds signed bytes and nothing that would have to be
believed: who sold what to whom is read out of the statements when they have been checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from typing import Annotated, Literal

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.fills.messages import (
    FillAnswer,
    FillRequest,
    decode_answer,
    decode_fill,
    trade_id,
)
from grenache_py.exchange.market.instrument import SYMBOL
from grenache_py.exchange.signed_log.entries import (
    Entry,
    HexId,
    OrderBody,
    TradeBody,
    check_order_id,
    check_texts,
)
from grenache_py.exchange.signed_log.keys import Ed25519
from grenache_py.exchange.signed_log.merkle import Signed, Verifier, Wire

__all__ = [
    "NOT_PROVEN",
    "RECEIPT_BYTES_MAX",
    "ProvenTrade",
    "Receipt",
    "Signature",
    "moment_of",
    "prove_trade",
    "select_statements",
]

#: An entry of each home, or a request beside the entry of its order.
STATEMENTS_MAX = 3
#: Three payloads of 14,000 bytes, each quote in them escaped, with signatures and paths.
RECEIPT_BYTES_MAX = 100_000

#: What nobody may conclude from a receipt.
NOT_PROVEN = (
    "that anything was paid or delivered: settlement is not this program's",
    "who stands behind a key: anybody can make two keys and sign a trade between them",
    "for which of its clients a home traded",
    "that the clocks were right: each home signs the time of its own",
    "that a home signed nothing else, such as another history, or a refusal of this very trade",
    "that either side can pay or deliver, or ever could",
)


class Receipt(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """
    The file. It has one spelling: no blanks, the members in this order, a line feed at the end; and
    each path to a signed root is that of a whole tree, so that ``leaf`` has no second spelling.

    Attributes:
        receipt: the version of the format.
        network: the name of the network, which every signature covers.
        trade: the id of the trade that is to be proven.
        statements: what the homes signed.
    """

    receipt: Literal[1]
    network: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
    trade: HexId
    statements: Annotated[tuple[Wire, ...], msgspec.Meta(min_length=1, max_length=STATEMENTS_MAX)]

    @classmethod
    def of(cls, network: str, trade: str, statements: list[Signed]) -> Receipt:
        """The receipt of ``trade`` that holds ``statements``."""
        return cls(1, network, trade, tuple(_whole_tree(signed).wire() for signed in statements))

    def encode(self) -> bytes:
        """The bytes of the file."""
        return msgspec.json.encode(self) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """
        Read a file; no signature is checked here.

        Raises:
            RemoteProtocolError: it is no receipt, too long, or spelled otherwise.
        """
        if len(data) > RECEIPT_BYTES_MAX:
            raise RemoteProtocolError(f"a receipt has at most {RECEIPT_BYTES_MAX} bytes")
        try:
            receipt = _decode(data)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise RemoteProtocolError(f"not a receipt: {error}") from None
        check_texts("receipt", [receipt.trade], [])
        straight = all(wire.leaf[1] == 1 << len(wire.path) // 32 for wire in receipt.statements)
        if receipt.encode() != data or not straight:
            raise RemoteProtocolError(
                "the file is not spelled as receipts are: it was changed after it was written"
            )
        return receipt


_decode = msgspec.json.Decoder(Receipt).decode


def moment_of(time_ms: int) -> str:
    """A time in UTC, to the millisecond."""
    when = datetime.fromtimestamp(time_ms / 1000, timezone.utc)
    return f"{when:%Y-%m-%d %H:%M:%S}.{time_ms % 1000:03d} UTC"


def _whole_tree(signed: Signed) -> Signed:
    """
    The same proof in a tree without promoted nodes, which hashes alike.

    A signature covers the root, not the number of leaves: a leaf of a tree of three is proven by
    the same path as one of four.
    """
    position, width, index, height = signed.index, signed.size, 0, 0
    while width > 1:
        if position ^ 1 < width:
            index |= (position & 1) << height
            height += 1
        position, width = position >> 1, (width + 1) >> 1
    return msgspec.structs.replace(signed, index=index, size=1 << height)


@attrs.frozen
class Signature:
    """
    One statement that was checked.

    Attributes:
        home: the key that signed it.
        kind: what was signed.
        covers: the same for people, and what the signature covers.
        time: when that home signed it, by its own clock, ms since 1970; None where it does not say.
    """

    home: str
    kind: Literal["log entry", "answer", "request", "order"]
    covers: str
    time: int | None


@attrs.frozen
class ProvenTrade:
    """
    What a receipt proves.

    Attributes:
        time: when the maker's home committed the trade, by its clock, ms since 1970.
        signatures: by whom, and over what.
        missing: homes of the trade that signed nothing in the receipt; with any, it proves only
            what the other home says.
    """

    network: str
    trade: str
    market: str
    quantity: str
    price: str
    seller: str
    buyer: str
    sell_order: str
    buy_order: str
    maker: str
    taker: str
    time: int
    signatures: tuple[Signature, ...]
    missing: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether each home of the trade signed it."""
        return not self.missing


@attrs.define
class _Evidence:
    """The statements of one receipt, decoded, each with its signature checked."""

    trade: str
    signatures: list[Signature] = attrs.Factory(list)
    trades: list[TradeBody] = attrs.Factory(list)
    request: FillRequest | None = None
    order: tuple[str, OrderBody] | None = None
    fills: list[str] = attrs.Factory(list)

    def add(self, signed: Signed, verifier: Verifier) -> None:
        """
        Raises:
            RemoteProtocolError: it is not signed as it says, or says nothing about the trade.
        """
        said = _said(signed)
        if isinstance(said, Entry):
            said.check_canonical(signed.payload)
            verifier.check(signed, said.home)
            self._entry(said)
        elif isinstance(said, FillAnswer):
            verifier.check(signed, said.maker_home)
            self._answer(said)
        else:
            verifier.check(signed, said.taker_home)
            self._request(said)

    def _entry(self, entry: Entry) -> None:
        where = f"entry {entry.epoch}/{entry.seq} of its log"
        time_ms = entry.time[0]
        trade = _of(self.trade, entry.trades)
        if trade is not None:
            if entry.home not in (trade.maker_home, trade.taker_home):
                raise RemoteProtocolError(f"its home {entry.home} has no part in the trade")
            self.trades.append(trade)
            self._sign(Signature(entry.home, "log entry", f"{where}: the whole trade", time_ms))
        elif entry.order is not None:
            check_order_id(entry.order, entry.home)
            self.order = entry.home, entry.order
            what = f"{where}: the taker's order, with its side and limit"
            self._sign(Signature(entry.home, "order", what, time_ms))
        else:
            raise RemoteProtocolError("it says nothing of the trade")

    def _answer(self, answer: FillAnswer) -> None:
        trade = _of(self.trade, answer.trades)
        if trade is None:
            raise RemoteProtocolError("it says nothing of the trade")
        if (answer.maker_home, answer.taker_home) != (trade.maker_home, trade.taker_home):
            raise RemoteProtocolError("it answers another home than the trade's")
        self.trades.append(trade)
        self.fills.append(answer.fill)
        what = f"its final answer to fill {answer.fill}: the whole trade"
        self._sign(Signature(answer.maker_home, "answer", what, trade.time))

    def _request(self, request: FillRequest) -> None:
        self.request = request
        self.fills.append(request.id)
        legs = [leg for leg in request.legs if trade_id(request.id, leg[0]) == self.trade]
        if not legs:
            raise RemoteProtocolError("it says nothing of the trade")
        what = (
            f"its request, fill {request.id}: to trade up to {legs[0][1]} at {legs[0][2]}, if the"
            f" maker commits it by {moment_of(request.deadline)}"
        )
        self._sign(Signature(request.taker_home, "request", what, None))

    def _sign(self, signature: Signature) -> None:
        if (signature.home, signature.kind) in {(by.home, by.kind) for by in self.signatures}:
            raise RemoteProtocolError("it repeats another statement")
        self.signatures.append(signature)

    def agreed(self) -> TradeBody:
        """
        The one trade that all statements are about.

        Raises:
            RemoteProtocolError: nobody says that it was made, or two statements differ.
        """
        if not self.trades:
            raise RemoteProtocolError("no statement says that the trade was made")
        trade = self.trades[0]
        for other in self.trades[1:]:
            for member in trade.__struct_fields__:
                one, two = getattr(trade, member), getattr(other, member)
                if one != two:
                    raise RemoteProtocolError(
                        f"the homes signed different trades: {member} is {one} and {two}"
                    )
        if not SYMBOL.fullmatch(trade.market):  # it would be printed among what was checked
            raise RemoteProtocolError(f"no market has the name {trade.market!r}")
        for fill in self.fills:
            if trade_id(fill, trade.maker) != trade.id:
                raise RemoteProtocolError("the trade's id is not that of the fill and its order")
        if (self.request is None) != (self.order is None):
            raise RemoteProtocolError("a request and its order prove something only together")
        if self.request is not None and self.order is not None:
            _check_request(self.request, *self.order, trade)
        return trade


def _check_request(request: FillRequest, home: str, order: OrderBody, trade: TradeBody) -> None:
    """Whether the taker's home asked for ``trade``, with an order that allows it."""
    quantity, price = next(
        (Decimal(quantity), leg_price)
        for maker, quantity, leg_price in request.legs
        if trade_id(request.id, maker) == trade.id
    )
    limit = None if order.price is None else Decimal(order.price)
    beyond = limit is not None and (
        Decimal(trade.price) > limit if order.side == "buy" else Decimal(trade.price) < limit
    )
    for fits, what in (
        ((request.taker_home, home) == (trade.taker_home,) * 2, "the taker's home"),
        (request.maker_home == trade.maker_home, "the maker's home"),
        (request.order == order.id == trade.taker, "the taker's order"),
        (request.market == order.market == trade.market, "the market"),
        (order.side == trade.side, "the side"),
        (price == trade.price and not beyond, "the price"),
        (Decimal(trade.quantity) <= min(quantity, Decimal(order.quantity)), "the quantity"),
        (trade.time <= request.deadline, "the time"),
    ):
        if not fits:
            raise RemoteProtocolError(f"the trade is not what was asked for: {what} differs")


def prove_trade(data: bytes) -> ProvenTrade:
    """
    Check a receipt, with nothing but its own bytes.

    Raises:
        RemoteProtocolError: it does not prove what it claims; the message names what does not fit.
    """
    receipt = Receipt.decode(data)
    verifier = Verifier(Ed25519(), receipt.network)
    evidence = _Evidence(receipt.trade)
    for number, wire in enumerate(receipt.statements, 1):
        try:
            evidence.add(Signed.from_wire(wire), verifier)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"statement {number}: {error}") from None
    trade = evidence.agreed()
    sides = [(trade.taker_home, trade.taker), (trade.maker_home, trade.maker)]
    if trade.side == "sell":
        sides.reverse()
    (buyer, buy_order), (seller, sell_order) = sides
    signed_by = {signature.home for signature in evidence.signatures}
    homes = dict.fromkeys((trade.maker_home, trade.taker_home))
    return ProvenTrade(
        receipt.network,
        trade.id,
        trade.market,
        trade.quantity,
        trade.price,
        seller,
        buyer,
        sell_order,
        buy_order,
        trade.maker_home,
        trade.taker_home,
        trade.time,
        tuple(evidence.signatures),
        tuple(home for home in homes if home not in signed_by),
    )


def select_statements(trade: str, held: Iterable[Signed]) -> list[Signed]:
    """
    Of what is at hand, what a receipt of ``trade`` needs: what comes first is taken first.

    Returns:
        for each home a statement that the trade was made; for the taker's at least that it asked
        for it. Nothing, when no home is at hand that says it was made.
    """
    made: dict[str, Signed] = {}
    asked: list[Signed] = []
    orders: dict[str, Signed] = {}
    wanted = body = None
    for signed in held:
        said = _said(signed)
        if isinstance(said, FillRequest):
            if any(trade_id(said.id, maker) == trade for maker, _, _ in said.legs):
                asked, wanted = [signed], said.order
            continue
        if isinstance(said, Entry) and said.order is not None:
            orders.setdefault(said.order.id, signed)
        found = _of(trade, said.trades)
        if found is not None:
            body = found
            made.setdefault(said.home if isinstance(said, Entry) else said.maker_home, signed)
    if body is not None and body.taker_home not in made and wanted in orders:
        return [*made.values(), *asked, orders[wanted]]
    return list(made.values())


def _said(signed: Signed) -> Entry | FillAnswer | FillRequest:
    """Raises RemoteProtocolError: it is none of these."""
    for decode in (Entry.decode, decode_answer, decode_fill):
        with suppress(RemoteProtocolError):
            return decode(signed.payload)
    raise RemoteProtocolError("it is no log entry, no answer and no request")


def _of(trade: str, trades: tuple[TradeBody, ...]) -> TradeBody | None:
    return next((each for each in trades if each.id == trade), None)

"""
A fill that was asked for and is not settled: its record, its row, and what may answer it.

Pure. The taker keeps one for each fill in doubt, in memory and in the store.
"""

from __future__ import annotations

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.rows import IntentRow
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.fills.messages import FillRequest, decode_fill, trade_id
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.home.transition import OwnOrder
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.signed_log.entries import TradeBody, trade_from_body
from grenache_py.exchange.signed_log.merkle import Draft, Signed, leaf_hash

__all__ = ["RETRY_S_MIN", "Intent", "intent_from_row", "intent_row", "trades_by_leg"]

#: How long after it was sent a fill is asked for again the first time.
RETRY_S_MIN = 1.0


@attrs.define(eq=False)
class Intent:
    """
    A fill asked for and not settled.

    Attributes:
        fill, draft: what was asked, and its signed bytes.
        own: the taker's order.
        legs: (maker order, lots, price in ticks) each.
        settled: bit i is set once leg i has its outcome.
        seen: trades of it that the maker's log has shown, by leg.
        log_mark: epoch and ``Origin.jumps`` of the maker's log when it was asked; None after a
            restart. While they stay the same, each entry of that log has been seen here.
        retry_at: when to ask again, seconds.
        retry_s: the wait before that, seconds; it doubles each time.
        asked_at: when it was asked for, seconds; None after a restart.
    """

    fill: FillRequest
    draft: Draft
    own: OwnOrder
    legs: list[tuple[str, int, int]]
    retry_at: float
    settled: int = 0
    seen: dict[int, TradeBody] = attrs.Factory(dict)
    retry_s: float = RETRY_S_MIN
    log_mark: tuple[int, int] | None = None
    asked_at: float | None = None

    @property
    def open_lots(self) -> int:
        """Lots still in doubt."""
        return sum(lots for i, (_, lots, _) in enumerate(self.legs) if not self.settled >> i & 1)

    @property
    def statements(self) -> list[Signed]:
        """What this home signed to ask for it: the fill, and the entry of its order."""
        drafts = self.draft, self.own.order_entry
        return [draft.proof for draft in drafts if draft is not None]

    @property
    def all_settled(self) -> bool:
        """Each leg has its outcome."""
        return self.settled == (1 << len(self.legs)) - 1


def trades_by_leg(
    intent: Intent, bodies: tuple[TradeBody, ...], market: Market
) -> dict[int, TradeBody]:
    """
    The trades by the index of their leg.

    Raises:
        RemoteProtocolError: one of them is not of a leg, or for more, or at another price.
    """
    legs = {order_id: i for i, (order_id, _, _) in enumerate(intent.legs)}
    found: dict[int, TradeBody] = {}
    for body in bodies:
        i = legs.get(body.maker)
        if i is None or i in found or body.id != trade_id(intent.fill.id, body.maker):
            raise RemoteProtocolError("the answer names a trade that was not asked for")
        _, lots, price = intent.legs[i]
        try:
            traded = trade_from_body(body, market).quantity_lots
        except OrderError as error:
            raise RemoteProtocolError(f"the answer's trade: {error}") from None
        if (
            body.price != market.format_price(price)
            or traded > lots
            or body.time > intent.fill.deadline  # the maker's home refuses later than that
            or body.market != market.symbol
            or (body.maker_home, body.taker_home, body.taker, body.side)
            != (
                intent.fill.maker_home,
                intent.fill.taker_home,
                intent.fill.order,
                intent.own.live.side,
            )
        ):
            raise RemoteProtocolError("the answer's trade is not what was asked for")
        found[i] = body
    return found


def intent_row(intent: Intent) -> IntentRow:
    """The row that keeps ``intent``; sealed only, for it holds the proof."""
    fill, proof = intent.fill, intent.draft.proof
    return IntentRow(
        fill.id,
        fill.order,
        fill.maker_home,
        intent.open_lots,
        fill.deadline,
        intent.settled,
        int(intent.all_settled),  # a store of numbers takes no bool
        proof.payload,
        proof.path,
        proof.index,
        proof.size,
        proof.signature,
    )


def intent_from_row(row: IntentRow, ledger: Ledger, now: float) -> Intent:
    """The intent that ``row`` keeps, to be asked about at once."""
    fill = decode_fill(row.payload)
    market = ledger.markets[fill.market]
    draft = Draft(
        row.payload,
        leaf_hash(row.payload),
        Signed(row.payload, row.path, row.leaf, row.size, row.signature),
    )
    legs = [
        (order_id, market.quantity_lots(lots), market.price_ticks(price))
        for order_id, lots, price in fill.legs
    ]
    return Intent(fill, draft, ledger.own[fill.order], legs, now, row.settled)

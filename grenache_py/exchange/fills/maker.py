"""
The maker's side of a fill: one stored, final answer per fill id.

Pure. See docs/design/fills.rst#maker. The maker's home commits last and its transaction decides.
Four rules here were each found necessary by a simulation that double-filled without them: a fill
seen before gets the stored bytes again (``repeat``), a refusal is stored like a yes
(``store_refusals``), asking about an unknown fill makes that fill impossible (``poison``), and no
answer leaves before its transaction has returned (the batch sees to that).
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import EvidenceRow, Snapshot
from grenache_py.exchange.errors import BUSY, FORGOTTEN, OrderError
from grenache_py.exchange.fills.answers import Answers, StoredAnswer
from grenache_py.exchange.fills.evidence import keep_evidence
from grenache_py.exchange.fills.messages import (
    FillAnswer,
    FillRequest,
    RefusalReason,
    decode_fill,
    decode_settled,
    encode,
    trade_id,
)
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.home.transition import Transition
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.matching import LEGS_MAX, rests
from grenache_py.exchange.market.order import LiveOrder, Order, OrderKey, Side, Trade
from grenache_py.exchange.signed_log.entries import (
    Entry,
    check_order_id,
    order_from_body,
    trade_body,
)
from grenache_py.exchange.signed_log.hybrid_clock import AHEAD_MS_MAX, HybridClock
from grenache_py.exchange.signed_log.merkle import Draft, Sealer, Signed, Verifier

__all__ = ["ANSWERS_MAX", "DEADLINE_MS_MAX", "Maker"]

#: Answers held for fills that may still be repeated or asked about; beyond it fills wait.
ANSWERS_MAX = 100_000
#: One home's answers at most, as a multiple of the places that are free.
SHARE_OF_FREE = 4
#: A fill's deadline further away than this would have to be remembered too long.
DEADLINE_MS_MAX = 60_000
#: Refusals and settled answers are kept this long after the deadline has passed here.
KEEP_MS = 60_000


@attrs.define
class Maker:
    """
    Answers fills of other homes against own orders.

    Attributes:
        frozen: tells whether a home was proven to have signed two histories.
        published: another home's live order, if it is known here that this entry published it.
        filled, refused, repeated, poisoned: counters of answers given.
    """

    ledger: Ledger
    clock: HybridClock
    outbox: Outbox
    sealer: Sealer
    verifier: Verifier
    frozen: Callable[[str], bool]
    published: Callable[[str, Signed], LiveOrder | None]
    answers_max: int = ANSWERS_MAX
    filled: int = 0
    refused: int = 0
    repeated: int = 0
    poisoned: int = 0
    _answers: Answers = attrs.field(init=False)

    @_answers.default
    def _stored_answers(self) -> Answers:
        return Answers(self.outbox)

    def request(self, fill_signed: Signed, order_signed: Signed, now: float) -> Draft:
        """
        Answer a ``fill.request``.

        Returns:
            the final answer; it is sealed, and may be sent, once the current batch is durable.

        Raises:
            RemoteProtocolError: signatures, ids or units do not fit; nothing is stored.
            OrderError: busy, or forgotten, or the deadline is far away by this clock; not final:
                the taker keeps its reservation and asks again.
        """
        fill = decode_fill(fill_signed.payload)
        if fill.maker_home != self.ledger.home or fill.taker_home == self.ledger.home:
            raise RemoteProtocolError("this fill is not for this home")
        if len(fill.legs) > LEGS_MAX:
            raise RemoteProtocolError(f"a fill has at most {LEGS_MAX} legs")
        self.verifier.check(fill_signed, fill.taker_home)
        stored = self._answers.find(fill.id)
        if stored is not None:
            self.repeated += 1
            return stored.answer
        taker = self._taker_order(fill, order_signed)
        now_ms = self.clock.read_ms(now)
        if now_ms > fill.deadline:
            self._must_know(fill.id, fill.deadline)
            # Unwritten on purpose: a repeat will be late too, for the clock never steps back.
            return self._refuse(fill.id, fill.taker_home, "late")
        if fill.deadline > now_ms + DEADLINE_MS_MAX + AHEAD_MS_MAX:
            raise _too_far()
        self._make_room(fill.taker_home)
        market = self.ledger.markets.get(fill.market)
        if taker is None or market is None:
            return self._store_refusal(fill.id, fill.taker_home, fill.deadline, "unknown")
        order, key = taker
        try:
            committed = market.quantity_lots(fill.committed)
            legs = [(maker, market.quantity_lots(lots)) for maker, lots, _ in fill.legs]
        except OrderError as error:
            raise RemoteProtocolError(f"the fill does not fit this market: {error}") from None
        why: RefusalReason = ""
        if self.frozen(fill.taker_home):
            why = "frozen"
        elif fill.epoch != self.ledger.log.epoch:
            why = "epoch"
        elif committed > order.quantity_lots or sum(lots for _, lots in legs) > committed:
            why = "committed"
        if why:
            return self._store_refusal(fill.id, fill.taker_home, fill.deadline, why)
        parts: list[tuple[LiveOrder, int]] = []
        for maker_order, lots in legs:
            found = self._maker_order(maker_order, order, key, order.price_ticks)
            if isinstance(found, LiveOrder):
                parts.append((found, min(found.open, lots)))
            else:
                why = found
        asked = sum(lots for _, lots in legs)
        if not parts or (fill.all_or_none and sum(part for _, part in parts) < asked):
            why = why or "partial"
            return self._store_refusal(fill.id, fill.taker_home, fill.deadline, why)
        time_ms = self.clock.read_ms(now)
        keep_evidence(self.outbox, {time_ms}, fill_signed, order_signed)
        return self._trade(fill, order.side, parts, market, time_ms, now)

    def _taker_order(self, fill: FillRequest, signed: Signed) -> tuple[Order, OrderKey] | None:
        """
        The taker's order and its key, from the signed entry that published it.

        Returns:
            None when its market is not traded here.
        """
        live = self.published(fill.order, signed)
        if live is not None and (live.home, live.order.market) == (fill.taker_home, fill.market):
            return live.order, live.key  # gossip brought this entry: it was checked
        entry = Entry.decode(signed.payload)
        order = entry.order
        if entry.home != fill.taker_home or order is None or order.id != fill.order:
            raise RemoteProtocolError("the entry beside the fill does not publish its order")
        self.verifier.check(signed, fill.taker_home)
        check_order_id(order, entry.home)
        if order.market != fill.market:
            raise RemoteProtocolError("the fill names another market than its order")
        market = self.ledger.markets.get(fill.market)
        if market is None:
            return None
        try:
            return order_from_body(order, entry.home, market), (*entry.time, order.id)
        except OrderError as error:
            raise RemoteProtocolError(f"the fill does not fit this market: {error}") from None

    def _maker_order(
        self, order_id: str, taker: Order, key: OrderKey, limit: int | None
    ) -> LiveOrder | RefusalReason:
        """The own order of one leg, or why it cannot trade."""
        own = self.ledger.own.get(order_id)
        if own is None:
            return "unknown"
        maker = own.live
        if (
            maker.order.market != taker.market
            or maker.side == taker.side
            or not maker.triggered
            or not rests(maker)
        ):
            return "unknown"
        if maker.key > key:
            return "role"
        price = maker.price_ticks
        if limit is not None and (price > limit if taker.side == "buy" else price < limit):
            return "limit"
        return maker if maker.open else "partial"

    def _trade(
        self,
        fill: FillRequest,
        side: Side,
        parts: list[tuple[LiveOrder, int]],
        market: Market,
        time_ms: int,
        now: float,
    ) -> Draft:
        """
        The commit point: every leg in one step, the answer in the same transaction
        (docs/design/fills.rst#m3).
        """
        transition = Transition()
        book = self.ledger.books[market.symbol]
        for maker, lots in parts:
            maker.open -= lots
            maker.filled += lots
            maker.value += maker.price_ticks * lots
            book.touched(maker)
            transition.touch(maker)
            trade = Trade(
                trade_id(fill.id, maker.order_id),
                market.symbol,
                maker.price_ticks,
                lots,
                side,
                maker.order_id,
                fill.order,
                self.ledger.home,
                fill.taker_home,
                time_ms,
            )
            transition.trades.append(trade)
            self._answers.link(trade.trade_id, fill.id)
        self.ledger.finish(transition, now)
        trades = tuple(trade_body(trade, market) for trade in transition.trades)
        answer = self.sealer.add(
            encode(FillAnswer(fill.id, fill.taker_home, fill.maker_home, "", trades))
        )
        self.outbox.unsealed.append(lambda: EvidenceRow(time_ms, *answer.proof.row()))
        self.filled += 1
        self._store(fill.id, StoredAnswer(answer, fill.taker_home, fill.deadline + KEEP_MS, True))
        return answer

    def query(self, fill_id: str, taker_home: str, deadline: int, now: float) -> Draft:
        """
        Say what became of a fill, and make sure that it stays so.

        An unknown fill is made impossible by the answer: through a stored tombstone, or,
        unwritten, because it would be late.

        Args:
            taker_home: the proven key of whoever asks.

        Raises:
            RemoteProtocolError: the fill is another home's.
            OrderError: busy, or forgotten; not final.
        """
        stored = self._answers.find(fill_id)
        if stored is not None:
            if stored.taker_home != taker_home:
                raise RemoteProtocolError("this fill belongs to another home")
            self.repeated += 1
            return stored.answer
        now_ms = self.clock.read_ms(now)
        if now_ms > deadline:
            self._must_know(fill_id, deadline)
            return self._refuse(fill_id, taker_home, "late")
        if deadline > now_ms + DEADLINE_MS_MAX + AHEAD_MS_MAX:
            raise _too_far()
        self._make_room(taker_home)
        self.poisoned += 1
        return self._store_refusal(fill_id, taker_home, deadline, "unknown")

    @property
    def unsettled(self) -> int:
        """How many answers with trades have a taker that has not shown yet that it knows."""
        return self._answers.unsettled

    def settled(self, signed: Signed) -> None:
        """
        The taker has answers on disk: they need not be kept beyond any repeat of their fills.

        Raises:
            RemoteProtocolError: it is not the taker's signed word to this home.
        """
        told = decode_settled(signed.payload)
        if told.maker_home != self.ledger.home:
            raise RemoteProtocolError("this settlement is not for this home")
        self.verifier.check(signed, told.taker_home)
        for fill_id in told.fills:
            self._answers.settled(fill_id, told.taker_home)

    def trade_settled(self, trade_id: str, taker_home: str) -> None:
        """The taker's own log shows this trade; as good as being told."""
        self._answers.trade_settled(trade_id, taker_home)

    def collect(self, now: float) -> None:
        """Forget refusals and settled answers whose fill would be late by now."""
        self._answers.collect(self.clock.read_ms(now))

    def restore(self, snapshot: Snapshot) -> None:
        """Take back the stored answers of an earlier life."""
        self._answers.restore(snapshot)

    def _must_know(self, fill_id: str, deadline: int) -> None:
        """
        Refuse, without signing anything, to speak of a fill that may have traded
        (docs/design/fills.rst#forgotten).
        """
        if self._answers.traded.may_have_traded(fill_id, deadline):
            raise OrderError(
                FORGOTTEN, "what became of this fill was settled, and is forgotten here"
            )

    def _make_room(self, taker_home: str) -> None:
        """Who has much gets no more while little is free, so that nobody can take all of it."""
        free = self.answers_max - len(self._answers)
        if self._answers.of_taker(taker_home) >= SHARE_OF_FREE * free:
            raise OrderError(
                BUSY, "too many fills here are not settled yet; ask again", retry_after_ms=1000
            )

    def _refuse(self, fill_id: str, taker_home: str, why: RefusalReason) -> Draft:
        self.refused += 1
        return self.sealer.add(encode(FillAnswer(fill_id, taker_home, self.ledger.home, why, ())))

    def _store_refusal(
        self, fill_id: str, taker_home: str, deadline: int, why: RefusalReason
    ) -> Draft:
        answer = self._refuse(fill_id, taker_home, why)
        self._store(fill_id, StoredAnswer(answer, taker_home, deadline + KEEP_MS, False))
        return answer

    def _store(self, fill_id: str, stored: StoredAnswer) -> None:
        self._answers.put(fill_id, stored)


def _too_far() -> OrderError:
    """No fault of the taker's home as long as this clock may be the wrong one."""
    return OrderError(
        BUSY, "the fill's deadline is too far away by this clock", retry_after_ms=1000
    )

"""
The final answers this home gave to fills, each kept until nobody can ask for it again.

Pure. An answer with trades is kept until its taker has shown that it knows; every answer is
kept until a repeat of its fill would be late.
"""

from __future__ import annotations

import heapq
from collections import Counter

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import AnswerGone, AnswerRow, AnswerSettled, Snapshot
from grenache_py.exchange.fills.messages import decode_answer
from grenache_py.exchange.fills.traded import TradedFills
from grenache_py.exchange.signed_log.merkle import Draft, Signed, leaf_hash

__all__ = ["Answers", "StoredAnswer"]


@attrs.define
class StoredAnswer:
    """
    An answer, and until when it must be remembered.

    Attributes:
        keep_ms: by this home's clock; it may be forgotten after that.
        unsettled: its taker has not shown yet that it knows the trades.
    """

    answer: Draft
    taker_home: str
    keep_ms: int
    unsettled: bool


@attrs.define
class Answers:
    """
    Stored answers by fill id; each change of one leaves its row in ``outbox``.

    Attributes:
        traded: the fills that traded among those whose answers are forgotten.
    """

    outbox: Outbox
    _stored: dict[str, StoredAnswer] = attrs.Factory(dict)
    _of_taker: Counter[str] = attrs.Factory(Counter)
    _by_trade: dict[str, str] = attrs.Factory(dict)
    _forget: list[tuple[int, str]] = attrs.Factory(list)
    traded: TradedFills = attrs.field(init=False)

    @traded.default
    def _traded_fills(self) -> TradedFills:
        return TradedFills(self.outbox)

    def __len__(self) -> int:
        return len(self._stored)

    def of_taker(self, taker_home: str) -> int:
        """How many are answers to fills of this home."""
        return self._of_taker[taker_home]

    def find(self, fill_id: str) -> StoredAnswer | None:
        """The answer to a fill, None when there is none (any more)."""
        return self._stored.get(fill_id)

    def link(self, trade_id: str, fill_id: str) -> None:
        """Remember of which fill a trade is; forgotten with the fill's answer."""
        self._by_trade[trade_id] = fill_id

    def put(self, fill_id: str, stored: StoredAnswer) -> None:
        """Keep an answer; its row follows once the batch is sealed."""
        self._keep(fill_id, stored)
        self.outbox.unsealed.append(lambda: _row(fill_id, stored))
        if not stored.unsettled:
            heapq.heappush(self._forget, (stored.keep_ms, fill_id))

    def _keep(self, fill_id: str, stored: StoredAnswer) -> None:
        self._stored[fill_id] = stored
        self._of_taker[stored.taker_home] += 1

    def settled(self, fill_id: str, taker_home: str) -> None:
        """The taker has the answer on disk: it need not be kept beyond any repeat of the fill."""
        stored = self._stored.get(fill_id)
        if stored is None or stored.taker_home != taker_home or not stored.unsettled:
            return
        stored.unsettled = False
        self.outbox.rows.append(AnswerSettled(fill_id))
        heapq.heappush(self._forget, (stored.keep_ms, fill_id))

    @property
    def unsettled(self) -> int:
        """How many answers with trades have a taker that has not shown yet that it knows."""
        return sum(stored.unsettled for stored in self._stored.values())

    def trade_settled(self, trade_id: str, taker_home: str) -> None:
        """The taker's own log shows this trade; as good as being told."""
        fill = self._by_trade.get(trade_id)
        if fill is not None:
            self.settled(fill, taker_home)

    def collect(self, now_ms: int) -> None:
        """Forget refusals and settled answers whose fill would be late by now."""
        while self._forget and self._forget[0][0] < now_ms:
            _, fill_id = heapq.heappop(self._forget)
            stored = self._stored.pop(fill_id, None)
            if stored is not None:
                self._of_taker[stored.taker_home] -= 1
                if not self._of_taker[stored.taker_home]:
                    del self._of_taker[stored.taker_home]
                self.outbox.rows.append(AnswerGone(fill_id))
                trades = _trades(stored.answer.payload)
                for trade in trades:
                    self._by_trade.pop(trade, None)
                if trades:
                    self.traded.add(fill_id, stored.keep_ms)
        self.traded.forget(now_ms)

    def restore(self, snapshot: Snapshot) -> None:
        """Take back the stored answers of an earlier life."""
        for row in snapshot.answers:
            signed = Signed(row.payload, row.path, row.leaf, row.size, row.signature)
            answer = Draft(row.payload, leaf_hash(row.payload), signed)
            stored = StoredAnswer(answer, row.taker_home, row.keep_ms, bool(row.unsettled))
            self._keep(row.fill_id, stored)
            for trade in _trades(row.payload):
                self._by_trade[trade] = row.fill_id
            if not stored.unsettled:
                self._forget.append((stored.keep_ms, row.fill_id))
        heapq.heapify(self._forget)
        self.traded.restore(snapshot)


def _trades(payload: str) -> list[str]:
    """The ids of an answer's trades; a damaged answer is kept, and says none."""
    try:
        return [trade.id for trade in decode_answer(payload).trades]
    except RemoteProtocolError:
        return []


def _row(fill_id: str, stored: StoredAnswer) -> AnswerRow:
    proof = stored.answer.proof
    return AnswerRow(
        fill_id,
        stored.taker_home,
        stored.keep_ms,
        int(stored.unsettled),  # a store of numbers takes no bool
        proof.payload,
        proof.path,
        proof.index,
        proof.size,
        proof.signature,
    )

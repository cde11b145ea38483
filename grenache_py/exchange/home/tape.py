"""
The newest trades of each market, each once, however many peers tell of it.

Pure. What it records goes to the store as a row and to subscribers as an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import attrs

from grenache_py.exchange.effects.batch import Outbox, Traded
from grenache_py.exchange.effects.rows import Snapshot, TradeRow
from grenache_py.exchange.market.order import Trade

__all__ = ["Tape"]

#: Trades kept in memory per market.
TAPE_MAX = 1_000


@attrs.define
class Tape:
    """
    Trades of own and of other homes' orders.

    Attributes:
        outbox: takes the row and the event of each new trade.
        trades: by market, at most ``TAPE_MAX``, in the order in which they came.
        last: by market, the trade that was made last: not the one that came last, for a home that
            was cut off, or forgotten, tells of old ones.
        new_trades: by market, trades that stop orders have not been checked against.
    """

    outbox: Outbox
    trades: dict[str, deque[Trade]] = attrs.Factory(dict)
    last: dict[str, Trade] = attrs.Factory(dict)
    new_trades: dict[str, deque[Trade]] = attrs.Factory(dict)
    _known: set[str] = attrs.Factory(set)

    def __iter__(self) -> Iterator[Trade]:
        """All trades kept, market by market, in the order in which they came."""
        return (trade for trades in self.trades.values() for trade in trades)

    def record(self, trade: Trade) -> bool:
        """
        Put a trade on the tape, once, however many peers tell of it.

        Returns:
            Whether it was new.
        """
        if trade.trade_id in self._known:
            return False
        tape = self.trades.setdefault(trade.market, deque(maxlen=TAPE_MAX))
        if len(tape) == TAPE_MAX:
            self._known.discard(tape[0].trade_id)
        self._append(tape, trade)
        self.new_trades.setdefault(trade.market, deque()).append(trade)
        self._known.add(trade.trade_id)
        self.outbox.rows.append(
            TradeRow(
                trade.trade_id,
                trade.market,
                trade.price_ticks,
                trade.quantity_lots,
                trade.side,
                trade.maker_order,
                trade.taker_order,
                trade.maker_home,
                trade.taker_home,
                trade.time_ms,
            )
        )
        self.outbox.events.append(Traded(trade))
        return True

    def restore(self, snapshot: Snapshot) -> None:
        """Take back the newest trades of an earlier life; they set off no stop orders."""
        for row in snapshot.trades:
            tape = self.trades.setdefault(row.market, deque(maxlen=TAPE_MAX))
            self._append(tape, Trade(*row))  # type: ignore[arg-type]
        self._known.update(trade.trade_id for trade in self)

    def _append(self, tape: deque[Trade], trade: Trade) -> None:
        tape.append(trade)
        last = self.last.get(trade.market)
        if last is None or trade.time_ms >= last.time_ms:
            self.last[trade.market] = trade

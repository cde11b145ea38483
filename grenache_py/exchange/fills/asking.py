"""
When a fill is asked for again, and with which message.

Pure. A fill is repeated with the same bytes until its deadline; after that its maker's home is
asked what became of it, which makes an unknown fill impossible.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import attrs

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.fills.intent import Intent
from grenache_py.exchange.fills.messages import FillRequest, Settled, encode
from grenache_py.exchange.fills.query import FillQuery, encode_query
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import Sealer
from grenache_py.metrics import Histogram

__all__ = ["Asking"]

#: Asking again: after 1, 2, 4, ... seconds, at most this many apart.
RETRY_S_MAX = 30.0
#: Upper bounds of the histogram of round trips, from one machine to a home that was gone.
ROUND_TRIP_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0)


@attrs.define
class Asking:
    """
    The timers of unsettled fills, and their questions.

    Attributes:
        intents: unsettled fills by id; the taker adds and removes them.
        asked_again: a counter of questions after the first.
        round_trips: from asking for a fill to its outcome, in seconds.
    """

    clock: HybridClock
    outbox: Outbox
    sealer: Sealer
    intents: dict[str, Intent]
    asked_again: int = 0
    round_trips: Histogram = attrs.Factory(lambda: Histogram(ROUND_TRIP_BOUNDS_S))
    _timers: list[tuple[float, str]] = attrs.Factory(list)
    _latest: float = 0.0

    def watch(self, intent: Intent) -> None:
        """Ask again at ``intent.retry_at`` unless it is settled by then."""
        heapq.heappush(self._timers, (intent.retry_at, intent.fill.id))

    def overdue(self, now: float) -> Iterator[Intent]:
        """Take out, one by one, the unsettled fills whose time to ask again has come."""
        if now < self._latest:  # the clock was put back
            for unsettled in self.intents.values():
                unsettled.retry_at = now
            self._timers = [(now, fill) for fill in self.intents]
        self._latest = now
        while self._timers and self._timers[0][0] <= now:
            at, fill = heapq.heappop(self._timers)
            intent = self.intents.get(fill)
            if intent is not None and intent.retry_at == at:
                yield intent

    def late(self, now: float) -> bool:
        """Whether a fill waits longer for its answer than it should."""
        return bool(self.intents) and bool(self._timers) and self._timers[0][0] <= now

    def next_deadline(self) -> float | None:
        """When ``overdue`` next has work, in seconds, or None."""
        return self._timers[0][0] if self._timers else None

    def again(self, intent: Intent, now: float) -> None:
        """Send the fill again, or ask what became of it once its deadline has passed."""
        self.asked_again += 1
        intent.retry_s = min(intent.retry_s * 2, RETRY_S_MAX)
        intent.retry_at = now + intent.retry_s
        self.watch(intent)
        self.question(intent, now)

    def question(self, intent: Intent, now: float) -> None:
        """Send the fill once more, or ask what became of it."""
        # After a new epoch its order is not published any more: only what became of it matters.
        published = intent.own.order_entry is not None
        if published and self.clock.read_ms(now) <= intent.fill.deadline:
            self.ask(intent)
        else:
            self.query(intent.fill)

    def begin(self, intent: Intent, now: float) -> None:
        """Send a new fill."""
        intent.asked_at = self._latest = now
        self.ask(intent)

    def settled(self, intent: Intent, now: float) -> None:
        """A fill has its outcome."""
        if intent.asked_at is not None:
            self.round_trips.observe(max(0.0, now - intent.asked_at))

    def ask(self, intent: Intent) -> None:
        """Send the fill, with the same bytes as ever and the entry that published its order."""

        def params() -> dict[str, Any]:
            entry = intent.own.order_entry
            assert entry is not None, "asked for a fill of an order that is not published"
            return {"fill": intent.draft.proof.wire(), "order": entry.proof.wire()}

        self.outbox.messages.append((intent.fill.maker_home, "fill.request", params))

    def query(self, fill: FillRequest) -> None:
        """Ask what became of a fill; its maker's answer makes an unknown one impossible."""
        query = FillQuery(
            fill.id, fill.order, fill.maker_home, fill.taker_home, fill.fill_seq, fill.deadline
        )
        draft = self.sealer.add(encode_query(query))
        self.outbox.messages.append(
            (fill.maker_home, "fill.query", lambda: {"query": draft.proof.wire()})
        )

    def tell(self, told: Settled) -> None:
        """Tell a maker's home what is settled; signed, for it lets the maker forget."""
        draft = self.sealer.add(encode(told))
        self.outbox.messages.append(
            (told.maker_home, "fill.settled", lambda: {"settled": draft.proof.wire()})
        )

"""
The taker's side of a fill: reserve, ask, settle.

Pure. See docs/design/fills.rst#taker. The taker's quantity moves from open to reserved in a
durable step *before* the fill leaves, and only the maker's signed answer or log moves it on, never
a time-out. A fill in doubt is asked about until its maker's home can be reached.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import IntentSettled, Snapshot
from grenache_py.exchange.errors import UNKNOWN_ORDER, OrderError
from grenache_py.exchange.fills.asking import Asking
from grenache_py.exchange.fills.evidence import keep_evidence
from grenache_py.exchange.fills.intent import (
    RETRY_S_MIN,
    Intent,
    intent_from_row,
    intent_row,
    trades_by_leg,
)
from grenache_py.exchange.fills.messages import (
    FILLS_TOLD_MAX,
    LEGS_MAX,
    FillRequest,
    Settled,
    decode_answer,
    encode,
    fill_id,
    trade_id,
)
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.home.transition import OwnOrder, Transition
from grenache_py.exchange.market.matching import Leg, rests
from grenache_py.exchange.market.order import LiveOrder
from grenache_py.exchange.signed_log.entries import TradeBody, trade_from_body
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import Sealer, Signed, Verifier

__all__ = ["Taker"]

#: How long a maker's home may accept the fill, by its own clock.
DEADLINE_MS = 10_000
#: Fills under way to one home; beyond it that home's orders are left alone for a while.
FILLS_PER_HOME_MAX = 256
#: Homes on hold that are remembered; beyond it the one that is on hold longest gets a new chance.
HOLDS_MAX = 4_096
#: After a leg was refused its maker order is not asked again for this long, unless its home
#: publishes a new state of it: the refusal means that this peer's view of it is stale.
AVOID_S = 2.0


@attrs.define
class Taker:
    """
    Fills of own orders against other homes' orders.

    Attributes:
        log_of: epoch and ``Origin.jumps`` of another home's log, None when that home must not be
            asked for fills.
        reachable: whether a message to a home has a way to go.
        on_hold: homes that let a fill time out, each with that fill, and have not answered one
            since; no new fills.
        intents: unsettled fills by id.
        asking: when, and what, it asks.
        requested, settled: counters of fills asked for, and of those that got their outcome.
        unknown_answers: a counter of answers to no open question.
        settled_by_log: a counter of fills that the maker's log settled, without an answer.
    """

    ledger: Ledger
    clock: HybridClock
    outbox: Outbox
    sealer: Sealer
    verifier: Verifier
    log_of: Callable[[str], tuple[int, int] | None]
    reachable: Callable[[str], bool] = lambda home: True
    intents: dict[str, Intent] = attrs.Factory(dict)
    on_hold: dict[str, FillRequest] = attrs.Factory(dict)
    requested: int = 0
    settled: int = 0
    unknown_answers: int = 0
    settled_by_log: int = 0
    _in_flight: Counter[str] = attrs.Factory(Counter)
    _fills_of: Counter[str] = attrs.Factory(Counter)
    _by_trade: dict[str, tuple[str, int]] = attrs.Factory(dict)
    _avoid: dict[str, float] = attrs.Factory(dict)
    _to_tell: dict[str, list[str]] = attrs.Factory(dict)
    _by_deadline: dict[str, deque[Intent]] = attrs.Factory(dict)
    _kept: tuple[int, Signed] | None = None
    asking: Asking = attrs.field(init=False)

    @asking.default
    def _ask_of(self) -> Asking:
        return Asking(self.clock, self.outbox, self.sealer, self.intents)

    @property
    def asked_again(self) -> int:
        """A counter of questions after a fill's first."""
        return self.asking.asked_again

    def allowance(self, maker: LiveOrder) -> int:
        """Lots of a remote order that a fill may ask for now; 0 to leave it alone."""
        home, order_id = maker.home, maker.order_id
        if (
            home in self.on_hold
            or order_id in self._avoid
            or self._fills_of[home] >= FILLS_PER_HOME_MAX
            or self.log_of(home) is None
            or not self.reachable(home)
        ):
            return 0
        return max(0, maker.open - self._in_flight[order_id])

    def reserve(self, taker: OwnOrder, legs: Sequence[Leg], now: float) -> None:
        """
        Turn planned legs into fills (docs/design/fills.rst#t2); their lots are reserved in
        ``taker`` already.

        Call within the step that publishes or changes the taker's order.
        """
        by_home: dict[str, list[Leg]] = {}
        for leg in legs:
            by_home.setdefault(leg.maker.home, []).append(leg)
        committed = taker.live.filled + taker.live.reserved - sum(leg.lots for leg in legs)
        for home, theirs in by_home.items():
            for start in range(0, len(theirs), LEGS_MAX):
                part = theirs[start : start + LEGS_MAX]
                committed += sum(leg.lots for leg in part)
                self._request(taker, home, part, committed, now)

    def _request(
        self, taker: OwnOrder, home: str, legs: list[Leg], committed: int, now: float
    ) -> None:
        live = taker.live
        market = self.ledger.markets[live.order.market]
        taker.fill_seq += 1
        log_mark = self.log_of(home)
        assert log_mark is not None, "planned a fill with an unknown home"
        fill = FillRequest(
            fill_id(live.order_id, home, self.ledger.home, taker.fill_seq),
            self.ledger.home,
            home,
            market.symbol,
            live.order_id,
            taker.fill_seq,
            market.format_quantity(committed),
            self.clock.read_ms(now) + DEADLINE_MS,
            log_mark[0],
            tuple(
                (
                    leg.maker.order_id,
                    market.format_quantity(leg.lots),
                    market.format_price(leg.maker.price_ticks),
                )
                for leg in legs
            ),
            live.order.time_in_force == "fok",
        )
        intent = Intent(
            fill,
            self.sealer.add(encode(fill)),
            taker,
            [(leg.maker.order_id, leg.lots, leg.maker.price_ticks) for leg in legs],
            now + RETRY_S_MIN,
            log_mark=log_mark,
        )
        self.requested += 1
        self._watch(intent)
        self.outbox.unsealed.append(lambda: intent_row(intent))
        self.asking.begin(intent, now)

    def _watch(self, intent: Intent) -> None:
        self.intents[intent.fill.id] = intent
        self._fills_of[intent.fill.maker_home] += 1
        for i, (order_id, lots, _) in enumerate(intent.legs):
            if not intent.settled >> i & 1:
                self._in_flight[order_id] += lots
                self._by_trade[trade_id(intent.fill.id, order_id)] = (intent.fill.id, i)
        self.asking.watch(intent)
        # Fills of one home in the order of their deadlines; the front is cleared of settled ones.
        waiting = self._by_deadline.setdefault(intent.fill.maker_home, deque())
        while waiting and waiting[0].fill.id not in self.intents:
            waiting.popleft()
        waiting.append(intent)

    def tick(self, now: float) -> None:
        """Ask again where no answer came in time; a home that lets that happen is put on hold."""
        for intent in self.asking.overdue(now):
            self.on_hold.setdefault(intent.fill.maker_home, intent.fill)
            self.asking.again(intent, now)
        while len(self.on_hold) > HOLDS_MAX:
            del self.on_hold[next(iter(self.on_hold))]
        for order_id in [o for o, until in self._avoid.items() if not now < until <= now + AVOID_S]:
            del self._avoid[order_id]

    def next_deadline(self) -> float | None:
        """When ``tick`` next has work, in seconds, or None."""
        return self.asking.next_deadline()

    def probe(self, now: float) -> None:
        """
        Ask each home on hold about the fill that it let time out, settled here or not: nothing
        but a signed answer takes it off hold (docs/design/fills.rst#on-hold).
        """
        for home in sorted(self.on_hold):
            fill = self.on_hold[home]
            intent = self.intents.get(fill.id)
            if intent is None:
                self.asking.query(fill)
            else:
                self.asking.question(intent, now)

    def linked(self, home: str, now: float) -> None:
        """A proven link to ``home`` is up: it is asked the open questions at once."""
        for intent in self.intents.values():
            if intent.fill.maker_home == home:
                intent.retry_s = RETRY_S_MIN / 2
                self.asking.again(intent, now)

    def maker_changed(self, order_id: str) -> None:
        """Its home published a new state of this order: it may be asked again at once."""
        self._avoid.pop(order_id, None)

    def answer(self, signed: Signed, now: float) -> str | None:
        """
        Settle a fill with its maker's final answer (docs/design/fills.rst#t4).

        Returns:
            the market to sweep when lots were released, else None.

        Raises:
            RemoteProtocolError: the answer is not what the maker may say; nothing changed.
        """
        answer = decode_answer(signed.payload)
        intent = self.intents.get(answer.fill)
        if intent is None:
            # Usually a second copy. A peer that lost its disk would see this a lot.
            self.unknown_answers += 1
            held = self.on_hold.get(answer.maker_home)
            if held is not None and held.id == answer.fill:
                self.verifier.check(signed, answer.maker_home)
                del self.on_hold[answer.maker_home]
            return None
        fill = intent.fill
        if answer.maker_home != fill.maker_home or answer.taker_home != fill.taker_home:
            raise RemoteProtocolError("the answer is not from the fill's maker")
        self.verifier.check(signed, fill.maker_home)
        self.on_hold.pop(fill.maker_home, None)
        filled = trades_by_leg(intent, answer.trades, self.ledger.markets[fill.market])
        keep_evidence(self.outbox, {trade.time for trade in answer.trades}, signed)
        return self._settle(intent, {i: filled.get(i) for i in range(len(intent.legs))}, now)

    def trade_seen(self, body: TradeBody, signed: Signed, now: float) -> str | None:
        """
        The maker's own log shows a trade of a fill in doubt: as good as the answer, once it has
        shown one of each leg.

        Never leg by leg: the maker takes one trade of a fill in this home's log for a sign that
        the whole answer is on this disk, and may forget it.

        Args:
            signed: the entry of the maker's log that shows it.

        Returns:
            the market to sweep when lots were released, else None.
        """
        fill, i = self._by_trade.get(body.id, ("", 0))
        intent = self.intents.get(fill)
        if intent is None:
            return None
        market = self.ledger.markets[intent.fill.market]
        try:
            intent.seen[i] = trades_by_leg(intent, (body,), market)[i]
        except RemoteProtocolError:
            # Its home wrote it; whoever passed it on cannot know what was asked for.
            self.not_by_log(body.id)
            return None
        if self._kept != (body.time, signed):  # an entry shows up to 16 trades: it is kept once
            keep_evidence(self.outbox, {body.time}, signed)
            self._kept = body.time, signed
        if len(intent.seen) < len(intent.legs):
            return None
        self.on_hold.pop(intent.fill.maker_home, None)
        return self._settle(intent, intent.seen, now)

    def not_by_log(self, trade: str) -> None:
        """A trade was shown and not taken in: of its fill, the log is no answer any more."""
        intent = self.intents.get(self._by_trade.get(trade, ("", 0))[0])
        if intent is not None:
            intent.log_mark = None

    def log_reached(self, home: str, time_ms: int, now: float) -> str | None:
        """
        An entry of a maker's log with this time was applied (docs/design/fills.rst#log-answer).

        The maker trades a fill before its deadline or never, and its log has no gaps. Once the log
        is beyond the deadline and each of its entries since the fill was asked has been seen here,
        a trade that it did not show will not come: as good as the answer.

        Returns:
            the market to sweep when lots were released, else None.
        """
        waiting, swept = self._by_deadline.get(home), None
        while waiting and waiting[0].fill.deadline < time_ms:
            intent = waiting.popleft()
            if intent.fill.id in self.intents and intent.log_mark == self.log_of(home):
                self.settled_by_log += 1
                outcomes = {i: intent.seen.get(i) for i in range(len(intent.legs))}
                swept = self._settle(intent, outcomes, now) or swept
        return swept

    def _settle(
        self, intent: Intent, outcomes: Mapping[int, TradeBody | None], now: float
    ) -> str | None:
        own, live = intent.own, intent.own.live
        market = self.ledger.markets[intent.fill.market]
        transition = Transition()
        released = 0
        for i, body in outcomes.items():
            if intent.settled >> i & 1:
                continue
            intent.settled |= 1 << i
            order_id, lots, price = intent.legs[i]
            self._by_trade.pop(trade_id(intent.fill.id, order_id), None)
            traded = market.quantity_lots(body.quantity) if body is not None else 0
            live.reserved -= lots
            live.filled += traded
            live.value += traded * price
            released += lots - traded
            self._in_flight[order_id] -= lots
            if not self._in_flight[order_id]:
                del self._in_flight[order_id]
            if traded < lots:
                self._avoid[order_id] = now + AVOID_S
            if body is not None:
                transition.trades.append(trade_from_body(body, market))
            transition.touch(live)
        if not live.reason:
            if rests(live):
                live.open += released
            elif released:
                live.reason = "cancelled"  # immediate-or-cancel: never left standing
        # Without a trade it may be given up before it was even asked.
        if times := {body.time for body in outcomes.values() if body is not None}:
            keep_evidence(self.outbox, times, *intent.statements)
        if intent.all_settled:
            del self.intents[intent.fill.id]
            self._fills_of[intent.fill.maker_home] -= 1
            self.settled += 1
            self.asking.settled(intent, now)
            self._to_tell.setdefault(intent.fill.maker_home, []).append(intent.fill.id)
            self.outbox.rows.append(IntentSettled(intent.fill.id))
        else:
            self.outbox.unsealed.append(lambda: intent_row(intent))
        if transition.touched:
            self.ledger.books[market.symbol].touched(live)
            self.ledger.finish(transition, now)
        self.ledger.mark(own)
        return market.symbol if released or transition.trades else None

    def tell_settled(self) -> None:
        """Tell the makers' homes which of their answers are on this disk with this batch."""
        for home, fills in self._to_tell.items():
            for start in range(0, len(fills), FILLS_TOLD_MAX):
                part = tuple(fills[start : start + FILLS_TOLD_MAX])
                self.asking.tell(Settled(self.ledger.home, home, part))
        self._to_tell.clear()

    def ask_outcome(self, intent: Intent) -> None:
        """Ask what became of a fill, which makes it impossible if its maker does not know it."""
        self.asking.query(intent.fill)

    def decide(self, fill: str, now: float) -> str | None:
        """
        Give up on a fill whose maker is gone for ever, by order of the operator.

        What is in doubt is closed as if it had not traded. Should the maker come back and have
        traded after all, its books and ours differ by this fill: that is why nobody but a
        person decides it.

        Raises:
            OrderError: no such fill is in doubt.
        """
        intent = self.intents.get(fill)
        if intent is None:
            raise OrderError(UNKNOWN_ORDER, f"no fill {fill} is in doubt here")
        return self._settle(intent, dict.fromkeys(range(len(intent.legs))), now)

    def restore(self, snapshot: Snapshot, now: float) -> None:
        """Take up the fills that were in doubt; they are asked about at once."""
        for row in snapshot.intents:
            self._watch(intent_from_row(row, self.ledger, now))

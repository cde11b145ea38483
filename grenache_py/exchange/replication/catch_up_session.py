"""
One catch-up with the help of one neighbour, step by step.

Pure. Heartbeats are asked for, live sets are reconciled, the records that differ are fetched, and
then each log goes on from its heartbeat (``catch_up_state.py``). Records are signed one by one and
merged as they come, so a session that breaks has not been in vain: the next one finds fewer
differences.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from grenache_py.errors import LocalProtocolError, RemoteProtocolError
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.requests import Answered
from grenache_py.exchange.replication.catch_up_state import (
    CATCH_UP_TRANSITIONS,
    CatchUpEvent,
    CatchUpState,
)
from grenache_py.exchange.replication.intake import Intake
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.replication.messages import read_entries, read_frame
from grenache_py.exchange.replication.missing_orders import MissingOrders
from grenache_py.exchange.replication.reconciliation import Reconciliation
from grenache_py.exchange.replication.record_pages import RecordPage, pages
from grenache_py.exchange.replication.request_queue import RequestQueue
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["CatchUpSession"]

#: What adopting an order costs for each of its one or two entries.
RECORD_POINTS = 5
#: Requests of one session under way.
_REQUESTS_AT_ONCE = 16
#: A session that has taken over nothing for so long is slow: another neighbour is asked as well.
SLOW_S = 2.0
#: A session that has taken over nothing for so long since it began is given up.
NOTHING_S = 30.0
#: A session that takes over fewer records in so many seconds is given up: some 25 kB/s.
RECORDS_PER_WINDOW, WINDOW_S = 100, 10.0
#: Frames after which the differences found so far are fetched.
_ROUNDS_MAX = 2_000


class CatchUpSession:
    """
    Catching up with the help of one neighbour.

    Args:
        link: to that neighbour.
        origins: the logs to catch up on.
        missing: judges what the neighbour does not have.
        ended: called once, when the session is over; before its logs go on when it ended well.

    Attributes:
        state: what it waits for.
        beats: for each log its newest heartbeat and what follows it, [] while it has not come.
        broke: it ended early.
        adopted: records taken over.
    """

    def __init__(
        self,
        link: PeerLink,
        origins: list[str],
        intake: Intake,
        live: LiveSetIndex,
        missing: MissingOrders,
        ended: Callable[[CatchUpSession], None],
    ) -> None:
        self.link = link
        self.state = CatchUpState.BEATS
        self.beats: dict[str, list[Signed]] = {origin: [] for origin in origins}
        self.broke = False
        self._upto: dict[str, tuple[int, int]] = {}
        self.adopted = 0
        self._intake = intake
        self._held_logs = intake.held_logs
        self._replica = intake.held_logs.replica
        self._live = live
        self._missing = missing
        self._ended = ended
        self._asking = Reconciliation(live.set)
        self._rounds = 0
        self._adopted_at = self._window_at = 0.0
        self._window_from = 0
        self._beats_wanted = RequestQueue(
            self._ask_beat, self._full, _REQUESTS_AT_ONCE, origins[::-1]
        )
        self._frames_wanted = RequestQueue[bytes](self._ask_frame, self._full, 1, [])
        self._records_wanted = RequestQueue[RecordPage](
            self._ask_page, self._full, _REQUESTS_AT_ONCE, []
        )

    def _happened(self, event: CatchUpEvent) -> None:
        self.state = CATCH_UP_TRANSITIONS.next(self.state, event)

    def _full(self) -> bool:
        return self.link.full

    def begin(self, now: float) -> None:
        """Ask for the first heartbeats."""
        self._adopted_at = self._window_at = now
        self._ask_beats(now)

    def ask_again(self, now: float) -> None:
        """Ask for what could not be asked for while the link was full."""
        if self.state is CatchUpState.BEATS:
            self._ask_beats(now)
        elif self.state is CatchUpState.RECONCILING:
            self._frames_wanted.send(now)
        elif self.state is CatchUpState.RECORDS:
            self._ask_records(now)

    def slow(self, now: float) -> bool:
        """Whether it has brought nothing for a while."""
        return not 0 <= now - self._adopted_at < SLOW_S

    def too_slow(self, now: float) -> bool:
        """Whether it brings so little that its place is better given to another neighbour."""
        if not self.adopted:
            return not 0 <= now - self._adopted_at < NOTHING_S
        if 0 <= now - self._window_at < WINDOW_S:
            return False
        came = self.adopted - self._window_from
        self._window_at, self._window_from = now, self.adopted
        return came < RECORDS_PER_WINDOW

    def give_up(self, now: float) -> None:
        """End early because it is too slow: no fault, but others are asked before."""
        if self.state is not CatchUpState.DONE:
            self._break_off()
            self._intake.helpers.put_last(self.link.key, now)

    def abort(self, now: float) -> None:
        """End early, unless it is over. What came is kept; the next session brings the rest."""
        if self.state is not CatchUpState.DONE:
            self._break_off()
            self._intake.broken_promise(self.link, now)

    def _break_off(self) -> None:
        self._happened(CatchUpEvent.BROKE)
        self.broke = True
        self._beats_wanted.waiting.clear()
        self._frames_wanted.waiting.clear()
        self._records_wanted.waiting.clear()
        self._ended(self)

    def _request(self, method: str, params: dict[str, Any], came: Answered, now: float) -> None:
        """
        Ask the neighbour.

        An answer that comes after the end does nothing; one that breaks the rules ends the session.
        """

        def answered(
            result: dict[str, Any] | None, error: dict[str, Any] | None, then: float
        ) -> None:
            if self.state is CatchUpState.DONE:
                return
            try:
                came(result, error, then)
            except RemoteProtocolError:
                self.abort(then)
                raise
            except LocalProtocolError:
                self._intake.illegal_transitions += 1
                self.abort(then)

        self._intake.peering.request(self.link, method, params, answered, now)

    # BEATS.

    def _ask_beats(self, now: float) -> None:
        if self._beats_wanted.send(now) and self.state is CatchUpState.BEATS:
            self._happened(CatchUpEvent.BEATS_CAME)
            self._frames_wanted.waiting.append(self._asking.begin())
            self._frames_wanted.send(now)

    def _ask_beat(self, origin: str, now: float) -> None:
        def came(result: dict[str, Any] | None, error: object, then: float) -> None:
            self._beats_wanted.answered()
            entries = None if result is None else read_entries(result)
            if result is None and error is None:
                self.abort(then)
                return
            if entries:
                self.beats[origin] = entries
                newest = Entry.decode(entries[-1].payload)
                self._upto[origin] = newest.epoch, newest.seq
            else:
                self.link.cannot_show(origin, self._held_logs.head(origin))
            self._ask_beats(then)

        self._request("sync.range", {"origin": origin, "beat": True}, came, now)

    # RECONCILING.

    def _ask_frame(self, frame: bytes, now: float) -> None:
        self._rounds += 1
        params = {"frame": b64encode(frame).decode()}
        self._request("sync.reconcile", params, self._frame_came, now)

    def _frame_came(self, result: dict[str, Any] | None, error: object, now: float) -> None:
        self._frames_wanted.answered()
        if result is None:
            self.abort(now)
            return
        following = self._asking.receive(read_frame(result))
        if following is not None and self._rounds <= _ROUNDS_MAX:
            self._frames_wanted.waiting.append(following)
            self._frames_wanted.send(now)
            return
        self._happened(CatchUpEvent.DIFFERENCES_FOUND)
        self._records_wanted.waiting = pages(self._asking)
        self._ask_records(now)

    # RECORDS.

    def _ask_records(self, now: float) -> None:
        if self._records_wanted.send(now) and self.state is CatchUpState.RECORDS:
            self._happened(CatchUpEvent.RECORDS_CAME)
            self._ended(self)
            self._go_on(now)

    def _ask_page(self, page: RecordPage, now: float) -> None:
        def came(result: dict[str, Any] | None, error: object, then: float) -> None:
            self._records_wanted.answered()
            records = None if result is None else result.get("records")
            if result is None or not isinstance(records, list):
                self.abort(then)
                return
            rest = page.rest(result)
            if rest is not None:
                self._records_wanted.waiting.append(rest)
            for pair in records:
                self._adopt(pair, then)
            self._ask_records(then)

        self._request("sync.records", page.params(), came, now)

    def _adopt(self, pair: object, now: float) -> None:
        if not isinstance(pair, list) or len(pair) not in (1, 2):
            raise RemoteProtocolError("'records' must hold one or two signed entries each")
        order = Signed.from_wire(pair[0])
        state = Signed.from_wire(pair[1]) if len(pair) == 2 else order
        self.link.points += RECORD_POINTS * len(pair)
        if self._replica.adoption.adopt_record(order, state, now, self._upto):
            self.adopted += 1
            self.link.delivered += 1
            self._adopted_at = now

    # DONE.

    def _go_on(self, now: float) -> None:
        """All differences are known and merged: let each log go on from its heartbeat."""
        gone = self._not_there()
        for origin, entries in self.beats.items():
            if not entries:
                continue
            before = self._held_logs.head(origin)
            received = self._replica.adoption.adopt_head(entries[0], now)
            self._intake.came(self.link, received, now)
            for signed in entries[1:]:
                self._intake.take(self.link, signed, now)
            self._judge_missing(Entry.decode(entries[-1].payload), gone, now)
            theirs = self.link.heads.get(origin, before)
            if before.position == self._held_logs.head(origin).position < theirs.position:
                self.link.heads.pop(origin)  # it promised more than it has
            else:
                self._intake.consider(origin, self.link, now)

    def _judge_missing(self, upto: Entry, gone: list[str], now: float) -> None:
        """The neighbour lacks the orders ``gone``, and had applied all entries up to ``upto``."""
        origin = self._replica.origins.get(upto.home)
        if origin is None:
            return
        held = (origin.records.get(order_id) for order_id in gone)
        lacked = [order for order in held if order is not None and order.state_seq <= upto.seq]
        only = all(link.key == self.link.key for link in self._intake.peering.ready())
        self._missing.said(origin, lacked, self.link.key, only)
        if not origin.complete:
            self._intake.helpers.put_last(self.link.key, now)

    def _not_there(self) -> list[str]:
        """The live orders of other homes that this side has and the neighbour has not."""
        ids = (self._live.order_id(short) for short in self._asking.have)
        return [order_id for order_id in ids if order_id and self._held_logs.copied(order_id)]

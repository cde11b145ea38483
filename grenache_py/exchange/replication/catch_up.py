"""
Catching up on whole live sets, from one neighbour at a time (distributed.md 3.4).

Pure. A session asks for the newest heartbeat of each log that is too far behind and what follows
it, reconciles the two live sets, fetches the records that differ and lets each log go on from its
heartbeat. Records are signed one by one and merged as they come, so a session that breaks has
not been in vain: the next one finds fewer differences.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.link import Head, PeerLink
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.peers.requests import Answered
from grenache_py.exchange.replication.held_logs import HeldLogs
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.replication.messages import (
    bound_wire,
    read_bound,
    read_entries,
    read_frame,
)
from grenache_py.exchange.replication.reconciliation import Reconciliation
from grenache_py.exchange.replication.replica import Received
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["CatchUp"]

#: Catch-ups are begun at most this often.
SESSION_S = 2.0
_RECORDS_PER_REQUEST = 20
_REQUESTS_AT_ONCE = 16
_ROUNDS_MAX = 2_000


@attrs.define
class _Session:
    """Catching up with the help of one neighbour."""

    link: PeerLink
    origins: list[str]
    beats: dict[str, list[Signed]]
    asking: Reconciliation | None = None
    rounds: int = 0
    origins_to_ask: list[str] = attrs.Factory(list)
    pages_to_ask: list[_Ids | _Range] = attrs.Factory(list)
    open_requests: int = 0


@attrs.define
class _Ids:
    """Records to be asked for by their elements' short ids."""

    ids: list[str]

    def params(self) -> dict[str, Any]:
        return {"ids": self.ids}

    def rest(self, result: dict[str, Any]) -> _Ids | None:
        """What an answer left out, because its line was full."""
        answered = result.get("answered")
        if type(answered) is not int or answered < 1:
            raise RemoteProtocolError("'answered' must say how many ids were")
        return _Ids(self.ids[answered:]) if answered < len(self.ids) else None


@attrs.define
class _Range:
    """
    Records to be taken whole.

    Attributes:
        left: so many more may come; other orders may have come to stand between those that
            were counted, but a neighbour that never ends must not hold up all others.
    """

    low: int
    high: int
    left: int

    def params(self) -> dict[str, Any]:
        return {"range": [bound_wire(self.low), bound_wire(self.high)]}

    def rest(self, result: dict[str, Any]) -> _Range | None:
        """What an answer left out, because its line was full."""
        if "next" not in result:
            return None
        low = read_bound(result["next"])
        if not self.low < low < self.high:
            raise RemoteProtocolError("'next' must be a place further on in the range")
        left = self.left - max(1, len(result["records"]))
        return _Range(low, self.high, left) if left > 0 else None


class CatchUp:
    """
    At most one session at a time.

    Args:
        take: what to do with an entry that came over a link.
        came: what to do with what entries did.
        consider: called with an origin and a link that may have more of its log.
        broken_promise: called with a link that did not deliver.

    Attributes:
        adopted: records taken over.
        sessions: finished ones; ``broken`` of them were not.
        frames: reconciliation frames sent.
    """

    def __init__(
        self,
        peering: Peering,
        held_logs: HeldLogs,
        live: LiveSetIndex,
        rng: random.Random,
        now: float,
        take: Callable[[PeerLink, Signed, float], None],
        came: Callable[[PeerLink, Received, float], None],
        consider: Callable[[str, PeerLink, float], None],
        broken_promise: Callable[[PeerLink, float], None],
    ) -> None:
        self._peering = peering
        self._held_logs = held_logs
        self._replica = held_logs.replica
        self._live = live
        self._rng = rng
        self._take = take
        self._came = came
        self._consider = consider
        self._broken_promise = broken_promise
        self._session: _Session | None = None
        self._not_before = now
        self.adopted = self.sessions = self.broken = self.frames = 0

    def covers(self, origin: str) -> bool:
        """Whether the catch-up under way is about this log."""
        return self._session is not None and origin in self._session.beats

    @property
    def under_way(self) -> bool:
        """Whether one is."""
        return self._session is not None

    def lost(self, link: PeerLink, now: float) -> None:
        """A link is gone, and with it what it was to bring."""
        if self._session is not None and self._session.link is link:
            self._break(now)

    def begin(self, behind: Iterable[str], now: float) -> None:
        """
        Start, unless one is under way, with the neighbour that can help with the most logs.

        Args:
            behind: logs of which a neighbour holds more than can be fetched entry by entry;
                those whose fingerprint disagreed are added.
        """
        unsure = self._held_logs.unsure()
        wanted = {
            origin: self._held_logs.head(origin) for origin in (*sorted(behind), *sorted(unsure))
        }
        if self._session is not None or not wanted or now < self._not_before:
            return
        self._not_before = now + SESSION_S
        best: tuple[PeerLink | None, list[str]] = (None, [])
        links = self._peering.ready()
        self._rng.shuffle(links)
        for link in links:
            helped = [
                origin
                for origin, head in wanted.items()
                if (theirs := self._head_at(link, origin))[:2] > head[:2]
                or (origin in unsure and theirs[:2] == head[:2])
            ]
            if len(helped) > len(best[1]):
                best = (link, helped)
        if best[0] is not None:
            self._open(best[0], best[1], now)

    @staticmethod
    def _head_at(link: PeerLink, origin: str) -> Head:
        """How much of a log the other side holds: what it told, or was told, whichever is more."""
        nothing: Head = (0, 0, "")
        return max(link.heads.get(origin, nothing), link.told.get(origin, nothing))

    def _open(self, link: PeerLink, origins: list[str], now: float) -> None:
        session = self._session = _Session(link, origins, {origin: [] for origin in origins})
        session.origins_to_ask = list(reversed(origins))
        self._ask_beats(session, now)

    def _break(self, now: float) -> None:
        """The catch-up ended early; what it brought is kept, the next one brings the rest."""
        if self._session is not None:
            link, self._session = self._session.link, None
            self.broken += 1
            self._broken_promise(link, now)

    def _ask_beats(self, session: _Session, now: float) -> None:
        while session.origins_to_ask and session.open_requests < _REQUESTS_AT_ONCE:
            origin = session.origins_to_ask.pop()
            session.open_requests += 1
            self._peering.request(
                session.link,
                "sync.range",
                {"origin": origin, "beat": True},
                self._beat_came(session, origin),
                now,
            )
        if not session.open_requests and self._session is session:
            session.asking = Reconciliation(self._live.set)
            self._ask_frame(session, session.asking.begin(), now)

    def _within(self, session: _Session, came: Answered) -> Answered:
        """``came``, unless the session is over; an answer that breaks the rules ends it."""

        def answered(
            result: dict[str, Any] | None, error: dict[str, Any] | None, now: float
        ) -> None:
            if self._session is not session:
                return
            try:
                came(result, error, now)
            except RemoteProtocolError:
                self._break(now)
                raise

        return answered

    def _beat_came(self, session: _Session, origin: str) -> Answered:
        def came(result: dict[str, Any] | None, error: object, now: float) -> None:
            session.open_requests -= 1
            entries = None if result is None else read_entries(result)
            if result is None and error is None:
                self._break(now)
                return
            if entries:
                session.beats[origin] = entries
            else:
                session.link.heads.pop(origin, None)
            self._ask_beats(session, now)

        return self._within(session, came)

    def _ask_frame(self, session: _Session, frame: bytes, now: float) -> None:
        def came(result: dict[str, Any] | None, error: object, then: float) -> None:
            assert session.asking is not None
            if result is None:
                self._break(then)
                return
            following = session.asking.receive(read_frame(result))
            session.rounds += 1
            if following is None or session.rounds > _ROUNDS_MAX:
                session.pages_to_ask = _pages(session.asking)
                self._ask_records(session, then)
            else:
                self._ask_frame(session, following, then)

        self.frames += 1
        self._peering.request(
            session.link,
            "sync.reconcile",
            {"frame": b64encode(frame).decode()},
            self._within(session, came),
            now,
        )

    def _ask_records(self, session: _Session, now: float) -> None:
        while session.pages_to_ask and session.open_requests < _REQUESTS_AT_ONCE:
            page = session.pages_to_ask.pop()
            session.open_requests += 1
            self._peering.request(
                session.link,
                "sync.records",
                page.params(),
                self._records_came(session, page),
                now,
            )
        if not session.open_requests and self._session is session:
            self._finish(session, now)

    def _records_came(self, session: _Session, page: _Ids | _Range) -> Answered:
        def came(result: dict[str, Any] | None, error: object, now: float) -> None:
            session.open_requests -= 1
            records = None if result is None else result.get("records")
            if result is None or not isinstance(records, list):
                self._break(now)
                return
            rest = page.rest(result)
            if rest is not None:
                session.pages_to_ask.append(rest)
            for pair in records:
                if not isinstance(pair, list) or len(pair) not in (1, 2):
                    raise RemoteProtocolError("'records' must hold one or two signed entries each")
                order = Signed.from_wire(pair[0])
                state = Signed.from_wire(pair[1]) if len(pair) == 2 else order
                self.adopted += self._replica.adopt_record(order, state, now)
            self._ask_records(session, now)

        return self._within(session, came)

    def _finish(self, session: _Session, now: float) -> None:
        """All differences are known and merged: let each origin's log go on from its beat."""
        self._session = None
        self.sessions += 1
        assert session.asking is not None
        gone = [
            record
            for short in session.asking.have
            if (order_id := self._live.order_id(short)) is not None
            and (record := self._replica.records.find(order_id)) is not None
        ]
        for origin, entries in session.beats.items():
            if not entries:
                continue
            before = self._held_logs.head(origin)
            # The neighbour lacks these, and had applied all entries up to this one before.
            upto = Entry.decode(entries[-1].payload)
            closed = [
                record.order_id
                for record in gone
                if record.home == upto.home and record.state_seq <= upto.seq
            ]
            self._came(session.link, self._replica.adopt_head(entries[0], closed, now), now)
            for signed in entries[1:]:
                self._take(session.link, signed, now)
            theirs = session.link.heads.get(origin, before)
            if before[:2] == self._held_logs.head(origin)[:2] < theirs[:2]:
                session.link.heads.pop(origin)  # it promised more than it has
            else:
                self._consider(origin, session.link, now)


def _pages(asking: Reconciliation) -> list[_Ids | _Range]:
    """All that is to be fetched, in requests of about a line's worth each; the last one first."""
    ids = [short.hex() for short in asking.need]
    pages: list[_Ids | _Range] = [
        _Ids(ids[start : start + _RECORDS_PER_REQUEST])
        for start in range(0, len(ids), _RECORDS_PER_REQUEST)
    ]
    pages += [_Range(whole.low, whole.high, 2 * whole.held) for whole in asking.whole]
    return pages[::-1]

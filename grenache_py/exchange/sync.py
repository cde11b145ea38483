"""
Learning what was missed: gaps in logs while linked, whole live sets after a join or a partition.

Pure. Neighbours tell each other the heads of all logs they hold when a link opens
(``sync.heads``) and what moved since every few seconds; a log found to be behind is fetched by
sequence number (``sync.range``; after a lazy announcement ``gossip.want``). Logs are pruned, so
whoever is further behind catches up on the origin's *live set* instead (distributed.md 3.4):

1. from one neighbour that is ahead, the newest heartbeat of each such origin and what follows it;
2. ``sync.reconcile``: which live orders the two sides do not share;
3. ``sync.records``: those orders, each with the origin's signature over order and newest state, so
   each can be merged at once, and a session that breaks is taken up where it broke;
4. the origin's head is set to that heartbeat, and the log goes on from there.

That the neighbour left nothing out shows at the origin's next heartbeat, which signs a
fingerprint of its live set: until it agrees the origin is *unsure*, not synced, and is reconciled
again, from somebody else when there is somebody else. Any neighbour can serve, and no server
keeps state.
"""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.archive import Archive
from grenache_py.exchange.gossip import HEADS_PER_MESSAGE_MAX, LINE_BYTES
from grenache_py.exchange.links import ORIGINS_MAX, Head, Link
from grenache_py.exchange.log import Entry
from grenache_py.exchange.peering import Params, Peering, Result
from grenache_py.exchange.reconcile import (
    FRAME_BYTES_MAX,
    ID_BYTES,
    LiveSet,
    Reconciliation,
    respond,
    short_id,
)
from grenache_py.exchange.signed import Signed

__all__ = ["LiveIndex", "Sync"]

#: Entries asked for at once, and so many steps behind a log is fetched rather than reconciled.
RANGE_MAX = 256
FETCH_MAX = 1_024
#: A new log this short is fetched from its beginning.
YOUNG_MAX = 64
#: Heads that moved are told to all neighbours this often; everything, to one, this often.
HEADS_S = 5.0
HEADS_ALL_S = 30.0
#: An announced entry that does not come within this time counts against the link.
WANT_S = 3.0
#: A neighbour that promised heads and did not deliver is not believed for so long.
DISTRUST_S = 30.0
#: Catch-ups are begun at most this often.
SESSION_S = 2.0
#: Ranges being fetched at once.
FETCHES_MAX = 64
_RECORDS_PER_REQUEST = 20
_REQUESTS_AT_ONCE = 16
_ROUNDS_MAX = 2_000
_WIRE_OVERHEAD = 500  # signature, path and member names of one signed payload


class LiveIndex:
    """
    The reconciliation set of all live published orders, and which order each element is.

    Attributes:
        set: what is reconciled.
    """

    def __init__(self) -> None:
        self.set = LiveSet()
        self._order_of: dict[bytes, str] = {}

    def changed(self, order_id: str, time_ms: int, gone: int | None, come: int | None) -> None:
        """An order's element changed; None where there was, or is, none."""
        if gone is not None and self.set.remove(time_ms, gone):
            self._order_of.pop(short_id(gone), None)
        if come is not None and self.set.add(time_ms, come):
            self._order_of[short_id(come)] = order_id

    def order_id(self, short: bytes) -> str | None:
        """The order an element's short id stands for, if it is live here."""
        return self._order_of.get(short)


@attrs.define
class _Fetch:
    """A range being fetched: from whom, up to where, until when."""

    link: int
    upto: tuple[int, int]
    deadline: float


@attrs.define
class _Session:
    """Catching up with the help of one neighbour."""

    link: Link
    origins: list[str]
    beats: dict[str, list[Signed]]
    asking: Reconciliation | None = None
    rounds: int = 0
    to_ask: list[str] = attrs.Factory(list)  # origins, then record ids, still to be asked for
    open_requests: int = 0
    records: int = 0


class Sync:
    """
    Keeps this peer's copies of all logs complete.

    Attributes:
        fetched: entries that came by ``sync.range`` or ``gossip.want``.
        adopted: records taken over in catch-ups.
        sessions: catch-ups finished; ``broken`` of them were not.
        frames: reconciliation frames sent.
    """

    def __init__(
        self,
        peering: Peering,
        archive: Archive,
        live: LiveIndex,
        rng: random.Random,
        now: float,
    ) -> None:
        self._peering = peering
        self._archive = archive
        self._replica = archive.replica
        self._live = live
        self._rng = rng
        self._fetches: dict[str, _Fetch] = {}
        self._behind: set[str] = set()
        self._session: _Session | None = None
        self._lazy: dict[str, tuple[int, float]] = {}  # origin -> link that announced, when
        self._session_at = now
        self._heads_at = now + HEADS_S * rng.random()
        self._all_at = now + HEADS_ALL_S * rng.random()
        self.received = self.known = 0
        self.fetched = self.adopted = self.sessions = self.broken = self.frames = 0
        peering.method("gossip.publish", self._published)
        peering.method("gossip.proof", self._proof_told)
        peering.method("sync.heads", self._heads_told)
        peering.method("gossip.have", self._have_told)
        peering.method("gossip.want", self._want_asked)
        peering.method("sync.range", self._range_asked)
        peering.method("sync.reconcile", self._reconcile_asked)
        peering.method("sync.records", self._records_asked)
        peering.on_ready.append(self._joined)
        peering.on_gone.append(self._left)
        peering.on_heartbeat = self._heartbeat

    # What is known.

    def behind(self) -> dict[str, Head]:
        """Logs of which a neighbour holds more than we do, with the highest head told."""
        best: dict[str, Head] = {}
        for link in self._peering.ready():
            for origin, head in link.heads.items():
                held = best.get(origin) or self._archive.head(origin)
                if head[:2] > held[:2] and origin != self._peering.me:
                    best[origin] = head
        return best

    @property
    def synced(self) -> bool:
        """
        Whether every head any neighbour told of is held, every fingerprint agrees, and there
        is a neighbour to know from. A peer without any is not synced.
        """
        return bool(
            self._peering.by_key
            and not self._session
            and self._archive.complete()
            and not self.behind()
        )

    # Entries, however they come.

    def _published(self, link: Link, params: Params, now: float) -> Result:
        entries = params.get("entries")
        if not isinstance(entries, list) or not entries:
            raise RemoteProtocolError("'entries' must be a list of signed entries")
        if not self._peering.ignored(link, now):
            for item in entries:
                self.take(link, Signed.from_wire(item), now)
        return None

    def take(self, link: Link, signed: Signed, now: float) -> None:
        """
        One log entry came over ``link``; pass on exactly what it changed here (F1).

        Raises:
            RemoteProtocolError: it is not valid, and an honest neighbour would have noticed.
        """
        self.received += 1
        received = self._replica.receive(signed, now)
        for novel, origin, head in received.novel:
            self._peering.gossip.relay(msgspec.json.encode(novel.wire()), origin, head, link.id)
            link.told[origin] = head  # it need not be told what it told
        if received.novel:
            self._peering.scores.delivered(link.key, now)
        elif received.verdict == "known":
            self.known += 1
        if received.origin is None:
            return
        home = received.origin.home
        if received.verdict == "frozen":
            self._tell_proof(home, link)
        elif received.verdict == "waiting" and (gap := received.origin.gap) is not None:
            # The sender holds what comes before; that it sent this one says so.
            head = (received.origin.epoch, gap[1], "")
            if head[:2] > link.heads.get(home, _NOTHING)[:2] and _room(link, home):
                link.heads[home] = head
            self._consider(home, link, now)

    def _proof_told(self, link: Link, params: Params, now: float) -> Result:
        first, second = params.get("first"), params.get("second")
        one, other = Signed.from_wire(first), Signed.from_wire(second)
        if self._replica.prove(one, other):
            for home, proof in self._replica.proofs.items():
                if proof == (one, other):
                    self._tell_proof(home, link)
        return None

    def _tell_proof(self, home: str, source: Link | None) -> None:
        """Two entries that contradict each other convince everybody who sees them."""
        for link in self._peering.ready():
            if link is not source:
                self._show_proof(home, link)

    def _show_proof(self, home: str, link: Link) -> None:
        first, second = self._replica.proofs[home]
        self._peering.notify(link, "gossip.proof", {"first": first.wire(), "second": second.wire()})

    # Telling heads.

    def _joined(self, link: Link, now: float) -> None:
        self._tell(link, self._archive.heads())
        for home in self._replica.proofs:
            self._show_proof(home, link)

    def _left(self, link: Link, now: float) -> None:
        for origin in [o for o, fetch in self._fetches.items() if fetch.link == link.id]:
            del self._fetches[origin]
        if self._session is not None and self._session.link is link:
            self._break(now)

    def _heartbeat(self, lazy: list[Link], now: float) -> None:
        moved = self._peering.gossip.moved_heads()
        for link in lazy:
            self._tell(link, moved, "gossip.have")
        links = self._peering.ready()
        heads = self._archive.heads()
        if now >= self._heads_at or self._heads_at > now + HEADS_S:
            self._heads_at = now + HEADS_S
            for link in links:
                self._tell(link, heads)
        if links and (now >= self._all_at or self._all_at > now + HEADS_ALL_S):
            # What was told may have been lost with all its consequences: start afresh.
            self._all_at = now + HEADS_ALL_S
            link = self._rng.choice(links)
            link.told.clear()
            self._tell(link, heads)
        self._expire(now)
        for link in links:
            for origin in [origin for origin in link.heads if origin not in self._fetches]:
                self._consider(origin, link, now)
        self._catch_up(now)

    def _tell(self, link: Link, heads: Mapping[str, Head], method: str = "sync.heads") -> None:
        told = link.told
        news = [
            (origin, head)
            for origin, head in heads.items()
            if told.get(origin, _NOTHING)[:2] < head[:2]
        ]
        for start in range(0, len(news), HEADS_PER_MESSAGE_MAX):
            part = news[start : start + HEADS_PER_MESSAGE_MAX]
            self._peering.notify(
                link, method, {"heads": [[origin, *head] for origin, head in part]}
            )
        if method == "sync.heads":
            told.update(news)

    # Hearing heads, and fetching what they promise.

    def _heads_told(self, link: Link, params: Params, now: float) -> Result:
        heads = _heads(params)
        if now < link.heads_again:
            return None
        for origin, head in heads:
            if not _room(link, origin):
                break
            if head[:2] >= link.heads.get(origin, _NOTHING)[:2]:
                link.heads[origin] = head
            if head[:2] > link.told.get(origin, _NOTHING)[:2]:
                link.told[origin] = head
            self._consider(origin, link, now)
        if self._behind:
            self._catch_up(now)
        return None

    def _have_told(self, link: Link, params: Params, now: float) -> Result:
        heads = _heads(params)
        if now < link.heads_again:
            return None
        for origin, head in heads:
            if _room(link, origin) and head[:2] >= link.heads.get(origin, _NOTHING)[:2]:
                link.heads[origin] = head
                # The mesh most likely brings it within the second; ask if it does not.
                if head[:2] > self._archive.head(origin)[:2]:
                    self._lazy.setdefault(origin, (link.id, now + 1.0))
        return None

    def _consider(self, origin: str, link: Link, now: float) -> None:
        """Decide whether and how to get what ``link`` holds more of one log."""
        mine = self._archive.head(origin)
        theirs = link.heads.get(origin)
        held = self._replica.origins.get(origin)
        if theirs is None or (held is not None and held.frozen):
            return
        if origin in self._fetches or len(self._fetches) >= FETCHES_MAX:
            return
        if theirs[:2] == mine[:2]:
            if theirs[2] != mine[2]:
                # Two entries with one number: whoever holds both can prove it.
                self._fetch(origin, link, theirs[0], theirs[1], theirs[1], now)
                link.heads.pop(origin)
            return
        if theirs[:2] < mine[:2]:
            return
        lazy = self._lazy.pop(origin, None)
        if lazy is not None and lazy[0] == link.id and now < lazy[1]:
            self._lazy[origin] = lazy
            return
        if self._session is not None and origin in self._session.beats:
            return
        if origin == self._peering.me:
            # Somebody holds more of our own log than we do: an old disk, or a clone (2.9).
            self._fetch(origin, link, theirs[0], theirs[1], theirs[1], now)
            link.heads.pop(origin)
            return
        same = theirs[0] == mine[0]
        if same and theirs[1] - mine[1] <= FETCH_MAX and mine[1] > 0:
            want_lazily = lazy is not None and theirs[1] - mine[1] <= YOUNG_MAX
            last = min(theirs[1], mine[1] + RANGE_MAX)
            if want_lazily:
                self._want(origin, link, mine, last, now)
            else:
                self._fetch(origin, link, mine[0], mine[1] + 1, last, now)
        elif mine[1] == 0 and theirs[0] == 1 and theirs[1] <= YOUNG_MAX:
            self._fetch(origin, link, 1, 1, theirs[1], now)
        else:
            self._behind.add(origin)

    def _want(self, origin: str, link: Link, mine: Head, last: int, now: float) -> None:
        self._fetches[origin] = _Fetch(link.id, (mine[0], last), now + WANT_S)
        self._peering.notify(
            link,
            "gossip.want",
            {"origin": origin, "epoch": mine[0], "first": mine[1] + 1, "last": last},
        )

    def _fetch(
        self, origin: str, link: Link, epoch: int, first: int, last: int, now: float
    ) -> None:
        def answered(result: dict[str, Any] | None, error: object, then: float) -> None:
            self._fetches.pop(origin, None)
            if result is not None:
                self._range_came(origin, link, result, then)
            else:
                self._broken_promise(link, then)

        self._fetches[origin] = _Fetch(link.id, (epoch, last), float("inf"))
        self._peering.request(
            link,
            "sync.range",
            {"origin": origin, "epoch": epoch, "first": first, "last": last},
            answered,
            now,
        )

    def _range_came(self, origin: str, link: Link, result: dict[str, Any], now: float) -> None:
        entries = _signed_list(result)
        if entries is None:
            self._behind.add(origin)
            return
        before = self._archive.head(origin)
        for signed in entries:
            self.take(link, signed, now)
            self.fetched += 1
        after = self._archive.head(origin)
        if after == before:
            link.heads.pop(origin, None)  # it promised more than it has
        else:
            self._consider(origin, link, now)

    def _broken_promise(self, link: Link, now: float) -> None:
        """``link`` told of something and did not deliver it: others shall be asked for a while."""
        if link.ready:
            link.heads.clear()
            link.heads_again = now + DISTRUST_S
            self._peering.penalise(link, -3.0, "what it told of did not come", now)

    def _expire(self, now: float) -> None:
        for origin, fetch in list(self._fetches.items()):
            if self._archive.head(origin)[:2] >= fetch.upto and fetch.deadline < float("inf"):
                del self._fetches[origin]
            elif fetch.deadline <= now:
                del self._fetches[origin]
                link = self._peering.links.get(fetch.link)
                if link is not None:
                    self._broken_promise(link, now)
        for origin, (number, _) in list(self._lazy.items()):
            if number not in self._peering.links:
                del self._lazy[origin]

    # Serving.

    def _want_asked(self, link: Link, params: Params, now: float) -> Result:
        entries = self._asked_entries(params)
        if entries:
            self._peering.notify(
                link, "gossip.publish", {"entries": [signed.wire() for signed in entries]}
            )
        return None

    def _range_asked(self, link: Link, params: Params, now: float) -> Result:
        if params.get("beat") is True:
            entries = self._archive.since_beat(_text(params, "origin"))
            if entries is not None:
                entries = _fitting(entries)
        else:
            entries = self._asked_entries(params)
        if entries is None:
            return {"pruned": True}
        return {"entries": [signed.wire() for signed in entries]}

    def _asked_entries(self, params: Params) -> list[Signed] | None:
        origin, epoch = _text(params, "origin"), _number(params, "epoch")
        first, last = _number(params, "first"), _number(params, "last")
        entries = self._archive.entries(origin, epoch, first, min(last, first + RANGE_MAX - 1))
        return None if entries is None else _fitting(entries)

    def _reconcile_asked(self, link: Link, params: Params, now: float) -> Result:
        frame = _frame(params)
        return {"frame": b64encode(respond(self._live.set, frame)).decode()}

    def _records_asked(self, link: Link, params: Params, now: float) -> Result:
        ids = params.get("ids")
        if not isinstance(ids, list) or len(ids) > 4 * _RECORDS_PER_REQUEST:
            raise RemoteProtocolError("'ids' must be a list of at most 80 element ids")
        found: list[Sequence[Signed]] = []
        size = 0
        for text in ids:
            order_id = self._live.order_id(_short(text))
            record: Sequence[Signed] | None = self._archive.record(order_id) if order_id else None
            if record is None:
                continue
            if record[0] == record[1]:
                record = record[:1]  # nothing has happened to it yet: one entry is both
            more = sum(len(part.payload) + _WIRE_OVERHEAD for part in record)
            if found and size + more > LINE_BYTES:
                break  # the asker asks again for what is missing
            found.append(record)
            size += more
        return {"records": [[part.wire() for part in record] for record in found]}

    # Catching up.

    def _catch_up(self, now: float) -> None:
        wanted = {
            origin: self._archive.head(origin)
            for origin in (*sorted(self._behind), *sorted(self._archive.unsure()))
        }
        self._behind.clear()
        if self._session is not None or not wanted or now < self._session_at:
            return
        self._session_at = now + SESSION_S
        unsure = self._archive.unsure()
        best: tuple[Link | None, list[str]] = (None, [])
        links = self._peering.ready()
        self._rng.shuffle(links)
        for link in links:
            helped = [
                origin
                for origin, head in wanted.items()
                if (theirs := link.heads.get(origin)) is not None
                and (theirs[:2] > head[:2] or (origin in unsure and theirs[:2] == head[:2]))
            ]
            if len(helped) > len(best[1]):
                best = (link, helped)
        if best[0] is not None:
            self._begin(best[0], best[1], now)

    def _begin(self, link: Link, origins: list[str], now: float) -> None:
        session = self._session = _Session(link, origins, {origin: [] for origin in origins})
        session.to_ask = list(reversed(origins))
        self._ask_beats(session, now)

    def _break(self, now: float) -> None:
        """The catch-up ended early; what it brought is kept, the next one brings the rest."""
        if self._session is not None:
            link, self._session = self._session.link, None
            self.broken += 1
            self._broken_promise(link, now)

    def _ask_beats(self, session: _Session, now: float) -> None:
        while session.to_ask and session.open_requests < _REQUESTS_AT_ONCE:
            origin = session.to_ask.pop()
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

    def _beat_came(self, session: _Session, origin: str) -> Any:
        def answered(result: dict[str, Any] | None, error: object, now: float) -> None:
            if self._session is not session:
                return
            session.open_requests -= 1
            entries = None if result is None else _signed_list(result)
            if result is None and error is None:
                self._break(now)
                return
            if entries:
                session.beats[origin] = entries
            else:
                session.link.heads.pop(origin, None)
            self._ask_beats(session, now)

        return answered

    def _ask_frame(self, session: _Session, frame: bytes, now: float) -> None:
        def answered(result: dict[str, Any] | None, error: object, then: float) -> None:
            if self._session is not session or session.asking is None:
                return
            if result is None:
                self._break(now)
                return
            try:
                following = session.asking.receive(_frame(result))
            except RemoteProtocolError:
                self._break(now)
                raise
            session.rounds += 1
            if following is None or session.rounds > _ROUNDS_MAX:
                session.to_ask = [short.hex() for short in reversed(session.asking.need)]
                self._ask_records(session, then)
            else:
                self._ask_frame(session, following, then)

        self.frames += 1
        self._peering.request(
            session.link,
            "sync.reconcile",
            {"frame": b64encode(frame).decode()},
            answered,
            now,
        )

    def _ask_records(self, session: _Session, now: float) -> None:
        while session.to_ask and session.open_requests < _REQUESTS_AT_ONCE:
            ids = session.to_ask[-_RECORDS_PER_REQUEST:]
            del session.to_ask[-_RECORDS_PER_REQUEST:]
            session.open_requests += 1
            self._peering.request(
                session.link,
                "sync.records",
                {"ids": ids},
                self._records_came(session, len(ids)),
                now,
            )
        if not session.open_requests and self._session is session:
            self._finish(session, now)

    def _records_came(self, session: _Session, asked: int) -> Any:
        def answered(result: dict[str, Any] | None, error: object, now: float) -> None:
            if self._session is not session:
                return
            session.open_requests -= 1
            records = None if result is None else result.get("records")
            if not isinstance(records, list):
                self._break(now)
                return
            for pair in records:
                if not isinstance(pair, list) or len(pair) not in (1, 2):
                    raise RemoteProtocolError("'records' must hold one or two signed entries each")
                order = Signed.from_wire(pair[0])
                state = Signed.from_wire(pair[1]) if len(pair) == 2 else order
                self.adopted += self._replica.adopt_record(order, state, now)
            session.records += len(records)
            self._ask_records(session, now)

        return answered

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
        for entries in session.beats.values():
            if not entries:
                continue
            # The neighbour lacks these, and had applied all entries up to this one before.
            upto = Entry.decode(entries[-1].payload)
            closed = [
                record.order_id
                for record in gone
                if record.home == upto.home and record.state_seq <= upto.seq
            ]
            self._replica.adopt_head(entries[0], closed, now)
            for signed in entries[1:]:
                self.take(session.link, signed, now)
            self._consider(upto.home, session.link, now)


_NOTHING: Head = (0, 0, "")


def _room(link: Link, origin: str) -> bool:
    return origin in link.heads or len(link.heads) < ORIGINS_MAX


def _heads(params: Params) -> list[tuple[str, Head]]:
    heads = params.get("heads")
    if not isinstance(heads, list) or len(heads) > 4 * HEADS_PER_MESSAGE_MAX:
        raise RemoteProtocolError("'heads' must be a list of [origin, epoch, seq, hash]")
    out: list[tuple[str, Head]] = []
    for item in heads:
        if (
            not isinstance(item, list)
            or len(item) != 4
            or not isinstance(item[0], str)
            or len(item[0]) != 64
            or type(item[1]) is not int
            or type(item[2]) is not int
            or not 0 < item[1] <= 2**53
            or not 0 <= item[2] <= 2**53
            or not isinstance(item[3], str)
            or len(item[3]) != 64
        ):
            raise RemoteProtocolError("a head must be [origin, epoch, seq, hash]")
        out.append((item[0], (item[1], item[2], item[3])))
    return out


def _fitting(entries: list[Signed]) -> list[Signed]:
    """As many of ``entries``, from the first on, as one line holds; at least one."""
    size = 0
    for count, signed in enumerate(entries):
        size += len(signed.payload) + _WIRE_OVERHEAD
        if size > LINE_BYTES and count:
            return entries[:count]
    return entries


def _signed_list(result: dict[str, Any]) -> list[Signed] | None:
    """The entries of an answer; None when the other side has them no more."""
    if result.get("pruned") is True:
        return None
    entries = result.get("entries")
    if not isinstance(entries, list) or len(entries) > RANGE_MAX:
        raise RemoteProtocolError(f"'entries' must be a list of at most {RANGE_MAX} entries")
    return [Signed.from_wire(item) for item in entries]


def _text(params: Params, name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or len(value) != 64:
        raise RemoteProtocolError(f"{name!r} must be a key of 64 hex digits")
    return value


def _number(params: Params, name: str) -> int:
    value = params.get(name)
    if type(value) is not int or not 0 < value <= 2**53:
        raise RemoteProtocolError(f"{name!r} must be a positive integer")
    return value


def _frame(params: Params) -> bytes:
    text = params.get("frame")
    if not isinstance(text, str) or len(text) > 2 * FRAME_BYTES_MAX:
        raise RemoteProtocolError("'frame' must be a base64 string")
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise RemoteProtocolError("'frame' must be a base64 string") from None


def _short(text: object) -> bytes:
    if not isinstance(text, str) or len(text) != 2 * ID_BYTES:
        raise RemoteProtocolError("an element id has 32 hex digits")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise RemoteProtocolError("an element id has 32 hex digits") from None

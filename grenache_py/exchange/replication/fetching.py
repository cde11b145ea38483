"""
Fetching what a neighbour holds more of a log, by sequence number.

Pure. A short gap is asked for with ``sync.range``, or with ``gossip.want`` when it was only
announced. What is too far behind to be fetched entry by entry is handed to ``catch_up.py``.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import attrs

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.replication.catch_up import CatchUp
from grenache_py.exchange.replication.intake import Intake
from grenache_py.exchange.replication.messages import RANGE_MAX, read_entries
from grenache_py.exchange.signed_log.head import NO_HEAD, Head

__all__ = ["Fetching"]

#: A log that is more entries behind is reconciled rather than fetched.
FETCH_MAX = 1_024
#: A new log this short is fetched from its beginning.
YOUNG_MAX = 64
#: The mesh has this long to bring an announced entry before it is asked for.
ANNOUNCED_S = 1.0
#: An announced entry that was asked for and does not come within this time is asked for once more,
#: by a request, which has an answer: the neighbour may have dropped it meanwhile.
WANT_S = 3.0
#: How long a second neighbour has to bring what a first one says it does not hold any more.
SECOND_OPINION_S = 5.0
#: Heads that are looked at again in one heartbeat: of one neighbour, and of all.
LINK_HEADS_MAX, HEADS_MAX = 1_000, 2_000
#: Ranges being fetched at once, in all and from one neighbour.
FETCHES_MAX, LINK_FETCHES_MAX = 64, 8


@attrs.define
class _Fetch:
    """A range being fetched: over which link, up to (epoch, seq), until when."""

    link: int
    upto: tuple[int, int]
    deadline: float


class Fetching:
    """
    The ranges that are being fetched, at most one of each log.

    Attributes:
        fetched: entries that came by ``sync.range``.
        behind: logs that are to be reconciled.
    """

    def __init__(self, intake: Intake, catch_up: CatchUp) -> None:
        self._intake = intake
        self._peering = intake.peering
        self._held_logs = intake.held_logs
        self._catch_up = catch_up
        self._fetches: dict[str, _Fetch] = {}
        self._pruned: dict[str, tuple[str, float]] = {}  # origin -> key, wait until
        self._announced: dict[str, tuple[int, float]] = {}  # origin -> link, wait for it until
        self.behind: set[str] = set()
        self.fetched = 0
        intake.consider = self.consider

    def announced(self, origin: str, link: PeerLink, now: float) -> None:
        """
        ``link`` told that a log moved.

        The mesh most likely brings the entry within the second; it is asked for if it does not.
        """
        self._announced.setdefault(origin, (link.id, now + ANNOUNCED_S))

    def consider_all(self, links: list[PeerLink], now: float) -> None:
        """
        Look at heads these links told and that are not held; at the others of many another time.

        Args:
            links: whoever delivered most comes first, for heads can be made up.
        """
        left = HEADS_MAX
        for link in links:
            heads = link.heads
            share = min(left, LINK_HEADS_MAX)
            looked_at = list(islice(heads, share))
            left -= len(looked_at)
            for origin in looked_at:
                if origin not in self._fetches:
                    self.consider(origin, link, now)
                if len(heads) > share and origin in heads:
                    heads[origin] = heads.pop(origin)  # to the end

    def consider(self, origin: str, link: PeerLink, now: float) -> None:
        """Decide whether and how to get what ``link`` holds more of one log."""
        theirs = link.heads.get(origin)
        if theirs is None:
            return
        mine = self._held_logs.head(origin)
        same = theirs.position == mine.position
        if (
            theirs.position < mine.position
            or (same and theirs.hash == mine.hash)
            or self._held_logs.frozen(origin)
        ):
            del link.heads[origin]  # there is nothing to be got
            if self._announced.get(origin, (-1, 0.0))[0] == link.id:
                del self._announced[origin]
            return
        if origin in self._fetches or self._busy(link):
            return
        if same:
            # Two entries with one number: whoever holds both can prove it.
            self._fetch_newest(origin, link, theirs, now)
            return
        if origin in self._pruned and self._pruned[origin][0] == link.key:
            return  # another neighbour is asked
        announced = self._announced.pop(origin, None)
        if (
            announced is not None
            and announced[0] == link.id
            and now < announced[1] <= now + ANNOUNCED_S
        ):
            self._announced[origin] = announced
            return
        if self._catch_up.covers(origin):
            return
        if origin == self._peering.me:
            # Somebody holds more of our own log than we do: an old disk, or a clone
            # (docs/design/identity.rst#old-disk).
            self._fetch_newest(origin, link, theirs, now)
            return
        missing = theirs.seq - mine.seq
        if theirs.epoch == mine.epoch and missing <= FETCH_MAX and mine.seq > 0:
            last = min(theirs.seq, mine.seq + RANGE_MAX)
            if announced is not None and missing <= YOUNG_MAX:
                self._want(origin, link, mine, last, now)
            else:
                self._fetch(origin, link, mine.epoch, mine.seq + 1, last, now)
        elif mine.seq == 0 and theirs.epoch == 1 and theirs.seq <= YOUNG_MAX:
            self._fetch(origin, link, 1, 1, theirs.seq, now)
        else:
            self.behind.add(origin)

    def _busy(self, link: PeerLink) -> bool:
        """Whether as much is being fetched as may be, in all or from this neighbour."""
        fetches = self._fetches.values()
        return (
            link.full
            or len(fetches) >= FETCHES_MAX
            or sum(fetch.link == link.id for fetch in fetches) >= LINK_FETCHES_MAX
        )

    def catch_up(self, now: float) -> None:
        """Have everything reconciled that is too far behind."""
        behind, self.behind = self.behind, set()
        self._catch_up.begin(behind, now)

    def lost(self, link: PeerLink) -> None:
        """A link is gone, and with it what it was to bring."""
        for origin in [o for o, fetch in self._fetches.items() if fetch.link == link.id]:
            del self._fetches[origin]

    def expire(self, now: float) -> None:
        """Wait no longer for what was wanted, also when the clock was put back."""
        links = self._peering.links
        for origin, fetch in list(self._fetches.items()):
            held, (epoch, last) = self._held_logs.head(origin), fetch.upto
            came = held.position >= fetch.upto
            if fetch.deadline < float("inf") and (came or not now < fetch.deadline <= now + WANT_S):
                del self._fetches[origin]
                link = links.get(fetch.link)
                if link is not None and not came and epoch == held.epoch and not self._busy(link):
                    self._fetch(origin, link, epoch, held.seq + 1, last, now)
        for origin, (_, until) in list(self._pruned.items()):
            if not now < until <= now + SECOND_OPINION_S:
                del self._pruned[origin]
                self.behind.add(origin)
        for origin, (number, _) in list(self._announced.items()):
            if number not in links:
                del self._announced[origin]

    def _want(self, origin: str, link: PeerLink, mine: Head, last: int, now: float) -> None:
        self._fetches[origin] = _Fetch(link.id, (mine.epoch, last), now + WANT_S)
        self._peering.notify(
            link,
            "gossip.want",
            {"origin": origin, "epoch": mine.epoch, "first": mine.seq + 1, "last": last},
        )

    def _fetch_newest(self, origin: str, link: PeerLink, theirs: Head, now: float) -> None:
        """Get the one entry that is the head at the other side."""
        self._fetch(origin, link, theirs.epoch, theirs.seq, theirs.seq, now)
        link.heads.pop(origin, None)  # a full link answers at once, and loses all

    def _fetch(
        self, origin: str, link: PeerLink, epoch: int, first: int, last: int, now: float
    ) -> None:
        def answered(result: dict[str, Any] | None, error: object, then: float) -> None:
            self._fetches.pop(origin, None)
            if result is not None:
                self._range_came(origin, link, result, then)
            else:
                self._intake.broken_promise(link, then)

        # A request has a deadline of its own.
        self._fetches[origin] = _Fetch(link.id, (epoch, last), float("inf"))
        self._peering.request(
            link,
            "sync.range",
            {"origin": origin, "epoch": epoch, "first": first, "last": last},
            answered,
            now,
        )

    def look_again(self, homes: list[str], link: PeerLink, now: float) -> None:
        """
        Get the newest heartbeat of one of these logs, each second another's, and what follows it.

        A head that was told may be forgotten, and a copy that was restored is to be compared with
        the heartbeat that it ends with.
        """
        if not homes:
            return
        origin = homes[int(now) % len(homes)]
        if origin in self._fetches or self._busy(link) or self._catch_up.covers(origin):
            return

        def answered(result: dict[str, Any] | None, error: object, then: float) -> None:
            self._fetches.pop(origin, None)
            for signed in (read_entries(result) if result is not None else None) or ():
                self._intake.take(link, signed, then)

        self._fetches[origin] = _Fetch(link.id, (0, 0), float("inf"))
        self._peering.request(link, "sync.range", {"origin": origin, "beat": True}, answered, now)

    def _is_pruned(self, origin: str, link: PeerLink, now: float) -> None:
        """
        ``link`` does not hold the entries any more, or says so.

        A log is given up, and its live set taken, only when a second neighbour says the same or
        there is no second.
        """
        mine = self._held_logs.head(origin).position
        others = [
            other
            for other in self._peering.ready()
            if other.key != link.key
            and other.heads.get(origin, NO_HEAD).position > mine
            and not self._intake.helpers.broken(other.key)
        ]
        if origin in self._pruned or not others:
            self._pruned.pop(origin, None)
            self.behind.add(origin)
            return
        self._pruned[origin] = link.key, now + SECOND_OPINION_S
        self.consider(origin, min(others, key=self._intake.helpers.rank), now)

    def _range_came(self, origin: str, link: PeerLink, result: dict[str, Any], now: float) -> None:
        entries = read_entries(result)
        if entries is None:
            if origin != self._peering.me:  # of its own log nobody else tells a home
                self._is_pruned(origin, link, now)
            return
        self._pruned.pop(origin, None)
        before = self._held_logs.head(origin)
        for signed in entries:
            self._intake.take(link, signed, now)
            self.fetched += 1
        after = self._held_logs.head(origin)
        if after == before:
            link.heads.pop(origin, None)  # it promised more than it has
        else:
            self.consider(origin, link, now)

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

That the neighbour left nothing out is seen from the origin's heartbeats, which sign a fingerprint
of its live set: the one adopted, rolled forward through the log, or else the next one. Until one
agrees the origin is *unsure*, not synced, and is reconciled again, from somebody else when there is
somebody else. Any neighbour can serve, and no server keeps state.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.link import ORIGINS_MAX, Head, PeerLink
from grenache_py.exchange.peers.mesh import HEADS_PER_MESSAGE_MAX
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.peers.requests import PeerParams, PeerResult
from grenache_py.exchange.replication.catch_up import CatchUp
from grenache_py.exchange.replication.held_logs import HeldLogs
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.replication.messages import RANGE_MAX, read_entries, read_heads
from grenache_py.exchange.replication.replica import Received
from grenache_py.exchange.replication.sync_responder import SyncResponder
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["Sync"]

#: So many steps behind, a log is fetched rather than reconciled.
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
#: Ranges being fetched at once.
FETCHES_MAX = 64


@attrs.define
class _Fetch:
    """A range being fetched: from whom, up to where, until when."""

    link: int
    upto: tuple[int, int]
    deadline: float


class Sync:
    """
    Keeps this peer's copies of all logs complete.

    Attributes:
        fetched: entries that came by ``sync.range`` or ``gossip.want``.
        catchup: of live sets.
    """

    def __init__(
        self,
        peering: Peering,
        held_logs: HeldLogs,
        live: LiveSetIndex,
        rng: random.Random,
        now: float,
    ) -> None:
        self._peering = peering
        self._held_logs = held_logs
        self._replica = held_logs.replica
        self._rng = rng
        self._fetches: dict[str, _Fetch] = {}
        self._behind: set[str] = set()
        self._lazy: dict[str, tuple[int, float]] = {}  # origin -> link that announced, when
        self._heads_at = now + HEADS_S * rng.random()
        self._all_at = now + HEADS_ALL_S * rng.random()
        self.received = self.known = 0
        self.fetched = 0
        SyncResponder(peering, held_logs, live)
        self.catchup = CatchUp(
            peering,
            held_logs,
            live,
            rng,
            now,
            self.take,
            self._came,
            self._consider,
            self._broken_promise,
        )
        peering.method("gossip.publish", self._published)
        peering.method("gossip.proof", self._proof_told)
        peering.method("sync.heads", self._heads_told)
        peering.method("gossip.have", self._have_told)
        peering.on_ready.append(self._joined)
        peering.on_gone.append(self._left)
        peering.on_heartbeat = self._heartbeat

    # What is known.

    def behind(self) -> dict[str, Head]:
        """Logs we want of which a neighbour holds more than we do, with the highest head told."""
        best: dict[str, Head] = {}
        for link in self._peering.ready():
            for origin, head in link.heads.items():
                held = best.get(origin) or self._held_logs.head(origin)
                if head[:2] > held[:2] and origin != self._peering.me and not self._frozen(origin):
                    best[origin] = head
        return best

    def _frozen(self, origin: str) -> bool:
        """Whether nothing of a log is believed any more, so that no more of it is fetched."""
        held = self._replica.origins.get(origin)
        return held is not None and bool(held.frozen)

    @property
    def synced(self) -> bool:
        """
        Whether every head any neighbour told of is held, every fingerprint agrees, and there
        is a neighbour to know from. A peer without any is not synced.
        """
        return bool(
            self._peering.by_key
            and not self.catchup.under_way
            and self._held_logs.complete()
            and not self.behind()
        )

    # Entries, however they come.

    def _published(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        entries = params.get("entries")
        if not isinstance(entries, list) or not entries:
            raise RemoteProtocolError("'entries' must be a list of signed entries")
        if not self._peering.ignored(link, now):
            for item in entries:
                self.take(link, Signed.from_wire(item), now)
        return None

    def take(self, link: PeerLink, signed: Signed, now: float) -> None:
        """
        One log entry came over ``link``; pass on exactly what it changed here (F1).

        Raises:
            RemoteProtocolError: it is not valid, and an honest neighbour would have noticed.
        """
        self.received += 1
        received = self._replica.receive(signed, now)
        if received.novel:
            self._peering.scores.delivered(link.key, now)
        elif received.verdict == "known":
            self.known += 1
        self._came(link, received, now)

    def _came(self, link: PeerLink, received: Received, now: float) -> None:
        for novel, origin, head in received.novel:
            self._peering.gossip.relay(novel, origin, head, link.id)
            # Who sends an entry holds the log up to it, perhaps further, and need not be told.
            link.told[origin] = max(head, link.told.get(origin, _NOTHING))
            if _room(link, origin):
                link.heads[origin] = max(head, link.heads.get(origin, _NOTHING))
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

    def _proof_told(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        first, second = params.get("first"), params.get("second")
        one, other = Signed.from_wire(first), Signed.from_wire(second)
        if self._replica.prove(one, other):
            for home, proof in self._replica.proofs.items():
                if proof == (one, other):
                    self._tell_proof(home, link)
        return None

    def _tell_proof(self, home: str, source: PeerLink | None) -> None:
        """Two entries that contradict each other convince everybody who sees them."""
        for link in self._peering.ready():
            if link is not source:
                self._show_proof(home, link)

    def _show_proof(self, home: str, link: PeerLink) -> None:
        first, second = self._replica.proofs[home]
        self._peering.notify(link, "gossip.proof", {"first": first.wire(), "second": second.wire()})

    # Telling heads.

    def _joined(self, link: PeerLink, now: float) -> None:
        self._tell(link, self._held_logs.heads())
        for home in self._replica.proofs:
            self._show_proof(home, link)

    def _left(self, link: PeerLink, now: float) -> None:
        for origin in [o for o, fetch in self._fetches.items() if fetch.link == link.id]:
            del self._fetches[origin]
        self.catchup.lost(link, now)

    def _heartbeat(self, lazy: list[PeerLink], now: float) -> None:
        moved = self._peering.gossip.moved_heads()
        for link in lazy:
            self._tell(link, moved, "gossip.have")
        links = self._peering.ready()
        heads = self._held_logs.heads()
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

    def _tell(self, link: PeerLink, heads: Mapping[str, Head], method: str = "sync.heads") -> None:
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

    def _heads_told(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        heads = read_heads(params)
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

    def _have_told(self, link: PeerLink, params: PeerParams, now: float) -> PeerResult:
        heads = read_heads(params)
        if now < link.heads_again:
            return None
        for origin, head in heads:
            if _room(link, origin) and head[:2] >= link.heads.get(origin, _NOTHING)[:2]:
                link.heads[origin] = head
                # The mesh most likely brings it within the second; ask if it does not.
                if head[:2] > self._held_logs.head(origin)[:2]:
                    self._lazy.setdefault(origin, (link.id, now + 1.0))
        return None

    def _consider(self, origin: str, link: PeerLink, now: float) -> None:
        """Decide whether and how to get what ``link`` holds more of one log."""
        mine = self._held_logs.head(origin)
        theirs = link.heads.get(origin)
        if theirs is None or self._frozen(origin):
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
        if self.catchup.covers(origin):
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

    def _want(self, origin: str, link: PeerLink, mine: Head, last: int, now: float) -> None:
        self._fetches[origin] = _Fetch(link.id, (mine[0], last), now + WANT_S)
        self._peering.notify(
            link,
            "gossip.want",
            {"origin": origin, "epoch": mine[0], "first": mine[1] + 1, "last": last},
        )

    def _fetch(
        self, origin: str, link: PeerLink, epoch: int, first: int, last: int, now: float
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

    def _range_came(self, origin: str, link: PeerLink, result: dict[str, Any], now: float) -> None:
        entries = read_entries(result)
        if entries is None:
            self._behind.add(origin)
            return
        before = self._held_logs.head(origin)
        for signed in entries:
            self.take(link, signed, now)
            self.fetched += 1
        after = self._held_logs.head(origin)
        if after == before:
            link.heads.pop(origin, None)  # it promised more than it has
        else:
            self._consider(origin, link, now)

    def _broken_promise(self, link: PeerLink, now: float) -> None:
        """``link`` told of something and did not deliver it: others shall be asked for a while."""
        if link.ready:
            link.heads.clear()
            link.heads_again = now + DISTRUST_S
            self._peering.penalise(link, -3.0, "what it told of did not come", now)

    def _expire(self, now: float) -> None:
        for origin, fetch in list(self._fetches.items()):
            if self._held_logs.head(origin)[:2] >= fetch.upto and fetch.deadline < float("inf"):
                del self._fetches[origin]
            elif fetch.deadline <= now:
                del self._fetches[origin]
                link = self._peering.links.get(fetch.link)
                if link is not None:
                    self._broken_promise(link, now)
        for origin, (number, _) in list(self._lazy.items()):
            if number not in self._peering.links:
                del self._lazy[origin]

    def _catch_up(self, now: float) -> None:
        behind, self._behind = self._behind, set()
        self.catchup.begin(behind, now)


_NOTHING: Head = (0, 0, "")


def _room(link: PeerLink, origin: str) -> bool:
    return origin in link.heads or len(link.heads) < ORIGINS_MAX

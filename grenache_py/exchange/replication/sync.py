"""
Keeping the copies of all logs complete: this composes the parts that learn what was missed.

Pure. ``head_exchange.py`` learns how far each log reaches at neighbours, ``fetching.py`` fetches
short gaps by sequence number, ``catch_up.py`` catches up on the rest, ``intake.py`` takes every
entry that comes, and ``sync_responder.py`` serves neighbours.

Logs are pruned, so whoever is further behind catches up on an origin's *live set* instead
(docs/design/sync.rst#live-sets):

1. from one neighbour that is ahead, the newest heartbeat of each such origin and what follows it;
2. ``sync.reconcile``: which live orders the two sides do not share;
3. ``sync.records``: those orders, each with the origin's signature over order and newest state, so
   that each can be merged at once and a session that breaks has not been in vain;
4. the origin's head is set to that heartbeat, and the log goes on from there.

The origin's heartbeats sign a fingerprint of its live set, so they show whether the neighbour left
something out. Either the adopted heartbeat, rolled forward through the log, agrees with what is
held, or the next heartbeat does. Until then this peer is not synced. When a heartbeat disagrees,
the origin is *unsure* and is reconciled again, with another neighbour when there is one. Any
neighbour can serve, and no server keeps state.
"""

from __future__ import annotations

import random

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.replication.catch_up import CatchUp
from grenache_py.exchange.replication.fetching import Fetching
from grenache_py.exchange.replication.head_exchange import HeadExchange
from grenache_py.exchange.replication.held_logs import HeldLogs
from grenache_py.exchange.replication.intake import Intake
from grenache_py.exchange.replication.lease_exchange import LeaseExchange
from grenache_py.exchange.replication.leases import Leases
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.replication.sync_responder import SyncResponder
from grenache_py.exchange.signed_log.head import Head

__all__ = ["Sync"]

#: Who had no neighbour, or did not look for so long, was absent ...
ABSENT_S = 5.0
#: ... and catches up for so long: what comes late then was not late at its home.
CATCHING_UP_S = 60.0


class Sync:
    """
    Keeps this peer's copies of all logs complete.

    Attributes:
        intake: the way of every entry into the replica.
        catchup: on live sets.
        leases: which homes have shown that they live; ``signs`` tells of it.
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
        self.intake = Intake(peering, held_logs)
        self.catchup = CatchUp(self.intake, live, rng, now)
        adoption = held_logs.replica.adoption
        self.leases = Leases(adoption.verifier)
        self.signs = LeaseExchange(peering, adoption.table, self.leases, adoption.clock, rng)
        self._fetching = Fetching(self.intake, self.catchup)
        self.signs.on_other_self = held_logs.replica.forks.other_self
        self.signs.learn = lambda home, link, now: self._fetching.look_again([home], link, now)
        self._heads = HeadExchange(self.intake, self._fetching, rng, now)
        SyncResponder(peering, held_logs, live)
        self._rng, self._heard_at = rng, 0.0
        peering.on_ready.append(self._joined)
        peering.on_gone.append(self._left)
        peering.on_heartbeat = self._heartbeat

    @property
    def received(self) -> int:
        """Entries that came, however they came."""
        return self.intake.received + self._peering.gossip.repeated

    @property
    def fetched(self) -> int:
        """Entries that came by ``sync.range``."""
        return self._fetching.fetched

    def behind(self) -> dict[str, Head]:
        """Logs we want of which a neighbour holds more than we do, with the highest head told."""
        best: dict[str, Head] = {}
        links = self._peering.ready()
        # Who broke a promise could go on promising for ever. It is believed again when there is
        # nobody else to know from.
        broken = self.intake.helpers.broken
        for link in [link for link in links if not broken(link.key)] or links:
            for origin, head in link.heads.items():
                if origin == self._peering.me or self._held_logs.frozen(origin):
                    continue
                held = best.get(origin) or self._held_logs.head(origin)
                if head.position > held.position:
                    best[origin] = head
        return best

    def entries_behind(self) -> int:
        """Entries that neighbours told of and that are not held, as their numbers say."""
        missing = 0
        for origin, head in self.behind().items():
            held = self._held_logs.head(origin)
            missing += head.seq - held.seq if held.epoch == head.epoch else head.seq
        return missing

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

    def _joined(self, link: PeerLink, now: float) -> None:
        self._heads.joined(link)
        self.intake.show_proofs(link)

    def _left(self, link: PeerLink, now: float) -> None:
        self._fetching.lost(link)
        self.catchup.lost(link, now)

    def _heartbeat(self, lazy: list[PeerLink], now: float) -> None:
        links = self._peering.ready()
        helpers = self.intake.helpers
        if not (links and 0 <= now - self._heard_at < ABSENT_S):
            self._held_logs.replica.attentive_at = now + CATCHING_UP_S
        self._heard_at = now
        self.intake.expire(now)
        self._heads.heartbeat(links, lazy, now)
        self._fetching.expire(now)
        self.catchup.heartbeat(now)
        self._fetching.consider_all(sorted(links, key=helpers.rank), now)
        self._fetching.catch_up(now)
        self.signs.heartbeat(now)
        if self.leases.homes and links:  # else heartbeats come, and show it
            doubtful = self._held_logs.doubtful(now)
            self._fetching.look_again(doubtful, self._rng.choice(links), now)

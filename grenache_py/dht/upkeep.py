"""
A node's maintenance: it pings old contacts, refreshes buckets and looks for other nodes.

Pure. Contacts unheard of for ``node_liveness_s``, fallen silent once or never verified
are pinged; every bucket is refreshed every ``bucket_refresh_s``; with an empty table the
bootstrap addresses are asked again with growing pauses, for ever, and with a filled
one those missing from it are asked now and then, so that two rings that were started
apart find each other. Who has found company looks around at once: after an outage the
first to answer may know nobody either.
"""

from __future__ import annotations

import random
from math import inf

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.node_id import random_id_in_bucket
from grenache_py.dht.queries import Queries
from grenache_py.dht.routing_table import RoutingTable

__all__ = ["Upkeep"]

#: Contacts pinged in one round.
PINGS_MAX = 16
#: Seconds between rounds.
ROUND_S = 5.0


class Upkeep:
    """
    The node's rounds.

    Attributes:
        bootstrap_wanted: Set when the bootstrap addresses are to be asked; the node
            clears it.
    """

    def __init__(
        self,
        config: DHTConfig,
        table: RoutingTable,
        queries: Queries,
        rng: random.Random,
        now: float,
    ) -> None:
        self.bootstrap_wanted = True
        self._config = config
        self._table = table
        self._queries = queries
        self._rng = rng
        self._joined = False
        self._retry_s = config.bootstrap_retry_min_s
        self._bootstrap_at = now + self._retry_s
        self._round_at = self._bootstrap_at

    def due(self) -> float:
        """When `run` has something to do."""
        return min(self._round_at, self._queries.ping_again_at)

    def run(self, now: float) -> bytes | None:
        """
        Do one round.

        Returns:
            An id to look up so that its neighbourhood becomes known, or None.
        """
        self._queries.ping_again_at = inf
        self._queries.forget_old_silence(now)
        self._ping_doubtful(now)
        found_company = self._seek_company(now)
        self._round_at = now + ROUND_S if self._joined else min(now + ROUND_S, self._bootstrap_at)
        return self._table.own_id if found_company else self._stale_bucket(now)

    def _ping_doubtful(self, now: float) -> None:
        queries = self._queries
        heard_after = now - self._config.node_liveness_s
        doubtful = [
            contact
            for contact in self._table
            if (contact.failures or not contact.verified or contact.seen_at < heard_after)
            and not contact.pinged
        ]
        if len(doubtful) > PINGS_MAX:
            doubtful.sort(key=lambda contact: contact.seen_at)
        for contact in doubtful[:PINGS_MAX]:
            queries.ping(contact, now)

    def _stale_bucket(self, now: float) -> bytes | None:
        for shared_bits, bucket in enumerate(self._table.buckets):
            if bucket.contacts and now - bucket.refreshed_at > self._config.bucket_refresh_s:
                bucket.refreshed_at = now
                return random_id_in_bucket(self._table.own_number, shared_bits, self._rng)
        return None

    def _seek_company(self, now: float) -> bool:
        """Want the bootstrap addresses when it is time; whether there is company since now."""
        config = self._config
        joined = self._table.good() > 0
        found_company = joined and not self._joined
        if joined:
            self._retry_s = config.bootstrap_retry_min_s
        if joined != self._joined:
            self._bootstrap_at = now
        self._joined = joined
        if now < self._bootstrap_at:
            return False
        self.bootstrap_wanted = True
        pause_s = config.bootstrap_retry_max_s
        if not joined:
            pause_s = self._retry_s = min(self._retry_s * 2, pause_s)
        self._bootstrap_at = now + pause_s * self._rng.uniform(0.75, 1.25)
        return found_company

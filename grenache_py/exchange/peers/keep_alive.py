"""
Deadlines of links: the handshake, answers that do not come, and pings after silence.

Pure. Called once a heartbeat for every link.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from grenache_py.exchange.peers.clones import CloneCheck
from grenache_py.exchange.peers.handshake import DEADLINE_S
from grenache_py.exchange.peers.link import LinkState, PeerLink
from grenache_py.exchange.peers.link_table import LinkTable
from grenache_py.exchange.peers.requests import PeerRequests
from grenache_py.exchange.signed_log.hybrid_clock import TIME_MS_MAX

__all__ = ["PING_IDLE_S", "KeepAlive"]

#: A neighbour that was silent for so long is pinged.
PING_IDLE_S = 10.0
#: A link ends when so many pings were not answered.
PINGS_MISSED_MAX = 3
#: Each neighbour is pinged so often for the time its clock says.
CLOCK_S = 5.0


@attrs.frozen
class KeepAlive:
    """Ends links that are stuck or silent."""

    _table: LinkTable
    _requests: PeerRequests
    _clone_check: CloneCheck

    def tick(self, link: PeerLink, now: float) -> None:
        """Do what is due on one link."""
        if link.state is LinkState.CLOSING:
            return
        if link.state is LinkState.HANDSHAKING:
            if not now < link.handshake.deadline <= now + DEADLINE_S:
                self._table.close(link, "the handshake took too long", now)
            return
        for ended, reason in self._clone_check.ended(link, now):
            self._table.close(ended, reason, now)
        if link.state is not LinkState.READY:
            return
        self._requests.expire(link, now)
        # From times that are still to come, as when the clock was put back, nothing follows.
        heard_s, ping_s = now - link.heard, now - link.ping_sent
        if not 0 <= heard_s < PING_IDLE_S and not 0 <= ping_s < PING_IDLE_S / 2:
            if link.pings_missed >= PINGS_MISSED_MAX:
                self._table.close(link, f"no answer to {PINGS_MISSED_MAX} pings", now)
                return
            self._ping(link, now)
        elif not link.ping_sent or not link.ping_sent <= now < link.ping_sent + CLOCK_S:
            self._ping(link, now)

    def _ping(self, link: PeerLink, now: float) -> None:
        def answered(result: dict[str, Any] | None, error: object, then: float) -> None:
            if result is not None:
                link.latency_s = latency_s = max(0.0, then - now)
                time_ms = result.get("time")
                if type(time_ms) is int and 0 <= time_ms <= TIME_MS_MAX:
                    ahead_s = (now + then) / 2 - time_ms / 1000
                    # When it was read is known to half the way there and back.
                    sure_s = max(0.0, abs(ahead_s) - latency_s / 2)
                    link.clock_ahead_s = math.copysign(sure_s, ahead_s)
                    link.clock_at = then

        link.ping_sent = now
        link.pings_missed += 1
        self._requests.request(link, "peer.ping", {}, answered, now)

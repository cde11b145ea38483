"""
How a peer is doing, as plain JSON values: for ``status``, ``peers.list`` and ``fills.in_doubt``.

Pure. Reads the parts of a node and changes none of them.
"""

from __future__ import annotations

from typing import Any

import attrs

from grenache_py.alarms import PEER, raised
from grenache_py.exchange.fills.maker import Maker
from grenache_py.exchange.fills.taker import Taker
from grenache_py.exchange.home.ledger import Ledger
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.replication.replica import Replica
from grenache_py.exchange.replication.sync import Sync
from grenache_py.exchange.serving import Serving
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import Verifier

__all__ = ["NodeStatus"]


@attrs.frozen
class NodeStatus:
    """What a node tells of itself."""

    clock: HybridClock
    ledger: Ledger
    maker: Maker
    taker: Taker
    replica: Replica
    sync: Sync
    peering: Peering
    verifier: Verifier
    serving: Serving
    started: float

    def status(self, now: float) -> dict[str, Any]:
        """How this peer is doing, in plain JSON values: its summary, and each home it knows."""
        now_ms = int(now * 1000)
        homes = {
            home: {
                "epoch": origin.epoch,
                "seq": origin.seq,
                "live": len(origin.records),
                "visible": origin.visible,
                "complete": origin.complete,
                "frozen": origin.frozen,
                "age_ms": max(0, now_ms - origin.time[0]),
            }
            for home, origin in self.replica.origins.items()
        }
        return {**self.summary(now), "origins": homes}

    def summary(self, now: float) -> dict[str, Any]:
        """How this peer is doing without each home: asked often, and there may be thousands."""
        replica = self.replica
        now_ms = int(now * 1000)
        alarms, clocks = self.serving.alarms(), self.serving.clock_offset
        synced = self.sync.synced
        return {
            "peer": self.peering.me,
            "network": self.peering.config.network,
            "uptime_s": int(now - self.started),
            "synced": synced,
            "entries_behind": 0 if synced else self.sync.entries_behind(),
            "serving": not (alarms or self.serving.listening),
            "listening": self.serving.listening,
            "alarms": alarms,
            "warnings": self.serving.warnings(),
            "raised": raised(PEER, self.serving.raised()),
            "links": len(self.peering.by_key),
            "others_known": self.peering.addresses.known,
            "homes": len(replica.origins),
            "frozen": list(replica.sets.frozen),
            "early": None if replica.early is None else _early(*replica.early, now_ms),
            "log": {
                "epoch": self.ledger.log.epoch,
                "seq": self.ledger.log.seq,
                "hash": self.ledger.log.hash,
            },
            "orders": {"own": len(self.ledger.own), "remote": replica.records.count},
            "hidden": {
                market: attrs.asdict(hidden) for market, hidden in replica.records.hidden.items()
            },
            "fills": {
                "in_doubt": len(self.taker.intents),
                "on_hold": sorted(self.taker.on_hold),
                "requested": self.taker.requested,
                "settled": self.taker.settled,
                "asked_again": self.taker.asked_again,
                "unknown_answers": self.taker.unknown_answers,
                "answered": self.maker.filled,
                "refused": self.maker.refused,
                "repeated": self.maker.repeated,
                "poisoned": self.maker.poisoned,
                "unsettled_answers": self.maker.unsettled,
            },
            "gossip": {
                "applied": replica.applied,
                "signatures_checked": self.verifier.signatures_checked,
                "published": self.peering.gossip.published,
                "lines": self.peering.gossip.lines,
            },
            "clock_ahead_ms": max(0, self.clock.ms - now_ms),
            "clock_off_ms": None if clocks is None else round(clocks.ahead_s * 1000),
            "clocks_heard": 0 if clocks is None else clocks.neighbours,
        }

    def peers(self, now: float) -> list[dict[str, Any]]:
        """The links, in plain JSON values."""
        behind = self.sync.behind()
        return [
            {
                "peer": link.key,
                "address": link.address,
                "listen": link.listen or None,
                "direction": "outbound" if link.outbound else "inbound",
                "ready": link.ready,
                "clock_off_ms": (
                    None if link.clock_ahead_s is None else round(link.clock_ahead_s * 1000)
                ),
                "protocol": link.handshake.protocol,
                "latency_ms": None if link.latency_s is None else round(link.latency_s * 1000, 2),
                "score": round(self.peering.scores.of(link.key, now), 1),
                "synced": link.ready and link.key not in behind,
                "connected_s": int(now - link.opened),
                "heard_s_ago": round(max(0.0, now - link.heard), 1) if link.heard else None,
            }
            for link in self.peering.links.values()
        ]

    def in_doubt(self) -> list[dict[str, Any]]:
        """Fills without a settled answer."""
        markets = self.ledger.markets
        return [
            {
                "fill": intent.fill.id,
                "order": intent.fill.order,
                "maker_home": intent.fill.maker_home,
                "market": intent.fill.market,
                "quantity": markets[intent.fill.market].format_quantity(intent.open_lots),
                "deadline": intent.fill.deadline,
            }
            for intent in self.taker.intents.values()
        ]


def _early(home: str, stamp_ms: int, came_ms: int, now_ms: int) -> dict[str, Any]:
    """The last entry of another home that was too far ahead of the time."""
    return {"home": home, "time": stamp_ms, "s_ago": max(0.0, (now_ms - came_ms) / 1000)}

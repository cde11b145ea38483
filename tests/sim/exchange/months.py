"""
A month in a few minutes: peers that are up for a minute a day, and one that is away for all of it.

Heartbeats would make a month of idle time long: half a million entries a home. So the peers sleep
between two minutes of trade, as a laptop does that is closed, or are switched off; their clocks are
right when they wake. Each day ends with retention, whose limits are days. The peer that was away
comes back to homes that have forgotten what they may forget.
"""

from __future__ import annotations

from grenache_py.exchange.storage.retention import DAY_MS, Retention
from tests.sim.exchange.network import Peer
from tests.sim.exchange.world import QUIET_S, Report, World

__all__ = ["DAYS", "Months"]

DAYS = 30
DAY_S = 86_400.0
#: How long peers are up each day.
AWAKE_S = 45.0
#: What is kept is days old at most, and little.
KEEP = Retention(
    closed_orders_max=40,
    closed_orders_age_ms=3 * DAY_MS,
    trades_max=60,
    trades_age_ms=3 * DAY_MS,
    bars_max=20,
    bars_age_ms=10 * DAY_MS,
    order_events_max=60,
    order_events_age_ms=2 * DAY_MS,
    log_entries_max=50,
    settled_fills_age_ms=DAY_MS,
)


class Months(World):
    """See the module; what else is wrong the seed decides, as in ``World``."""

    def _run(self) -> Report:
        clock, rng = self.clock, self.rng
        for peer in self.peers:
            peer.drift = 0.0  # NTP, if nothing else: a per cent of a month is hours
            peer.start()
        self._day(self.peers, 0)
        away = rng.choice(self.peers)
        away.crash()
        self.network.count("months")
        others = [peer for peer in self.peers if peer is not away]
        for day in range(1, DAYS + 1):
            self._night(others, day)
            self._day(others, 2 if day % 3 == 0 else 0)
        self.heal()
        clock.run_until(clock.now + QUIET_S, 2_000_000)
        self.checker.replicas(self.peers)
        self._until_quiet()
        self.checker.signatures(self.peers)
        self._still_trades()
        return self.report()

    def _day(self, peers: list[Peer], crashes: int) -> None:
        """Some trade, some of which the end of the day cuts off, and what is too old forgotten."""
        clock, rng = self.clock, self.rng
        began = clock.now
        for _ in range(self.orders // 10 + 2):
            peer = rng.choice(peers)
            clock.at(began + rng.uniform(8.0, AWAKE_S), lambda peer=peer: self.place(peer))
        for _ in range(2):
            clock.at(began + rng.uniform(9.0, AWAKE_S), self.meddle)
        for _ in range(crashes):
            clock.at(began + rng.uniform(5.0, AWAKE_S - 15.0), self._crash)
        clock.run_until(began + AWAKE_S, 2_000_000)
        self.checker.replicas(peers)
        for peer in peers:
            if peer.disk.prune(KEEP, int(peer.wall() * 1000)):
                self.network.count("history forgotten")

    def _night(self, peers: list[Peer], day: int) -> None:
        """The rest of the day, asleep or switched off."""
        clock = self.clock
        asleep = self.rng.random() < 0.5
        self.network.count("a day slept through" if asleep else "a day switched off")
        for peer in peers:
            peer.crash_at_commit = ""
            if not asleep:
                peer.crash()
            elif peer.node is not None:
                peer.pause()
        clock.run_until(day * DAY_S, 100_000)
        for peer in peers:
            if peer.paused:
                peer.resume()
            self.restart(peer)

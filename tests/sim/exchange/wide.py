"""
Trouble that comes with the world, not with the code: addresses, places, clocks, operators.

Each kind is one of ``WIDE_KINDS``. A world asks for its peers' configuration here, and has the
events of a seed scheduled.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs

from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.node import NodeConfig
from grenache_py.exchange.storage.retention import Retention
from grenache_py.steady_clock import BELIEVED_AFTER_S
from tests.sim.exchange.network import Peer

if TYPE_CHECKING:
    from tests.sim.exchange.world import World

__all__ = ["RETENTION", "Wide"]

#: So little that a seed's two minutes are a long history.
RETENTION = Retention(
    closed_orders_max=30,
    closed_orders_age_ms=15_000,
    trades_max=60,
    trades_age_ms=15_000,
    bars_max=10,
    bars_age_ms=60_000,
    order_events_max=60,
    order_events_age_ms=15_000,
    log_entries_max=40,
    settled_fills_age_ms=15_000,
)


class Wide:
    """
    Args:
        kinds: of ``WIDE_KINDS``; what is not among them does not happen.
        rng: its own, so that these kinds change nothing of the others.
    """

    def __init__(self, world: World, kinds: tuple[str, ...], rng: random.Random) -> None:
        self.world = world
        self.kinds = kinds
        self.rng = rng
        self.closing: dict[str, str] = {}  # a market that a peer is about to give up, by peer
        self._right_again = 0.0  # when no peer goes by the wrong time that it booted with

    # How peers are made.

    def behind_nat(self, name: str) -> bool:
        """Whether nobody can dial this one."""
        behind = "nat" in self.kinds and name != "p0" and self.rng.random() < 0.5
        if behind:
            self.world.network.count("nat")
        return behind

    def config(self, name: str, config: NodeConfig, behind_nat: bool) -> NodeConfig:
        """What this one is told about itself instead."""
        rng, peering = self.rng, config.peering
        differ = "markets differ" in self.kinds
        if (behind_nat or differ) and name != "p0" and "p0:7071" not in peering.connect:
            peering = attrs.evolve(peering, connect=(*peering.connect, "p0:7071"))
        if behind_nat and rng.random() < 0.5:
            peering = attrs.evolve(peering, listen="")
        if "few links" in self.kinds:
            self.world.network.count("few links")
            target, places = rng.randrange(1, 3), rng.randrange(2, 4)
            peering = attrs.evolve(peering, outbound_target=target, inbound_max=places)
        return attrs.evolve(config, peering=peering, markets=self._markets(name, config.markets))

    def _markets(self, name: str, markets: tuple[Market, ...]) -> tuple[Market, ...]:
        """The last market is not the same everywhere; p0, whom everybody can link to, lacks it."""
        *same, last = markets
        if "markets differ" in self.kinds:
            self.world.network.count("markets differ")
            if name == "p0":
                return tuple(same)
            times = self.rng.choice((1, 1, 2, 5))
            tick = f"{last.tick.units * times * 10 ** (9 - last.tick.decimals)}"
            lot = f"{last.lot.units * times * 10 ** (9 - last.lot.decimals)}"
            tick, lot = (f"0.{text:0>9}" for text in (tick, lot))
            return (*same, Market.parse(f"{last.symbol}:tick={tick},lot={lot}"))
        if "fewer markets" in self.kinds and name != "p0" and self.rng.random() < 0.5:
            self.world.network.count("fewer markets")
            return tuple(same)
        return markets

    # What happens to them.

    def schedule(self, until: float) -> None:
        """Put this seed's events on the clock."""
        clock, rng = self.world.clock, self.rng
        self._until = until
        for kind, rate, act in (
            ("clock hours", 30.0, self._hours),
            ("long outage", 40.0, self._outage),
            ("new epoch", 40.0, self._new_epoch),
            ("markets change", 25.0, self._give_up_market),
        ):
            if kind in self.kinds:
                rate /= max(self.world.harshness, 0.5)
                at = 2.0 + rng.expovariate(1 / rate)
                while at < until:
                    clock.at(at, act)
                    at += rng.expovariate(1 / rate)
        if "retention" in self.kinds:
            for peer in self.world.peers:
                clock.after(rng.uniform(1.0, 10.0), lambda peer=peer: self._prune(peer))

    def _up(self) -> Peer | None:
        up = [peer for peer in self.world.peers if peer.node is not None and not peer.paused]
        return self.rng.choice(up) if up else None

    def _prune(self, peer: Peer) -> None:
        if peer.node is not None and peer.disk.prune(RETENTION, int(peer.wall() * 1000)):
            self.world.network.count("retention")
        self.world.clock.after(7.0, lambda: self._prune(peer))

    def _hours(self) -> None:
        """A clock is hours wrong for a moment, as when a virtual machine wakes up or boots."""
        self.world.network.count("clock hours")
        peer = self.rng.choice(self.world.peers)
        hours = self.rng.choice((-3.0, -1.0, 1.0, 3.0)) * 3600.0
        peer.offset += hours
        # Two that boot with one wrong time believe each other: docs/design/log.rst#clock-rests.
        now = self.world.clock.now
        up = peer.node is not None and not peer.paused
        if up and now >= self._right_again and self.rng.random() < 0.4:
            self._right_again = now + 2 * BELIEVED_AFTER_S
            self.world.network.count("clock hours at start")
            peer.crash()
            self.world.restart(peer)

        def back() -> None:
            if self.world.clock.now < self._until:  # then NTP comes back
                peer.offset -= hours

        self.world.clock.after(self.rng.uniform(0.5, 3.0), back)

    def _outage(self) -> None:
        """A peer is gone until everything heals; its orders must not stay in anybody's way."""
        peer = self._up()
        if peer is not None and sum(each.node is not None for each in self.world.peers) > 1:
            self.world.network.count("long outage")
            peer.crash()

    def _new_epoch(self) -> None:
        """An operator begins a new log for a home: its old orders are closed."""
        peer = self._up()
        if peer is None:
            return
        self.world.network.count("new epoch")
        peer.crash()

        def again() -> None:
            if abs(peer.offset) > 600.0:  # the operator sees what time it is, as the guide says
                self.world.clock.after(1.0, again)
                return
            if peer.node is None:
                peer.config = attrs.evolve(peer.config, new_epoch=True)
                peer.start()
                peer.config = attrs.evolve(peer.config, new_epoch=False)

        self.world.clock.after(self.rng.uniform(0.1, 5.0), again)

    def _give_up_market(self) -> None:
        """An operator takes a market away: cancels its orders, and restarts when all are closed."""
        peer = self._up()
        if peer is None or peer.name in self.closing or len(peer.config.markets) < 2:
            return
        market = peer.config.markets[-1]
        self.closing[peer.name] = market.symbol
        peer.do(lambda node, now: node.serving.silent or node.cancel_all(now, market.symbol))
        self.world.clock.after(
            self.rng.uniform(5.0, 15.0), lambda: self._without_market(peer, market)
        )

    def _without_market(self, peer: Peer, market: Market) -> None:
        self.closing.pop(peer.name, None)
        if peer.node is None or peer.paused or any(peer.node.open_orders(market.symbol)):
            return
        peer.crash()
        if any(row.live and row.market == market.symbol for row in peer.disk.load().orders):
            self.world.restart(peer)  # what closed the last of them was not on the disk yet
            return
        self.world.network.count("markets change")
        kept = tuple(each for each in peer.config.markets if each.symbol != market.symbol)
        peer.config = attrs.evolve(peer.config, markets=kept)
        self.world.restart(peer)
        self.world.clock.after(self.rng.uniform(3.0, 20.0), lambda: self._add_market(peer, market))

    def _add_market(self, peer: Peer, market: Market) -> None:
        if all(each.symbol != market.symbol for each in peer.config.markets):
            peer.crash()
            peer.config = attrs.evolve(peer.config, markets=(*peer.config.markets, market))
            self.world.restart(peer)

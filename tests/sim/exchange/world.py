"""
A seed's worth of trouble: peers that trade while their network, disks and clocks misbehave.

Which kinds of fault happen, and how badly, the seed decides (swarm testing); then everything
heals, and what must come true when nothing is wrong any more is checked.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs

from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.market.order import LiveOrder, NewOrder
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.peering import PeeringConfig
from tests.sim.exchange import small_limits
from tests.sim.exchange.evil import Nuisance
from tests.sim.exchange.invariants import Checker, Violation
from tests.sim.exchange.kinds import KINDS, WIDE_KINDS, ready
from tests.sim.exchange.neighbour import Liar
from tests.sim.exchange.network import MANY_MARKETS, MARKETS, Disk, Faults, Network, Peer, identity
from tests.sim.exchange.once import once_decoded
from tests.sim.exchange.wide import Wide
from tests.support.virtual_clock import Scheduler

__all__ = ["MARKETS", "Flow", "Report", "World", "run", "shape"]

CHAOS_S = 60.0
QUIET_S = 75.0
#: What is left to trade then has so much longer.
BACKLOG_S = 120.0
ACCOUNTS = ("alice", "bob", "carol", "dan", "eve", "fay", "gus", "hal")
#: Of twenty seeds, the one that takes a month.
MONTH = 10
#: From this seed on all are of the densest shape.
DENSE = 1_000_000
#: One seed in so many has all that its homes committed written and read, whoever else reads it.
WRITTEN = 5
#: The limit with which homes show by pulses that they live.
PULSES = "few homes"
#: Clients change their minds about orders among so many newest ones.
RECENT = 200


@attrs.frozen
class Flow:
    """
    How clients trade.

    Attributes:
        burst: orders a client places at once, on average.
        sweeps: share of the orders that are large enough for several makers.
        lots: orders are of fewer, before sweeps.
        spread: prices lie within so many ticks of 1000.
        markets, accounts: how many there are.
        stops: share of stop orders, of 0.68 at most.
        self_trade: policies that orders choose from.
        lean: share of a home's orders that are on one side, every other home's on the other:
            what is near 1 trades between homes.
    """

    burst: int = 1
    sweeps: float = 0.0
    lots: int = 20
    spread: int = 6
    markets: int = 2
    accounts: int = 2
    lean: float = 0.5
    stops: float = 0.04
    self_trade: tuple[str, ...] = ("newest", "oldest", "both")


@attrs.define
class Report:
    """What a run saw."""

    seed: int
    faults: tuple[str, ...]
    trades: int
    orders: int
    lines: int
    trace: str
    sometimes: dict[str, int]


class World:
    """
    Some peers, and everything that happens to them.

    Args:
        faults: kinds to use; None lets the seed choose.
        real: sign with ed25519.
        harshness: what the network's faults, their number and probability, are multiplied with.
        evil: one more peer, which lies.
        flow: how clients trade.
        also: names of ``kinds.ALL`` that happen besides the faults; nothing else that is wide is
            drawn then.
    """

    def __init__(
        self,
        seed: int,
        peers: int = 4,
        orders: int = 40,
        faults: tuple[str, ...] | None = None,
        real: bool = False,
        harshness: float = 1.0,
        evil: bool = False,
        flow: Flow | None = None,
        prepare: Callable[[World], None] | None = None,
        outbound_target: int = 8,
        also: tuple[str, ...] = (),
    ) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.clock = Scheduler()
        self.network = Network(self.clock, random.Random(rng.getrandbits(64)))
        self.checker = Checker(MANY_MARKETS)
        self.orders = orders
        self.harshness = harshness
        self.flow = flow or Flow()
        self.resting_only = False
        self.placed: list[tuple[Peer, str]] = []
        self.outbound_target = outbound_target
        self.real = real
        drawn = faults is None
        if faults is None:
            faults = tuple(kind for kind in KINDS if rng.random() < 0.4)
        wide_rng = random.Random(f"wide {seed}")
        wide = tuple(kind for kind in faults if kind in WIDE_KINDS)
        limits: tuple[str, ...] = ()
        lies: tuple[str, ...] = ()
        attacks: tuple[str, ...] | None = None
        if drawn and not also:
            wide = tuple(k for k in WIDE_KINDS if wide_rng.random() < 0.2 and ready(k))
            known = tuple(name for name in small_limits.LIMITS if name != PULSES)
            limits = _some(wide_rng, 0.07, "limit: ", known)
            if random.Random(f"pulses {seed}").random() < 0.1:  # it changes no other draw
                limits = (*limits, PULSES)
            if wide_rng.random() < 0.3 and peers > 2 and not evil:
                lies = _some(wide_rng, 0.3, "neighbour: ", Liar.KINDS)
        wide = (*wide, *(kind for kind in also if kind in WIDE_KINDS))
        limits = (*limits, *_named("limit: ", also))
        if forced := _named("neighbour: ", also):
            lies = forced
        if forced := _named("evil: ", also):
            evil, attacks = True, forced
        if "origins" in limits and "homes" not in (attacks or ()):
            evil, attacks = True, (*(attacks or ()), "homes")  # somebody has to fill the table
        catch_ups = "catch-ups" in limits or Liar.IN_CATCH_UPS.intersection(lies)
        if catch_ups and "tail" not in limits:
            limits = (*limits, "tail")  # short tails make catch-ups
        if "false announcements" in lies and "mesh" not in limits:
            limits = (*limits, "mesh")  # outside of which entries are announced
        self.kinds = (*faults, *wide) if drawn else (*faults, *(k for k in wide if k in also))
        self.limits = limits
        self.wide = Wide(self, wide, wide_rng)
        changing = {"markets differ", "fewer markets", "markets change"}.intersection(wide)
        self.markets = MANY_MARKETS[: max(self.flow.markets, 2 if changing else 1)]
        self.spread = self.flow.spread
        self.peers = [self.add_peer(f"p{i}", peers) for i in range(peers)]
        if evil:
            Nuisance(
                self.network, seed, self.peers, CHAOS_S, self.checker.evil.add, attacks, _evil_ready
            )
            self.checker.hostage = attacks == ("hostage",)
        if lies:
            self._add_liar(peers, lies)
        self.also = (
            *(f"limit: {name}" for name in limits),
            *(f"neighbour: {name}" for name in lies),
            *(f"evil: {name}" for name in attacks or ()),
        )
        if prepare is not None:
            prepare(self)

    def _add_liar(self, peers: int, lies: tuple[str, ...]) -> None:
        rng = random.Random(f"liar {self.seed}")
        kept, self.rng = self.rng, rng
        liar = self.add_peer("liar", peers)
        self.rng = kept
        everybody = tuple(peer.address for peer in self.peers)
        liar.config = attrs.evolve(
            liar.config, peering=attrs.evolve(liar.config.peering, connect=everybody)
        )
        liar.on_commit = lambda peer, rows: None
        liar.on_release = lambda peer, batch: None
        self.checker.evil.add(liar.identity.key)
        Liar(self.network, liar, rng, list(lies), CHAOS_S)
        self.clock.at(0.5, liar.start)

    def add_peer(self, name: str, known: int) -> Peer:
        rng = self.rng
        others = [address for i in range(known) if (address := f"p{i}:7071") != f"{name}:7071"]
        connect = tuple(rng.sample(others, min(len(others), rng.randrange(1, 4))))
        behind_nat = self.wide.behind_nat(name)
        config = NodeConfig(
            PeeringConfig(
                "sim",
                listen=f"{name}:7071",
                connect=connect,
                outbound_target=self.outbound_target,
                strict=True,
            ),
            self.markets,
        )
        config = self.wide.config(name, config, behind_nat)
        config = small_limits.configured(self.limits, config)
        if "nat" in self.kinds and name == "p0" and config.peering.inbound_max < 8:
            # Those who cannot be dialled have nobody else for sure.
            peering = attrs.evolve(config.peering, inbound_max=8)
            config = attrs.evolve(config, peering=peering)
        disk_rng = random.Random(rng.getrandbits(64))
        slow = "slow disk" in self.kinds and rng.random() < 0.5

        def latency() -> float:
            if slow and disk_rng.random() < 0.02:
                self.network.count("slow commit")
                return disk_rng.uniform(0.1, 5.0)
            return disk_rng.uniform(0.0005, 0.01)

        peer = Peer(
            name,
            self.network,
            config,
            identity(rng, self.real),
            Disk(latency),
            random.Random(rng.getrandbits(64)),
        )
        peer.behind_nat = behind_nat
        if "clock offset" in self.kinds:
            peer.offset = rng.uniform(-2.0, 2.0)
        if "clock drift" in self.kinds:
            peer.drift = rng.uniform(-0.01, 0.01)
        peer.on_commit = self.checker.committed
        peer.on_release = self.checker.released
        self.checker.honest.add(peer.identity.key)
        peer.on_start = lambda node: self._started(peer, node)
        if self.limits:
            peer.on_input = self._at_limits
        return peer

    def _started(self, peer: Peer, node: ExchangeNode) -> None:
        if self.clock.now < CHAOS_S:  # also who is restarted later to trade other markets is healed
            small_limits.started(self.limits, node)
        node.replica.on_forgotten.append(lambda home: self.checker.forgotten(peer, home))
        penalise, called = node.peering.penalise, node.peering.link_message

        def heard(link: int, message: dict[str, Any], now: float) -> tuple[int, int]:
            if message.get("method") == "gossip.want":
                self.checker.wanted(peer, link)
            return called(link, message, now)

        def noted(link: PeerLink, points: float, reason: str, now: float) -> None:
            self.checker.blamed(node.key, link.key, points, reason)
            penalise(link, points, reason, now)

        node.peering.penalise = node.peering._requests._penalise = noted
        node.peering.link_message = heard  # type: ignore[method-assign]

    def _at_limits(self, peer: Peer) -> None:
        if peer.node is not None:
            for name in small_limits.reached(self.limits, peer.node):
                self.network.count(f"limit: {name}")

    # What clients do.

    def place(self, peer: Peer) -> None:
        rng = self.rng
        closing = self.wide.closing.get(peer.name)
        market = rng.choice([m for m in peer.config.markets if m.symbol != closing])
        middle = self._middle(market)
        side = rng.choice(("buy", "sell"))
        if self.flow.lean != 0.5:
            leaning = rng.random() < self.flow.lean
            side = "buy" if leaning == bool(self.peers.index(peer) % 2) else "sell"
        kind = 1.0 if self.resting_only else rng.random()
        price: int | None = middle + rng.randrange(-self.spread, self.spread + 1)
        new: dict[str, Any] = {"account": rng.choice(ACCOUNTS[: self.flow.accounts])}
        if kind < 0.08:
            price, new["type"] = None, "market"
            new["time_in_force"] = "ioc"
        elif kind < 0.2:
            new["time_in_force"] = rng.choice(("ioc", "fok"))
        elif kind < 0.26:
            new["post_only"] = True
        elif kind < 0.32:
            new["time_in_force"] = "gtd"
            new["expires_ms"] = int((peer.wall() + rng.uniform(1.0, 30.0)) * 1000)
        elif kind < 0.32 + self.flow.stops:
            new["type"] = "stop_limit"
            new["stop_ticks"] = middle + rng.randrange(-4, 5)
        new["self_trade"] = rng.choice(self.flow.self_trade)
        lots = rng.randrange(1, self.flow.lots)
        if self.flow.sweeps and rng.random() < self.flow.sweeps:
            lots *= rng.randrange(2, 12)
        order = NewOrder(market.symbol, side, lots, price, **new)
        self._ask(peer, lambda node, now: node.place(order, now))

    def _middle(self, market: Market) -> int:
        """In ticks of ``market``: what is 1000 of those that it has at most homes."""
        usual = next(each for each in self.markets if each.symbol == market.symbol)
        if market is usual:
            return 1000
        return int(1000 * float(usual.tick.text) / float(market.tick.text))

    def place_some(self, peer: Peer) -> None:
        """A client with much to say."""
        for _ in range(self.rng.randrange(1, 2 * self.flow.burst)):
            self.place(peer)

    def _ask(self, peer: Peer, call: Callable[[ExchangeNode, float], LiveOrder]) -> None:
        """A client asks for something, and takes no for an answer."""

        def asked(node: ExchangeNode, now: float) -> None:
            try:
                live = call(node, now)
            except OrderError as error:
                self.network.count(f"refused {error.code}")
            else:
                self.placed.append((peer, live.order_id))

        peer.do(asked)

    def meddle(self) -> None:
        """Cancel or replace something."""
        if not self.placed:
            return
        peer, order_id = self.rng.choice(self.placed[-RECENT:])
        self.network.count("meddled")
        if self.rng.random() < 0.7:
            self._ask(peer, lambda node, now: node.cancel(order_id, now))
        else:
            move, lots = self.rng.randrange(-6, 7), self.rng.randrange(1, 20)
            self._ask(peer, lambda node, now: self._replace(node, order_id, lots, move, now))

    def _replace(
        self, node: ExchangeNode, order_id: str, lots: int, move: int, now: float
    ) -> LiveOrder:
        """Change an order, and see that it keeps its place, or loses it: docs/matching.rst."""
        node._settle_down(now)  # as it does first itself: what waited may trade now
        live = node.order(order_id)
        if live is None or move == 0 or live.order.market not in node.markets:
            price = None
        else:
            price = self._middle(node.markets[live.order.market]) + move
        before = None if live is None else (live.key, live.price_ticks, live.quantity)
        beforehand = None if live is None else (live.open, live.reserved, live.filled)
        after = node.replace(order_id, now, lots, price)
        assert live is not None
        assert before is not None
        assert beforehand is not None
        key, old_price, quantity = before
        keeps = lots <= quantity and price in (None, old_price)
        if keeps:
            self.network.count("kept its place")
            kept = (after.order_id, after.key, after.quantity) == (order_id, key, lots)
            if not kept or after.filled + after.reserved + after.open > lots:
                raise Violation(f"O6: {before} lowered to {lots} lots became {after}")
        else:
            self.network.count("replaced by a new order")
            left = lots - beforehand[1] - beforehand[2]
            placed = (after.order_id != order_id, after.key > key, after.quantity)
            if placed != (True, True, left) or live.reason != "cancelled" or live.open:
                raise Violation(f"O6: {beforehand} of {order_id} replaced by {lots}: {after}")
        return after

    def look_up(self, peer: Peer) -> None:
        """What grapes answer: some peers, and ghosts (docs/failure-modes.rst#f21)."""
        found = self.rng.sample(self.peers, min(3, len(self.peers)))
        hints = [other.address for other in found] + ["ghost:7071"]
        peer.do(lambda node, now: node.discovered(hints, now))
        self.clock.after(30.0, lambda: self.look_up(peer))

    # What happens to them.

    def trouble(self) -> None:
        """Schedule this seed's faults over the chaos."""
        rng, clock, network, harshness = self.rng, self.clock, self.network, self.harshness
        faults = Faults()
        kinds = self.kinds
        if "loss" in kinds:
            faults.loss = harshness * rng.uniform(0.01, 0.12)
        if "duplicate" in kinds:
            faults.duplicate = harshness * rng.uniform(0.02, 0.18)
        if "reorder" in kinds:
            faults.reorder = harshness * rng.uniform(0.02, 0.2)
        if "delay" in kinds:
            faults.delay_spike = harshness * rng.uniform(0.005, 0.05)
        clock.at(2.0, lambda: setattr(network, "faults", faults))
        for kind, rate, act in (
            ("crash", 8.0, self._crash),
            ("disk", 10.0, self._disk),
            ("partition", 20.0, self._partition),
            ("one-way cut", 20.0, self._one_way),
            ("reset", 6.0, self._reset),
            ("clock jump", 15.0, self._jump),
            ("pause", 15.0, self._pause),
        ):
            if kind in kinds:
                rate /= harshness
                at = 2.0 + rng.expovariate(1 / rate)
                while at < CHAOS_S:
                    clock.at(at, act)
                    at += rng.expovariate(1 / rate)
        self.wide.schedule(CHAOS_S)

    def _up(self) -> Peer | None:
        up = [peer for peer in self.peers if peer.node is not None and not peer.paused]
        return self.rng.choice(up) if up else None

    def _crash(self) -> None:
        peer = self._up()
        if peer is None:
            return
        how = self.rng.choice(("now", "before", "after"))
        if how == "now":
            self.network.count("crash")
            peer.crash()
        else:
            peer.crash_at_commit = how
        self.clock.after(self.rng.uniform(0.3, 12.0), lambda: self.restart(peer))

    def restart(self, peer: Peer) -> None:
        if peer.node is None:
            peer.start()

    def _disk(self) -> None:
        peer = self._up()
        if peer is not None:
            peer.disk.next_fault = self.rng.choice(("before", "after"))
            self.network.count(f"disk fault {peer.disk.next_fault}")

    def _cut(self, pairs: set[tuple[str, str]], seconds: float) -> None:
        network = self.network
        network.cut |= pairs

        def heal() -> None:
            network.cut -= pairs
            network.heal()

        self.clock.after(seconds, heal)

    def _partition(self) -> None:
        self.network.count("partition")
        names = [peer.name for peer in self.peers]
        side = set(self.rng.sample(names, self.rng.randrange(1, len(names))))
        pairs = {(a, b) for a in names for b in names if (a in side) != (b in side)}
        self._cut(pairs, self.rng.uniform(1.0, 25.0))

    def _one_way(self) -> None:
        self.network.count("one-way cut")
        a, b = self.rng.sample([peer.name for peer in self.peers], 2)
        self._cut({(a, b)}, self.rng.uniform(1.0, 20.0))

    def _reset(self) -> None:
        if self.network.connections:
            self.network.reset(self.rng.choice(self.network.connections))

    def _jump(self) -> None:
        self.network.count("clock jump")
        peer = self.rng.choice(self.peers)
        peer.offset += self.rng.uniform(-10.0, 10.0)

    def _pause(self) -> None:
        peer = self._up()
        if peer is not None:
            self.network.count("pause")
            peer.pause()
            self.clock.after(
                self.rng.uniform(0.5, 20.0), lambda: peer.resume() if peer.paused else None
            )

    def heal(self) -> None:
        """All faults end."""
        clock = self.clock
        self.network.faults = Faults()
        self.network.cut.clear()
        self.network.heal()
        for peer in self.peers:
            peer.disk.next_fault = peer.crash_at_commit = ""
            if peer.paused:
                peer.resume()
            # NTP comes back.
            error = peer.offset + clock.now * peer.drift
            peer.offset, peer.drift = max(-1.5, min(1.5, error)), 0.0
            self.restart(peer)
            if peer.node is not None:
                small_limits.healed(self.limits, peer.node)

    # One run.

    def run(self) -> Report:
        """
        Chaos, peace, checks.

        Raises:
            Violation: an invariant did not hold.
        """
        with small_limits.small(self.limits), once_decoded():
            return self._run()

    def _run(self) -> Report:
        clock, rng = self.clock, self.rng
        for peer in self.peers:
            clock.at(rng.uniform(0.0, 1.0), peer.start)
        self.trouble()
        for peer in self.peers:
            clock.after(rng.uniform(5.0, 30.0), lambda peer=peer: self.look_up(peer))
        place = self.place if self.flow.burst == 1 else self.place_some
        for _ in range(self.orders // self.flow.burst):
            peer = rng.choice(self.peers)
            clock.at(rng.uniform(1.0, CHAOS_S), lambda peer=peer: place(peer))
        for _ in range(self.orders // 4):
            clock.at(rng.uniform(2.0, CHAOS_S), self.meddle)
        at = 5.0
        while at < CHAOS_S:
            clock.at(at, lambda: self.checker.replicas(self.peers))
            at += 5.0
        clock.run_until(CHAOS_S, 2_000_000)
        self.heal()
        while clock.now < CHAOS_S + QUIET_S:
            clock.run_until(min(clock.now + 5.0, CHAOS_S + QUIET_S), 2_000_000)
            self.checker.doubts_end(self.peers)
        self.checker.replicas(self.peers)
        self._until_quiet()
        self.checker.signatures(self.peers)
        self._still_trades()
        if self.seed % WRITTEN == 0:
            for peer in self.peers:
                peer.disk.load()
        return self.report()

    def _still_trades(self) -> None:
        """O10: whatever was done to them, homes take orders, and trade with each other."""
        if len(self.peers) < 2 or "live orders" in self.limits:
            return
        seller, buyer = self.rng.sample(self.peers, 2)
        common = [m for m in seller.config.markets if m in buyer.config.markets]
        if not common:
            return
        price = 2 * self._middle(common[0])
        lives: list[LiveOrder] = []
        for peer, side in ((seller, "sell"), (buyer, "buy")):
            order = NewOrder(common[0].symbol, side, 1, price, account=peer.name)  # type: ignore[arg-type]
            try:
                lives.append(peer.do(lambda node, now, order=order: node.place(order, now)))
            except OrderError as error:
                raise Violation(f"O10: {peer.name} refuses an honest order: {error}") from None
            self.clock.run_until(self.clock.now + 3.0)
        # A commit of a slow disk takes 5 s, and one may follow another at either home.
        self.clock.run_until(self.clock.now + (20.0 if "slow disk" in self.kinds else 3.0))
        if not lives[1].filled:
            raise Violation(f"O10: {buyer.name} cannot buy what is for sale: {lives[1]}")
        self.network.count("still trades")

    def _until_quiet(self) -> None:
        """
        Check what holds at rest; a heartbeat may just be on its way, so look six times.

        Outside of a small mesh each one is asked for a second or two after it was announced. While
        trades come it is not rest yet: with few fills at once, or a slow disk, what crossed in the
        chaos takes its time.
        """
        looks, trades, until = 5, len(self.checker.trades), self.clock.now + BACKLOG_S
        self.checker.rests()
        while True:
            try:
                self.checker.quiet(self.peers)
                return
            except Violation:
                before, trades = trades, len(self.checker.trades)
                rests = trades == before or self.clock.now >= until
                looks = looks - 1 if rests else 5
                if not rests:
                    self.checker.rests()
                if looks < 0:
                    raise
            self.checker.doubts_end(self.peers)
            self.clock.run_until(self.clock.now + 1.7)

    def report(self) -> Report:
        sometimes = self.checker.sometimes
        for name, count in self.network.counts.items():
            sometimes[name] += count
        for peer in self.peers:
            node = peer.node
            if node is None:
                continue
            for name, count in (
                ("fill repeated", node.maker.repeated),
                ("fill refused", node.maker.refused),
                ("fill poisoned", node.maker.poisoned),
                ("fill asked again", node.taker.asked_again),
                ("entries fetched", node.sync.fetched),
                ("records adopted", node.sync.catchup.adopted),
                ("catch-ups", node.sync.catchup.sessions),
            ):
                sometimes[name] += count
        return Report(
            self.seed,
            self.kinds,
            len({trade_id for _, trade_id in self.checker.trades}),
            len(self.checker.orders),
            self.network.lines,
            self.checker.trace.hexdigest(),
            dict(sometimes),
        )


def _some(rng: random.Random, share: float, prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(n for n in names if rng.random() < share and ready(prefix + n))


def _named(prefix: str, also: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix) for name in also if name.startswith(prefix))


def _evil_ready(kind: str) -> bool:
    return ready(f"evil: {kind}")


def shape(seed: int) -> dict[str, Any]:
    """
    How large the world of a seed is; one in twenty signs with ed25519.

    Even seeds have few orders and much time between them, so that each meets its own fault.
    Odd seeds are busy: few homes, hundreds to thousands of orders that mostly trade. Seeds from
    ``DENSE`` on are busier still: there a fault meets hundreds of trades.
    """
    rng = random.Random(f"shape {seed}")
    real = seed % 20 == 7
    if seed >= DENSE:
        return {
            "peers": rng.choice((2, 2, 3)),
            "orders": rng.choice((8_000, 16_000)) // (8 if real else 1),
            "real": real,
            "harshness": rng.choice((0.2, 0.5, 1.0)),
            "flow": Flow(
                burst=rng.choice((20, 50, 100)),
                sweeps=rng.choice((0.0, 0.1, 0.3)),
                spread=rng.choice((1, 2, 4)),
                markets=rng.choice((1, 2, 6)),
                accounts=8,
                lean=rng.choice((0.5, 0.75, 0.95)),
            ),
            "evil": rng.random() < 0.25,
        }
    if seed % 2:
        return {
            "peers": rng.choice((2, 2, 2, 3, 3, 4)),
            "orders": rng.choice((500, 1000, 2000, 4000)) // (4 if real else 1),
            "real": real,
            "harshness": rng.choice((0.05, 0.2, 1.0)),
            "flow": Flow(
                burst=rng.choice((1, 5, 20)),
                sweeps=rng.choice((0.0, 0.1, 0.3)),
                spread=rng.choice((1, 2, 4)),
                markets=rng.choice((1, 2, 6)),
                accounts=rng.choice((4, 8)),
                lean=rng.choice((0.5, 0.75, 0.95)),
            ),
            "evil": rng.random() < 0.25,
        }
    return {
        "peers": rng.choice((2, 3, 4, 4, 5, 6)),
        "orders": rng.choice((20, 40, 40, 80, 200)),
        "real": real,
    }


def built(seed: int, **settings: Any) -> World:
    """The world of a seed; ``settings`` replace what the seed says."""
    from tests.sim.exchange.months import Months  # it is built on this module

    shaped = shape(seed)
    month = "months" in settings.get("also", ()) or (
        seed % 20 == MONTH and seed < DENSE and ready("months")
    )
    if month and not settings.keys() - {"also"}:
        shaped |= {"peers": 3, "orders": 60, "real": False, "evil": False}
        return Months(seed, **{**shaped, **settings})
    return World(seed, **{**shaped, **settings})


def run(seed: int, **settings: Any) -> Report:
    """
    One seed.

    Raises:
        Violation: with the seed, its faults and the command that replays it.
    """
    world = built(seed, **settings)
    try:
        return world.run()
    except Violation as violation:
        what = ",".join((*world.kinds, *world.also))
        raise Violation(
            f"{violation}\n  SEED={seed} FAULTS={what} at {world.clock.now:.3f} s"
            f"\n  replay: .venv/bin/python -m tests.sim.exchange.__main__ --seed {seed} --trace"
        ) from violation

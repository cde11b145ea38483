"""
Many homes that each have an order and do nothing: who is seen to live, by whom, and what it costs.

The peers are light: the real table of homes, leases and their exchange, on links that only carry
``lease.*``. What an entry or a handshake does elsewhere is done here by hand.

    python -m tests.sim.exchange.many_homes [--peers 1000] [--seconds 60]

tells how often a pulse comes, and how much is sent.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import attrs
import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.home.own_lease import OwnLease
from grenache_py.exchange.peer_messages import PEER_MESSAGES
from grenache_py.exchange.replication.lease_exchange import LeaseExchange
from grenache_py.exchange.replication.leases import Leases
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_table import OriginTable
from grenache_py.exchange.replication.remote_orders import RemoteOrders
from grenache_py.exchange.replication.remote_rows import RemoteRows
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.merkle import Sealer, Verifier
from grenache_py.wire.jsonrpc import notification_line
from tests.sim.exchange.network import EPOCH_S, CheapScheme, identity
from tests.support.virtual_clock import Scheduler

__all__ = ["HIDDEN_S", "ManyHomes", "OneOrder", "Sightings"]

#: A dead home is hidden after so long, if all clocks are right; and after a death in this time.
HIDDEN_S = 30.0
#: What happened to a peer or its links is over after so long.
SETTLED_S = 45.0
#: Links of each peer, dialled.
DIALS = 5
DECODE = {row.name: row.decode for row in PEER_MESSAGES}


class OneOrder:
    """The orders of a home, of which nothing is looked at but that there are some."""

    numbers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return 1

    def values(self) -> tuple[()]:
        """What is dropped with the home: it was in no book."""
        return ()


@attrs.define(eq=False)
class _Link:
    """One end of a connection."""

    id: int
    key: str
    outbound: bool
    other: _Peer
    far: _Link | None = None
    points: int = 0
    reads_pulses: bool = True


class _Peering:
    """As much of the real one as leases use."""

    def __init__(self, send: Callable[[_Link, str, Mapping[str, Any]], None]) -> None:
        self.on_ready: list[Callable[[Any, float], None]] = []
        self.on_gone: list[Callable[[Any, float], None]] = []
        self.methods: dict[str, Callable[[Any, Any, float], Any]] = {}
        self.me = ""
        self.scores = SimpleNamespace(of=lambda key, now: 0.0)
        self.notify = send
        self.method = self.methods.__setitem__

    def ignored(self, link: object, now: float) -> bool:
        return False


class _Peer:
    """A home with an order, and what it holds of the others."""

    def __init__(self, world: ManyHomes, number: int) -> None:
        self.world = world
        self.number = number
        self.identity = identity(world.rng, real=False)
        self.offset = 0.0
        self.links: dict[int, _Link] = {}
        self.alive = self.lying = False
        self.paused_until = 0.0
        self.disturbed = self.died = 0.0
        self.life = 0
        self.clock = HybridClock()
        self._mail: list[tuple[_Link, bytes]] = []

    @property
    def key(self) -> str:
        return self.identity.key

    def wall(self) -> float:
        return EPOCH_S + self.world.clock.now + self.offset

    @property
    def busy(self) -> bool:
        return self.alive and self.paused_until <= self.world.clock.now

    def start(self) -> None:
        """A new process: it knows which homes there are, as from its store, and no lease."""
        world = self.world
        self.alive, self.life = True, self.life + 1
        self.disturbed = world.clock.now
        self.clock = HybridClock(self.clock.ms + 1)
        orders = RemoteOrders(
            {}, {}, RemoteRows({}), self.clock, lambda *order: None, lambda *change: None
        )
        self.table = OriginTable(orders)
        self.peering = _Peering(self._send)
        self.leases = Leases(Verifier(CheapScheme(), "many"))
        self.exchange = LeaseExchange(
            self.peering,  # type: ignore[arg-type]
            self.table, self.leases, self.clock, random.Random(world.rng.random()),
        )  # fmt: skip
        now_ms = int(self.wall() * 1000)
        for other in world.peers:
            if other is not self:
                origin = Origin(other.key, seq=7)
                origin.records = OneOrder()  # type: ignore[assignment]
                self.table.put(origin, now_ms, "")
                self.table._leases.add(other.key, 0)
        writer: Any = SimpleNamespace(
            log=SimpleNamespace(home=self.key, epoch=1, seq=7),
            live_set=SimpleNamespace(count=1, fingerprint=0),
            close=lambda: None,
        )
        sealer = Sealer(self.identity, "many")
        self.own = OwnLease(sealer, self.clock, writer, self.exchange.own)
        life, rng = self.life, world.rng
        world.clock.after(rng.random(), lambda: self._second(life))
        world.clock.after(10 * rng.random(), lambda: self._slot(life))

    def stop(self) -> None:
        """It dies."""
        self.alive = False
        self.died = self.disturbed = self.world.clock.now
        for link in list(self.links.values()):
            self.world.cut(link)

    def _slot(self, life: int) -> None:
        if self.alive and self.life == life:
            wait = 0.5
            if self.busy:
                now = self.wall()
                if self.own.must_state(now):
                    self.own.state(now)
                else:
                    self.own.pulse(now)
                wait = self.own.next_s(now)
            self.world.clock.after(wait, lambda: self._slot(life))

    def _second(self, life: int) -> None:
        if self.alive and self.life == life:
            if self.busy:
                mail, self._mail = self._mail, []
                for link, line in mail:
                    self._read(link, line)
                now = self.wall()
                now_ms = self.clock.read_ms(now)
                self.table.tick(now_ms, now_ms)
                self.exchange.heartbeat(now)
            self.world.clock.after(1.0, lambda: self._second(life))

    def _send(self, link: _Link, method: str, params: Mapping[str, Any]) -> None:
        world, far = self.world, link.far
        assert far is not None
        for line in world.twisted(self, method, notification_line(method, params)):
            world.sent += len(line)
            world.lines += 1
            world.clock.after(world.rng.uniform(0.01, 0.09), partial(link.other.hear, far, line))

    def hear(self, link: _Link, line: bytes) -> None:
        """A line came."""
        if not self.alive or self.links.get(link.id) is not link:
            return
        if self.busy and not self._mail:
            self._read(link, line)
        else:
            self._mail.append((link, line))

    def _read(self, link: _Link, line: bytes) -> None:
        message = msgspec.json.decode(line)
        decode = DECODE[message["method"]]
        assert decode is not None
        try:
            decoded = decode(message["params"])
            if message["method"] == "lease.show":
                self.world.pulses += len(decoded.pulses) + len(decoded.stated)
            self.peering.methods[message["method"]](link, decoded, self.wall())
        except RemoteProtocolError:
            assert link.other.lying, line
            self.world.refused += 1

    def sees(self, other: _Peer) -> bool:
        """Whether another's order is in the book here."""
        return self.table.origins[other.key].visible


@attrs.define
class Sightings:
    """
    What was wrongly seen, counted once a second and pair.

    Attributes:
        looks: pairs of which one thing had to be seen.
        hidden: living homes that were not.
        shown: dead ones that were, or ones that stopped long ago.
    """

    looks: int = 0
    hidden: int = 0
    shown: int = 0


class ManyHomes:
    """
    The network.

    Attributes:
        lies: called with each line a lying peer sends: the lines that leave instead.
        sent, lines, pulses, refused: bytes, lines, pulses that came, and lines that were refused.
    """

    def __init__(self, peers: int, seed: int, dials: int = DIALS) -> None:
        self.rng = random.Random(seed)
        self.clock = Scheduler()
        self.sent = self.lines = self.pulses = self.refused = 0
        self.dials = dials
        self.lies: Callable[[_Peer, str, bytes], list[bytes]] = lambda peer, method, line: [line]
        self.seen = Sightings()
        self._links = 0
        self.peers: list[_Peer] = []
        self.peers = [_Peer(self, number) for number in range(peers)]
        for peer in self.peers:
            peer.start()
        for peer in self.peers:
            self.dial_some(peer)

    def twisted(self, peer: _Peer, method: str, line: bytes) -> list[bytes]:
        return self.lies(peer, method, line) if peer.lying else [line]

    def dial_some(self, peer: _Peer) -> None:
        """Have a peer dial until it has as many as it wants."""
        if not peer.alive:
            return
        alive = [p for p in self.peers if p.alive and p is not peer]
        known = {link.key for link in peer.links.values()}
        missing = self.dials - sum(link.outbound for link in peer.links.values())
        free = [p for p in alive if p.key not in known]
        for other in self.rng.sample(free, max(0, min(missing, len(free)))):
            self._link(peer, other)

    def _link(self, dialler: _Peer, other: _Peer) -> None:
        near = _Link(self._links, other.key, True, other)
        far = _Link(self._links + 1, dialler.key, False, dialler, near)
        near.far = far
        self._links += 2
        for peer, link in ((dialler, near), (other, far)):
            peer.links[link.id] = link
            for ready in peer.peering.on_ready:
                ready(link, peer.wall())

    def cut(self, link: _Link) -> None:
        """A connection ends; whoever dialled it dials another soon."""
        far = link.far
        assert far is not None
        for owner, end in ((far.other, link), (link.other, far)):
            if owner.links.pop(end.id, None) is not None:
                for gone in owner.peering.on_gone:
                    gone(end, owner.wall())
                if end.outbound:
                    self.clock.after(self.rng.uniform(0.5, 3.0), partial(self.dial_some, owner))

    # Trouble.

    def trouble(self, seconds: float, each_s: float = 4.0) -> None:
        """For a while something happens to somebody every few seconds."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.run(self.rng.expovariate(1 / each_s))
            peer = self.rng.choice([p for p in self.peers if not p.lying])
            what = self.rng.choice(("stall", "cut", "cut", "restart", "die"))
            if not peer.alive:
                peer.start()
                self.dial_some(peer)
            elif what == "stall":
                peer.paused_until = self.clock.now + self.rng.uniform(5.0, 60.0)
                peer.disturbed = peer.paused_until
            elif what == "cut" and peer.links:
                self.cut(self.rng.choice(list(peer.links.values())))
            elif what == "restart":
                peer.stop()
                peer.start()
                self.dial_some(peer)
            elif what == "die":
                peer.stop()

    def run(self, seconds: float) -> None:
        """Let time pass, and look once a second."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.run_until(min(end, self.clock.now + 1.0))
            self._look()

    def _look(self) -> None:
        now, seen = self.clock.now, self.seen
        settled = [p for p in self.peers if p.busy and p.disturbed + SETTLED_S < now]
        for peer in settled:
            if peer.lying:
                continue
            for other in self.peers:
                if other is peer or other.lying:
                    continue
                if other.busy and other.disturbed + SETTLED_S < now:
                    seen.looks += 1
                    seen.hidden += not peer.sees(other)
                elif not other.alive and other.died + HIDDEN_S + 2.0 < now:
                    seen.looks += 1
                    seen.shown += peer.sees(other)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    options.add_argument("--peers", type=int, default=1_000)
    options.add_argument("--seconds", type=float, default=60.0)
    chosen = options.parse_args()
    world = ManyHomes(chosen.peers, seed=1)
    world.clock.run_until(30.0)
    world.sent = world.pulses = 0
    world.clock.run_until(30.0 + chosen.seconds)
    shown = chosen.peers * (chosen.peers - 1) * chosen.seconds / 10
    each = world.sent / chosen.peers / chosen.seconds
    copies = world.pulses / shown
    print(f"{chosen.peers} peers: {copies:.2f} copies of a pulse, {each:.0f} B/s sent by each")
    world.run(1.0)
    print(world.seen)


if __name__ == "__main__":
    main()

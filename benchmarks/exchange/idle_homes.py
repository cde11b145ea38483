"""
A peer among thousands of idle homes: what a quiet second costs it, and what each home does.

    python -m benchmarks.exchange.idle_homes [--homes 10000] [--links 48]

The peer is the daemon's own ``ExchangeNode`` with real signatures, on a virtual clock. Stand-ins:
homes, which sign a heartbeat when one is due and place nothing; neighbours, which link, answer
pings, push each heartbeat over the mesh, and tell of moved heads as this peer does; the disk, which
takes ``COMMIT_S`` and keeps nothing. CPU is that of the node alone: its input, its clock work and
its batches. Each is a mean over virtual seconds.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import msgspec

import grenache_py
from benchmarks.exchange.joining import COMMIT_S
from grenache_py.exchange.effects.batch import CloseLink, Dial, Send
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.home.heartbeat import BEAT_S, BEATS_PER_S_MAX, LEASE_MS
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers.config import PeeringConfig
from grenache_py.exchange.peers.handshake import PROTOCOL, Handshake, PeerHello
from grenache_py.exchange.peers.mesh import D_LAZY, GOSSIP_FACTOR, HEADS_PER_MESSAGE_MAX
from grenache_py.exchange.replication import origin_table
from grenache_py.exchange.replication.head_exchange import HEADS_ALL_S, HEADS_S
from grenache_py.exchange.signed_log.entries import GENESIS, LEASE_MS_MAX, Entry, HeartbeatBody
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.merkle import Sealer
from grenache_py.wire.jsonrpc import decode_message, notification_line, result_line
from tests.sim.exchange.network import EPOCH_S, MARKETS, identity
from tests.support.virtual_clock import Scheduler

NETWORK = "bench"
HOMES, LINKS = (1_000, 10_000), 48
NO_ENTRY = Head(1, 0, GENESIS)
#: Links that this peer dialled; the others were.
DIALLED = 8
#: Heartbeats of each home that came before anything is measured.
BEATS_BEFORE = 8
#: Virtual seconds that are measured: with heartbeats, and without.
IDLE_S, QUIET_S = 20, 5


@attrs.define
class Figures:
    """
    What one peer in one network pays.

    Attributes:
        home_bytes: memory that each home takes.
        idle_ms, idle_bytes: of CPU, and sent, a second, while all homes live and none trades.
        quiet_ms: of CPU a second while nothing comes at all.
        hidden_s: from the last heartbeat of a home to its orders being hidden.
    """

    homes: int
    links: int
    home_bytes: float
    idle_ms: float
    idle_bytes: float
    quiet_ms: float
    hidden_s: float


@attrs.define
class Home:
    """Another home's log, which only has heartbeats."""

    identity: Identity
    head: Head = NO_ENTRY


@attrs.define
class Neighbour:
    """
    The other end of a link.

    Attributes:
        shared: heads that went over the link, either way, since all were told last.
    """

    number: int
    key: str
    handshake: Handshake
    shared: dict[str, Head] = attrs.Factory(dict)

    def lacks(self, heads: Iterable[tuple[str, Head]]) -> list[tuple[str, Head]]:
        """Those that have not gone over the link."""
        return [(home, head) for home, head in heads if self.shared.get(home) != head]


class Crowd:
    """
    One peer, its neighbours, and all homes.

    Attributes:
        node: that peer.
        cpu_s, sent: what it spent, and sent in bytes.
        beating: homes sign heartbeats, and neighbours tell of them.
    """

    def __init__(self, homes: int, links: int, real: bool = True) -> None:
        """
        Args:
            real: signatures are; else a hash stands for one.
        """
        self.rng = rng = random.Random(1)
        self.clock = Scheduler()
        self.cpu_s, self.sent = 0.0, 0
        self.beating = False
        self.period_s = max(BEAT_S, homes / BEATS_PER_S_MAX)
        lease_ms = min(max(LEASE_MS, int(4000 * self.period_s)), LEASE_MS_MAX)
        self._beat = HeartbeatBody(lease_ms, 0, "0" * 64)
        self._moved: deque[tuple[float, str, Head]] = deque()
        self._turning = False
        found = (Home(identity(rng, real)) for _ in range(homes))
        self.homes = {home.identity.key: home for home in found}
        config = PeeringConfig(NETWORK, listen="10.0.0.1:7071", inbound_max=links)
        self.node = ExchangeNode(
            NodeConfig(config, MARKETS[:1]), identity(rng, real), Snapshot(), rng, self.wall()
        )
        self.neighbours = {number: self._link(number, real) for number in range(links)}
        self._tick()
        self.clock.run_until(1.0)
        assert len(self.node.peering.by_key) == links

    def wall(self) -> float:
        return EPOCH_S + self.clock.now

    def _link(self, number: int, real: bool) -> Neighbour:
        outbound, who = number < DIALLED, identity(self.rng, real)
        hello = PeerHello(f"{number:032x}", NETWORK, PROTOCOL, f"10.0.1.{number}:7071")
        neighbour = Neighbour(number, who.key, Handshake(hello, not outbound, 1e12))
        address = f"10.0.1.{number}:7071"
        self._ask(lambda: self.node.link_opened(number, outbound, address, who.key, self.wall()))
        for message in neighbour.handshake.begin():
            line = msgspec.json.encode(message)
            self.clock.after(0, lambda line=line: self.say(neighbour, line))  # type: ignore[misc]
        return neighbour

    # The node, as its daemon drives it.

    def _ask(self, call: Callable[[], object]) -> None:
        """Have the node do something, at its cost."""
        began = time.process_time()
        call()
        self.cpu_s += time.process_time() - began
        if not self._turning:
            self._turning = True
            self.clock.after(COMMIT_S, self._turn)

    def _turn(self) -> None:
        self._turning = False
        began = time.process_time()
        batch = self.node.take_batch(self.wall())
        self.cpu_s += time.process_time() - began
        for send in batch.sends:
            if isinstance(send, Send):
                self.sent += len(send.line)
                self._hear(self.neighbours[send.link], decode_message(send.line))
            elif isinstance(send, Dial):
                raise RuntimeError(f"{send.address} is known from nobody")
            elif isinstance(send, CloseLink):
                raise RuntimeError(f"a link ended: {send.reason}")

    def _tick(self) -> None:
        self._ask(lambda: self.node.tick(self.wall()))
        self.clock.at(self.node.next_deadline() - EPOCH_S, self._tick)

    # The neighbours.

    def say(self, neighbour: Neighbour, line: bytes) -> None:
        """A neighbour says something."""
        self._ask(
            lambda: self.node.link_message(neighbour.number, decode_message(line), self.wall())
        )

    def _hear(self, neighbour: Neighbour, message: dict[str, Any]) -> None:
        if neighbour.handshake.peer is None:
            for reply in neighbour.handshake.receive(message):
                self.say(neighbour, msgspec.json.encode(reply))
            return
        method, params = message.get("method"), message.get("params")
        if method == "peer.ping":
            result = {"time": int(self.wall() * 1000)}
            self.say(neighbour, result_line(message["id"], result))
        elif method == "gossip.publish" and params is not None:
            for entry in params["entries"]:
                said = Entry.decode(entry["payload"])
                if (home := self.homes.get(said.home)) is not None:
                    neighbour.shared[home.identity.key] = home.head
        elif method == "sync.heads" and params is not None:
            for key, *_ in params["heads"]:
                if (home := self.homes.get(key)) is not None:
                    neighbour.shared[home.identity.key] = home.head
        elif "id" in message and method is not None:
            raise RuntimeError(f"nobody answers {method}")

    def tell(self, neighbour: Neighbour, method: str, heads: list[tuple[str, Head]]) -> None:
        """A neighbour tells of heads, in as many lines as it takes."""
        for start in range(0, len(heads), HEADS_PER_MESSAGE_MAX):
            part = heads[start : start + HEADS_PER_MESSAGE_MAX]
            told = {"heads": [[home, *head] for home, head in part]}
            self.say(neighbour, notification_line(method, told))

    def _each_second(self, neighbour: Neighbour, second: int) -> None:
        if not self.beating:
            return
        now = self.clock.now
        recent = [(home, head) for at, home, head in self._moved if at > now - 2.0]
        links = self.node.peering.ready()
        others = sum(not link.mesh for link in links)
        lazy = max(D_LAZY, int(others * GOSSIP_FACTOR)) / max(1, others)
        if not self.node.peering.by_key[neighbour.key].mesh and self.rng.random() < lazy:
            self.tell(neighbour, "gossip.have", neighbour.lacks(recent))
        if second % int(HEADS_S) == neighbour.number % int(HEADS_S):
            moved = [(home, head) for at, home, head in self._moved if at > now - HEADS_S]
            self.tell(neighbour, "sync.heads", neighbour.lacks(moved))
            neighbour.shared = dict(moved)
        self.clock.after(1.0, lambda: self._each_second(neighbour, second + 1))

    def _everything(self) -> None:
        """Of all neighbours' rounds through all their links, one comes to this peer."""
        if self.beating:
            self.tell(self.rng.choice(list(self.neighbours.values())), "sync.heads", self.heads())
            self.clock.after(HEADS_ALL_S, self._everything)

    def heads(self) -> list[tuple[str, Head]]:
        """Of all homes."""
        return [(key, home.head) for key, home in self.homes.items()]

    # The homes.

    def beat(self, home: Home) -> bytes:
        """A home signs a heartbeat; the line that brings it."""
        entry = Entry(
            home.identity.key, 1, home.head.seq + 1, home.head.hash, (int(self.wall() * 1000), 0),
            beat=self._beat,
        )  # fmt: skip
        sealer = Sealer(home.identity, NETWORK)
        draft = sealer.add(entry.encode())
        sealer.seal()
        home.head = Head(1, entry.seq, draft.hash.hex())
        return notification_line("gossip.publish", {"entries": [draft.proof.wire()]})

    def _due(self, home: Home) -> None:
        """A home's heartbeat comes over the mesh, a little later over each link."""
        if not self.beating:
            return
        line, key, head = self.beat(home), home.identity.key, home.head
        now = self.clock.now
        self._moved.append((now, key, head))
        while self._moved[0][0] < now - 2 * HEADS_S:
            self._moved.popleft()
        mesh = [link.id for link in self.node.peering.ready() if link.mesh]
        self.rng.shuffle(mesh)
        late_s = 0.0
        for number in mesh:
            self.clock.after(
                late_s, lambda n=number: self._push(self.neighbours[n], key, head, line)
            )
            late_s += self.rng.expovariate(1 / 0.02)
        self.clock.after(self.period_s, lambda: self._due(home))

    def _push(self, neighbour: Neighbour, key: str, head: Head, line: bytes) -> None:
        if neighbour.shared.get(key) != head:
            neighbour.shared[key] = head
            self.say(neighbour, line)

    # What happens.

    def gather(self, beats: int = BEATS_BEFORE) -> None:
        """All homes are heard of, each with so many heartbeats; all neighbours tell of them."""
        for _ in range(beats):
            for number, home in enumerate(self.homes.values()):
                self.say(self.neighbours[number % len(self.neighbours)], self.beat(home))
            self.clock.run_until(self.clock.now + 1.0)
        for neighbour in self.neighbours.values():
            neighbour.shared.clear()
            self.tell(neighbour, "sync.heads", self.heads())
        self.clock.run_until(self.clock.now + 2 * HEADS_S)

    def live(self, seconds: float) -> None:
        """All homes live for a while."""
        if not self.beating:
            self.beating = True
            for home in self.homes.values():
                self.clock.after(self.rng.random() * self.period_s, lambda h=home: self._due(h))
            for neighbour in self.neighbours.values():
                self.clock.after(self.rng.random(), lambda n=neighbour: self._each_second(n, 0))
            self.clock.after(self.rng.random() * HEADS_ALL_S, self._everything)
        self.clock.run_until(self.clock.now + seconds)

    def fall_silent(self) -> None:
        """Nobody signs or tells anything any more; neighbours answer pings."""
        self.beating = False
        self.clock.run_until(self.clock.now + 2 * HEADS_S)

    def spent(self, seconds: float) -> tuple[float, float]:
        """Let time pass; CPU in ms, and bytes sent, a second."""
        cpu_s, sent = self.cpu_s, self.sent
        self.clock.run_until(self.clock.now + seconds)
        return 1000 * (self.cpu_s - cpu_s) / seconds, (self.sent - sent) / seconds

    def until_hidden(self) -> float:
        """Seconds from the last heartbeat of a home to the moment it is hidden."""
        at, key, _ = self._moved[-1]
        origin = self.node.replica.origins[key]
        while origin.visible:
            self.clock.run_until(self.clock.now + 1.0)
        return self.clock.now - at


def bytes_of_a_home(homes: int, links: int) -> float:
    """
    Memory of the node for each home.

    What the package allocated is counted, so that the stand-ins are not. It takes three times as
    long.
    """
    crowd = Crowd(homes, links, real=False)
    tracemalloc.start()
    crowd.gather()
    gc.collect()
    ours = tracemalloc.Filter(True, f"{Path(grenache_py.__file__).parent}/*")
    held = sum(each.size for each in tracemalloc.take_snapshot().filter_traces([ours]).traces)
    tracemalloc.stop()
    return held / homes


def measure(homes: int, links: int, idle_s: float = IDLE_S, quiet_s: float = QUIET_S) -> Figures:
    """One peer among so many homes."""
    origin_table.ORIGINS_MAX = max(origin_table.ORIGINS_MAX, homes)
    home_bytes = bytes_of_a_home(homes, links)
    crowd = Crowd(homes, links)
    crowd.gather(beats=2)
    crowd.live(2 * HEADS_S)
    idle_ms, idle_bytes = crowd.spent(idle_s)
    crowd.fall_silent()
    quiet_ms, _ = crowd.spent(quiet_s)
    hidden_s = crowd.until_hidden()
    return Figures(homes, links, home_bytes, idle_ms, idle_bytes, quiet_ms, hidden_s)


def table(found: Figures) -> str:
    """The figures as people read them."""
    return (
        f"{found.homes:,} homes, {found.links} links: {found.home_bytes:,.0f} B a home;"
        f" {found.idle_ms:.1f} ms of CPU and {found.idle_bytes / 1e3:.1f} kB sent a second while"
        f" they live, {found.quiet_ms:.2f} ms a second while they are silent; one that died is"
        f" hidden after {found.hidden_s:.0f} s"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    options.add_argument("--homes", type=int, action="append")
    options.add_argument("--links", type=int, default=LINKS)
    chosen = options.parse_args()
    for homes in chosen.homes or HOMES:
        print(table(measure(homes, chosen.links)), flush=True)


if __name__ == "__main__":
    main()

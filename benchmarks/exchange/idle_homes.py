"""
A peer among thousands of idle homes: what a quiet second costs it, and what each home does.

    python -m benchmarks.exchange.idle_homes [--homes 10000] [--links 48]

The peer is the daemon's own ``ExchangeNode`` with real signatures, on a virtual clock. Stand-ins:
homes, each with one order, which show that they live as their number demands, and trade nothing;
neighbours, which link, answer pings, pass on pulses once a second and heartbeats at once, and tell
of moved heads as this peer does; the disk, which takes ``COMMIT_S`` and keeps nothing. CPU is that
of the node alone: its input, its clock work and its batches. Each is a mean over virtual seconds.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
import tracemalloc
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import msgspec

import grenache_py
from benchmarks.exchange.joining import COMMIT_S
from grenache_py.exchange.effects.batch import CloseLink, Dial, Send
from grenache_py.exchange.effects.rows import Snapshot
from grenache_py.exchange.home.heartbeat import BEAT_S, LEASE_MS, RESTING_S, is_many
from grenache_py.exchange.home.own_lease import LEASE_S, SLOT_S
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.peers.config import PeeringConfig
from grenache_py.exchange.peers.handshake import PROTOCOL, Handshake, PeerHello
from grenache_py.exchange.peers.mesh import D_LAZY, GOSSIP_FACTOR, HEADS_PER_MESSAGE_MAX
from grenache_py.exchange.replication import origin_table
from grenache_py.exchange.replication.head_exchange import HEADS_ALL_S, HEADS_PER_S_MAX, HEADS_S
from grenache_py.exchange.replication.lease_messages import PULSES_MAX as PULSES_PER_LINE
from grenache_py.exchange.replication.lease_messages import STATED_MAX, split
from grenache_py.exchange.replication.replica import RESTING_MS
from grenache_py.exchange.signed_log.entries import (
    GENESIS,
    Entry,
    HeartbeatBody,
    OrderBody,
    StateBody,
    order_id,
)
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.signed_log.live_set import element
from grenache_py.exchange.signed_log.merkle import Draft, Sealer
from grenache_py.exchange.signed_log.statement import (
    PULSES_MAX,
    LifeStatement,
    chain_of,
)
from grenache_py.wire.jsonrpc import decode_message, notification_line, result_line
from tests.sim.exchange.network import EPOCH_S, MARKETS, identity
from tests.support.virtual_clock import Scheduler

NETWORK = "bench"
HOMES, LINKS = (1_000, 10_000), 48
NO_ENTRY = Head(1, 0, GENESIS)
#: Links that this peer dialled; the others were.
DIALLED = 8
#: A pulse comes to the neighbours within so many seconds of one another.
SPREAD_S = 4.0
#: Heartbeats of each home that came before anything is measured.
BEATS_BEFORE = 8
#: Virtual seconds of life before anything is measured: statements went over each new link once.
SETTLING_S = 3 * SLOT_S
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
        hidden_s: from the last sign of life of a home to its orders being hidden.
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
    """Another home: its log, which has one order and then heartbeats, and its chain."""

    identity: Identity
    head: Head = NO_ENTRY
    order: str = ""
    statement: LifeStatement | None = None
    data: bytes = b""
    values: list[bytes] = attrs.Factory(list)
    number: int = 0

    def stated(self) -> list[str | int]:
        """What brings its statement and its newest pulse."""
        return [
            b64encode(self.data).decode(),
            self.number,
            b64encode(self.values[self.number]).decode(),
        ]


@attrs.define
class Neighbour:
    """
    The other end of a link.

    Attributes:
        shared: heads that went over the link, either way, since all were told last.
        on: pulses go over it; those that wait for the next second, and those that went already.
    """

    number: int
    key: str
    handshake: Handshake
    shared: dict[str, Head] = attrs.Factory(dict)
    on: bool = False
    waiting: dict[bytes, Home] = attrs.Factory(dict)
    held: set[bytes] = attrs.Factory(set)

    def lacks(self, heads: Iterable[tuple[str, Head]]) -> list[tuple[str, Head]]:
        """Those that have not gone over the link."""
        return [(home, head) for home, head in heads if self.shared.get(home) != head]


class Crowd:
    """
    One peer, its neighbours, and all homes.

    Attributes:
        node: that peer.
        cpu_s, sent: what it spent, and sent in bytes.
        beating: homes show that they live, and neighbours tell of it.
        pulsing: by pulses.
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
        self.pulsing = is_many(homes, before=False)
        self.period_s = RESTING_S if self.pulsing else BEAT_S
        self._told = 0  # of all heads
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
        elif method == "lease.link" and params is not None:
            neighbour.on = params["on"]
        elif method == "lease.show" and params is not None:
            told = split(b64decode(params.get("pulses", "")))
            told += [b64decode(value) for *_, value in params.get("stated", ())]
            for value in told:
                neighbour.held.add(value)
                neighbour.waiting.pop(value, None)
        elif method == "sync.heads" and params is not None:
            for key, *_ in params["heads"]:
                if (home := self.homes.get(key)) is not None:
                    neighbour.shared[home.identity.key] = home.head
        elif method == "sync.range":
            self.say(neighbour, result_line(message["id"], {"pruned": True}))
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
        self._pass_on(neighbour)
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
            heads, first = self.heads(), self._told
            self._told += int(HEADS_ALL_S) * HEADS_PER_S_MAX
            some = heads[first : self._told] if len(heads) > self._told else heads[first:]
            self._told %= len(heads)
            self.tell(self.rng.choice(list(self.neighbours.values())), "sync.heads", some)
            self.clock.after(HEADS_ALL_S, self._everything)

    def _pass_on(self, neighbour: Neighbour) -> None:
        """A neighbour shows the pulses that came to it in the last second."""
        new = [each for each in neighbour.waiting.items() if each[0] not in neighbour.held]
        neighbour.waiting.clear()
        neighbour.held.update(value for value, _ in new)
        stated = [home for _, home in new if not home.number]
        self.show(neighbour, stated)
        values = [value for value, home in new if home.number]
        for start in range(0, len(values), PULSES_PER_LINE):
            row = b"".join(values[start : start + PULSES_PER_LINE])
            params = {"pulses": b64encode(row).decode()}
            self.say(neighbour, notification_line("lease.show", params))

    def show(self, neighbour: Neighbour, homes: list[Home]) -> None:
        """A neighbour shows statements."""
        for start in range(0, len(homes), STATED_MAX):
            stated = [home.stated() for home in homes[start : start + STATED_MAX]]
            self.say(neighbour, notification_line("lease.show", {"stated": stated}))

    def heads(self) -> list[tuple[str, Head]]:
        """Of all homes."""
        return [(key, home.head) for key, home in self.homes.items()]

    # The homes.

    def beat(self, home: Home) -> bytes:
        """A home signs a heartbeat, and its order before the first; the line that brings it."""
        sealer = Sealer(home.identity, NETWORK)
        drafts = []
        stamp = int(self.wall() * 1000), 0
        if not home.order:
            symbol, (tick, lot) = MARKETS[0].symbol, MARKETS[0].steps
            home.order = order_id(
                home.identity.key, symbol, "sell", "limit", "1", stamp, "100", None, "gtc", False,
                None,
            )  # fmt: skip
            body = OrderBody(
                home.order, symbol, "sell", "limit", "1", stamp, "100", tick=tick, lot=lot
            )
            state = StateBody(home.order, 1, "1", "0", "0", "")
            drafts.append(self._entry(home, sealer, stamp, order=body, states=(state,)))
            stamp = stamp[0], 1
        beat = HeartbeatBody(LEASE_MS, 1, f"{element(home.order, 1):064x}")
        drafts.append(self._entry(home, sealer, stamp, beat=beat))
        sealer.seal()
        entries = [draft.proof.wire() for draft in drafts]
        return notification_line("gossip.publish", {"entries": entries})

    def _entry(self, home: Home, sealer: Sealer, stamp: tuple[int, int], **body: Any) -> Draft:
        entry = Entry(home.identity.key, 1, home.head.seq + 1, home.head.hash, stamp, **body)
        draft = sealer.add(entry.encode())
        home.head = Head(1, entry.seq, draft.hash.hex())
        return draft

    def state(self, home: Home, ago_s: float = 0.0) -> None:
        """A home makes a statement, or made it some time ago."""
        ms = int((self.wall() - ago_s) * 1000)
        sealer = Sealer(home.identity, NETWORK)
        home.values, home.number = chain_of(sealer, ms), int(ago_s / SLOT_S)
        home.statement = LifeStatement(
            home.identity.key, 1, home.head.seq, ms, PULSES_MAX, SLOT_S, LEASE_S, home.values[0],
            1, element(home.order, 1),
        )  # fmt: skip
        home.data = home.statement.signed(sealer)

    def _slot(self, home: Home) -> None:
        """A home shows its next pulse, which comes to the neighbours."""
        if not self.beating:
            return
        if home.number < PULSES_MAX:
            home.number += 1
        else:
            self.state(home)
        value = home.values[home.number]
        for neighbour in self.neighbours.values():
            if neighbour.on:
                late = partial(neighbour.waiting.__setitem__, value, home)
                self.clock.after(SPREAD_S * self.rng.random(), late)
        self.clock.after(SLOT_S, lambda: self._slot(home))

    def _due(self, home: Home) -> None:
        """A home's heartbeat comes over the mesh, a little later over each link."""
        if not self.beating:
            return
        line, key, head = self.beat(home), home.identity.key, home.head
        now = self.clock.now
        if not self.pulsing:  # or nobody else hears of it
            self._moved.append((now, key, head))
        while self._moved and self._moved[0][0] < now - 2 * HEADS_S:
            self._moved.popleft()
        mesh = [link.id for link in self.node.peering.ready() if link.mesh]
        self.rng.shuffle(mesh)
        late_s = 0.0
        for number in mesh:
            self.clock.after(late_s, partial(self._push, self.neighbours[number], key, head, line))
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
        if self.pulsing:
            self.clock.run_until(self.clock.now + RESTING_MS / 1000 + 1.0)  # their logs rest
            for home in self.homes.values():
                self.state(home, self.rng.random() * SLOT_S * PULSES_MAX)
            self.show(self.neighbours[0], list(self.homes.values()))
            self.clock.run_until(self.clock.now + 2 * HEADS_S)

    def live(self, seconds: float) -> None:
        """All homes live for a while."""
        if not self.beating:
            self.beating = True
            for home in self.homes.values():
                self.clock.after(self.rng.random() * self.period_s, partial(self._due, home))
                if home.statement is not None:
                    passed_s = self.wall() - home.statement.ms / 1000
                    home.number = int(passed_s / SLOT_S)
                    wait_s = SLOT_S - passed_s % SLOT_S
                    self.clock.after(wait_s, partial(self._slot, home))
            for neighbour in self.neighbours.values():
                self.clock.after(self.rng.random(), partial(self._each_second, neighbour, 0))
            self.clock.after(self.rng.random() * HEADS_ALL_S, self._everything)
        self.clock.run_until(self.clock.now + seconds)

    def fall_silent(self) -> None:
        """Nobody signs or tells anything any more; neighbours answer pings."""
        self.beating = False
        for neighbour in self.neighbours.values():
            self._pass_on(neighbour)
        # Until nobody tells of heads any more; but before homes that pulsed seem to be dead.
        self.clock.run_until(self.clock.now + (1.0 if self.pulsing else 2 * HEADS_S))

    def spent(self, seconds: float) -> tuple[float, float]:
        """Let time pass; CPU in ms, and bytes sent, a second."""
        cpu_s, sent = self.cpu_s, self.sent
        self.clock.run_until(self.clock.now + seconds)
        return 1000 * (self.cpu_s - cpu_s) / seconds, (self.sent - sent) / seconds

    def until_hidden(self) -> float:
        """Seconds from the newest sign of life to the moment its home is hidden."""
        if self.pulsing:
            leases = self.node.sync.leases.homes.values()
            newest = max(leases, key=lambda lease: lease.ends_ms)
            at, key = newest.ends_ms / 1000 - LEASE_S - EPOCH_S, newest.statement.home
        else:
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
    crowd.homes.clear()  # their chains were made by the package
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
    crowd.live(SETTLING_S)
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

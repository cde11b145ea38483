"""
The world exchange peers live in, on virtual time: connections, disks, clocks, and their faults.

A ``Peer`` drives an ``ExchangeNode`` as the service does: input at once, one commit at a time,
nothing of its own released before its commit has returned, and a node thrown away whenever its disk
says anything but yes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import attrs

from grenache_py.exchange.daemon.loop.node_timer import TICK_S_MAX
from grenache_py.exchange.effects.batch import Batch, CloseLink, Dial, ReadRecords, Send
from grenache_py.exchange.effects.rows import RecordRow, Row, Snapshot
from grenache_py.exchange.market.instrument import Market
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.storage.database import Database
from grenache_py.exchange.storage.history import records
from grenache_py.exchange.storage.retention import Retention, plan
from grenache_py.steady_clock import SteadyClock
from grenache_py.wire.jsonlines import LineSplitter
from grenache_py.wire.jsonrpc import Malformed, decode_message
from tests.sim.exchange.once import OnceVerified
from tests.support.memory_database import MemoryDatabase
from tests.support.virtual_clock import Scheduler, Timer

__all__ = ["CheapScheme", "Connection", "Disk", "DiskFailed", "Network", "Peer", "identity"]

MARKETS = (
    Market.parse("BTC-USD:tick=0.01,lot=0.0001"),
    Market.parse("ETH-USD:tick=0.05,lot=0.001"),
)
#: More of them, for busy worlds.
MANY_MARKETS = (
    *MARKETS,
    *(Market.parse(f"{base}-USD:tick=0.01,lot=0.01") for base in ("DOT", "LTC", "SOL", "XMR")),
)
#: So often in a row a node may say that it is late.
AT_ONCE_MAX = 1_000
#: What a read of the store takes.
READ_S = 0.001
#: Wall time at which simulations begin.
EPOCH_S = 1_700_000_000.0


class CheapScheme:
    """Signatures a simulation can afford: anybody could forge one, nobody here does by chance."""

    def sign(self, secret: bytes, message: bytes) -> bytes:
        return sha256(secret + message).digest() * 2

    def verify(self, key: str, message: bytes, signature: bytes) -> bool:
        return signature == self.sign(bytes.fromhex(key), message)


_ONCE_VERIFIED = OnceVerified()


def identity(rng: random.Random, real: bool) -> Identity:
    seed = rng.randbytes(32)
    if real:
        return attrs.evolve(Identity.from_seed(seed), scheme=_ONCE_VERIFIED)
    return Identity(seed.hex(), seed, CheapScheme())


class DiskFailed(Exception):
    """The commit did not return as it should."""


class Disk:
    """
    A home's store: the real schema in memory, commits that may fail, power that may fail.

    What is committed is kept as it is until somebody reads it, and written to the database then,
    one transaction after the other: most of what a home commits it never reads again.

    Attributes:
        latency: seconds a commit takes, drawn anew for each.
        next_fault: what happens at the next commit: "" nothing; "before": it fails; "after":
            it is done but reported as failed.
        batches: all that was committed.
    """

    def __init__(self, latency: Callable[[], float]) -> None:
        self.latency = latency
        self.next_fault = ""
        self.batches: list[list[Row]] = []
        self._database: Database = MemoryDatabase()
        self._written = 0

    @property
    def database(self) -> Database:
        """The database, with all that was committed in it."""
        for rows in self.batches[self._written :]:
            self._database.commit(rows)
        self._written = len(self.batches)
        return self._database

    def commit(self, rows: list[Row]) -> None:
        fault, self.next_fault = self.next_fault, ""
        if fault == "before":
            raise DiskFailed("no space left")
        for row in rows:  # SQLite would take one for a number, PostgreSQL does not
            assert bool not in map(type, row), row
        self.batches.append(rows)
        if fault == "after":
            raise DiskFailed("unknown outcome")

    def load(self) -> Snapshot:
        return self.database.load()

    def records(self, order_ids: Sequence[str]) -> list[RecordRow]:
        return records(self.database.connection, order_ids)

    def prune(self, keep: Retention, now_ms: int) -> int:
        """Forget old history as the daemon does, between two commits; how many rows went."""
        database = self.database
        return sum(database.prune(plan(database.connection, keep, now_ms)))

    def forget(self, count: int) -> int:
        """Lose the newest commits, as a disk that lied about fsync; how many there were."""
        lost = min(count, len(self.batches))
        if lost:
            del self.batches[-lost:]
            self._database.close()
            self._database, self._written = MemoryDatabase(), 0
        return lost

    def close(self) -> None:
        self._database.close()


@attrs.define(eq=False)
class End:
    """One side of a connection: a peer's link number, and what is on its way there."""

    peer: Peer
    link: int
    life: int
    splitter: LineSplitter = attrs.Factory(LineSplitter)
    last: float = 0.0
    open: bool = True


@attrs.define(eq=False)
class Connection:
    """Two ends. ``held`` are deliveries waiting for a cut to heal."""

    dialler: End
    listener: End
    held: list[tuple[End, bytes]] = attrs.Factory(list)
    held_since: float | None = None

    def other(self, end: End) -> End:
        return self.listener if end is self.dialler else self.dialler


@attrs.define
class Faults:
    """What the network does to what it carries; probabilities are per message."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_spike: float = 0.0
    split: bool = True


class Network:
    """
    Carries bytes between peers.

    In order and complete while ``faults`` allows (as TCP does; what a cut holds back is
    delivered after it heals, or the connection dies); with loss, duplication or reordering each
    line fares on its own, which TCP does not do but reconnecting peers look like.

    Attributes:
        cut: (from, to) names between which nothing gets through, one way.
        tap: called with (from, to, line) for each line sent.
        mischief: asked about each line: seconds its copies are late, one number a copy (none:
            it is lost), or None to leave it alone.
        twist: asked about each line with whose it is: the lines that leave instead, and how
            many seconds late, or None to leave it alone.
        lines: sent in all.
    """

    def __init__(self, clock: Scheduler, rng: random.Random) -> None:
        self.clock = clock
        self.rng = rng
        self.faults = Faults()
        self.cut: set[tuple[str, str]] = set()
        self.listeners: dict[str, Peer] = {}
        self.connections: list[Connection] = []
        self.tap: Callable[[Peer, Peer, bytes], None] = lambda source, target, line: None
        self.mischief: Callable[[bytes], list[float] | None] = lambda line: None
        self.twist: Callable[[Peer, bytes], list[tuple[float, bytes]] | None] = (
            lambda source, line: None
        )
        self.lines = 0
        self.bytes = 0
        self.latency: Callable[[str, str], float] = lambda source, target: (
            0.002 + self.rng.expovariate(1 / 0.02)
        )
        self.counts: dict[str, int] = {}

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def dial(self, peer: Peer, address: str) -> None:
        life = peer.life
        target = self.listeners.get(address)

        def connect() -> None:
            if peer.life != life or peer.node is None:
                return
            if (
                target is None
                or target.node is None
                or target.paused
                or target.behind_nat
                or (peer.name, target.name) in self.cut
                or (target.name, peer.name) in self.cut
            ):
                peer.do(lambda node, now: node.link_failed(address, "refused", now))
                return
            near = End(peer, peer.new_link(), peer.life)
            far = End(target, target.new_link(), target.life)
            connection = Connection(near, far)
            self.connections.append(connection)
            peer.ends[near.link] = (connection, near)
            target.ends[far.link] = (connection, far)
            # What TLS does for a daemon: each end learns whose key is at the other.
            mine, other = peer.identity.key, target.identity.key
            peer.do(lambda node, now: node.link_opened(near.link, True, address, other, now))
            target.do(
                lambda node, now: node.link_opened(far.link, False, f"{peer.host}:50000", mine, now)
            )

        source, where = peer.name, target.name if target else ""
        self.clock.after(3 * self.latency(source, where), connect)

    def send(self, connection: Connection, end: End, line: bytes) -> None:
        """``end``'s peer sends ``line`` to the other end."""
        twisted = self.twist(end.peer, line)
        if twisted is None:
            self._send(connection, end, line)
            return
        for late, told in twisted:
            if late:
                self.clock.after(
                    late, lambda told=told: end.open and self._send(connection, end, told)
                )
            else:
                self._send(connection, end, told)

    def _send(self, connection: Connection, end: End, line: bytes) -> None:
        target = connection.other(end)
        self.lines += 1
        self.bytes += len(line)
        self.tap(end.peer, target.peer, line)
        late = self.mischief(line)
        if late is not None:
            for seconds in late:
                when = self.clock.now + self.latency(end.peer.name, target.peer.name) + seconds
                self.clock.at(when, lambda: self._deliver_late(connection, target, line))
            return
        faults, rng = self.faults, self.rng
        if rng.random() < faults.loss:
            self.count("lost")
            return
        copies = 1
        if rng.random() < faults.duplicate:
            copies = 2
            self.count("duplicated")
        for copy in range(copies):
            delay = self.latency(end.peer.name, target.peer.name)
            if faults.delay_spike and rng.random() < faults.delay_spike:
                delay += rng.random() * 12.0
                self.count("delayed")
            when = self.clock.now + delay
            if copy == 0 and not (faults.reorder and rng.random() < faults.reorder):
                when = max(when, target.last)
                target.last = when
            else:
                self.count("reordered")
            if faults.split and not faults.loss and not faults.reorder and copies == 1:
                for place, part in self._parts(line):
                    target.last = when + place * 1e-6
                    self._deliver_at(target.last, connection, target, part)
            else:
                self._deliver_at(when, connection, target, line)

    def _parts(self, line: bytes) -> list[tuple[int, bytes]]:
        """Now and then a line arrives in pieces."""
        if len(line) < 2 or self.rng.random() > 0.05:
            return [(0, line)]
        cut = self.rng.randrange(1, len(line))
        self.count("split")
        return [(0, line[:cut]), (1, line[cut:])]

    def _deliver_at(self, when: float, connection: Connection, end: End, data: bytes) -> None:
        self.clock.at(when, lambda: self._deliver(connection, end, data))

    def _deliver(self, connection: Connection, end: End, data: bytes) -> None:
        if not end.open:
            return
        source = connection.other(end).peer
        blocked = (source.name, end.peer.name) in self.cut or end.peer.paused
        if blocked or (connection.held and any(held is end for held, _ in connection.held)):
            if self.faults.loss and (source.name, end.peer.name) in self.cut:
                self.count("cut off")
                return
            connection.held.append((end, data))
            if connection.held_since is None:
                connection.held_since = self.clock.now
            return
        end.peer.bytes_came(end, data)

    def _deliver_late(self, connection: Connection, end: End, line: bytes) -> None:
        """A copy that survives its connection: somebody kept it, and sends it over the next."""
        source, target = connection.other(end).peer, end.peer
        ways = [(connection, end), *target.ends.values()]
        for way, there in ways:
            if there.open and way.other(there).peer is source:
                self._deliver(way, there, line)
                return

    def heal(self) -> None:
        """Cuts are over (``cut`` was changed): deliver what was held, kill what died of old age."""
        for connection in list(self.connections):
            if not connection.held:
                continue
            if self.clock.now - (connection.held_since or 0.0) > 30.0:
                self.reset(connection)
                continue
            held, connection.held, connection.held_since = connection.held, [], None
            for end, data in held:
                self._deliver(connection, end, data)

    def close(self, connection: Connection, end: End) -> None:
        """``end``'s peer closes; the other side notices when all that was sent has arrived."""
        end.open = False
        other = connection.other(end)
        when = max(self.clock.now + self.latency(end.peer.name, other.peer.name), other.last)
        self.clock.at(when, lambda: self._closed(connection, other))

    def reset(self, connection: Connection) -> None:
        """The connection dies; both sides are told, what was on its way is lost."""
        self.count("reset")
        for end in (connection.dialler, connection.listener):
            self._closed(connection, end)

    def _closed(self, connection: Connection, end: End) -> None:
        if not end.open:
            return
        end.open = False
        if not connection.other(end).open and connection in self.connections:
            self.connections.remove(connection)
        end.peer.connection_lost(end)


class Peer:
    """
    One daemon: a node, its disk, its wall clock.

    Attributes:
        node: None while it is down.
        life: counts starts; what belongs to an earlier one is stale.
        on_commit, on_release: called with each batch when it is durable, and when it leaves.
        on_start, on_input: called when there is a new node, and after all that came in.
        offset, drift: of its wall clock.
        was_silent: its node might sign nothing when the batch under way was taken.
        behind_nat: nobody can dial it, though it may say where it listens.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        config: NodeConfig,
        who: Identity,
        disk: Disk,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.host = name
        self.network = network
        self.config = config
        self.identity = who
        self.disk = disk
        self.rng = rng
        self.node: ExchangeNode | None = None
        self.life = 0
        self.offset = 0.0
        self.drift = 0.0
        self.paused = False
        self.was_silent = False
        self.behind_nat = False
        self.store_failures = 0
        self.crash_at_commit = ""  # "before" or "after": die at the next commit
        self.release_before_commit = False  # an ablation
        self.on_commit: Callable[[Peer, list[Row]], None] = lambda peer, rows: None
        self.on_release: Callable[[Peer, Batch], None] = lambda peer, batch: None
        self.on_start: Callable[[ExchangeNode], None] = lambda node: None
        self.on_input: Callable[[Peer], None] = lambda peer: None
        self.ends: dict[int, tuple[Connection, End]] = {}
        self._links = 0
        self._committing = False
        self._turning = False
        self._relaying = False
        self._timer: Timer | None = None
        self._ticked_at = 0.0
        self._at_once = 0
        self._queue: list[Callable[[], None]] = []
        self.steady = self._steady_clock()
        network.listeners[self.address] = self

    @property
    def address(self) -> str:
        return f"{self.host}:7071"

    def wall(self) -> float:
        """The time as the daemon takes it: the machine's clock without its jumps."""
        return self.steady.seconds()

    def _machine_clock(self) -> float:
        now = self.network.clock.now
        return EPOCH_S + now * (1.0 + self.drift) + self.offset

    def _steady_clock(self) -> SteadyClock:
        return SteadyClock(self._machine_clock, lambda: self.network.clock.now)

    def new_link(self) -> int:
        self._links += 1
        return self._links

    # Life and death.

    def start(self) -> None:
        assert self.node is None
        self.life += 1
        self._committing = False
        self.steady = self._steady_clock()  # another process
        self.node = ExchangeNode(
            self.config, self.identity, self.disk.load(), self.rng, self.wall()
        )
        self.node.serving.wall_jumps = lambda: bool(self.steady.jump_s)
        self.on_start(self.node)
        self._kick()

    def crash(self) -> None:
        """Power off, now: memory is gone, connections break."""
        if self.node is None:
            return
        self.node = None
        self.life += 1
        self.paused = False
        if self._timer is not None:
            self._timer.cancel()
        for connection, end in list(self.ends.values()):
            end.open = False
            self.network.close(connection, end)
        self.ends.clear()
        self._queue.clear()

    def pause(self) -> None:
        """SIGSTOP: nothing happens here until ``resume``, and nobody is told."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        queue, self._queue = self._queue, []
        for call in queue:
            call()
        self.network.heal()
        self._kick()

    # Input.

    def do(self, call: Callable[[ExchangeNode, float], Any]) -> Any:
        """Have the node do something, if it is up; what it decided leaves with the next batch."""
        if self.node is None:
            return None
        if self.paused:
            life = self.life
            self._queue.append(lambda: self.do(call) if self.life == life else None)
            return None
        try:
            return call(self.node, self.wall())
        finally:
            self.on_input(self)
            self._relay_soon()
            self._kick()

    def bytes_came(self, end: End, data: bytes) -> None:
        if end.life != self.life or self.node is None:
            return
        for line in end.splitter.feed(data):
            try:
                message = decode_message(line)
            except Malformed:
                self.do(lambda node, now: node.peering.not_a_message(end.link, now))
                continue
            self.do(lambda node, now, m=message: node.link_message(end.link, m, now))

    def connection_lost(self, end: End) -> None:
        if end.life == self.life and self.ends.pop(end.link, None) is not None:
            self.do(lambda node, now: node.link_closed(end.link, now))

    # The crank.

    def _kick(self) -> None:
        if self._turning or self._committing or self.node is None or self.paused:
            return
        self._turning = True
        life = self.life
        self.network.clock.after(0.0, lambda: self._turn(life))

    def _relay_soon(self) -> None:
        if self._relaying or self.node is None or not self.node.peering.has_at_once:
            return
        self._relaying = True
        life = self.life
        self.network.clock.after(0.0, lambda: self._relay(life))

    def _relay(self, life: int) -> None:
        """What others signed waits for no disk."""
        self._relaying = False
        if self.life != life:
            self._relay_soon()
            return
        if self.node is None or self.paused:
            return
        sends = self.node.peering.at_once()
        if sends and self._committing:
            self.network.count("relayed during a commit")
        self._release(Batch([], sends, []))

    def _turn(self, life: int) -> None:
        self._turning = False
        if self.life != life:
            self._kick()
            return
        if self.node is None or self._committing or self.paused:
            return
        self._relay(life)
        self.was_silent = self.node.serving.silent
        batch = self.node.take_batch(self.wall())
        if batch.rows:
            if self.release_before_commit:
                self._release(batch)
            self._committing = True
            self.network.clock.after(self.disk.latency(), lambda: self._commit(life, batch))
        else:
            self._release(batch)
        self._arm()

    def _commit(self, life: int, batch: Batch) -> None:
        if self.life != life or self.node is None:
            return
        if self.crash_at_commit == "before":
            self.crash_at_commit = ""
            self.network.count("crash before commit")
            self.crash()
            return
        try:
            self.disk.commit(batch.rows)
        except DiskFailed:
            if self.disk.batches and self.disk.batches[-1] is batch.rows:
                self.on_commit(self, batch.rows)
            self._store_failed()
            return
        self.on_commit(self, batch.rows)
        if self.crash_at_commit == "after":
            self.crash_at_commit = ""
            self.network.count("crash after commit")
            self.crash()
            return
        self._committing = False
        if not self.release_before_commit:
            self._release(batch)
        self._kick()

    def _store_failed(self) -> None:
        """What the service does: drop all that is not released, start again from the store."""
        self.store_failures += 1
        self.crash()
        self.network.clock.after(0.5, lambda: self.start() if self.node is None else None)

    def _release(self, batch: Batch) -> None:
        self.on_release(self, batch)
        for item in batch.sends:
            if isinstance(item, Dial):
                self.network.dial(self, item.address)
                continue
            known = self.ends.get(item.link)
            if known is None:
                continue
            connection, end = known
            if isinstance(item, Send):
                self.network.send(connection, end, item.line)
            elif isinstance(item, CloseLink):
                self.network.close(connection, end)
                del self.ends[item.link]
                self.do(lambda node, now, n=item.link: node.link_closed(n, now))
        life = self.life
        for read in batch.reads:
            self.network.clock.after(READ_S, lambda read=read: self._read(read, life))

    def stored(self, order_ids: Sequence[str]) -> list[RecordRow]:
        """What the store holds of these orders of other homes."""
        return self.disk.records(order_ids)

    def _read(self, read: ReadRecords, life: int) -> None:
        if self.life == life:
            rows = {row.order_id: row for row in self.stored(read.order_ids)}
            self.do(lambda node, now: read.done(rows, now))

    def _arm(self) -> None:
        now = self.network.clock.now
        if self._timer is not None:
            self._timer.cancel()
        if self.node is None:
            return
        wait = (self.node.next_deadline() - self.wall()) / (1.0 + self.drift)
        self._at_once = 0 if wait > 0.0 else self._at_once + 1
        if self._at_once > AT_ONCE_MAX:
            raise RuntimeError(f"{self.name} spins: its deadline stays in the past")
        if wait > TICK_S_MAX:  # the clock was put back; what comes meanwhile must not delay it
            wait = max(self._ticked_at + TICK_S_MAX - now, 0.0)
        life = self.life

        def tick() -> None:
            if self.life == life and not self.paused:
                self._ticked_at = self.network.clock.now
                self.do(lambda node, now: node.tick(now))
                if self._committing:
                    self._arm()

        self._timer = self.network.clock.after(max(wait, 0.001), tick)

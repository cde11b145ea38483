"""
Signs of life: telling neighbours which homes live, hearing it, and asking when one falls silent.

Pure. See docs/design/leases.rst. Pulses go over a few links only, gathered for a second, and never
to who has them. A home whose lease is about to end is asked about. Among few homes, whose
heartbeats do it, nothing of this is said.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable, Iterable

import attrs

from grenache_py.exchange.home.heartbeat import is_many
from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.peers.peering import Peering
from grenache_py.exchange.peers.requests import PeerResult
from grenache_py.exchange.replication.deadlines import Deadlines
from grenache_py.exchange.replication.lease_messages import (
    HOMES_MAX,
    UNKNOWN_MAX,
    SignsOfLife,
    Wanted,
    shown_params,
)
from grenache_py.exchange.replication.leases import Lease, Leases
from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.replication.origin_table import ENDING_MS, OriginTable
from grenache_py.exchange.replication.remote_orders import lease_end_ms
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from grenache_py.exchange.signed_log.statement import LifeStatement

__all__ = ["LeaseExchange"]

#: Links that pulses go over: wanted, too few, too many; so many of them dialled by this side.
WANTED, LOW, HIGH, DIALLED = 4, 3, 6, 2
#: Who refused, or ended it, is not asked again for so long; nor is a link that was the first with
#: nothing for so long, while others were.
AGAIN_S = 60.0
#: When a lease is about to end somebody is asked, and then again, at longer and longer intervals.
ASK_AGAIN_S_MAX = 600
#: A new link, or a pulse that leads nowhere, may know of a home that was asked about no more often
#: than this. It is asked then, but not more often than so.
LATELY, UNKNOWN_S = 7, 10.0
#: A link brings one home that is not held, or of which more was stated, in so many seconds.
LEARN_S = 1.0
#: What it costs to look at a statement: its signature, and hashes up to the number that it has.
STATED_POINTS = 20


@attrs.define(eq=False)
class _Way:
    """A link to a peer that understands pulses; they go over it while it is on."""

    link: PeerLink
    bit: int
    on: bool = False
    again: float = 0.0
    useful_at: float = 0.0
    unknown_again: float = 0.0
    learn_again: float = 0.0


class LeaseExchange:
    """
    Tells signs of life and hears them.

    Args:
        rng: to choose links, and whom to ask.

    Attributes:
        on_other_self: called with the epoch of a statement of this home that is newer than all
            that this process, and any before it on this disk, has made.
        learn: called with a home whose log is not held, the link that shows it, and the time.
    """

    def __init__(
        self,
        peering: Peering,
        table: OriginTable,
        leases: Leases,
        clock: HybridClock,
        rng: random.Random,
    ) -> None:
        self._peering = peering
        self._table = table
        self._leases = leases
        self._clock = clock
        self._rng = rng
        self._began_ms = clock.ms  # not below any statement that an earlier life of it has made
        self.on_other_self: Callable[[int], None] = lambda epoch: None
        self.learn: Callable[[str, PeerLink, float], None] = lambda home, link, now: None
        self._ways: dict[int, _Way] = {}
        self._asks = Deadlines()
        self._asked: dict[str, int] = {}  # how often in vain
        table.on_lease = self._looked_at
        table.on_forgotten.append(self._forgotten)
        peering.on_ready.append(self._joined)
        peering.on_gone.append(self._left)
        peering.method("lease.show", self._shown)
        peering.method("lease.want", self._wanted)
        peering.method("lease.link", self._link_told)

    # Links.

    def _joined(self, link: PeerLink, now: float) -> None:
        if link.reads_pulses:
            taken = sum(way.bit for way in self._ways.values())
            self._ways[link.id] = _Way(link, ~taken & (taken + 1))  # the lowest that is free
            self._want(link, self._lately())

    def _left(self, link: PeerLink, now: float) -> None:
        way = self._ways.pop(link.id, None)
        if way is not None:
            self._leases.lost(way.bit)

    def _link_told(self, link: PeerLink, on: bool, now: float) -> PeerResult:
        way = self._ways.get(link.id)
        if way is not None:
            if on and not way.on and sum(each.on for each in self._ways.values()) >= HIGH:
                self._peering.notify(link, "lease.link", {"on": False})
            else:
                way.on, way.useful_at = on, now
            if not way.on:
                way.again = now + AGAIN_S
        return None

    def _mend(self, now: float) -> None:
        """Have pulses go over enough links, some of them dialled: who dials in is a stranger."""
        on: list[_Way] = []
        free: list[_Way] = []
        for way in self._ways.values():
            way.again = min(way.again, now + AGAIN_S)  # when the clock was put back
            if self._peering.scores.of(way.link.key, now) < 0:
                way.on = False
            elif way.on:
                on.append(way)
            elif way.again <= now:
                free.append(way)
        useless = [way for way in on if not now - AGAIN_S < way.useful_at <= now]
        if free and len(useless) < len(on):
            for way in useless:
                on.remove(way)
                way.on, way.again = False, now + AGAIN_S
                self._peering.notify(way.link, "lease.link", {"on": False})
        # Who knew what the others do not is on the other side of something.
        news = [way for way in free if now - AGAIN_S < way.useful_at][: HIGH - len(on)]
        if len(on) + len(news) >= LOW or not free:
            self._begin(news, now)
            return
        self._rng.shuffle(free)
        dialled = [way for way in free if way.link.outbound]
        first = dialled[: max(0, DIALLED - sum(way.link.outbound for way in on))]
        chosen = dict.fromkeys([*news, *first, *free])
        self._begin(list(chosen)[: WANTED - len(on)], now)

    def _begin(self, ways: list[_Way], now: float) -> None:
        for way in ways:
            way.on, way.useful_at = True, now
            self._peering.notify(way.link, "lease.link", {"on": True})

    # Telling.

    def heartbeat(self, now: float) -> None:
        """Once a second: mend the links, tell what moved, ask about who is silent."""
        if not (self._leases.homes or is_many(len(self._table.origins), before=True)):
            return
        self._mend(now)
        for way in self._ways.values():
            if way.on:
                self._tell(way.link, *self._leases.news_for(way.bit))
        self._leases.moved.clear()
        if self._ways:
            self._ask(list(self._ways.values()), now)

    def own(self, statement: LifeStatement, data: bytes, number: int, value: bytes) -> None:
        """This home has stated, or shows its next pulse; a goodbye is told at once."""
        self._leases.own(statement, data, number, value)
        if not statement.lease_s:
            for way in self._ways.values():
                self._tell(way.link, *self._leases.news_for(way.bit))

    def _tell(self, link: PeerLink, stated: list[Lease], pulses: Iterable[bytes]) -> None:
        for params in shown_params(stated, pulses):
            self._peering.notify(link, "lease.show", params)

    # Asking.

    def _looked_at(self, origin: Origin) -> None:
        """The orders of a home are about to leave the books, left them, or stay out of them."""
        self._asks.add(origin.home, lease_end_ms(origin) - ENDING_MS)

    def _ask(self, ways: list[_Way], now: float) -> None:
        now_ms = self._clock.read_ms(now)
        due = self._asks.due(now_ms)
        most = HOMES_MAX * len(ways)
        wanted: list[str] = []
        for home in due[:most]:
            origin = self._table.origins.get(home)
            if origin is None or origin.frozen or not origin.records:
                self._asked.pop(home, None)
                continue
            if lease_end_ms(origin) - ENDING_MS > now_ms:
                self._asked.pop(home, None)
                continue
            times = self._asked[home] = self._asked.get(home, 0) + 1
            wanted.append(home)
            self._asks.add(home, now_ms + 1000 * min(2 ** min(times, 10), ASK_AGAIN_S_MAX))
        for home in due[most:]:
            self._asks.add(home, now_ms)
        self._rng.shuffle(ways)
        for start in range(0, len(wanted), HOMES_MAX):
            self._want(ways.pop().link, wanted[start : start + HOMES_MAX])

    def _lately(self) -> list[str]:
        """Homes that fell silent in the last minutes."""
        return [home for home, times in self._asked.items() if times <= LATELY]

    def _want(self, link: PeerLink, homes: list[str], values: bytes = b"") -> None:
        for start in range(0, len(homes), HOMES_MAX):
            self._peering.notify(link, "lease.want", {"homes": homes[start : start + HOMES_MAX]})
        if values:
            self._peering.notify(link, "lease.want", {"values": b64encode(values).decode()})

    def _wanted(self, link: PeerLink, wanted: Wanted, now: float) -> PeerResult:
        way = self._ways.get(link.id)
        if way is not None:
            found: list[Lease] = []
            leases = [self._leases.homes.get(home) for home in wanted.homes]
            # Any number of made-up homes may have one value.
            for lease in (*leases, *self._leases.of(wanted.values)[:HOMES_MAX]):
                if lease is not None and lease.ends_ms > self._clock.ms:
                    lease.knows |= way.bit
                    lease.holds |= way.bit
                    found.append(lease)
                    if lease.twofold and lease.former is not None:
                        found.append(lease.former)
            link.points += len(found)
            self._tell(link, found, ())
        return None

    def _forgotten(self, home: str) -> None:
        self._leases.forget(home)
        self._asks.discard(home)
        self._asked.pop(home, None)

    # Hearing.

    def _shown(self, link: PeerLink, shown: SignsOfLife, now: float) -> PeerResult:
        way = self._ways.get(link.id)
        if way is None or self._peering.ignored(link, now):
            return None
        now_ms = int(now * 1000)
        for data, number, value in shown.stated:
            link.points += STATED_POINTS
            self._stated(LifeStatement.read(data), data, number, value, now, way)
        unknown = self._leases.unknown
        unknown.clear()
        moved: list[Lease] = []
        for value in shown.pulses:
            moved += self._leases.pulse(value, now_ms, way.bit)
        self._live(moved, now, way)
        if unknown and not 0 < way.unknown_again - now <= UNKNOWN_S:
            way.unknown_again = now + UNKNOWN_S
            some = self._rng.sample(unknown, min(len(unknown), UNKNOWN_MAX))
            self._want(link, self._lately(), b"".join(some))
        return None

    def _stated(
        self,
        statement: LifeStatement,
        data: bytes,
        number: int,
        value: bytes,
        now: float,
        way: _Way,
    ) -> None:
        if statement.home == self._peering.me:
            mine = self._leases.homes.get(statement.home)
            newest = self._began_ms if mine is None else max(self._began_ms, mine.statement.ms)
            if statement.ms > newest:
                self._leases.check(statement, data)
                self.on_other_self(statement.epoch)
            return
        origin = self._table.origins.get(statement.home)
        if origin is None or origin.frozen or statement.epoch != origin.epoch:
            # Of homes that nobody has heard of there may be any number.
            if origin is None or statement.epoch > origin.epoch:
                self._learn(statement.home, way, now)
            return
        moved = self._leases.take(statement, data, number, value, int(now * 1000), way.bit)
        self._live(moved, now, way)
        lease = self._leases.homes.get(statement.home)  # None: it comes before its time
        if lease is not None and lease.data == data:
            self._table.stated(origin, statement)
            if statement.seq > origin.seq:
                self._learn(statement.home, way, now)

    def _learn(self, home: str, way: _Way, now: float) -> None:
        if not 0 < way.learn_again - now <= LEARN_S:
            way.learn_again = now + LEARN_S
            self.learn(home, way.link, now)

    def _live(self, moved: list[Lease], now: float, way: _Way) -> None:
        """These homes have shown that they live, and ``way`` was the first to tell."""
        for lease in moved:
            way.useful_at = now
            statement = lease.statement
            self._asked.pop(statement.home, None)
            origin = self._table.origins.get(statement.home)
            if origin is None:
                continue
            if lease.former is not None and lease.twofold and not origin.twofold:
                origin.twofold = True
                for each in self._ways.values():
                    self._tell(each.link, [lease, lease.former], ())
            origin.pulse_ms = statement.ends_ms(lease.number)
            origin.left_ms = 0 if statement.lease_s else statement.ms
            if not origin.visible or origin.twofold or origin.left_ms:
                self._table.show_or_hide(origin, self._clock.read_ms(now))

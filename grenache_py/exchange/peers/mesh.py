"""
Which neighbours get a log entry at once, and which only hear that it exists.

Pure. See docs/design/gossip.rst#mesh. Up to ``FLOOD_PEERS_MAX`` live homes every entry goes to
every link: loop-free, because only what changed local state is passed on, and as fast as possible.
Above that a mesh after gossipsub v1.1 (libp2p/specs): each peer pushes to about ``D`` links, tells
a few of the others once a second which heads moved (``gossip.have``; they ask with
``gossip.want``), and pushes its own entries to all.

Differences from gossipsub: an entry's name is its place in its origin's log, so a lazy
announcement is one head per changed origin rather than a list of ids, and the message cache is
the log's tail; one mesh serves the whole network rather than one per topic, because a home's
log is one chain over all its markets and whoever holds it must hold all of it; links of that
size are found by peer exchange when a link opens, not on prune.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

import attrs
from msgspec import json

from grenache_py.exchange.peers.link import PeerLink
from grenache_py.exchange.signed_log.head import NO_HEAD, Head
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["Mesh"]

#: Up to so many live homes every entry goes to every link.
FLOOD_PEERS_MAX = 10
#: Links in the mesh, gossipsub's names: wanted, too few, too many; links told lazily, at least.
D, D_LOW, D_HIGH, D_LAZY = 6, 4, 8, 6
#: The part of the links outside the mesh that is told lazily.
GOSSIP_FACTOR = 0.25
#: A link of the mesh that is the first with nothing for so long is replaced.
USELESS_S = 60.0
#: A pruned link is not grafted again before.
PRUNE_BACKOFF_S = 60.0
#: A neighbour that prunes may ask for no more.
BACKOFF_S_MAX = 3_600.0
#: Leaves room for the envelope in a line of 65,536 bytes.
LINE_BYTES = 62_000
#: ``["origin",epoch,seq,"hash"],`` with two numbers of 16 digits.
HEAD_BYTES_MAX = 2 * (64 + 2) + 2 * 16 + 6
#: A heads message of so many origins stays below a line, whatever their numbers are.
HEADS_PER_MESSAGE_MAX = LINE_BYTES // HEAD_BYTES_MAX

#: Lines with one entry that are remembered once they were passed on, and their bytes at most. An
#: order's has some 900.
SAID_LINES_MAX, SAID_BYTES_MAX = 256, 2_048

#: What comes before and after the entries in a line of ``gossip.publish``.
_HEAD = b'{"jsonrpc":"2.0","method":"gossip.publish","params":{"entries":['
_TAIL = b"]}}\n"


class _Waiting(NamedTuple):
    """An entry to be passed on, its place in its log, and the link it came by (-1: own)."""

    entry: Signed
    origin: str
    head: Head
    source: int


@attrs.define
class Mesh:
    """
    The mesh, and the entries that are about to be passed on.

    Attributes:
        flood: whether every link gets everything.
        published: entries sent, counted once per link.
        lines: lines they travelled in.
        repeated: lines that came and were the same, byte for byte, as one that had been sent.
    """

    _rng: random.Random
    flood: bool = True
    published: int = 0
    lines: int = 0
    repeated: int = 0
    _wanting: bool = True  # the mesh is smaller than it should be
    _waiting: list[_Waiting] = attrs.Factory(list)
    _moved: dict[str, Head] = attrs.Factory(dict)  # heads that moved since the last heartbeats
    _moved_before: dict[str, Head] = attrs.Factory(dict)
    _said: dict[bytes, None] = attrs.Factory(dict)  # without the newline, the oldest first

    def relay(
        self, entry: Signed, origin: str, head: Head, source: int, announced: bool = True
    ) -> None:
        """
        Queue one entry that changed local state.

        Args:
            source: the link it came by, or -1.
            announced: neighbours outside the mesh hear of it, too.
        """
        self._waiting.append(_Waiting(entry, origin, head, source))
        if announced:
            self.note(origin, head)

    def note(self, origin: str, head: Head) -> None:
        """A log moved; the next lazy announcements tell of it."""
        self._moved[origin] = head

    @property
    def waits(self) -> bool:
        """Whether an entry is to be passed on."""
        return bool(self._waiting)

    def lines_for(self, links: Iterable[PeerLink]) -> list[tuple[int, bytes]]:
        """What to send now, as (link, line); links that get the same share the bytes."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        made: dict[tuple[int, ...], list[bytes]] = {}
        raws: dict[int, bytes] = {}
        out: list[tuple[int, bytes]] = []
        for link in links:
            chosen = tuple(
                index
                for index, entry in enumerate(waiting)
                if entry.source != link.id
                and (self.flood or link.mesh or entry.source < 0)
                and link.told.get(entry.origin, NO_HEAD)[:2] < entry.head[:2]
            )
            if not chosen:
                continue
            for index in chosen:
                link.told[waiting[index].origin] = waiting[index].head
            lines = made.get(chosen)
            if lines is None:
                for index in chosen:
                    if index not in raws:
                        raws[index] = json.encode(waiting[index].entry.wire())
                lines = made[chosen] = pack([raws[index] for index in chosen])
                if len(chosen) == 1 and len(lines[0]) <= SAID_BYTES_MAX:
                    self._said[lines[0][:-1]] = None
            self.published += len(chosen)
            self.lines += len(lines)
            out.extend((link.id, line) for line in lines)
        while len(self._said) > SAID_LINES_MAX:
            del self._said[next(iter(self._said))]
        return out

    def repeats(self, line: bytes) -> bool:
        """
        Whether a line that came, without its newline, was sent from here: then its entry is held.

        Of an entry's copies all but the first are such lines, and need not be read.
        """
        if line not in self._said:
            return False
        self.repeated += 1
        return True

    def forget(self, origin: str) -> None:
        """A home was forgotten: what waits of it is not passed on, and what was is not held."""
        self._said.clear()
        self._waiting = [entry for entry in self._waiting if entry.origin != origin]
        self._moved.pop(origin, None)
        self._moved_before.pop(origin, None)

    # The mesh.

    def joined(self, link: PeerLink) -> bool:
        """A link became ready. True: graft it now rather than at the next heartbeat."""
        return self._wanting and link.mesh_again == 0.0

    def heartbeat(
        self, links: list[PeerLink], homes: int, now: float
    ) -> tuple[list[PeerLink], list[PeerLink], list[PeerLink]]:
        """
        Once a second: mend the mesh.

        Args:
            links: the ready ones, with a score not below 0.
            homes: live homes known of, this one not counted.

        Returns:
            links to graft, links to prune, and links to tell ``moved_heads`` of.
        """
        self.flood = homes <= FLOOD_PEERS_MAX
        for link in links:  # further ahead only when the clock was put back
            link.mesh_again = min(link.mesh_again, now + BACKOFF_S_MAX)
        mesh = [link for link in links if link.mesh]
        graft: list[PeerLink] = []
        prune: list[PeerLink] = []
        if len(mesh) < D_LOW:
            free = [link for link in links if not link.mesh and link.mesh_again <= now]
            graft = self._rng.sample(free, min(D - len(mesh), len(free)))
        elif len(mesh) > D_HIGH:
            # Own dials first: whoever fills our inbound side must not choose our mesh.
            self._rng.shuffle(mesh)
            mesh.sort(key=lambda link: not link.outbound)
            prune = mesh[D:]
        else:
            graft, prune = self._replacement(mesh, links, now)
        for link in graft:
            link.mesh, link.delivered_at = True, now
        for link in prune:
            link.mesh, link.mesh_again = False, now + PRUNE_BACKOFF_S
        self._wanting = len(mesh) + len(graft) - len(prune) < D
        lazy: list[PeerLink] = []
        if not self.flood:
            others = [link for link in links if not link.mesh]
            count = min(len(others), max(D_LAZY, int(len(others) * GOSSIP_FACTOR)))
            lazy = self._rng.sample(others, count)
        return graft, prune, lazy

    def _replacement(
        self, mesh: list[PeerLink], links: list[PeerLink], now: float
    ) -> tuple[list[PeerLink], list[PeerLink]]:
        """
        A link to graft and the one to prune for it: it takes all pushes and brings nothing that
        others have not brought before.
        """
        since = now - USELESS_S
        useless = [link for link in mesh if max(link.delivered_at, link.opened) <= since]
        free = [link for link in links if not link.mesh and link.mesh_again <= now]
        if self.flood or not useless or not free or len(useless) == len(mesh):
            return [], []
        return [self._rng.choice(free)], [self._rng.choice(useless)]

    def grafted(self, link: PeerLink, others: Iterable[PeerLink], now: float) -> float | None:
        """
        The other side of ``link`` counts it into its mesh.

        Returns:
            None to agree, or for how many seconds it must not ask again.
        """
        if not link.mesh:
            if link.mesh_again > now:
                return link.mesh_again - now
            if sum(other.mesh for other in others) >= D_HIGH + 4:
                link.mesh_again = now + PRUNE_BACKOFF_S
                return PRUNE_BACKOFF_S
            link.mesh, link.delivered_at = True, now
        return None

    def pruned(self, link: PeerLink, backoff_s: float, now: float) -> None:
        """The other side of ``link`` takes it out of its mesh."""
        link.mesh = False
        link.mesh_again = now + min(max(backoff_s, 1.0), BACKOFF_S_MAX)

    def moved_heads(self) -> dict[str, Head]:
        """The heads that moved in the last two heartbeats; call once a heartbeat."""
        moved = {**self._moved_before, **self._moved}
        self._moved_before, self._moved = self._moved, {}
        return moved


def pack(raws: list[bytes]) -> list[bytes]:
    """As few ``gossip.publish`` lines as the line limit allows."""
    lines: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for raw in raws:
        if part and size + len(raw) > LINE_BYTES:
            lines.append(_HEAD + b",".join(part) + _TAIL)
            part, size = [], 0
        part.append(raw)
        size += len(raw) + 1
    lines.append(_HEAD + b",".join(part) + _TAIL)
    return lines
